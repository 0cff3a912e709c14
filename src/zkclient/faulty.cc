#include "zkclient/faulty.h"

#include <utility>

#include "runtime/random.h"

namespace weir::zkclient {
namespace {

class Faulty final : public Zk {
 public:
  Faulty(Zk& inner, FaultRule rule) : inner_(inner), rule_(std::move(rule)) {}

  Task<ZkResult<std::string>> create(std::string path, std::string data, CreateMode mode, Acl acl) override {
    const auto at = fault("create", path);
    if (at == FaultAt::before) co_return lost(path);
    auto answer = co_await inner_.create(path, std::move(data), mode, acl);
    if (at == FaultAt::after) co_return lost(path);
    co_return answer;
  }
  Task<ZkResult<Data>> get(std::string path, Watch watch) override {
    const auto at = fault("get", path);
    if (at == FaultAt::before) co_return lost(path);
    auto answer = co_await inner_.get(path, std::move(watch));
    if (at == FaultAt::after) co_return lost(path);
    co_return answer;
  }
  Task<ZkResult<Stat>> set(std::string path, std::string data, std::int32_t version) override {
    const auto at = fault("set", path);
    if (at == FaultAt::before) co_return lost(path);
    auto answer = co_await inner_.set(path, std::move(data), version);
    if (at == FaultAt::after) co_return lost(path);
    co_return answer;
  }
  Task<ZkResult<>> remove(std::string path, std::int32_t version) override {
    const auto at = fault("remove", path);
    if (at == FaultAt::before) co_return lost(path);
    auto answer = co_await inner_.remove(path, version);
    if (at == FaultAt::after) co_return lost(path);
    co_return answer;
  }
  Task<ZkResult<std::vector<std::string>>> children(std::string path, Watch watch) override {
    const auto at = fault("children", path);
    if (at == FaultAt::before) co_return lost(path);
    auto answer = co_await inner_.children(path, std::move(watch));
    if (at == FaultAt::after) co_return lost(path);
    co_return answer;
  }
  Task<ZkResult<std::optional<Stat>>> exists(std::string path, Watch watch) override {
    const auto at = fault("exists", path);
    if (at == FaultAt::before) co_return lost(path);
    auto answer = co_await inner_.exists(path, std::move(watch));
    if (at == FaultAt::after) co_return lost(path);
    co_return answer;
  }
  Task<ZkResult<std::vector<OpResult>>> multi(std::vector<Op> ops) override {
    std::string path;
    for (const auto& op : ops) {
      if (op.kind != Op::Kind::check) {
        path = op.path;
        break;
      }
    }
    const auto at = fault("multi", path);
    if (at == FaultAt::before) co_return lost(path);
    auto answer = co_await inner_.multi(std::move(ops));
    if (at == FaultAt::after) co_return lost(path);
    co_return answer;
  }
  Task<ZkResult<>> sync(std::string path) override {
    const auto at = fault("sync", path);
    if (at == FaultAt::before) co_return lost(path);
    auto answer = co_await inner_.sync(path);
    if (at == FaultAt::after) co_return lost(path);
    co_return answer;
  }

  std::int64_t session_id() const override { return inner_.session_id(); }
  std::string session_key() const override { return inner_.session_key(); }
  State state() const override { return inner_.state(); }
  milliseconds session_timeout() const override { return inner_.session_timeout(); }
  void listen(Watch watcher) override { inner_.listen(std::move(watcher)); }
  Task<bool> wait_connected(nanoseconds timeout) override { return inner_.wait_connected(timeout); }
  Task<void> close() override { return inner_.close(); }

 private:
  FaultAt fault(std::string_view kind, std::string_view path) { return rule_(FaultyCall{kind, path, number_++}); }
  static std::unexpected<ZkError> lost(std::string path) { return zk_fail(ZkCode::connection_loss, std::move(path)); }

  Zk& inner_;
  FaultRule rule_;
  std::uint64_t number_ = 0;
};

}  // namespace

std::unique_ptr<Zk> make_faulty(Zk& inner, FaultRule rule) { return std::make_unique<Faulty>(inner, std::move(rule)); }

FaultRule fail_nth(std::uint64_t n, FaultAt at) {
  return [n, at](const FaultyCall& call) { return call.number == n ? at : FaultAt::none; };
}

FaultRule fail_by_seed(std::uint64_t seed, unsigned per_mille) {
  return [random = runtime::seeded_random(seed), per_mille](const FaultyCall&) {
    if (random->below(1000) >= per_mille) return FaultAt::none;
    return random->below(2) == 0 ? FaultAt::before : FaultAt::after;
  };
}

}  // namespace weir::zkclient
