// A coordination service in memory: one tree, many sessions, as ZooKeeper behaves; for tests and the simulation.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "zkclient/zk.h"

namespace weir::zkclient {

// The "server". Thread-safe (a mutex: it stands for another process). Sessions keep it alive.
class MemoryTree {
 public:
  static std::shared_ptr<MemoryTree> make();
  virtual ~MemoryTree() = default;

  // A session of its own, connected at once.
  virtual std::unique_ptr<Zk> connect(milliseconds session_timeout = milliseconds(18'000)) = 0;

  // Ends a session as a timeout does: ephemerals go, watches of others fire, its Zk hears expired and then gets a
  // new session (unless hold_new_sessions(true): then when it is false again).
  virtual void expire(std::int64_t session_id) = 0;
  virtual void hold_new_sessions(bool hold) = 0;
  // Calls fail with connection_loss until reconnect; the session lives on.
  virtual void disconnect(std::int64_t session_id) = 0;
  virtual void reconnect(std::int64_t session_id) = 0;

  // How many calls were made so far, by name ("get", "create", "multi", ...); "all" is their sum.
  virtual std::map<std::string, std::uint64_t> operations() const = 0;
  // Every path and its data, in order, without the root; for assertions.
  virtual std::vector<std::pair<std::string, std::string>> dump() const = 0;
  // Of one node; none: it is not there.
  virtual std::optional<std::string> data(const std::string& path) const = 0;
  virtual std::size_t watches() const = 0;
};

}  // namespace weir::zkclient
