#include "cluster.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "config/broker_config.h"
#include "metrics/registry.h"

namespace weir::sim {

struct Node::Life {
  explicit Life(runtime::SimProcess& p) : process(p), scope(*p.shards().front()) {}
  runtime::SimProcess& process;
  metrics::Registry registry;
  runtime::Scope scope;
  std::unique_ptr<broker::Broker> broker;
  std::uint64_t number = 0;
};

Cluster& Cluster::make(ClusterOptions options) {
  static auto* all = new std::vector<Cluster*>;
  return *all->emplace_back(new Cluster(std::move(options)));
}

Cluster::Cluster(ClusterOptions options)
    : options_(std::move(options)),
      world_(options_.seed),
      random_(runtime::seeded_random(options_.seed * 2654435761U + 1)),
      tree_(zkclient::MemoryTree::make()),
      service_(zkclient::MemoryService::make(world_, std::string(service_host), tree_)) {
  show_logs(this, options_.verbose);
  for (int i = 1; i <= options_.brokers; ++i) {
    nodes_.push_back(
        std::unique_ptr<Node>(new Node(world_, BrokerId{i}, fmt::format("127.0.0.{}", i), random_->next())));
  }
  client_machine_ = std::make_unique<runtime::SimMachine>(world_, std::string(client_host), random_->next());
  clients_ = &client_machine_->start(1);
  for (const auto& from : hosts()) {
    for (const auto& to : hosts()) {
      if (from != to) {
        world_.sockets().set_link(
            from, to, {.latency_min = std::chrono::microseconds(50), .latency_max = std::chrono::microseconds(2000)});
      }
    }
  }
}

std::vector<Node*> Cluster::nodes() {
  std::vector<Node*> all;
  for (auto& node : nodes_) all.push_back(node.get());
  return all;
}
std::vector<runtime::Address> Cluster::bootstrap() const {
  std::vector<runtime::Address> all;
  for (const auto& node : nodes_) all.push_back({node->machine_.host(), 9092});
  return all;
}
std::vector<std::string> Cluster::hosts() const {
  std::vector<std::string> all{std::string(service_host), std::string(client_host)};
  for (const auto& node : nodes_) all.push_back(node->machine_.host());
  return all;
}

std::vector<std::string> Cluster::directories() const {
  std::vector<std::string> all{"/data"};
  for (std::size_t i = 2; i <= options_.directories; ++i) all.push_back(fmt::format("/data{}", i));
  return all;
}

config::Properties Cluster::properties(const Node& node) const {
  config::Properties all{{"broker.id", std::to_string(node.id_.value)},
                         {"listeners", fmt::format("PLAINTEXT://{}:9092", node.machine_.host())},
                         {"log.dirs", fmt::format("{}", fmt::join(directories(), ","))},
                         {"zookeeper.connect", "zk:2181"},
                         {"zookeeper.session.timeout.ms", "6000"},
                         {"offsets.topic.num.partitions", "1"},
                         {"default.replication.factor", "3"},
                         {"min.insync.replicas", "2"},
                         {"replica.lag.time.max.ms", "6000"},
                         {"log.segment.bytes", "16384"},
                         {"log.initial.task.delay.ms", "3000"},
                         {"log.flush.offset.checkpoint.interval.ms", "7000"},
                         {"replica.socket.timeout.ms", "5000"},
                         {"controller.socket.timeout.ms", "5000"},
                         {"leader.imbalance.check.interval.seconds", "20"}};
  for (const auto& [key, value] : options_.broker) all[key] = value;
  return all;
}

void Cluster::start(Node& node) {
  if (node.state_ != Node::State::down) return;
  node.state_ = Node::State::starting;
  tell(fmt::format("broker {} starts", node.id_.value));
  live(node);
}

void Cluster::live(Node& node) {
  auto& process = node.machine_.start(options_.shards);
  auto life = std::make_shared<Node::Life>(process);
  life->number = ++node.life_number_;
  process.keep(life);
  node.life_ = life;

  config::BrokerLayers layers;
  layers.file = properties(node);
  auto loaded = config::load_broker_config(layers);
  WEIR_CHECK(loaded.has_value(), "the simulation's configuration is right");
  broker::Environment environment;
  environment.shards = process.shards();
  environment.pool = &process.pool();
  environment.files = &process.files();
  environment.sockets = &process.sockets();
  environment.clock = &process.clock();
  environment.random = &process.random();
  environment.metrics = &life->registry;
  environment.connect = [service = service_,
                         p = &process](zkclient::RealOptions options) -> Result<std::unique_ptr<zkclient::Zk>> {
    return service->connect(*p, options.session_timeout);
  };
  environment.failed = [this, &node, number = life->number](const std::string& why) {
    world_.after(nanoseconds(0), [this, &node, number, why] {
      ended(node, number, "it cannot go on: " + why, node.state_ != Node::State::stopping);
    });
  };
  life->broker = std::make_unique<broker::Broker>(std::move(environment), std::move(layers), std::move(loaded->config));
  process.shards().front()->post([this, &node, life] { life->scope.spawn(run(this, &node, life)); });
}

Task<void> Cluster::run(Cluster* cluster, Node* node, std::shared_ptr<Node::Life> life) {
  auto started = co_await life->broker->start();
  if (started) {
    if (node->state_ == Node::State::starting) {
      node->state_ = Node::State::up;
      cluster->tell(fmt::format("broker {} is up", node->id_.value));
    }
    co_return;
  }
  co_await life->broker->stop();
  const auto why = started.error().message;
  cluster->world_.after(nanoseconds(0), [cluster, node, number = life->number, why] {
    cluster->ended(*node, number, why, node->state_ != Node::State::stopping);
  });
}

void Cluster::stop(Node& node) {
  if (node.state_ != Node::State::up) return;
  node.state_ = Node::State::stopping;
  tell(fmt::format("broker {} stops", node.id_.value));
  node.life_->process.shards().front()->post(
      [this, &node, life = node.life_] { life->scope.spawn(stop_life(this, &node, life)); });
}
Task<void> Cluster::stop_life(Cluster* cluster, Node* node, std::shared_ptr<Node::Life> life) {
  co_await life->broker->stop();
  cluster->world_.after(nanoseconds(0),
                        [cluster, node, number = life->number] { cluster->ended(*node, number, "stopped", false); });
}

// A process that ended by itself.
void Cluster::ended(Node& node, std::uint64_t life, std::string why, bool again) {
  if (node.life_number_ != life || node.down()) return;
  tell(fmt::format("broker {} ended: {}", node.id_.value, why));
  node.failure_ = std::move(why);
  node.machine_.kill();
  node.life_.reset();
  if (on_end_) on_end_(node.id_, false);
  if (!again) {
    node.state_ = Node::State::down;
    return;
  }
  node.state_ = Node::State::starting;
  world_.after(seconds(1), [this, &node, life] {
    if (node.life_number_ == life && node.state_ == Node::State::starting) live(node);
  });
}

void Cluster::kill(Node& node) {
  if (node.down()) return;
  tell(fmt::format("broker {} is killed", node.id_.value));
  node.machine_.kill();
  node.life_.reset();
  node.state_ = Node::State::down;
  if (on_end_) on_end_(node.id_, false);
}
void Cluster::lose_power(Node& node) {
  if (node.down()) return;
  tell(fmt::format("broker {} loses power", node.id_.value));
  node.machine_.lose_power();
  node.life_.reset();
  node.state_ = Node::State::down;
  if (on_end_) on_end_(node.id_, true);
}
void Cluster::end_at_file_operation(Node& node, std::uint64_t operations, bool power) {
  if (node.down() || node.machine_.process() == nullptr) return;
  node.machine_.end_at_file_operation(operations, power, [this, &node, power] {
    tell(fmt::format("broker {} {} in the middle of a file operation", node.id_.value,
                     power ? "loses power" : "is killed"));
    node.life_.reset();
    node.state_ = Node::State::down;
    if (on_end_) on_end_(node.id_, power);
  });
}

void Cluster::start_all() {
  for (auto& node : nodes_) start(*node);
}
bool Cluster::wait_up(nanoseconds limit) {
  return world_.run_until(
      [this] {
        for (const auto& node : nodes_) {
          if (node->state_ != Node::State::up) return false;
        }
        return true;
      },
      limit);
}

double Cluster::seconds_now() { return std::chrono::duration<double>(world_.clock().mono() - seconds(1000)).count(); }
void Cluster::tell(std::string_view text) {
  if (options_.verbose) fmt::print(stderr, "{:10.4f} == {}\n", seconds_now(), text);
}

namespace {

class Sink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit Sink(Cluster& cluster) : cluster_(cluster) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& line) override {
    const auto* process = cluster_.world().running();
    fmt::print(stderr, "{:10.4f} {} {} {}\n", cluster_.seconds_now(), process == nullptr ? "-" : process->host(),
               spdlog::level::to_short_c_str(line.level), std::string_view(line.payload.data(), line.payload.size()));
  }
  void flush_() override {}

 private:
  Cluster& cluster_;
};

}  // namespace

void show_logs(Cluster* cluster, bool verbose) {
  logging::init({.level = verbose ? logging::Level::debug : logging::Level::off});
  if (!verbose) return;
  auto made = std::make_shared<spdlog::logger>("weir", std::make_shared<Sink>(*cluster));
  made->set_level(spdlog::level::trace);
  spdlog::set_default_logger(std::move(made));
}

}  // namespace weir::sim
