// A session whose writes count only while this control plane is the active one.
//
// Who becomes active takes the next epoch: the version of one znode. Every write through the fence is a multi that
// first checks that version, so that from the moment another has taken the next epoch nothing that the one before still
// sends is done: not by a process that was paused and goes on, not out of a queue of the network. Reads pass.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "zkclient/zk.h"

namespace weir::msk {

class Fence final : public zkclient::Zk {
 public:
  template <class T = void>
  using Task = zkclient::Task<T>;
  template <class T = void>
  using ZkResult = zkclient::ZkResult<T>;

  // `zk` outlives this. `path` is the epoch's znode, made with its parents.
  Fence(zkclient::Zk& zk, std::string path) : zk_(zk), path_(std::move(path)) {}

  // The next epoch is ours. `mark` is unique, so that an answer that was lost is told from another's epoch. `entitled`
  // is asked after the epoch before was read: who is replaced between that answer and the write does not get it. Empty:
  // it is entitled. bad_version: another took one meanwhile; closed: not entitled.
  Task<ZkResult<>> take(std::string mark, std::function<Task<bool>()> entitled);
  void drop() { version_ = none; }
  // As far as is known here: confirm() asks.
  bool held() const { return version_ != none; }
  // Nobody has taken a later epoch: before something is done that is no write.
  Task<ZkResult<>> confirm();

  Task<ZkResult<std::string>> create(std::string path, std::string data, zkclient::CreateMode mode,
                                     zkclient::Acl acl) override;
  Task<ZkResult<zkclient::Stat>> set(std::string path, std::string data, std::int32_t version) override;
  Task<ZkResult<>> remove(std::string path, std::int32_t version) override;
  Task<ZkResult<std::vector<zkclient::OpResult>>> multi(std::vector<zkclient::Op> ops) override;

  Task<ZkResult<zkclient::Data>> get(std::string path, zkclient::Watch watch) override;
  Task<ZkResult<std::vector<std::string>>> children(std::string path, zkclient::Watch watch) override;
  Task<ZkResult<std::optional<zkclient::Stat>>> exists(std::string path, zkclient::Watch watch) override;
  Task<ZkResult<>> sync(std::string path) override { return zk_.sync(std::move(path)); }
  std::int64_t session_id() const override { return zk_.session_id(); }
  std::string session_key() const override { return zk_.session_key(); }
  zkclient::State state() const override { return zk_.state(); }
  milliseconds session_timeout() const override { return zk_.session_timeout(); }
  void listen(zkclient::Watch watcher) override { zk_.listen(std::move(watcher)); }
  Task<bool> wait_connected(nanoseconds timeout) override { return zk_.wait_connected(timeout); }
  Task<void> close() override { return zk_.close(); }

 private:
  static constexpr std::int32_t none = -1;

  Task<ZkResult<zkclient::OpResult>> one(zkclient::Op op);

  zkclient::Zk& zk_;
  const std::string path_;
  std::int32_t version_ = none;
};

}  // namespace weir::msk
