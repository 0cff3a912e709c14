// What the metrics endpoint shows beyond the counters that are kept as things happen: the state of logs, groups,
// connections, queues and the process, looked up when somebody asks.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "broker/groups.h"
#include "broker/node.h"
#include "metrics/registry.h"
#include "net/server.h"

namespace weir::broker {

class Exposition {
 public:
  Exposition(Node& node, metrics::Registry& registry, const net::Server& server);

  // The text for Prometheus. On any shard.
  runtime::Task<std::string> text();

 private:
  // Callbacks of the registry run on whichever thread asks for the text: they read this, not the shards.
  struct Looked {
    std::vector<replica::PartitionView> partitions;
    Groups::Counts groups;
    std::size_t topics = 0;
    controller::ControllerStats controller;
    std::size_t offline = 0;
    int zk_state = 0;
  };
  std::shared_ptr<const Looked> looked() const;
  void show_logs();
  void show_controller();
  void show_network(const net::Server& server);
  void show_process();

  Node& node_;
  metrics::Registry& registry_;
  mutable std::mutex mutex_;  // of looked_: written by text(), read by the callbacks of any other text()
  std::shared_ptr<const Looked> looked_;
  std::vector<metrics::Registry::Callback> callbacks_;
};

}  // namespace weir::broker
