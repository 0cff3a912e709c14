#include <arpa/inet.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "apps/api_certificate.h"
#include "apps/certificates.h"
#include "apps/control_files.h"
#include "apps/data_dir.h"
#include "apps/last_words.h"
#include "apps/left_session.h"
#include "apps/local_cluster.h"
#include "apps/process.h"
#include "apps/run.h"
#include "apps/seat.h"
#include "apps/seated_place.h"
#include "apps/up.h"
#include "apps/zookeeper_file.h"
#include "aws/endpoint.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/place.h"
#include "cli/text.h"
#include "msk/empty_start.h"
#include "msk/kafka.h"
#include "msk/service.h"
#include "net/authority.h"
#include "net/tls.h"
#include "runtime/clock.h"
#include "runtime/files.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"
#include "zkclient/patient.h"
#include "zkclient/real.h"

// The control plane: endpoint, MSK's API over the state in ZooKeeper, and this machine as the place of brokers.

namespace weir::apps {

namespace {

namespace json = boost::json;
using runtime::Task;

constexpr auto seat_path = "/weir/active";
constexpr milliseconds session_timeout{6000};
constexpr milliseconds session_end_max{5000};
constexpr milliseconds restart_max{120'000};
constexpr milliseconds connect_max{30'000};
constexpr milliseconds stop_all_max{25'000};

std::int64_t now_s() { return std::chrono::duration_cast<seconds>(runtime::system_clock().wall()).count(); }

bool is_address(const std::string& host) {
  unsigned char bytes[16];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 || inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

bool on_loopback(const std::string& host) { return host.starts_with("127.") || host == "::1" || host == "localhost"; }

std::expected<std::unique_ptr<aws::FileCredentials>, std::string> open_credentials(const ControlFiles& files) {
  auto credentials = aws::FileCredentials::open(files.credentials(), runtime::system_files());
  if (!credentials) return std::unexpected(credentials.error().message);
  if ((*credentials)->list().empty()) {
    auto key = aws::generate_key(runtime::system_random(), runtime::system_clock().wall(), "weir");
    if (auto added = (*credentials)->add(std::move(key)); !added) return std::unexpected(added.error().message);
  }
  return std::move(*credentials);
}

// A process of the control plane, as it writes itself into its seat and beside what it holds.
std::string who_text(const ControlFiles& files, const std::string& zookeeper) {
  const auto self = identify(getpid());
  json::object o;
  o["pid"] = self.pid;
  o["started"] = self.started;
  o["boot"] = boot_id();
  o["data"] = files.path;
  o["zookeeper"] = zookeeper;
  return json::serialize(o);
}

// The process of a who_text, when it is one of this boot, this folder and this ZooKeeper; nothing: of elsewhere.
std::optional<cli::ProcessId> who_of(const ControlFiles& files, const std::string& zookeeper, const std::string& text) {
  json::error_code error;
  const auto value = json::parse(text, error);
  if (error || !value.is_object()) return std::nullopt;
  const auto& o = value.get_object();
  const auto is = [&](const char* key, const std::string& wanted) {
    const auto* v = o.if_contains(key);
    return v != nullptr && *v == json::value(wanted);
  };
  if (!is("boot", boot_id()) || !is("data", files.path) || !is("zookeeper", zookeeper)) return std::nullopt;
  const auto number = [&](const char* key) {
    const auto* v = o.if_contains(key);
    json::error_code bad;
    return v == nullptr ? 0 : v->to_number<std::int64_t>(bad);
  };
  return cli::ProcessId{static_cast<std::int32_t>(number("pid")), static_cast<std::uint64_t>(number("started"))};
}

class ControlPlane {
 public:
  ControlPlane(const cli::ControlOptions& options, config::Properties zookeeper_keys, const DataDir& dir,
               security::CertificateAuthority authority, std::unique_ptr<aws::FileCredentials> credentials)
      : options_(options),
        zookeeper_keys_(std::move(zookeeper_keys)),
        files_(dir),
        supervised_(shards_[0], *pool_, dir),
        authority_(std::move(authority)),
        credentials_(std::move(credentials)),
        certificate_(authority_, api_names(options, machine_addresses())) {}

  // The error is a sentence; then stop() is called all the same.
  Task<std::expected<void, std::string>> start();
  Task<void> stop(bool all);
  void end_threads() { shards_.stop(); }
  runtime::Shard& shard() { return shards_[0]; }

 private:
  msk::ServiceOptions service_options();
  provision::MachineOptions machine_options();
  Task<std::string> may_begin_empty(provision::EmptyStart start);
  bool certify(provision::BrokerSpec& spec);  // for its address; what goes wrong is said in the log
  Task<void> certify_local();
  Task<void> complete_local();
  Task<void> record_local();
  Task<void> keep_recorded();
  Task<bool> gained();
  Task<bool> open_place();
  Task<void> end_holder();
  Task<void> lost();
  Task<bool> occupied(std::string data);

  const cli::ControlOptions& options_;
  const config::Properties zookeeper_keys_;  // of --zookeeper-config
  const ControlFiles files_;
  runtime::Shards shards_{1};
  std::unique_ptr<runtime::Pool> pool_ = runtime::make_pool(4);
  Supervised supervised_;
  security::CertificateAuthority authority_;
  std::unique_ptr<aws::FileCredentials> credentials_;
  ApiCertificate certificate_;
  std::unique_ptr<zkclient::Zk> session_;
  std::unique_ptr<zkclient::Zk> zk_;
  SeatedPlace place_{supervised_};
  msk::EmptyStarts empty_starts_;
  std::unique_ptr<Certificates> certificates_;
  std::unique_ptr<msk::Service> service_;
  std::unique_ptr<aws::Endpoint> endpoint_;
  std::unique_ptr<Seat> seat_;
  ApiPlace at_;
  std::string recorded_;   // what of `weir up` the record of `local` says
  std::string completed_;  // the same, and its brokers have what the API changed
  runtime::Scope scope_{shards_[0]};
  runtime::Waiter look_again_{shards_[0]};
  bool stopping_ = false;
};

msk::ServiceOptions ControlPlane::service_options() {
  msk::ServiceOptions out;
  out.realm.region = options_.region;
  out.zookeeper = options_.zookeeper;
  // A broker that was killed can come back when its session is over: on one machine that need not take long.
  out.move_rate = options_.move_rate;
  out.broker_overrides = {zookeeper_keys_.begin(), zookeeper_keys_.end()};
  out.broker_overrides.insert_or_assign("zookeeper.session.timeout.ms", "6000");
  const auto tls = zookeeper_keys_.find("zookeeper.ssl.client.enable");
  if (tls != zookeeper_keys_.end() && tls->second == "true") out.zookeeper_tls = options_.zookeeper;
  out.local.defaults = [this](std::int32_t brokers) { return local_defaults(supervised_.state(), brokers); };
  out.local.listener = [this](std::int32_t broker) { return supervised_.listener_of(broker); };
  out.local.fixed = [this] {
    std::vector<std::string> keys;
    for (const auto& [key, value] : supervised_.state().overrides) keys.push_back(key);
    return keys;
  };
  out.certify = [this](std::string common_name, std::vector<std::string> names, std::vector<std::string> addresses) {
    // `weir up --advertise` may say a name.
    for (auto& address : addresses) {
      if (!is_address(address)) names.push_back(address);
    }
    std::erase_if(addresses, [](const std::string& address) { return !is_address(address); });
    return certificates_->issue(std::move(common_name), std::move(names), std::move(addresses));
  };
  out.entitled = [this] { return seat_->confirm(); };
  return out;
}

provision::MachineOptions ControlPlane::machine_options() {
  provision::MachineOptions out;
  out.directory = files_.clusters();
  out.program = "/proc/self/exe";
  out.arguments = log_flags(options_.log);
  out.pool = options_.addresses;
  out.clear_up = [](const std::string& log_dir) { end_left_session(log_dir, session_end_max); };
  out.may_begin_empty = [this](provision::EmptyStart start) { return may_begin_empty(std::move(start)); };
  return out;
}

// The cluster's chroot is what its brokers have it from.
Task<std::string> ControlPlane::may_begin_empty(provision::EmptyStart start) {
  const auto connect = start.spec.properties.find("zookeeper.connect");
  const auto slash = connect == start.spec.properties.end() ? std::string::npos : connect->second.find('/');
  if (slash == std::string::npos) co_return std::string();
  const msk::KafkaView view{&shard(), zk_.get(), connect->second.substr(slash)};
  co_return co_await empty_starts_.ask(view, start.spec.key.broker, start.unusable);
}

// The one before, when it lives, lets go of the directory in a moment: it hears that its session is over, or takes it
// for over. One that does not, because it is stopped or hangs, is ended, as what it would do next is not its to do any
// more.
Task<bool> ControlPlane::open_place() {
  constexpr int tries_max = 50;
  constexpr int tries_in_peace = 25;
  constexpr milliseconds between{200};
  for (int i = 0;; ++i) {
    auto opened = co_await provision::open_machine(shard(), *pool_, machine_options());
    if (opened) {
      place_.open(std::move(*opened));
      auto write = [path = files_.holder(), text = who_text(files_, options_.zookeeper)] {
        return runtime::system_files().write_private(path, text);
      };
      if (auto written = co_await pool_->run(std::move(write)); !written) WEIR_LOG(warn, "{}", written.error().message);
      co_return true;
    }
    if (i == tries_in_peace) co_await end_holder();
    if (i == tries_max || !co_await seat_->confirm()) {
      WEIR_LOG(error, "this control plane cannot act: {}", opened.error().text);
      co_return false;
    }
    co_await runtime::sleep(shard(), between);
  }
}

Task<void> ControlPlane::end_holder() {
  auto read = [path = files_.holder()] { return runtime::system_files().read_whole(path, 1 << 12); };
  auto text = co_await pool_->run(std::move(read));
  if (!text) co_return;
  const auto holder = who_of(files_, options_.zookeeper, *text);
  if (!holder || holder->pid == getpid() || !alive(*holder) || !co_await seat_->confirm()) co_return;
  WEIR_LOG(warn, "the control plane before (pid {}) has lost its session and holds {} still: it is killed", holder->pid,
           files_.clusters());
  signal_process(*holder, SIGKILL);
}

// The record of `local` follows what `weir up` was told this time, once no operation changes it.
Task<void> ControlPlane::record_local() {
  const auto& state = supervised_.state();
  if (!options_.supervised || state.processes.empty()) co_return;
  std::string now = state.kafka_version;
  for (const auto& process : state.processes) {
    if (process.role != "broker") continue;
    now += "\n" + cli::display_name(process);
    for (const auto& [name, address] : process.addresses) now += " " + name + "=" + address;
  }
  if (now == recorded_) co_return;
  const auto recorded =
      co_await record_local_cluster(shard(), runtime::system_random(), *zk_, service_options().realm, state);
  if (recorded) recorded_ = std::move(now);
}

Task<void> ControlPlane::keep_recorded() {
  constexpr milliseconds every{1000};
  while (!stopping_) {
    co_await look_again_.wait(every);
    if (!stopping_ && place_.machine() != nullptr) co_await record_local();
    if (!stopping_ && place_.machine() != nullptr) co_await complete_local();
  }
}

bool ControlPlane::certify(provision::BrokerSpec& spec) {
  const auto name = fmt::format("b-{}.{}", spec.key.broker, spec.key.cluster);
  auto issued = service_options().certify(name, {name, "localhost"}, {spec.address});
  if (!issued) {
    WEIR_LOG_LIMITED(error, seconds(60), "no new certificate for broker {}: {}", spec.key.text(), issued.error());
    return false;
  }
  spec.files[std::string(msk::certificate_file)] = issued->chain_and_key;
  spec.files[std::string(msk::authority_file)] = issued->authority;
  return true;
}

// A broker that `weir up` brought (--brokers) knows nothing of what the API changed before. One after another.
Task<void> ControlPlane::complete_local() {
  if (completed_ == recorded_) co_return;
  const auto now = recorded_;
  const auto cluster = co_await settled_local_cluster(shard(), *zk_);
  if (!cluster) co_return;
  for (const auto& key : supervised_.brokers()) {
    if (stopping_ || supervised_.spec(key.broker) || !cluster->members.contains(key.broker)) continue;
    auto spec = changed_by_the_api(*cluster, key.broker, supervised_.host_of(key.broker));
    if (!spec) continue;
    if (msk::needs_certificate(cluster->spec) && !certify(*spec)) co_return;
    WEIR_LOG(info, "broker {} gets the settings that the API gave to the others", key.text());
    auto done = co_await place_.put(std::move(*spec));
    if (!done) {
      WEIR_LOG_LIMITED(warn, seconds(60), "broker {}: {}", key.text(), done.error().text);
      co_return;
    }
    // One that a user has stopped has them when it is started.
    const auto status = place_.status(key);
    if (!status || status->state == provision::BrokerState::stopped) continue;
    done = co_await place_.restart(key, provision::StopHow(), restart_max);
    if (!done) WEIR_LOG(warn, "broker {} is not restarted: {}", key.text(), done.error().text);
  }
  completed_ = now;
}

// Where `weir up` was told another address, its brokers' certificates are for the old one.
Task<void> ControlPlane::certify_local() {
  for (const auto& key : supervised_.brokers()) {
    auto spec = supervised_.spec(key.broker);
    const auto host = supervised_.host_of(key.broker);
    if (!spec || spec->address == host || !spec->files.contains(std::string(msk::certificate_file))) continue;
    const auto name = msk::certificate_name(key.cluster, key.broker);
    auto issued = service_options().certify(name, {name, "localhost"}, {host});
    if (!issued) {
      WEIR_LOG(error, "no new certificate for broker {}: {}", key.text(), issued.error());
      continue;
    }
    spec->address = host;
    spec->files[std::string(msk::certificate_file)] = issued->chain_and_key;
    spec->files[std::string(msk::authority_file)] = issued->authority;
    if (auto put = co_await supervised_.put(std::move(*spec)); !put) WEIR_LOG(error, "{}", put.error().text);
  }
}

Task<bool> ControlPlane::gained() {
  if (!co_await open_place()) co_return false;
  // Commands of this folder speak to the active one.
  auto write_place = [this] { return write_api_place(files_, at_); };
  if (auto written = co_await pool_->run(std::move(write_place)); !written) WEIR_LOG(warn, "{}", written.error());
  // With it the next process here ends this session, should this one die.
  const auto text = session_->session_key() + "\n" + options_.zookeeper + "\n";
  auto write = [path = files_.session() + "/weir.session", text] {
    return runtime::system_files().write_private(path, text);
  };
  if (auto written = co_await pool_->run(std::move(write)); !written) WEIR_LOG(warn, "{}", written.error().message);
  co_await supervised_.learn();
  co_await certify_local();
  recorded_.clear();
  completed_.clear();
  co_await record_local();
  service_->set_active(true);
  co_return true;
}

Task<void> ControlPlane::lost() {
  service_->set_active(false);
  co_await place_.close();
}

Task<bool> ControlPlane::occupied(std::string data) {
  const auto who = who_of(files_, options_.zookeeper, data);
  if (!who || alive(*who)) co_return false;
  auto end = [folder = files_.session()] { return end_left_session(folder, session_end_max); };
  co_return co_await pool_->run(std::move(end));
}

Task<std::expected<void, std::string>> ControlPlane::start() {
  auto zookeeper = session_options(options_.zookeeper, zookeeper_keys_);
  if (!zookeeper) co_return std::unexpected(fmt::format("--zookeeper-config: {}", zookeeper.error()));
  zookeeper->session_timeout = session_timeout;
  auto session = zkclient::connect(std::move(*zookeeper));
  if (!session) co_return std::unexpected(session.error().message);
  session_ = std::move(*session);
  if (!co_await session_->wait_connected(connect_max)) {
    co_return std::unexpected(fmt::format("ZooKeeper at {} does not answer (--zookeeper)", options_.zookeeper));
  }
  zk_ = zkclient::make_patient(*session_, session_timeout);
  co_await supervised_.start();
  certificates_ = std::make_unique<Certificates>(shard(), authority_, place_, options_.certificate_s);
  service_ = std::make_unique<msk::Service>(shard(), runtime::system_random(), *zk_, place_, service_options());
  if (auto started = co_await service_->start(); !started) co_return std::unexpected(started.error());

  aws::EndpointOptions how;
  how.region = options_.region;
  const bool tls = !on_loopback(options_.api.host);
  if (tls) how.tls = [this] { return certificate_.context(files_.session(), now_s()); };
  how.healthy = [this] { return session_->state() == zkclient::State::connected; };
  endpoint_ =
      std::make_unique<aws::Endpoint>(shards_.all(), runtime::system_sockets(), *pool_, runtime::system_random(),
                                      *credentials_, std::vector<aws::Service*>{service_.get()}, std::move(how));
  auto bound = co_await endpoint_->start({options_.api.host, options_.api.port});
  if (!bound) {
    co_return std::unexpected(fmt::format("cannot listen on {}: {} (--api)",
                                          cli::host_port(options_.api.host, options_.api.port), bound.error().message));
  }
  at_.endpoint = fmt::format("{}://{}", tls ? "https" : "http",
                             cli::host_port(api_host(options_, machine_addresses()), bound->port));
  at_.local = fmt::format("{}://{}", tls ? "https" : "http", cli::host_port(local_host(options_), bound->port));
  at_.region = options_.region;
  at_.process = identify(getpid());
  at_.boot_id = boot_id();
  if (tls) at_.authority = files_.authority() + "/ca.crt";
  if (auto written = write_api_place(files_, at_); !written) co_return std::unexpected(written.error());
  WEIR_LOG(info, "the API listens at {}", at_.endpoint);

  SeatHooks hooks;
  hooks.gained = [this] { return gained(); };
  hooks.lost = [this] { return lost(); };
  hooks.occupied = [this](std::string data) { return occupied(std::move(data)); };
  seat_ = std::make_unique<Seat>(shard(), *session_, seat_path, who_text(files_, options_.zookeeper), std::move(hooks));
  seat_->start();
  certificates_->start();
  if (options_.supervised) scope_.spawn(keep_recorded());
  co_return std::expected<void, std::string>();
}

Task<void> ControlPlane::stop(bool all) {
  stopping_ = true;
  look_again_.wake();
  co_await scope_.stop();
  if (endpoint_) co_await endpoint_->stop();
  if (service_) service_->set_active(false);
  if (certificates_) co_await certificates_->stop();
  if (all && place_.machine() != nullptr) co_await place_.machine()->stop_all(stop_all_max);
  if (seat_) co_await seat_->stop();
  if (service_) co_await service_->stop();
  co_await supervised_.stop();
  seat_.reset();
  endpoint_.reset();
  service_.reset();
  zk_.reset();
  if (session_) co_await session_->close();
  session_.reset();
}

}  // namespace

int run_control(const cli::ControlOptions& options) {
  EndSignals ends;
  const auto fail = [&options](const std::string& why) {
    tell_failure(options.log, "control", why);
    return cli::exit_failure;
  };
  auto dir = DataDir::find(options.data_dir);
  if (!dir) return fail(dir.error());
  const ControlFiles files(*dir);
  for (const auto& folder : {dir->control_folder(), files.session()}) {
    if (auto made = runtime::system_files().make_directories(folder); !made) return fail(made.error().message);
  }
  auto authority = net::open_authority(runtime::system_files(), files.authority(), now_s());
  if (!authority) return fail(authority.error().message);
  auto credentials = open_credentials(files);
  if (!credentials) return fail(credentials.error());

  auto zookeeper_keys = read_zookeeper_file(options.zookeeper_config);
  if (!zookeeper_keys) return fail(fmt::format("--zookeeper-config: {}", zookeeper_keys.error()));

  ControlPlane plane(options, std::move(*zookeeper_keys), *dir, std::move(*authority), std::move(*credentials));
  std::string failure;
  auto guard = std::make_unique<EndBeforeReady>(ends);
  runtime::block_on(plane.shard(), [&]() -> Task<void> {
    if (auto started = co_await plane.start(); !started) failure = started.error();
  });
  guard.reset();
  bool all = false;
  if (failure.empty()) {
    notify_ready(options.ready_fd);
    const int signal = ends.wait();
    all = signal == stop_with_all_signal;
    WEIR_LOG(info, "signal {}: the control plane stops{}", signal,
             all ? ", and so do all brokers" : "; its clusters run on");
  }
  runtime::block_on(plane.shard(), [&] { return plane.stop(all); });
  plane.end_threads();
  return failure.empty() ? cli::exit_ok : fail(failure);
}

}  // namespace weir::apps
