// Sees to it that this broker's node (/brokers/ids/N) stays: somebody may remove it while the session lives, and then
// nobody else would make it again.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/shard.h"
#include "zkclient/zk.h"

namespace weir::broker {

class Registered {
 public:
  // On the control shard; `zk` outlives it. `again` makes the node.
  Registered(runtime::Shard& control, zkclient::Zk& zk, std::string path, std::function<runtime::Task<void>()> again);
  // Until stop(). From the call of seen() on, the node is watched.
  runtime::Task<void> run();
  // The node was made: also by somebody else's word, after a session ended.
  void seen();
  // The node could not be made: another process has it, or ZooKeeper would not. Tried again when that one's goes, or in
  // a second.
  void failed();
  void stop();

 private:
  struct Bell;
  zkclient::Zk& zk_;
  const std::string path_;
  const std::function<runtime::Task<void>()> again_;
  const std::shared_ptr<Bell> bell_;
  bool stopping_ = false;
  bool pause_ = false;  // before the next look
};

}  // namespace weir::broker
