#include "broker/broker.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "base/log.h"
#include "broker/exposition.h"
#include "broker/groups.h"
#include "broker/inter/controller_channel.h"
#include "broker/inter/isr_changes.h"
#include "broker/inter/link.h"
#include "broker/inter/orders_wire.h"
#include "broker/notices.h"
#include "broker/orders.h"
#include "broker/pipeline.h"
#include "broker/producer_id_source.h"
#include "broker/registered.h"
#include "broker/request_memory.h"
#include "broker/space_watch.h"
#include "broker/timed_zk.h"
#include "broker/tls.h"
#include "broker/zk_security.h"
#include "cluster/flag.h"
#include "controller/config_follower.h"
#include "controller/register.h"
#include "net/http.h"
#include "net/server.h"
#include "protocol/messages/controlled_shutdown.h"
#include "runtime/memory_limit.h"
#include "zkclient/patient.h"

namespace weir::broker {

using runtime::Task;

namespace {

// How long start() waits for the controller (maybe another broker) to put this broker into the image.
constexpr seconds image_wait{60};

// How long a session left behind is tried to be ended; after that it is left to time out.
constexpr milliseconds old_session_wait{5000};
// How long a stop waits for ZooKeeper while it resigns.
constexpr milliseconds resign_wait{5000};
// How long a controller that stops waits for brokers to take its last orders; the next one repeats them.
constexpr milliseconds settle_wait{2000};
// How long a stop lets the last answers leave, and how often it looks.
constexpr milliseconds answers_wait{500};
constexpr milliseconds answers_look{5};
// What ZooKeeper's ticks add to a session timeout, at the most.
constexpr milliseconds session_slack{8000};

net::Endpoint to_net(const config::Endpoint& from) {
  return {from.listener, static_cast<net::SecurityProtocol>(from.protocol), {from.host, from.port}};
}

std::uint32_t limit(std::int32_t value) { return value < 0 ? net::no_limit : static_cast<std::uint32_t>(value); }

net::Limits connection_limits(const config::BrokerConfig& config) {
  net::Limits limits;
  limits.connections_max = limit(config.max_connections);
  limits.connections_per_ip_max = limit(config.max_connections_per_ip);
  for (const auto& [ip, most] : config.max_connections_per_ip_overrides) {
    limits.connections_per_ip_overrides[ip] = limit(most);
  }
  limits.connections_per_second_max = limit(config.max_connection_creation_rate);
  for (const auto& endpoint : config.listeners) {
    std::string low = endpoint.listener;
    std::ranges::transform(low, low.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    auto& of_listener = limits.listeners[endpoint.listener];
    const auto most = config.listener_max_connections.find(low);
    if (most != config.listener_max_connections.end()) of_listener.connections_max = limit(most->second);
    const auto rate = config.listener_max_connection_creation_rate.find(low);
    if (rate != config.listener_max_connection_creation_rate.end()) {
      of_listener.connections_per_second_max = limit(rate->second);
    }
  }
  // Clients on other listeners do not keep the brokers out.
  if (config.listeners.size() > 1) limits.spared_listener = config.inter_broker_listener;
  return limits;
}

net::ServerOptions server_options(const config::BrokerConfig& config) {
  net::ServerOptions options;
  static_cast<net::Limits&>(options) = connection_limits(config);
  options.frame_bytes_max = static_cast<std::uint32_t>(config.socket_request_max_bytes);
  const auto limit_bytes = runtime::memory_limit_bytes();
  const auto memory = request_memory(config, limit_bytes);
  if (config.queued_max_request_bytes <= 0) {
    WEIR_LOG(info, "queued.max.request.bytes is not set: requests may take {} MiB, by the {} MiB this process may use",
             memory.bytes / MiB, limit_bytes / MiB);
  }
  options.queued_bytes_max = memory.bytes;
  options.queued_small_bytes_max = static_cast<std::uint64_t>(memory.small_bytes);
  options.queued_spared_bytes_max = memory.brokers_bytes;
  options.idle_max = milliseconds(config.connections_max_idle_ms);
  options.socket = {config.socket_send_buffer_bytes, config.socket_receive_buffer_bytes,
                    config.socket_listen_backlog_size};
  return options;
}

coordinator::group::Config group_config(const config::BrokerConfig& config) {
  coordinator::group::Config out;
  out.session_timeout_min = milliseconds(config.group_min_session_timeout_ms);
  out.session_timeout_max = milliseconds(config.group_max_session_timeout_ms);
  out.initial_rebalance_delay = milliseconds(config.group_initial_rebalance_delay_ms);
  out.members_max = static_cast<std::size_t>(config.group_max_size);
  out.offset_metadata_bytes_max = static_cast<std::size_t>(config.offset_metadata_max_bytes);
  out.offsets_retention = milliseconds(std::int64_t{60'000} * config.offsets_retention_minutes);
  out.offsets_retention_check_interval = milliseconds(config.offsets_retention_check_interval_ms);
  return out;
}

}  // namespace

struct Broker::Impl {
  Impl(Environment env, config::BrokerLayers layers, config::BrokerConfig config);

  Task<Result<>> start();
  Task<void> stop(bool others_stay);

  Result<> check_listeners();
  Task<Result<>> load_tls();
  Task<void> watch_tls();
  replica::ManagerOptions replica_options();
  replica::Settings settings(std::string_view topic);
  Task<Result<>> connect();
  std::string session_file() const;
  Task<void> end_old_session(zkclient::RealOptions options);
  Task<void> keep_session();
  Task<Result<>> settle_ids();
  Task<Result<>> read_configs();
  Task<Result<>> listen();
  Task<Result<>> register_self(nanoseconds wait);
  Task<void> register_again(nanoseconds wait);
  Task<Result<>> serve_metrics();
  client::ConnectionOptions connection_options(milliseconds timeout) const;
  controller::ControllerOptions controller_options(milliseconds session_wait);
  Task<void> hand_over();
  Task<void> controller_settles();
  Task<Result<std::size_t>> ask_to_leave();
  Task<void> let_answers_go();
  void config_changed(const cluster::ConfigKey& key, const cluster::ConfigMap& map);
  Task<void> apply_config_changes();
  Task<void> apply_broker_config();
  void set_throttles();
  bool give_up(const std::string& path, const std::string& why);
  Task<void> leave_directory(std::string path);

  Environment env;
  Node node;
  runtime::Shard& control;
  BrokerMetrics metrics;
  ImageBoard images;
  BrokerTls tls;
  runtime::Waiter* tls_look = nullptr;  // of watch_tls()
  std::unique_ptr<IsrChanges> isr_changes;
  std::unique_ptr<replica::ReplicaManager> replicas;
  std::unique_ptr<SpaceWatch> space_watch;
  std::unique_ptr<Groups> groups;
  std::unique_ptr<zkclient::Zk> session;
  std::unique_ptr<zkclient::Zk> zk;  // patient, over session
  std::unique_ptr<controller::Admin> admin;
  std::unique_ptr<controller::ConfigFollower> follower;
  std::unique_ptr<ProducerIdSource> producer_ids;
  std::unique_ptr<Registered> registered;
  std::unique_ptr<Orders> orders;
  std::unique_ptr<Link> link;
  std::unique_ptr<ControllerChannel> controller_channel;
  std::unique_ptr<controller::Controller> controller;
  bool controller_started = false;
  Pipeline pipeline;
  std::unique_ptr<net::Server> server;
  std::vector<net::Endpoint> bound;
  std::vector<net::Endpoint> advertised;
  BrokerEpoch life{-1};  // that this process registered with first
  std::unique_ptr<Exposition> exposition;
  std::unique_ptr<net::HttpServer> http;
  std::optional<runtime::Address> metrics_at;
  bool replicas_started = false;

  runtime::Scope scope;
  std::deque<std::pair<cluster::ConfigKey, cluster::ConfigMap>> config_changes;
  bool applying = false;
  std::atomic<bool> stopping{false};  // written on the control shard
};

Broker::Impl::Impl(Environment e, config::BrokerLayers layers, config::BrokerConfig config)
    : env(std::move(e)),
      control(*env.shards.front()),
      metrics(*env.metrics),
      images(env.shards),
      tls(*env.files),
      pipeline(node),
      scope(control) {
  node.shards = env.shards;
  node.control = &control;
  node.pool = env.pool;
  node.clock = env.clock;
  node.random = env.random;
  node.metrics = &metrics;
  node.images = &images;
  node.tls = &tls;
  node.set_config(std::make_shared<const LiveConfig>(LiveConfig{std::move(config), std::move(layers)}));
  const auto live = node.config();
  const auto slots = static_cast<std::size_t>(std::max(live->config.max_incremental_fetch_session_cache_slots, 0));
  for (std::size_t i = 0; i < env.shards.size(); ++i) {
    node.fetch_sessions.push_back(std::make_unique<FetchSessions>((slots + i) / env.shards.size(), *env.random));
  }
}

Result<> Broker::Impl::check_listeners() {
  const auto live = node.config();
  for (const auto& endpoint : live->config.listeners) {
    const bool served =
        endpoint.protocol == config::SecurityProtocol::plaintext || endpoint.protocol == config::SecurityProtocol::ssl;
    if (!served) {
      return fail(ErrorCode::INVALID_CONFIG,
                  fmt::format("listeners: {} has security protocol {}; this version of Weir serves PLAINTEXT and SSL",
                              endpoint.text(), config::name(endpoint.protocol)));
    }
  }
  return {};
}

replica::Settings Broker::Impl::settings(std::string_view topic) {
  const auto image = images.latest_anywhere();
  return settings_of(node.topic_config(*image, topic), node.config()->config, node.id);
}

replica::ManagerOptions Broker::Impl::replica_options() {
  const auto live = node.config();
  const auto& config = live->config;
  replica::ManagerOptions options;
  options.log_dirs = config.log_dirs;
  options.recovery_threads = config.num_recovery_threads_per_data_dir;
  options.open_files_max = static_cast<std::size_t>(config.weir_log_open_files_max);
  options.retention_check = milliseconds(config.log_retention_check_interval_ms);
  options.initial_delay = milliseconds(config.log_initial_task_delay_ms);
  options.checkpoint = milliseconds(config.log_flush_offset_checkpoint_interval_ms);
  options.high_watermark_checkpoint = milliseconds(config.replica_high_watermark_checkpoint_interval_ms);
  constexpr std::int64_t year_ms = 365LL * 24 * 3600 * 1000;
  options.flush_check =
      milliseconds(config.log_flush_scheduler_interval_ms < year_ms ? config.log_flush_scheduler_interval_ms : 0);
  options.producer_expiry_check = milliseconds(config.producer_id_expiration_check_interval_ms);
  options.settings = [this](std::string_view topic) { return settings(topic); };
  options.replica_lag_time_max = milliseconds(config.replica_lag_time_max_ms);
  options.flush_at_min_isr = config.weir_flush_at_min_isr;
  options.isr_changer = isr_changes.get();
  options.alive = [this](BrokerId id) { return images.latest_anywhere()->alive(id); };
  if (env.failed) {
    options.give_up = [this](const std::string& path, const std::string& why) { return give_up(path, why); };
  }
  options.quota_samples = static_cast<std::size_t>(config.replication_quota_window_num);
  options.quota_sample = seconds(config.replication_quota_window_size_seconds);
  auto& fetch = options.fetch;
  fetch.sockets = env.sockets;
  fetch.connection = connection_options(milliseconds(config.replica_socket_timeout_ms));
  fetch.connection.socket.receive_buffer_bytes = config.replica_socket_receive_buffer_bytes;
  fetch.address = [this](BrokerId id) -> std::optional<runtime::Address> {
    const auto image = images.latest_anywhere();
    const auto* broker = image->broker(id);
    const auto now = node.config();
    const auto* endpoint = broker == nullptr ? nullptr : broker->endpoint(now->config.inter_broker_listener);
    if (endpoint == nullptr) return std::nullopt;
    return runtime::Address{endpoint->host, static_cast<std::uint16_t>(endpoint->port)};
  };
  fetch.lost = [this](BrokerId id) { node.note_lost(id); };
  fetch.broker_epoch = [this] { return node.epoch(); };
  fetch.fetchers = config.num_replica_fetchers;
  fetch.min_bytes = config.replica_fetch_min_bytes;
  fetch.max_bytes = config.replica_fetch_max_bytes;
  fetch.response_max_bytes = config.replica_fetch_response_max_bytes;
  fetch.wait_max = milliseconds(config.replica_fetch_wait_max_ms);
  fetch.backoff = milliseconds(config.replica_fetch_backoff_ms);
  fetch.socket_timeout = milliseconds(config.replica_socket_timeout_ms);
  fetch.fetch_version_max = fetch_version(config.inter_broker_protocol);
  fetch.epoch_version_max = offset_for_leader_epoch_version(config.inter_broker_protocol);
  return options;
}

Task<Result<>> Broker::Impl::connect() {
  const auto live = node.config();
  const auto& config = live->config;
  zkclient::RealOptions options;
  options.connect = config.zookeeper_connect;
  options.session_timeout = milliseconds(config.zookeeper_session_timeout_ms);
  options.sockets = env.sockets;
  auto read = [this, &options, &config] { return secure(options, config, *env.files); };
  if (auto done = co_await env.pool->run(std::move(read)); !done) co_return done;
  co_await end_old_session(options);
  auto opened = env.connect(std::move(options));
  if (!opened) co_return std::unexpected(opened.error());
  session = std::make_unique<TimedZk>(std::move(*opened), *env.clock, *env.metrics);
  const auto wait = milliseconds(config.zookeeper_connection_timeout_ms);
  if (!co_await session->wait_connected(wait)) {
    if (session->state() == zkclient::State::auth_failed) {
      co_return fail(
          ErrorCode::SASL_AUTHENTICATION_FAILED,
          fmt::format("ZooKeeper at zookeeper.connect={} refused this broker's credentials", config.zookeeper_connect));
    }
    co_return fail(ErrorCode::BROKER_NOT_AVAILABLE,
                   fmt::format("no ZooKeeper answers at zookeeper.connect={} within {} ms "
                               "(zookeeper.connection.timeout.ms)",
                               config.zookeeper_connect, wait.count()));
  }
  zk = zkclient::make_patient(*session);
  node.zk = zk.get();
  co_return Result<>{};
}

std::string Broker::Impl::session_file() const { return node.config()->config.log_dirs.front() + "/weir.session"; }

// This broker died and left a session behind: its node would stand in our way until the session times out. The lock
// on the log directory says that nobody uses that session any more.
Task<void> Broker::Impl::end_old_session(zkclient::RealOptions options) {
  auto work = [this, options] {
    auto there = env.files->exists(session_file());
    if (!there || !*there) return;
    auto text = env.files->read_whole(session_file(), 4096);
    const auto line = text ? text->find('\n') : std::string::npos;
    // One of another ensemble, or of a Java broker's time here, is left to time out.
    if (line == std::string::npos || text->substr(line + 1) != options.connect + "\n") return;
    if (zkclient::end_session(options, std::string_view(*text).substr(0, line), old_session_wait)) {
      WEIR_LOG(info, "ended the ZooKeeper session that this broker left behind");
    }
  };
  co_await env.pool->run(std::move(work));
}

Task<void> Broker::Impl::keep_session() {
  const auto text = session->session_key() + "\n" + node.config()->config.zookeeper_connect + "\n";
  if (text.front() == '\n') co_return;
  auto work = [this, &text] { return env.files->write_whole(session_file(), text); };
  auto kept = co_await env.pool->run(std::move(work));
  if (!kept)
    WEIR_LOG(warn, "{}; after a crash this broker will wait for its session to time out", kept.error().message);
}

Task<Result<>> Broker::Impl::settle_ids() {
  const auto live = node.config();
  if (auto done = co_await controller::ensure_root_paths(*zk); !done) co_return done;
  auto cluster = co_await controller::get_or_create_cluster_id(*zk, *env.random);
  if (!cluster) co_return std::unexpected(cluster.error());
  const auto& meta = replicas->meta();
  node.id = live->config.broker_id;
  if (meta) {
    // Brokers before Apache Kafka 2.4 do not write down the cluster's id.
    if (!meta->cluster_id.empty() && meta->cluster_id != *cluster) {
      co_return fail(
          ErrorCode::INCONSISTENT_CLUSTER_ID,
          fmt::format("{} belongs to cluster {} (meta.properties), but zookeeper.connect leads to cluster {}: "
                      "check zookeeper.connect, or give this broker an empty directory",
                      live->config.log_dirs.front(), meta->cluster_id, *cluster));
    }
    if (meta->broker_id != no_broker) {
      if (node.id.value >= 0 && node.id != meta->broker_id) {
        co_return fail(ErrorCode::INCONSISTENT_CLUSTER_ID,
                       fmt::format("broker.id={} but {} belongs to broker {} (meta.properties)", node.id.value,
                                   live->config.log_dirs.front(), meta->broker_id.value));
      }
      node.id = meta->broker_id;
    }
  }
  if (node.id.value < 0) {
    if (!live->config.broker_id_generation) {
      co_return fail(ErrorCode::INVALID_CONFIG, "broker.id is not set and broker.id.generation.enable is false");
    }
    auto made = co_await controller::generate_broker_id(*zk, live->config.reserved_broker_max_id);
    if (!made) co_return std::unexpected(made.error());
    node.id = *made;
  }
  node.cluster_id = *cluster;
  auto claim = [this] { return replicas->claim(node.id, node.cluster_id); };
  co_return co_await env.pool->run(std::move(claim));
}

void Broker::Impl::config_changed(const cluster::ConfigKey& key, const cluster::ConfigMap& map) {
  config_changes.emplace_back(key, map);
  if (replicas_started && !applying && !stopping) scope.spawn(apply_config_changes());
}

// The broker's own configuration again, from its layers as they are now.
Task<void> Broker::Impl::apply_broker_config() {
  const auto live = node.config();
  auto layers = live->layers;
  auto properties = [this](const std::string& name) {
    const auto& map = images.latest()->config({cluster::ConfigType::broker, name});
    return config::Properties(map.begin(), map.end());
  };
  layers.dynamic_default = properties("");
  layers.dynamic_broker = properties(std::to_string(node.id.value));
  auto loaded = config::load_broker_config(layers);
  if (!loaded) {
    for (const auto& error : loaded.error()) WEIR_LOG(error, "dynamic configuration is not taken: {}", error);
    co_return;
  }
  for (const auto& warning : new_warnings(*loaded, layers.file)) WEIR_LOG(warn, "{}", warning);
  node.set_config(std::make_shared<const LiveConfig>(LiveConfig{std::move(loaded->config), std::move(layers)}));
  if (server) server->set_limits(connection_limits(node.config()->config));
  if (tls_look != nullptr) tls_look->wake();
  if (controller) controller->set_unclean_election(node.config()->config.unclean_leader_election_enable);
  set_throttles();
  co_await replicas->set_fetchers(node.config()->config.num_replica_fetchers);
  // Topics without overrides follow the broker's defaults.
  std::vector<std::string> topics;
  images.latest()->each_topic([&](const cluster::TopicPtr& topic) { topics.push_back(topic->name); });
  for (auto& topic : topics) {
    auto now = settings(topic);
    co_await replicas->set_topic_settings(std::move(topic), std::move(now));
  }
}

void Broker::Impl::set_throttles() {
  const auto live = node.config();
  replicas->leader_throttle().set_rate(live->config.leader_replication_throttled_rate);
  replicas->follower_throttle().set_rate(live->config.follower_replication_throttled_rate);
  replicas->space().set_quota(live->config.weir_storage_quota_bytes);
}

// A log directory failed a write (it may be full). With others in the cluster it is left to them: they lead what this
// broker leads. A broker that is alone goes on with what it can: records are still read.
bool Broker::Impl::give_up(const std::string& path, const std::string& why) {
  const auto image = images.latest_anywhere();
  if (stopping || image->brokers().size() <= 1) return false;
  WEIR_LOG_LIMITED(error, seconds(1), "{}: {}", path, why);
  control.post([this, path] {
    if (!stopping) scope.spawn(leave_directory(path));
  });
  return true;
}

Task<void> Broker::Impl::leave_directory(std::string path) {
  if (replicas->directories_left() == 0) {
    if (auto tell = std::exchange(env.failed, nullptr))
      tell(fmt::format("the log directory {} failed, and it is the last", path));
    co_return;
  }
  // The controller asks for all replicas here; those in the directory answer KAFKA_STORAGE_ERROR and are led elsewhere.
  if (auto told = co_await controller::announce_log_dir_failure(*zk, node.id); !told) {
    WEIR_LOG(error, "the controller could not be told that {} failed: {}", path, told.error().message);
  }
}

Task<void> Broker::Impl::apply_config_changes() {
  applying = true;
  while (!config_changes.empty()) {
    auto [key, map] = std::move(config_changes.front());
    config_changes.pop_front();
    const bool differs = images.latest()->config(key) != map;
    if (!differs) continue;
    auto edit = [&](cluster::ImageBuilder& next) { next.set_config(key, map); };
    co_await images.change(std::move(edit));
    if (key.type == cluster::ConfigType::topic && replicas_started) {
      WEIR_LOG(info, "configuration of topic {} changed", key.name);
      auto now = settings(key.name);
      co_await replicas->set_topic_settings(key.name, std::move(now));
    }
    // Who may elect uncleanly from now on does so where nobody leads (the active controller does).
    const auto unclean = map.find("unclean.leader.election.enable");
    if (key.type == cluster::ConfigType::topic && controller_started && unclean != map.end() &&
        cluster::is_on(unclean->second)) {
      controller->unclean_election_enabled(key.name);
    }
    const bool mine =
        key.type == cluster::ConfigType::broker && (key.name.empty() || key.name == std::to_string(node.id.value));
    if (mine) {
      WEIR_LOG(info, "dynamic configuration of {} changed", key.name.empty() ? "all brokers" : "this broker");
      co_await apply_broker_config();
    }
  }
  applying = false;
}

Task<Result<>> Broker::Impl::read_configs() {
  follower = std::make_unique<controller::ConfigFollower>(
      control, *zk, [this](const cluster::ConfigKey& key, const cluster::ConfigMap& map) { config_changed(key, map); });
  if (auto done = co_await follower->start(); !done) co_return done;
  co_await apply_config_changes();
  co_return Result<>{};
}

Task<Result<>> Broker::Impl::listen() {
  const auto live = node.config();
  auto options = server_options(live->config);
  if (tls.any()) {
    options.transports = [this](const net::Endpoint& listener, std::unique_ptr<runtime::Socket> socket) {
      return tls.accepted(listener, std::move(socket));
    };
  }
  server = std::make_unique<net::Server>(env.shards, *env.sockets, pipeline, std::move(options));
  std::vector<net::ListenerOptions> listeners;
  for (const auto& endpoint : live->config.listeners) {
    auto& to = listeners.emplace_back();
    to.endpoint = to_net(endpoint);
  }
  auto started = co_await server->start(std::move(listeners));
  if (!started) {
    server.reset();
    co_return std::unexpected(started.error());
  }
  bound = std::move(*started);
  for (const auto& endpoint : live->config.advertised) advertised.push_back(to_net(endpoint));
  for (auto& endpoint : advertised) {
    // A port that the system chose is advertised as it turned out.
    if (endpoint.address.port != 0) continue;
    for (const auto& real : bound) {
      if (real.listener == endpoint.listener) endpoint.address.port = real.address.port;
    }
  }
  co_return Result<>{};
}

Task<Result<>> Broker::Impl::register_self(nanoseconds wait) {
  zkwire::layout::BrokerRegistration registration;
  for (const auto& endpoint : advertised) {
    registration.endpoints.push_back(
        {endpoint.listener, std::string(net::name(endpoint.protocol)), endpoint.address.host, endpoint.address.port});
  }
  const auto live = node.config();
  if (!live->config.rack.empty()) registration.rack = live->config.rack;
  registration.timestamp = env.clock->wall().count();
  if (life.value >= 0) registration.life = life;
  auto epoch = co_await controller::register_broker(control, *zk, node.id, std::move(registration), wait);
  if (!epoch) co_return std::unexpected(epoch.error());
  node.set_epoch(*epoch);
  if (life.value < 0) life = *epoch;
  WEIR_LOG(info, "registered as broker {} of cluster {}, broker epoch {}", node.id.value, node.cluster_id,
           epoch->value);
  if (registered) registered->seen();
  co_await keep_session();
  co_return Result<>{};
}

Task<void> Broker::Impl::register_again(nanoseconds wait) {
  auto done = co_await register_self(wait);
  if (done) co_return;
  WEIR_LOG(error, "cannot register again: {}", done.error().message);
  if (registered) registered->failed();
}

Task<Result<>> Broker::Impl::serve_metrics() {
  exposition = std::make_unique<Exposition>(node, *env.metrics, *server);
  const auto live = node.config();
  if (!live->config.weir_metrics_listener) co_return Result<>{};
  auto answer = [this](net::HttpRequest request) -> Task<net::HttpResponse> {
    net::HttpResponse response;
    if (request.path() != "/metrics" && request.path() != "/") {
      response.status = 404;
      response.body = "metrics are at /metrics\n";
    } else if (request.method != "GET" && request.method != "HEAD") {
      response.status = 405;
    } else {
      response.content_type = std::string(metrics::Registry::content_type);
      response.body = co_await exposition->text();
    }
    co_return response;
  };
  http = std::make_unique<net::HttpServer>(env.shards, *env.sockets, std::move(answer));
  const auto& at = *live->config.weir_metrics_listener;
  auto started = co_await http->start({at.host, at.port});
  if (!started) {
    http.reset();
    co_return fail(started.error().code, "weir.metrics.listener: " + started.error().message);
  }
  metrics_at = *started;
  co_return Result<>{};
}

client::ConnectionOptions Broker::Impl::connection_options(milliseconds timeout) const {
  client::ConnectionOptions options;
  options.client_id = std::to_string(node.id.value);  // as brokers of Apache Kafka call themselves
  options.request_timeout = timeout;
  options.transport = [this](std::unique_ptr<runtime::Socket> socket, const runtime::Address& to) {
    return tls.dialled(node.config()->config.inter_broker_listener, std::move(socket), to);
  };
  return options;
}

controller::ControllerOptions Broker::Impl::controller_options(milliseconds session_wait) {
  const auto live = node.config();
  const auto& config = live->config;
  controller::ControllerOptions options;
  options.broker = node.id;
  options.inter_broker_listener = config.inter_broker_listener;
  options.delete_topics = config.delete_topic_enable;
  options.unclean_leader_election = config.unclean_leader_election_enable;
  controller::set_protocol_version(options, config.inter_broker_protocol.text());
  options.auto_rebalance = config.auto_leader_rebalance_enable;
  options.rebalance_check = seconds(config.leader_imbalance_check_interval_seconds);
  options.rebalance_percent = config.leader_imbalance_per_broker_percentage;
  options.register_again = [this, session_wait] { return register_again(session_wait); };
  return options;
}

// The stores of all listeners that speak TLS, and from then on a look at them every few seconds: a new certificate is
// taken without a restart.
Task<Result<>> Broker::Impl::load_tls() {
  auto load = [this] { return tls.load(node.config()->config); };
  auto loaded = co_await env.pool->run(std::move(load));
  if (loaded && tls.any()) scope.spawn(watch_tls());
  co_return loaded;
}

Task<void> Broker::Impl::watch_tls() {
  while (!stopping) {
    runtime::Waiter look(control);
    tls_look = &look;
    co_await look.wait(tls_look_interval);
    tls_look = nullptr;
    if (stopping) break;
    auto refresh = [this] { tls.refresh(node.config()->config); };
    co_await env.pool->run(std::move(refresh));
  }
}

// How many partitions this broker still leads that somebody else could.
Task<Result<std::size_t>> Broker::Impl::ask_to_leave() {
  if (controller->active()) {
    auto left = co_await controller->controlled_shutdown(node.id, node.epoch());
    if (!left) co_return std::unexpected(left.error());
    co_return left->size();
  }
  protocol::ControlledShutdownRequest request;
  request.broker_id = node.id.value;
  request.broker_epoch = node.epoch().value;
  auto answer = co_await controller_channel->call<protocol::ControlledShutdownResponse>(std::move(request));
  if (!answer) co_return std::unexpected(answer.error());
  const auto code = static_cast<ErrorCode>(answer->message.error_code);
  if (code != ErrorCode::NONE) co_return fail(code, std::string(name(code)));
  co_return answer->message.remaining_partitions.size();
}

// The controller here has told the others who leads now; or one of them does not listen for a while.
Task<void> Broker::Impl::controller_settles() {
  const auto settled = std::make_shared<runtime::Waiter>(control);
  auto wait = [this](std::shared_ptr<runtime::Waiter> told) -> Task<void> {
    co_await controller->idle();
    told->wake();
  };
  scope.spawn(wait(settled));
  co_await settled->wait(settle_wait);
}

// Controlled shutdown: others lead what this broker leads before it stops to answer.
Task<void> Broker::Impl::hand_over() {
  const auto live = node.config();
  if (!live->config.controlled_shutdown_enable) co_return;
  replicas->leave();
  const auto alone = [](const cluster::Image& image) { return image.brokers().size() <= 1; };
  const auto began = env.clock->mono();
  for (int tries = 0; tries < live->config.controlled_shutdown_max_retries; ++tries) {
    if (alone(*images.latest()) || session->state() != zkclient::State::connected) co_return;
    auto left = co_await ask_to_leave();
    if (left && *left == 0) {
      if (controller->active()) co_await controller_settles();
      WEIR_LOG(info, "the leaders of this broker's partitions are others, after {} ms",
               std::chrono::duration_cast<milliseconds>(env.clock->mono() - began).count());
      co_return;
    }
    if (left) {
      WEIR_LOG(info, "controlled shutdown: {} partitions have no other replica that could lead them", *left);
    } else {
      WEIR_LOG(warn, "controlled shutdown: {} {}", name(left.error().code), left.error().message);
    }
    if (tries + 1 == live->config.controlled_shutdown_max_retries) break;
    co_await images.wait_until(alone, milliseconds(live->config.controlled_shutdown_retry_backoff_ms));
  }
  WEIR_LOG(warn, "stopping while this broker still leads partitions (controlled.shutdown.max.retries)");
}

Task<Result<>> Broker::Impl::start() {
  if (auto fine = check_listeners(); !fine) co_return fine;
  isr_changes = std::make_unique<IsrChanges>(node);
  replicas = std::make_unique<replica::ReplicaManager>(env.shards, *env.pool, *env.files, *env.clock, *env.random,
                                                       *env.metrics, replica_options());
  node.replicas = replicas.get();
  auto open = [this] { return replicas->open(); };
  if (auto done = co_await env.pool->run(std::move(open)); !done) co_return done;
  if (auto done = co_await connect(); !done) co_return done;
  if (auto done = co_await settle_ids(); !done) co_return done;
  if (auto done = co_await read_configs(); !done) co_return done;
  if (auto done = co_await load_tls(); !done) co_return done;
  co_await replicas->set_fetchers(node.config()->config.num_replica_fetchers);  // as ZooKeeper has it
  if (auto done = co_await replicas->start(); !done) co_return done;
  replicas_started = true;
  set_throttles();
  space_watch = std::make_unique<SpaceWatch>(control, *replicas);
  scope.spawn(space_watch->run());
  if (!config_changes.empty() && !applying) scope.spawn(apply_config_changes());  // what came while logs were loaded

  const auto live = node.config();
  groups = std::make_unique<Groups>(env.shards, *env.pool, *replicas, group_config(live->config),
                                    live->config.offsets_topic_num_partitions);
  node.groups = groups.get();
  admin = std::make_unique<controller::Admin>(control, *zk, *env.random);
  node.admin = admin.get();
  producer_ids = std::make_unique<ProducerIdSource>(control, *zk, node.id);
  node.producer_ids = producer_ids.get();
  orders = std::make_unique<Orders>(node);
  node.orders = orders.get();
  const auto order_timeout = milliseconds(live->config.controller_socket_timeout_ms);
  link = std::make_unique<Link>(node, *orders, *env.sockets, connection_options(order_timeout));
  controller_channel = std::make_unique<ControllerChannel>(node, *env.sockets, connection_options(order_timeout));
  node.controller_channel = controller_channel.get();
  // Our own old session may last its whole timeout once more (a service that was restarted too), and a little more.
  const auto session_wait = 2 * milliseconds(live->config.zookeeper_session_timeout_ms) + session_slack;
  controller =
      std::make_unique<controller::Controller>(control, *zk, *link, *env.random, controller_options(session_wait));
  node.controller = controller.get();

  if (auto done = co_await listen(); !done) co_return done;
  if (auto done = co_await serve_metrics(); !done) co_return done;
  registered = std::make_unique<Registered>(control, *zk, zkwire::layout::path_of_broker(node.id),
                                            [this, session_wait] { return register_again(session_wait); });
  if (auto done = co_await register_self(session_wait); !done) co_return done;
  scope.spawn(registered->run());
  orders->open();
  controller->start();
  controller_started = true;
  auto here = [id = node.id](const cluster::Image& image) { return image.alive(id); };
  if (!co_await images.wait_until(std::move(here), image_wait)) {
    co_return fail(ErrorCode::BROKER_NOT_AVAILABLE,
                   fmt::format("no controller took this broker into the cluster within {} s", image_wait.count()));
  }
  co_await controller->idle();  // when it is this one: it is in office, and has worked off what it found
  if (const auto notice = compaction_notice(node, *images.latest()); !notice.empty()) WEIR_LOG(warn, "{}", notice);
  co_return Result<>{};
}

// Who waited was told, on whatever shard it waited: its answer is written before its connection is closed. A client
// that takes none, or asks on and on, does not hold the stop up for long.
Task<void> Broker::Impl::let_answers_go() {
  for (auto waited = milliseconds(0); metrics.in_flight.value() > 0 && waited < answers_wait; waited += answers_look) {
    co_await runtime::sleep(control, answers_look);
  }
}

Task<void> Broker::Impl::stop(bool others_stay) {
  stopping = true;
  if (tls_look != nullptr) tls_look->wake();
  if (space_watch) space_watch->stop();
  if (registered) registered->stop();
  if (controller_started && others_stay) co_await hand_over();
  if (server) server->stop_accepting();
  if (orders) orders->open();
  // Requests and the controller may be asking the coordination service. Where that is gone, stopping must not wait
  // for it.
  runtime::Waiter resigned(control);
  runtime::Scope hurry(control);
  bool closed = false;
  auto close_late = [this, &resigned, &closed]() -> Task<void> {
    if (co_await resigned.wait(session->state() == zkclient::State::connected ? resign_wait : resign_wait / 5))
      co_return;
    WEIR_LOG(warn, "ZooKeeper does not answer: stopping without a goodbye; the session will time out");
    closed = true;
    co_await session->close();
  };
  if (session) hurry.spawn(close_late());
  if (http) co_await http->stop();
  // Everyone who waits is answered before the connections close.
  if (groups) co_await groups->stop();
  co_await images.stop();
  if (replicas_started) co_await replicas->resign();
  if (server) co_await let_answers_go();
  if (server) co_await server->stop();
  if (link) co_await link->stop();
  if (controller_channel) co_await controller_channel->stop();
  if (controller_started) co_await controller->stop();
  if (isr_changes) co_await isr_changes->stop();
  if (follower) co_await follower->stop();
  co_await scope.stop();
  resigned.wake();
  co_await hurry.stop();
  if (replicas_started) co_await replicas->stop();
  // Where the goodbye is not heard, the session is left to be ended by the next start (or by a supervisor).
  const bool heard = session && !closed && session->state() == zkclient::State::connected;
  if (session && !closed) co_await session->close();
  if (replicas_started && heard) {
    auto forget = [this] { (void)env.files->remove(session_file()); };
    co_await env.pool->run(std::move(forget));
  }
}

Broker::Broker(Environment environment, config::BrokerLayers layers, config::BrokerConfig config)
    : impl_(std::make_unique<Impl>(std::move(environment), std::move(layers), std::move(config))) {}
Broker::~Broker() = default;

Task<Result<>> Broker::start() { return impl_->start(); }
Task<void> Broker::stop(bool others_stay) { return impl_->stop(others_stay); }
BrokerId Broker::id() const { return impl_->node.id; }
const std::string& Broker::cluster_id() const { return impl_->node.cluster_id; }
const std::vector<net::Endpoint>& Broker::endpoints() const { return impl_->bound; }
const std::optional<runtime::Address>& Broker::metrics_at() const { return impl_->metrics_at; }

}  // namespace weir::broker
