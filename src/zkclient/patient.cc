#include "zkclient/patient.h"

#include <algorithm>
#include <utility>

#include "runtime/shard.h"

namespace weir::zkclient {
namespace {

class Patient final : public Zk {
 public:
  Patient(Zk& inner, nanoseconds give_up) : inner_(inner), give_up_(give_up) {}

  Task<ZkResult<std::string>> create(std::string path, std::string data, CreateMode mode, Acl acl) override {
    for (int tries = 0;; ++tries) {
      auto answer = co_await inner_.create(path, data, mode, acl);
      if (answer) co_return answer;
      if (ambiguous(answer.error().code)) {
        if (!co_await again(tries)) co_return answer;
        continue;
      }
      if (tries == 0 || answer.error().code != ZkCode::node_exists) co_return answer;
      auto made = co_await made_by_us(path, data, mode == CreateMode::ephemeral);
      if (!made) co_return std::unexpected(made.error());
      if (!*made) co_return answer;
      co_return path;
    }
  }

  Task<ZkResult<Data>> get(std::string path, Watch watch) override {
    for (int tries = 0;; ++tries) {
      auto answer = co_await inner_.get(path, watch);
      if (answer || !ambiguous(answer.error().code) || !co_await again(tries)) co_return answer;
    }
  }

  Task<ZkResult<Stat>> set(std::string path, std::string data, std::int32_t version) override {
    for (int tries = 0;; ++tries) {
      auto answer = co_await inner_.set(path, data, version);
      if (answer) co_return answer;
      if (ambiguous(answer.error().code)) {
        if (!co_await again(tries)) co_return answer;
        continue;
      }
      if (tries == 0 || answer.error().code != ZkCode::bad_version) co_return answer;
      auto stat = co_await set_by_us(path, data, version);
      if (!stat) co_return std::unexpected(stat.error());
      if (!*stat) co_return answer;
      co_return **stat;
    }
  }

  Task<ZkResult<>> remove(std::string path, std::int32_t version) override {
    for (int tries = 0;; ++tries) {
      auto answer = co_await inner_.remove(path, version);
      if (answer) co_return answer;
      if (ambiguous(answer.error().code)) {
        if (!co_await again(tries)) co_return answer;
        continue;
      }
      if (tries > 0 && answer.error().code == ZkCode::no_node) co_return ZkResult<>();
      co_return answer;
    }
  }

  Task<ZkResult<std::vector<std::string>>> children(std::string path, Watch watch) override {
    for (int tries = 0;; ++tries) {
      auto answer = co_await inner_.children(path, watch);
      if (answer || !ambiguous(answer.error().code) || !co_await again(tries)) co_return answer;
    }
  }

  Task<ZkResult<std::optional<Stat>>> exists(std::string path, Watch watch) override {
    for (int tries = 0;; ++tries) {
      auto answer = co_await inner_.exists(path, watch);
      if (answer || !ambiguous(answer.error().code) || !co_await again(tries)) co_return answer;
    }
  }

  Task<ZkResult<std::vector<OpResult>>> multi(std::vector<Op> ops) override {
    for (int tries = 0;; ++tries) {
      auto answer = co_await inner_.multi(ops);
      if (answer) co_return answer;
      const auto code = answer.error().code;
      if (ambiguous(code)) {
        if (!co_await again(tries)) co_return answer;
        continue;
      }
      if (tries == 0 || code == ZkCode::session_expired || code == ZkCode::closed) co_return answer;
      auto done = co_await multi_by_us(ops);
      if (!done) co_return std::unexpected(done.error());
      if (!*done) co_return answer;
      co_return std::move(**done);
    }
  }

  Task<ZkResult<>> sync(std::string path) override {
    for (int tries = 0;; ++tries) {
      auto answer = co_await inner_.sync(path);
      if (answer || !ambiguous(answer.error().code) || !co_await again(tries)) co_return answer;
    }
  }

  std::int64_t session_id() const override { return inner_.session_id(); }
  std::string session_key() const override { return inner_.session_key(); }
  State state() const override { return inner_.state(); }
  milliseconds session_timeout() const override { return inner_.session_timeout(); }
  void listen(Watch watcher) override { inner_.listen(std::move(watcher)); }
  Task<bool> wait_connected(nanoseconds timeout) override { return inner_.wait_connected(timeout); }
  Task<void> close() override { return inner_.close(); }

 private:
  // Waits for the connection; the first try goes at once, later ones wait a little longer each time, for the
  // library may say "connected" before it says that it no longer is.
  Task<bool> again(int tries) {
    if (tries > 0) {
      const auto wait = std::min(milliseconds(10) * tries, milliseconds(500));
      co_await runtime::sleep(*runtime::Shard::current(), wait);
    }
    co_return co_await inner_.wait_connected(give_up_);
  }

  Task<ZkResult<bool>> made_by_us(std::string path, std::string data, bool ephemeral) {
    auto there = co_await get(path, Watch{});
    if (!there) {
      if (there.error().code == ZkCode::no_node) co_return false;
      co_return std::unexpected(there.error());
    }
    if (ephemeral) co_return there->stat.ephemeral_owner == session_id();
    co_return there->stat.ephemeral_owner == 0 && there->data == data;
  }

  Task<ZkResult<std::optional<Stat>>> set_by_us(std::string path, std::string data, std::int32_t version) {
    auto there = co_await get(path, Watch{});
    if (!there) {
      if (there.error().code == ZkCode::no_node) co_return std::optional<Stat>();
      co_return std::unexpected(there.error());
    }
    if (there->data == data && (version == any_version || there->stat.version == version + 1)) {
      co_return std::optional<Stat>(there->stat);
    }
    co_return std::optional<Stat>();
  }

  // Whether every part stands as it would after success; then the results as they would have been.
  Task<ZkResult<std::optional<std::vector<OpResult>>>> multi_by_us(std::vector<Op> ops) {
    using Found = std::optional<std::vector<OpResult>>;
    std::vector<OpResult> results(ops.size());
    bool any = false;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      const Op& op = ops[i];
      if (op.kind == Op::Kind::check) continue;
      any = true;
      if (op.kind == Op::Kind::create) {
        auto made = co_await made_by_us(op.path, op.data, op.mode == CreateMode::ephemeral);
        if (!made) co_return std::unexpected(made.error());
        if (!*made) co_return Found();
        results[i].path = op.path;
      } else if (op.kind == Op::Kind::set) {
        auto stat = co_await set_by_us(op.path, op.data, op.version);
        if (!stat) co_return std::unexpected(stat.error());
        if (!*stat) co_return Found();
        results[i].stat = **stat;
      } else {
        auto there = co_await exists(op.path, Watch{});
        if (!there) co_return std::unexpected(there.error());
        if (*there) co_return Found();
      }
    }
    if (!any) co_return Found();
    co_return Found(std::move(results));
  }

  Zk& inner_;
  nanoseconds give_up_;
};

}  // namespace

std::unique_ptr<Zk> make_patient(Zk& inner, nanoseconds give_up) { return std::make_unique<Patient>(inner, give_up); }

}  // namespace weir::zkclient
