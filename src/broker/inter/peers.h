// Connections to the other brokers of the cluster, on their inter-broker listener: one to each, opened when first
// asked for and again after it broke. On one shard (the control shard). Who asks decides when to try again.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/id.h"
#include "client/connection.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::broker {

class Peers {
 public:
  Peers(runtime::Shard& shard, runtime::Sockets& sockets, client::ConnectionOptions options)
      : shard_(shard), sockets_(sockets), options_(std::move(options)), scope_(shard) {}

  // `life` tells one life of the broker from the next (its broker epoch): a connection to an earlier one is closed,
  // for it may lead to a host that does not answer any more. NETWORK_EXCEPTION when it cannot be reached.
  runtime::Task<Result<std::shared_ptr<client::Connection>>> to(BrokerId broker, runtime::Address address,
                                                                std::int64_t life = -1);
  // Closes what leads there; calls under way end with NETWORK_EXCEPTION.
  void drop(BrokerId broker);
  // Closes all, also what is still shaking hands, and waits for what runs inside. No calls afterwards.
  runtime::Task<void> stop();

 private:
  struct Peer {
    runtime::Address address;
    std::int64_t life = -1;
    std::shared_ptr<client::Connection> connection;
    bool opening = false;
    net::Transport* shaking_hands = nullptr;                         // while it is opened and connected
    std::shared_ptr<bool> given_up = std::make_shared<bool>(false);  // nobody waits for it any more
    std::list<runtime::Waiter*> waiting;                             // for who opens it
  };

  runtime::Task<Result<std::shared_ptr<client::Connection>>> open(std::shared_ptr<Peer> peer);
  static void give_up(Peer& peer, const std::string& why);

  runtime::Shard& shard_;
  runtime::Sockets& sockets_;
  const client::ConnectionOptions options_;
  runtime::Scope scope_;
  std::map<BrokerId, std::shared_ptr<Peer>> peers_;
  std::size_t opening_ = 0;
  runtime::Waiter* stopper_ = nullptr;
  bool stopping_ = false;
};

}  // namespace weir::broker
