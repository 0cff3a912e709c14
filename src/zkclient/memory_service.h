// A coordination service in memory (memory.h) behind the simulated network: a machine of its own that each process
// reaches with a session, in order, with delays; it can be cut off, and sessions then time out.
//
// What ZooKeeper guarantees holds: a session's calls are done in the order they were made and answered in that order;
// a watch is told before any answer that could show what it tells. A connection that breaks fails what is in flight
// with connection_loss: what had arrived was done, the rest was not. A session that the service has not heard of for
// its timeout ends there; its client learns of it when it is connected again, and then gets a new one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/sim_machine.h"
#include "zkclient/memory.h"

namespace weir::zkclient {

class MemoryService {
 public:
  // `host` is its address in the world's network (SimSockets::set_link). On the world's first shard.
  static std::shared_ptr<MemoryService> make(runtime::SimWorld& world, std::string host,
                                             std::shared_ptr<MemoryTree> tree);
  virtual ~MemoryService() = default;

  // A session for this process, connected as soon as the network lets it. The service lives as long as the session.
  virtual std::unique_ptr<Zk> connect(runtime::SimProcess& process, milliseconds session_timeout) = 0;
  // Breaks the connections of this host; its sessions live on if they are back in time.
  virtual void reset(const std::string& host) = 0;
  // No connections while down; sessions do not time out meanwhile (as when an ensemble elects its leader).
  virtual void set_down(bool down) = 0;
  // How many sessions timed out so far.
  virtual std::uint64_t expired() const = 0;
};

}  // namespace weir::zkclient
