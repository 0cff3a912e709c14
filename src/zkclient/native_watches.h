// What a session of native.h watches, by path: told when the server says so, set again after a lost connection.
// Of one shard. Not for other rooms.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bytes/shared.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"
#include "zkwire/codes.h"

namespace weir::zkclient {

class NativeWatches {
 public:
  // What the server was asked with: a node that is there, one that is not, a node's children.
  enum class Kind : std::uint8_t { data, exist, child };

  // One watcher hears once of a node, and once of its children, however often it asked.
  void arm(Kind kind, const std::string& path, const Watch& watcher, runtime::Shard& shard);
  void fire(zkwire::EventType type, const std::string& path);
  void clear() { by_path_.clear(); }
  std::size_t size() const;

  // Frames of SetWatches, each of a bounded size, for what is still wanted. `chroot` goes before each path.
  std::vector<bytes::Shared> frames(std::string_view chroot, std::int64_t last_zxid);

 private:
  struct Armed {
    Kind kind;
    Watch watcher;
    runtime::Shard* shard;
  };
  std::unordered_map<std::string, std::vector<Armed>> by_path_;
};

}  // namespace weir::zkclient
