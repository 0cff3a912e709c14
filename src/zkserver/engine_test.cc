#include "zkserver/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "metrics/registry.h"
#include "runtime/sim.h"
#include "zkserver/store.h"

namespace weir::zkserver {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using zkwire::Code;
using zkwire::OpCode;

const Acls open_to_all = {zkwire::Acl{zkwire::perm::all, {"world", "anyone"}}};

// A client without a socket: it keeps what it is sent.
class FakeLink : public Link {
 public:
  FakeLink(ConnId conn, runtime::Shard& owner) : Link(conn, owner, "127.0.0.1", 1234) {}
  void deliver(Delivery delivery) override {
    closed |= delivery.close;
    for (const auto& frame : delivery.frames) {
      bytes::Reader in(frame.view());
      in.i32();
      if (!connected) {
        connected = true;
        response = *zkwire::decode<zkwire::ConnectResponse>(in);
        const auto password = response.password.value_or(bytes::Bytes());
        token.assign(password.begin(), password.end());
        continue;
      }
      const auto header = *zkwire::decode<zkwire::ReplyHeader>(in);
      if (header.xid == zkwire::notification_xid) {
        const auto event = *zkwire::decode<zkwire::WatcherEvent>(in);
        got.push_back("event " + std::string(event.path));
      } else {
        got.push_back(std::to_string(header.xid) + " " + std::string(zkwire::name(header.err)));
      }
    }
  }
  std::vector<std::string> take() { return std::exchange(got, {}); }

  bool connected = false;
  bool closed = false;
  zkwire::ConnectResponse response;
  std::vector<std::byte> token;
  std::vector<std::string> got;
};

class EngineTest : public testing::Test {
 protected:
  EngineTest() {
    std::string name = testing::TempDir() + "weir-engine-XXXXXX";
    folder_ = mkdtemp(name.data());
    options_.tick = milliseconds(1000);
    start();
  }
  ~EngineTest() override {
    stop();
    std::filesystem::remove_all(folder_);
  }

  void start() {
    store_ = std::move(*Store::open(folder_ + "/db", options_.state_bytes_max));
    auto tree = std::make_unique<Tree>();
    ASSERT_TRUE(store_->load(*tree));
    engine_ =
        std::make_unique<Engine>(world_.shard(), world_.pool(), world_.random(), *store_, std::move(tree), options_);
    engine_->show_in(registry_);
    runtime::block_on(world_.shard(), [this]() -> runtime::Task<void> {
      engine_->start();
      co_return;
    });
  }
  void stop() {
    runtime::block_on(world_.shard(), [this] { return engine_->stop(); });
    engine_.reset();
    store_.reset();
  }

  void post(Op op) {
    world_.shard().post([this, kept = std::move(op)]() mutable { engine_->post(std::move(kept)); });
  }
  std::shared_ptr<FakeLink> link() { return std::make_shared<FakeLink>(++conns_, world_.shard()); }
  std::shared_ptr<FakeLink> connect(SessionId session = 0, std::vector<std::byte> password = {},
                                    milliseconds timeout = milliseconds(10'000)) {
    auto made = link();
    post(ConnectOp{made, 0, timeout, session, std::move(password), true});
    world_.settle();
    return made;
  }
  void request(const std::shared_ptr<FakeLink>& from, std::int32_t xid, OpCode type, const bytes::Shared& body) {
    RequestOp op;
    op.conn = from->id;
    op.header = {xid, type};
    op.body = body;
    op.came_at = nanoseconds(1);
    post(std::move(op));
  }
  void create(const std::shared_ptr<FakeLink>& from, std::int32_t xid, std::string_view path,
              std::string_view data = "", int flags = 0) {
    request(from, xid, OpCode::create,
            zkwire::encode(zkwire::CreateRequest{path, bytes::as_bytes(data), open_to_all, flags}));
  }
  void get(const std::shared_ptr<FakeLink>& from, std::int32_t xid, std::string_view path, bool watch = false) {
    request(from, xid, OpCode::get_data, zkwire::encode(zkwire::PathWatch{path, watch}));
  }
  void set(const std::shared_ptr<FakeLink>& from, std::int32_t xid, std::string_view path) {
    request(from, xid, OpCode::set_data, zkwire::encode(zkwire::SetDataRequest{path, bytes::as_bytes("v"), -1}));
  }

  runtime::SimWorld world_;
  std::string folder_;
  Options options_;
  metrics::Registry registry_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Engine> engine_;
  ConnId conns_ = 0;
};

TEST_F(EngineTest, RequestsThatWaitShareOneCommit) {
  world_.set_pool_latency(milliseconds(10));  // of each commit
  auto a = connect();
  world_.run_for(milliseconds(100));
  ASSERT_TRUE(a->connected);
  const auto before = engine_->numbers().commits;
  for (int i = 0; i < 200; ++i) create(a, i, "/n" + std::to_string(i));
  world_.run_for(seconds(1));
  EXPECT_EQ(a->take().size(), 200U);
  EXPECT_LE(engine_->numbers().commits - before, 2U);
}

TEST_F(EngineTest, NoAnswerLeavesBeforeItsCommit) {
  auto a = connect();
  world_.set_pool_latency(milliseconds(50));
  create(a, 1, "/a");
  get(a, 2, "/a");
  world_.run_for(milliseconds(40));
  EXPECT_THAT(a->take(), ElementsAre());
  world_.run_for(milliseconds(40));
  EXPECT_THAT(a->take(), ElementsAre("1 Ok", "2 Ok"));
}

TEST_F(EngineTest, ReadsNeedNoCommit) {
  auto a = connect();
  const auto before = engine_->numbers().commits;
  get(a, 1, "/");
  request(a, zkwire::ping_xid, OpCode::ping, {});
  world_.settle();
  EXPECT_THAT(a->take(), ElementsAre("1 Ok", "-2 Ok"));
  EXPECT_EQ(engine_->numbers().commits, before);
}

TEST_F(EngineTest, EventsComeBeforeAnswersThatShowTheChange) {
  auto a = connect();
  auto b = connect();
  create(a, 1, "/a");
  get(b, 1, "/a", true);
  set(a, 2, "/a");
  get(b, 2, "/a");
  world_.settle();
  EXPECT_THAT(b->take(), ElementsAre("1 Ok", "event /a", "2 Ok"));
}

struct FullDisk : EngineTest {
  FullDisk() {
    stop();
    options_.state_bytes_max = 300 * 1024;
    start();
  }
};

TEST_F(FullDisk, RefusesChangesAndGoesOnReading) {
  auto a = connect();
  auto b = connect();
  create(a, 1, "/small");
  get(b, 1, "/small", true);
  world_.settle();
  a->take();
  b->take();
  const auto zxid = engine_->tree().zxid();
  create(a, 2, "/big", std::string(600'000, 'x'));
  get(a, 3, "/big");
  set(a, 4, "/small");
  get(b, 2, "/small");
  world_.settle();
  // They were in one batch; none of its changes happened, and nobody is told that one did.
  EXPECT_THAT(a->take(), ElementsAre("2 SystemError", "3 NoNode", "4 SystemError"));
  EXPECT_THAT(b->take(), ElementsAre("2 Ok"));
  EXPECT_EQ(engine_->tree().zxid(), zxid);
  EXPECT_EQ(engine_->tree().find("/big"), nullptr);
  set(a, 5, "/small");
  world_.settle();
  EXPECT_THAT(a->take(), ElementsAre("5 Ok")) << "what fits is written again";
  EXPECT_THAT(b->take(), ElementsAre("event /small")) << "the watch is still there";
}

TEST_F(FullDisk, ASessionThatIsNotWrittenIsNotOpened) {
  auto a = connect();
  auto late = link();
  create(a, 1, "/big", std::string(600'000, 'x'));
  post(ConnectOp{late, 0, milliseconds(1000), 0, {}, true});
  world_.settle();
  EXPECT_FALSE(late->connected);
  EXPECT_TRUE(late->closed);
  EXPECT_EQ(engine_->tree().sessions().size(), 1U);
  EXPECT_TRUE(connect()->connected);
}

TEST_F(EngineTest, ASilentSessionExpiresAndATalkingOneDoesNot) {
  auto silent = connect(0, {}, milliseconds(2000));
  auto talking = connect(0, {}, milliseconds(2000));
  create(silent, 1, "/e", "", 1);
  world_.settle();
  for (int i = 0; i < 10; ++i) {
    request(talking, zkwire::ping_xid, OpCode::ping, {});
    world_.run_for(milliseconds(500));
  }
  EXPECT_TRUE(silent->closed);
  EXPECT_FALSE(talking->closed);
  EXPECT_EQ(engine_->tree().find("/e"), nullptr);
  EXPECT_EQ(engine_->numbers().expired_sessions, 1U);
}

TEST_F(EngineTest, ASessionMovesToAConnectionThatKnowsItsPassword) {
  auto old = connect();
  create(old, 1, "/e", "", 1);
  world_.settle();
  auto thief = connect(old->response.session_id, std::vector<std::byte>(16));
  EXPECT_EQ(thief->response.session_id, 0);
  EXPECT_TRUE(thief->closed);
  EXPECT_FALSE(old->closed);
  auto fresh = connect(old->response.session_id, old->token);
  EXPECT_EQ(fresh->response.session_id, old->response.session_id);
  EXPECT_TRUE(old->closed);
  old->take();
  create(old, 2, "/late");
  request(fresh, 1, OpCode::close_session, {});
  world_.settle();
  EXPECT_THAT(old->take(), ElementsAre());
  EXPECT_EQ(engine_->tree().find("/late"), nullptr);
  EXPECT_EQ(engine_->tree().find("/e"), nullptr);
  EXPECT_TRUE(fresh->closed);
}

TEST_F(EngineTest, SessionsSurviveARestartWithAFreshTimeout) {
  auto a = connect(0, {}, milliseconds(5000));
  create(a, 1, "/e", "", 1);
  world_.run_for(milliseconds(4000));
  const auto zxid = engine_->tree().zxid();
  stop();
  start();
  EXPECT_EQ(engine_->tree().zxid(), zxid);
  world_.run_for(milliseconds(4000));
  EXPECT_NE(engine_->tree().find("/e"), nullptr);
  auto again = connect(a->response.session_id, a->token);
  EXPECT_EQ(again->response.session_id, a->response.session_id);
  auto other = connect();
  EXPECT_GT(other->response.session_id, a->response.session_id) << "ids are not used twice";
}

TEST_F(EngineTest, ASupervisorEndsASession) {
  auto a = connect();
  create(a, 1, "/e", "", 1);
  world_.settle();
  const auto end = [this](SessionId id) {
    std::optional<Result<bool>> result;
    runtime::block_on(world_.shard(),
                      [&, id]() -> runtime::Task<void> { result = co_await engine_->end_session(id, false); });
    return result->value();
  };
  EXPECT_TRUE(end(a->response.session_id));
  EXPECT_EQ(engine_->tree().find("/e"), nullptr);
  EXPECT_FALSE(end(a->response.session_id));
  world_.settle();
  EXPECT_TRUE(a->closed);
}

TEST_F(EngineTest, AConnectionThatLeavesTakesItsWatches) {
  auto a = connect();
  get(a, 1, "/", true);
  world_.settle();
  EXPECT_EQ(engine_->tree().data_watches().watches(), 1U);
  post(LeaveOp{a->id});
  world_.settle();
  EXPECT_EQ(engine_->tree().data_watches().watches(), 0U);
  EXPECT_TRUE(engine_->clients().empty());
  EXPECT_NE(engine_->tree().session(a->response.session_id), nullptr);
}

TEST_F(EngineTest, ShowsItsNumbers) {
  auto a = connect();
  create(a, 1, "/a");
  get(a, 2, "/a", true);
  world_.settle();
  const auto text = registry_.text();
  for (const auto* line : {"weir_zk_requests_total 2\n", "weir_zk_changes_total 2\n", "weir_zk_nodes 5\n",
                           "weir_zk_sessions 1\n", "weir_zk_connections 1\n", "weir_zk_watches 1\n"}) {
    EXPECT_THAT(text, testing::HasSubstr(line));
  }
}

TEST_F(EngineTest, SaslIsRefused) {
  auto a = connect();
  request(a, 1, OpCode::sasl, zkwire::encode(zkwire::SaslToken{bytes::Bytes()}));
  world_.settle();
  EXPECT_THAT(a->take(), ElementsAre("1 AuthFailed"));
  EXPECT_TRUE(a->closed);
}

}  // namespace
}  // namespace weir::zkserver
