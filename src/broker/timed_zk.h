// Measures the coordination service as this broker sees it: how long calls take, and what becomes of the session.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "metrics/registry.h"
#include "runtime/clock.h"
#include "zkclient/zk.h"

namespace weir::broker {

class TimedZk final : public zkclient::Zk {
 public:
  template <class T>
  using Answer = runtime::Task<zkclient::ZkResult<T>>;

  TimedZk(std::unique_ptr<zkclient::Zk> inner, runtime::Clock& clock, metrics::Registry& registry);

  Answer<std::string> create(std::string path, std::string data, zkclient::CreateMode mode,
                             zkclient::Acl acl) override {
    return timed<std::string>(*create_, inner_->create(std::move(path), std::move(data), mode, acl));
  }
  Answer<zkclient::Data> get(std::string path, zkclient::Watch watch) override {
    return timed<zkclient::Data>(*get_, inner_->get(std::move(path), std::move(watch)));
  }
  Answer<zkclient::Stat> set(std::string path, std::string data, std::int32_t version) override {
    return timed<zkclient::Stat>(*set_, inner_->set(std::move(path), std::move(data), version));
  }
  Answer<void> remove(std::string path, std::int32_t version) override {
    return timed<void>(*remove_, inner_->remove(std::move(path), version));
  }
  Answer<std::vector<std::string>> children(std::string path, zkclient::Watch watch) override {
    return timed<std::vector<std::string>>(*children_, inner_->children(std::move(path), std::move(watch)));
  }
  Answer<std::optional<zkclient::Stat>> exists(std::string path, zkclient::Watch watch) override {
    return timed<std::optional<zkclient::Stat>>(*exists_, inner_->exists(std::move(path), std::move(watch)));
  }
  Answer<std::vector<zkclient::OpResult>> multi(std::vector<zkclient::Op> ops) override {
    return timed<std::vector<zkclient::OpResult>>(*multi_, inner_->multi(std::move(ops)));
  }
  Answer<void> sync(std::string path) override { return timed<void>(*sync_, inner_->sync(std::move(path))); }

  std::int64_t session_id() const override { return inner_->session_id(); }
  std::string session_key() const override { return inner_->session_key(); }
  zkclient::State state() const override { return inner_->state(); }
  milliseconds session_timeout() const override { return inner_->session_timeout(); }
  void listen(zkclient::Watch watcher) override { inner_->listen(std::move(watcher)); }
  runtime::Task<bool> wait_connected(nanoseconds timeout) override { return inner_->wait_connected(timeout); }
  runtime::Task<void> close() override { return inner_->close(); }

 private:
  struct Events;
  template <class T>
  Answer<T> timed(metrics::Histogram& histogram, Answer<T> call) {
    const auto began = clock_.mono();
    auto result = co_await std::move(call);
    histogram.observe(clock_.mono() - began);
    co_return result;
  }

  const std::unique_ptr<zkclient::Zk> inner_;
  runtime::Clock& clock_;
  std::shared_ptr<Events> events_;
  using Histogram = std::shared_ptr<metrics::Histogram>;
  Histogram create_, get_, set_, remove_, children_, exists_, multi_, sync_;
};

}  // namespace weir::broker
