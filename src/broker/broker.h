// A broker: put together from the rooms below, started and stopped in the right order.
//
// start(): log directories are locked, the coordination service is reached, the cluster's and the broker's ids are
// settled, dynamic configuration is read, logs are loaded (and recovered), listeners are bound, the broker registers,
// and the election begins. It ends when this broker is in its own image of the cluster: it can be used then.
// stop(): no new connections, everyone who waits is answered, the controller resigns, logs are closed cleanly, and
// the session ends last.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "broker/node.h"
#include "metrics/registry.h"
#include "net/endpoint.h"
#include "runtime/files.h"
#include "runtime/sockets.h"
#include "zkclient/real.h"
#include "zkclient/zk.h"

namespace weir::broker {

// What a broker runs on.
struct Environment {
  std::vector<runtime::Shard*> shards;
  runtime::Pool* pool = nullptr;
  runtime::Files* files = nullptr;
  runtime::Sockets* sockets = nullptr;
  runtime::Clock* clock = nullptr;
  runtime::Random* random = nullptr;
  metrics::Registry* metrics = nullptr;
  // Opens the session with the coordination service; tests give one in memory.
  std::function<Result<std::unique_ptr<zkclient::Zk>>(zkclient::RealOptions)> connect = zkclient::connect;
  // The broker cannot go on (its last log directory failed): it is to be stopped, and its process to end with a
  // failure. From any thread, once. Null: it goes on with what it can still do.
  std::function<void(std::string why)> failed;
};

class Broker {
 public:
  Broker(Environment environment, config::BrokerLayers layers, config::BrokerConfig config);
  ~Broker();

  // On the first shard. An error is a sentence for people. After a failed start call stop() all the same.
  runtime::Task<Result<>> start();
  // `others_stay`: false when the whole cluster stops; then there is nobody to hand leadership to.
  runtime::Task<void> stop(bool others_stay = true);

  // After start().
  BrokerId id() const;
  const std::string& cluster_id() const;
  const std::vector<net::Endpoint>& endpoints() const;        // bound
  const std::optional<runtime::Address>& metrics_at() const;  // of the Prometheus endpoint

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::broker
