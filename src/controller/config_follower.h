// Keeps a broker's knowledge of dynamic configs up to date: reads all of /config at its start, then follows
// /config/changes as Kafka's DynamicConfigManager does (both versions of the notification; those older than
// 15 minutes are removed). Every broker has one.
#pragma once

#include <functional>
#include <memory>

#include "base/error.h"
#include "cluster/image.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"

namespace weir::controller {

using runtime::Task;

class ConfigFollower {
 public:
  // `changed` is called on the shard with the whole config of an entity: for each at the start, then for each
  // change (also when nothing differs), and for all again after a new session.
  using Changed = std::function<void(const cluster::ConfigKey&, const cluster::ConfigMap&)>;
  ConfigFollower(runtime::Shard& shard, zkclient::Zk& zk, Changed changed);
  ~ConfigFollower();  // stop() first

  // Returns when all of /config was read and told once.
  Task<Result<>> start();
  Task<void> stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace weir::controller
