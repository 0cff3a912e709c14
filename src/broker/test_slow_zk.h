// A coordination service that takes its time, as one behind a network does: what else happens meanwhile, happens.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/shard.h"
#include "zkclient/zk.h"

namespace weir::broker {

// Each call waits for `latency` before it is done and again before its answer is there.
class SlowZk final : public zkclient::Zk {
 public:
  template <class T>
  using Answer = runtime::Task<zkclient::ZkResult<T>>;

  SlowZk(std::unique_ptr<zkclient::Zk> inner, const nanoseconds& latency)
      : inner_(std::move(inner)), latency_(latency) {}

  Answer<std::string> create(std::string path, std::string data, zkclient::CreateMode mode,
                             zkclient::Acl acl) override {
    return slowly<std::string>(inner_->create(std::move(path), std::move(data), mode, acl));
  }
  Answer<zkclient::Data> get(std::string path, zkclient::Watch watch) override {
    return slowly<zkclient::Data>(inner_->get(std::move(path), std::move(watch)));
  }
  Answer<zkclient::Stat> set(std::string path, std::string data, std::int32_t version) override {
    return slowly<zkclient::Stat>(inner_->set(std::move(path), std::move(data), version));
  }
  Answer<void> remove(std::string path, std::int32_t version) override {
    return slowly<void>(inner_->remove(std::move(path), version));
  }
  Answer<std::vector<std::string>> children(std::string path, zkclient::Watch watch) override {
    return slowly<std::vector<std::string>>(inner_->children(std::move(path), std::move(watch)));
  }
  Answer<std::optional<zkclient::Stat>> exists(std::string path, zkclient::Watch watch) override {
    return slowly<std::optional<zkclient::Stat>>(inner_->exists(std::move(path), std::move(watch)));
  }
  Answer<std::vector<zkclient::OpResult>> multi(std::vector<zkclient::Op> ops) override {
    return slowly<std::vector<zkclient::OpResult>>(inner_->multi(std::move(ops)));
  }
  Answer<void> sync(std::string path) override { return slowly<void>(inner_->sync(std::move(path))); }

  std::int64_t session_id() const override { return inner_->session_id(); }
  zkclient::State state() const override { return inner_->state(); }
  milliseconds session_timeout() const override { return inner_->session_timeout(); }
  void listen(zkclient::Watch watcher) override { inner_->listen(std::move(watcher)); }
  runtime::Task<bool> wait_connected(nanoseconds timeout) override { return inner_->wait_connected(timeout); }
  runtime::Task<void> close() override { return inner_->close(); }

 private:
  template <class T>
  Answer<T> slowly(Answer<T> call) {
    if (latency_ > nanoseconds(0)) co_await runtime::sleep(*runtime::Shard::current(), latency_);
    auto result = co_await std::move(call);
    if (latency_ > nanoseconds(0)) co_await runtime::sleep(*runtime::Shard::current(), latency_);
    co_return result;
  }

  const std::unique_ptr<zkclient::Zk> inner_;
  const nanoseconds& latency_;
};

}  // namespace weir::broker
