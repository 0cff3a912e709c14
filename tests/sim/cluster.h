// A cluster of whole brokers in one simulated world: a machine each, one more for the coordination service, one for
// the clients. Everything that happens is drawn from one seed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/units.h"
#include "broker/broker.h"
#include "config/properties.h"
#include "runtime/sim_machine.h"
#include "zkclient/memory_service.h"

namespace weir::sim {

using runtime::Task;

struct ClusterOptions {
  std::uint64_t seed = 1;
  int brokers = 3;
  std::size_t shards = 1;       // of each broker
  std::size_t directories = 1;  // log.dirs, of each
  config::Properties broker;    // besides those of the simulation
  bool verbose = false;         // says what happens, and what the brokers log
};

// One machine that a broker runs on, and its broker's life of now.
class Node {
 public:
  enum class State : std::uint8_t { down, starting, up, stopping };

  State state() const { return state_; }
  bool down() const { return state_ == State::down; }
  runtime::SimMachine& machine() { return machine_; }
  BrokerId id() const { return id_; }

 private:
  friend class Cluster;
  struct Life;
  Node(runtime::SimWorld& world, BrokerId id, std::string host, std::uint64_t seed)
      : id_(id), machine_(world, std::move(host), seed) {}

  const BrokerId id_;
  runtime::SimMachine machine_;
  State state_ = State::down;
  std::uint64_t life_number_ = 0;
  std::shared_ptr<Life> life_;
  std::string failure_;
};

// Never destroyed: what froze in it points to it (sim_machine.h).
class Cluster {
 public:
  static Cluster& make(ClusterOptions options);

  runtime::SimWorld& world() { return world_; }
  runtime::Random& random() { return *random_; }
  zkclient::MemoryService& service() { return *service_; }
  const zkclient::MemoryTree& tree() const { return *tree_; }
  static constexpr std::string_view service_host = "zk";
  static constexpr std::string_view client_host = "127.0.0.100";

  std::vector<Node*> nodes();
  Node& node(BrokerId id) { return *nodes_.at(static_cast<std::size_t>(id.value - 1)); }
  runtime::SimProcess& clients() { return *clients_; }
  std::vector<runtime::Address> bootstrap() const;
  // All hosts that brokers, clients and the service run on.
  std::vector<std::string> hosts() const;

  // A broker that cannot start, or whose process ended otherwise, is started again after a second, as by a supervisor,
  // unless it was taken down (kill, lose_power, stop).
  void start(Node& node);
  void kill(Node& node);
  void lose_power(Node& node);
  void end_at_file_operation(Node& node, std::uint64_t operations, bool power);
  void stop(Node& node);  // a clean stop, which takes its time; then it is down
  void start_all();
  // All brokers are up; false when that took longer than `limit`.
  bool wait_up(nanoseconds limit);

  // Log directories of every broker.
  std::vector<std::string> directories() const;
  // Told of each process that ends, at that moment, and whether its machine lost power.
  void set_on_end(std::function<void(BrokerId, bool power)> told) { on_end_ = std::move(told); }

  // Says `text` when verbose, with the time.
  void tell(std::string_view text);
  // Since the world began.
  double seconds_now();

 private:
  explicit Cluster(ClusterOptions options);
  void live(Node& node);
  void ended(Node& node, std::uint64_t life, std::string why, bool again);
  static Task<void> run(Cluster* cluster, Node* node, std::shared_ptr<Node::Life> life);
  static Task<void> stop_life(Cluster* cluster, Node* node, std::shared_ptr<Node::Life> life);
  config::Properties properties(const Node& node) const;

  const ClusterOptions options_;
  runtime::SimWorld world_;
  std::unique_ptr<runtime::Random> random_;
  std::shared_ptr<zkclient::MemoryTree> tree_;
  std::shared_ptr<zkclient::MemoryService> service_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::unique_ptr<runtime::SimMachine> client_machine_;
  runtime::SimProcess* clients_ = nullptr;
  std::function<void(BrokerId, bool)> on_end_;
};

// Log lines of what runs in this world: with its time and whose they are, to stderr; or none at all.
void show_logs(Cluster* cluster, bool verbose);

}  // namespace weir::sim
