#include "msk/fence.h"

#include <utility>

namespace weir::msk {

using zkclient::Op;
using zkclient::OpResult;
using zkclient::ZkCode;
using zkclient::ZkError;

Fence::Task<Fence::ZkResult<>> Fence::take(std::string mark, std::function<Task<bool>()> entitled) {
  drop();
  auto made = co_await zkclient::ensure(zk_, path_);
  if (!made) co_return made;
  auto before = co_await zk_.get(path_, {});
  if (!before) co_return std::unexpected(before.error());
  if (entitled && !co_await entitled()) co_return zkclient::zk_fail(ZkCode::closed, path_);
  auto taken = co_await zk_.set(path_, std::move(mark), before->stat.version);
  if (!taken) co_return std::unexpected(taken.error());
  version_ = taken->version;
  co_return ZkResult<>{};
}

Fence::Task<Fence::ZkResult<>> Fence::confirm() {
  std::vector<Op> nothing;
  auto done = co_await multi(std::move(nothing));
  if (!done) co_return std::unexpected(done.error());
  co_return ZkResult<>{};
}

Fence::Task<Fence::ZkResult<std::vector<OpResult>>> Fence::multi(std::vector<Op> ops) {
  if (!held()) co_return zkclient::zk_fail(ZkCode::bad_version, path_);
  const auto with = version_;
  ops.insert(ops.begin(), Op::check(path_, with));
  auto done = co_await zk_.multi(std::move(ops));
  if (!done) {
    auto error = done.error();
    if (error.op == 0 && (error.code == ZkCode::bad_version || error.code == ZkCode::no_node)) {
      if (version_ == with) drop();
      error = {ZkCode::bad_version, path_, -1};
    } else if (error.op > 0) {
      --error.op;
    }
    co_return std::unexpected(std::move(error));
  }
  done->erase(done->begin());
  co_return done;
}

Fence::Task<Fence::ZkResult<OpResult>> Fence::one(Op op) {
  std::vector<Op> ops;
  ops.push_back(std::move(op));
  auto done = co_await multi(std::move(ops));
  if (!done) {
    auto error = done.error();
    error.op = -1;
    co_return std::unexpected(std::move(error));
  }
  co_return std::move(done->front());
}

Fence::Task<Fence::ZkResult<std::string>> Fence::create(std::string path, std::string data, zkclient::CreateMode mode,
                                                        zkclient::Acl acl) {
  auto done = co_await one(Op::create(std::move(path), std::move(data), mode, acl));
  if (!done) co_return std::unexpected(done.error());
  co_return std::move(done->path);
}

Fence::Task<Fence::ZkResult<zkclient::Stat>> Fence::set(std::string path, std::string data, std::int32_t version) {
  auto done = co_await one(Op::set(std::move(path), std::move(data), version));
  if (!done) co_return std::unexpected(done.error());
  co_return done->stat;
}

Fence::Task<Fence::ZkResult<>> Fence::remove(std::string path, std::int32_t version) {
  auto done = co_await one(Op::remove(std::move(path), version));
  if (!done) co_return std::unexpected(done.error());
  co_return ZkResult<>{};
}

Fence::Task<Fence::ZkResult<zkclient::Data>> Fence::get(std::string path, zkclient::Watch watch) {
  return zk_.get(std::move(path), std::move(watch));
}
Fence::Task<Fence::ZkResult<std::vector<std::string>>> Fence::children(std::string path, zkclient::Watch watch) {
  return zk_.children(std::move(path), std::move(watch));
}
Fence::Task<Fence::ZkResult<std::optional<zkclient::Stat>>> Fence::exists(std::string path, zkclient::Watch watch) {
  return zk_.exists(std::move(path), std::move(watch));
}

}  // namespace weir::msk
