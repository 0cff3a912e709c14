// What our own client does when the server goes, lies, or is silent: a server played by the test, on simulated time.
// (That it keeps the contract of Zk is in zk_test.cc; that it gets on with Apache ZooKeeper, in tests/zookeeper.)
#include "zkclient/native.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>

#include "net/connection.h"
#include "runtime/sim.h"
#include "zkclient/native_session.h"
#include "zkwire/messages.h"

namespace weir::zkclient {
namespace {

using namespace std::chrono_literals;
using runtime::Shard;
using zkwire::Code;
using zkwire::OpCode;

class Recorder : public Watcher {
 public:
  void on_watch(const WatchEvent& event) override { watches.push_back(event); }
  void on_session(SessionEvent event) override { sessions.push_back(event); }
  std::vector<WatchEvent> watches;
  std::vector<SessionEvent> sessions;
};

struct Asked {
  zkwire::RequestHeader header;
  net::Frame frame;
  bytes::Bytes body;
};

// The server's side of a connection.
class Peer {
 public:
  explicit Peer(std::shared_ptr<net::Connection> connection) : connection_(std::move(connection)) {}

  Task<zkwire::ConnectRequest> hello() {
    auto frame = co_await connection_->read_frame();
    EXPECT_TRUE(frame.has_value());
    hello_ = std::move(*frame);
    co_return *zkwire::decode<zkwire::ConnectRequest>(hello_.bytes.view());
  }
  void welcome(std::int64_t session, std::int32_t timeout_ms = 6000, bool read_only = false) {
    const std::string password(16, 'p');
    zkwire::ConnectResponse said;
    said.timeout_ms = timeout_ms;
    said.session_id = session;
    said.password = bytes::as_bytes(password);
    connection_->send(zkwire::encode_frame(said, zkwire::ReadOnly{read_only}));
  }
  // The next request that is no ping; nothing at the end.
  Task<std::optional<Asked>> next() {
    for (;;) {
      auto frame = co_await connection_->read_frame();
      if (!frame) co_return std::nullopt;
      Asked out;
      bytes::Reader in(frame->bytes.view());
      out.header = *zkwire::decode<zkwire::RequestHeader>(in);
      out.body = in.rest();
      out.frame = std::move(*frame);
      if (out.header.type != OpCode::ping) co_return std::move(out);
      ++pings;
      if (answers_pings) reply(zkwire::ping_xid, 0, Code::ok);
    }
  }
  template <class... T>
  void reply(std::int32_t xid, std::int64_t zxid, Code err, const T&... body) {
    connection_->send(zkwire::encode_frame(zkwire::ReplyHeader{xid, zxid, err}, body...));
  }
  void notify(zkwire::EventType type, std::string_view path) {
    zkwire::WatcherEvent event;
    event.type = type;
    event.path = path;
    reply(zkwire::notification_xid, -1, Code::ok, event);
  }
  void send(bytes::Shared raw) { connection_->send(std::move(raw)); }
  Task<void> leave() {
    connection_->close();
    co_await connection_->finish();
  }

  int pings = 0;
  bool answers_pings = true;

 private:
  std::shared_ptr<net::Connection> connection_;
  net::Frame hello_;
};

class NativeTest : public testing::Test {
 protected:
  NativeTest() : world_(1) {}

  // `body` with a listening server; it ends the session itself.
  void with(std::function<Task<void>()> body) {
    runtime::block_on(world_.shard(0), [&]() -> Task<void> {
      runtime::Address any{"127.0.0.1", 0};
      listener_ = std::move(*world_.sockets().listen(world_.shard(0), any, {}));
      scope_.emplace(world_.shard(0));
      auto running = body();
      co_await std::move(running);
      co_await scope_->stop();
      listener_->close();
    });
  }
  std::unique_ptr<Zk> open(RealOptions options = {}) {
    options.connect = listener_->local().text() + "/root";
    options.session_timeout = 6s;
    options.sockets = &world_.sockets();
    auto made = connect_native(std::move(options));
    EXPECT_TRUE(made.has_value());
    return std::move(*made);
  }
  Task<Peer> meet() {
    auto socket = co_await listener_->accept(world_.shard(0));
    EXPECT_TRUE(socket.has_value());
    co_return Peer(net::Connection::make(world_.shard(0), net::plain_transport(std::move(*socket)), {}, 1, "fake"));
  }
  // Answers the goodbye, so that a close() that runs beside it ends.
  Task<void> see_off(Zk& zk, Peer& peer) {
    scope_->spawn(zk.close());
    while (auto asked = co_await peer.next()) {
      if (asked->header.type != OpCode::close_session) continue;
      peer.reply(asked->header.xid, 100, Code::ok);
      break;
    }
    co_await peer.leave();
    co_await scope_->stop();
  }
  // Starts a call and remembers how it ended.
  template <class T>
  void start(Task<ZkResult<T>> call, std::optional<ZkResult<T>>& to) {
    scope_->spawn(keep(std::move(call), to));
  }
  template <class T>
  static Task<void> keep(Task<ZkResult<T>> call, std::optional<ZkResult<T>>& to) {
    to.emplace(co_await std::move(call));
  }
  Shard& shard() { return world_.shard(0); }

  runtime::SimWorld world_;
  std::unique_ptr<runtime::Listener> listener_;
  std::optional<runtime::Scope> scope_;
};

TEST_F(NativeTest, WhatIsWatchedIsSetAgainFromTheLastZxidSeen) {
  with([this]() -> Task<void> {
    auto zk = open();
    auto recorder = std::make_shared<Recorder>();
    zk->listen(recorder);
    auto peer = co_await meet();
    const auto first = co_await peer.hello();
    EXPECT_EQ(first.session_id, 0);
    EXPECT_EQ(first.timeout_ms, 6000);
    peer.welcome(7);
    EXPECT_TRUE(co_await zk->wait_connected(1s));
    EXPECT_EQ(zk->session_id(), 7);

    std::optional<ZkResult<Data>> got;
    std::optional<ZkResult<std::vector<std::string>>> names;
    std::optional<ZkResult<std::optional<Stat>>> found;
    std::optional<ZkResult<Data>> lost;
    start(zk->get("/a", recorder), got);
    start(zk->children("/a", recorder), names);
    start(zk->exists("/b", recorder), found);
    start(zk->get("/c", recorder), lost);
    auto asked = co_await peer.next();
    EXPECT_EQ(asked->header.type, OpCode::get_data);
    EXPECT_EQ(zkwire::decode<zkwire::PathWatch>(asked->body)->path, "/root/a");
    EXPECT_TRUE(zkwire::decode<zkwire::PathWatch>(asked->body)->watch);
    peer.reply(asked->header.xid, 41, Code::ok, zkwire::GetDataResponse{});
    asked = co_await peer.next();
    EXPECT_EQ(asked->header.type, OpCode::get_children);
    peer.reply(asked->header.xid, 42, Code::ok, zkwire::PathsResponse{{"x"}});
    asked = co_await peer.next();
    EXPECT_EQ(asked->header.type, OpCode::exists);
    peer.reply(asked->header.xid, 40, Code::no_node);
    asked = co_await peer.next();
    co_await peer.leave();  // without an answer to the last

    auto again = co_await meet();
    const auto second = co_await again.hello();
    EXPECT_EQ(second.session_id, 7);
    EXPECT_EQ(second.last_zxid_seen, 42);
    EXPECT_EQ(bytes::as_text(*second.password), std::string(16, 'p'));
    EXPECT_TRUE(got && got->has_value());
    EXPECT_TRUE(names && **names == std::vector<std::string>{"x"});
    EXPECT_TRUE(found && found->has_value() && !(**found).has_value());
    EXPECT_TRUE(lost && lost->error() == (ZkError{ZkCode::connection_loss, "/c"}));
    std::optional<ZkResult<>> synced;
    start(zk->sync("/"), synced);  // waits for the connection
    again.welcome(7);
    asked = co_await again.next();
    EXPECT_EQ(asked->header.type, OpCode::set_watches);
    const auto watches = zkwire::decode<zkwire::SetWatches>(asked->body);
    EXPECT_EQ(watches->relative_zxid, 42);
    EXPECT_EQ(watches->data, std::vector<std::string_view>{"/root/a"});
    EXPECT_EQ(watches->exist, std::vector<std::string_view>{"/root/b"});
    EXPECT_EQ(watches->child, std::vector<std::string_view>{"/root/a"});
    again.reply(zkwire::set_watches_xid, 50, Code::ok);
    again.notify(zkwire::EventType::node_created, "/root/b");
    again.notify(zkwire::EventType::node_created, "/root/b");  // a watch tells once
    asked = co_await again.next();
    EXPECT_EQ(asked->header.type, OpCode::sync);
    again.reply(asked->header.xid, 51, Code::ok, zkwire::PathOnly{"/root"});
    co_await see_off(*zk, again);
    EXPECT_TRUE(synced && synced->has_value());
    EXPECT_EQ(recorder->watches.size(), 1U);
    EXPECT_TRUE(recorder->watches[0].type == WatchEvent::Type::created && recorder->watches[0].path == "/b");
    EXPECT_EQ(recorder->sessions, (std::vector<SessionEvent>{SessionEvent::connected, SessionEvent::disconnected,
                                                             SessionEvent::connected}));
  });
}

TEST_F(NativeTest, AnExpiredSessionIsToldAndAnotherBegins) {
  with([this]() -> Task<void> {
    auto zk = open();
    auto recorder = std::make_shared<Recorder>();
    zk->listen(recorder);
    auto peer = co_await meet();
    (void)co_await peer.hello();
    peer.welcome(7);
    EXPECT_TRUE(co_await zk->wait_connected(1s));
    std::optional<ZkResult<Data>> got;
    start(zk->get("/a", recorder), got);
    auto asked = co_await peer.next();
    peer.reply(asked->header.xid, 41, Code::ok, zkwire::GetDataResponse{});
    co_await peer.leave();

    auto again = co_await meet();
    EXPECT_EQ((co_await again.hello()).session_id, 7);
    std::optional<ZkResult<Data>> waits;
    start(zk->get("/a"), waits);
    again.welcome(0, 0);
    co_await again.leave();

    auto third = co_await meet();
    const auto hello = co_await third.hello();
    EXPECT_EQ(hello.session_id, 0);
    EXPECT_EQ(hello.last_zxid_seen, 0);
    EXPECT_TRUE(waits && waits->error().code == ZkCode::session_expired);
    third.welcome(8);
    EXPECT_TRUE(co_await zk->wait_connected(1s));
    EXPECT_EQ(zk->session_id(), 8);
    // What was watched is forgotten: the first request is the caller's.
    std::optional<ZkResult<>> synced;
    start(zk->sync("/"), synced);
    asked = co_await third.next();
    EXPECT_EQ(asked->header.type, OpCode::sync);
    third.reply(asked->header.xid, 60, Code::ok, zkwire::PathOnly{"/root"});
    co_await see_off(*zk, third);
    EXPECT_EQ(recorder->sessions, (std::vector<SessionEvent>{SessionEvent::connected, SessionEvent::disconnected,
                                                             SessionEvent::expired, SessionEvent::connected}));
  });
}

TEST_F(NativeTest, AReadOnlyServerIsLeft) {
  with([this]() -> Task<void> {
    auto zk = open();
    auto peer = co_await meet();
    (void)co_await peer.hello();
    peer.welcome(7, 6000, true);
    EXPECT_FALSE((co_await peer.next()).has_value());
    co_await peer.leave();
    EXPECT_EQ(zk->state(), State::connecting);
    auto again = co_await meet();
    EXPECT_EQ((co_await again.hello()).session_id, 0);
    again.welcome(8);
    EXPECT_TRUE(co_await zk->wait_connected(1s));
    co_await see_off(*zk, again);
  });
}

TEST_F(NativeTest, ASilentServerIsLeftAfterTwoThirdsOfTheSession) {
  with([this]() -> Task<void> {
    auto zk = open();
    auto peer = co_await meet();
    (void)co_await peer.hello();
    peer.welcome(7);
    EXPECT_TRUE(co_await zk->wait_connected(1s));
    // While it answers pings, a minute of nothing else is fine.
    runtime::Waiter end(shard());
    auto quiet = [&]() -> Task<void> {
      co_await runtime::sleep(shard(), 60s);
      EXPECT_EQ(zk->state(), State::connected);
      EXPECT_GE(peer.pings, 25);
      peer.answers_pings = false;
    };
    scope_->spawn(quiet());
    const auto begun = shard().clock().mono();
    EXPECT_FALSE((co_await peer.next()).has_value());
    const auto lived = shard().clock().mono() - begun;
    EXPECT_GE(lived, 60s + 1s);
    EXPECT_LE(lived, 60s + 7s);
    co_await peer.leave();
    co_await zk->close();
  });
}

TEST_F(NativeTest, AServerThatNeverAnswersTheHelloIsLeft) {
  with([this]() -> Task<void> {
    auto zk = open();
    auto peer = co_await meet();
    (void)co_await peer.hello();
    std::optional<ZkResult<Data>> got;
    start(zk->get("/a"), got);
    EXPECT_FALSE((co_await peer.next()).has_value());
    co_await peer.leave();
    auto again = co_await meet();
    EXPECT_TRUE(got && got->error().code == ZkCode::connection_loss);
    co_await again.leave();
    co_await zk->close();
  });
}

TEST_F(NativeTest, WhatCannotBeReadEndsTheConnectionAndNoMore) {
  with([this]() -> Task<void> {
    auto chance = runtime::seeded_random(1);
    auto zk = open();
    for (int round = 0; round < 60; ++round) {
      auto peer = co_await meet();
      (void)co_await peer.hello();
      std::string bytes(chance->below(80), '\0');
      chance->fill(std::as_writable_bytes(std::span(bytes.data(), bytes.size())));
      auto frame = bytes::Shared::allocate(4 + bytes.size());
      bytes::Writer out(frame.mutable_view());
      out.i32(round % 7 == 0 ? -5 : static_cast<std::int32_t>(bytes.size()));
      out.put(std::string_view(bytes));
      std::optional<ZkResult<std::vector<OpResult>>> made;
      if (round % 2 == 1) {
        peer.welcome(7);
        EXPECT_TRUE(co_await zk->wait_connected(1s));
        if (round % 4 == 1) {
          std::vector<Op> ops{Op::create("/x", "y"), Op::set("/x", "z")};
          start(zk->multi(std::move(ops)), made);
          auto asked = co_await peer.next();
          // A true header before nonsense.
          zkwire::ReplyHeader header{asked->header.xid, 1, Code::ok};
          auto head = zkwire::encode(header);
          frame = bytes::Shared::allocate(4 + head.size() + bytes.size());
          bytes::Writer w(frame.mutable_view());
          w.i32(static_cast<std::int32_t>(head.size() + bytes.size()));
          w.put(head.view());
          w.put(std::string_view(bytes));
        }
      }
      peer.send(std::move(frame));
      co_await runtime::sleep(shard(), 10ms);
      co_await peer.leave();
      co_await runtime::sleep(shard(), 10ms);
      if (round % 4 == 1) EXPECT_TRUE(made && !made->has_value());
    }
    co_await zk->close();
  });
}

TEST_F(NativeTest, AServerThatDoesNotKnowThePasswordItselfIsNotBelieved) {
  with([this]() -> Task<void> {
    RealOptions options;
    auto security = std::make_shared<Security>();
    security->sasl_username = "kafka";
    security->sasl_password = "secret";
    options.security = security;
    auto zk = open(std::move(options));
    auto peer = co_await meet();
    (void)co_await peer.hello();
    peer.welcome(7);
    std::optional<ZkResult<Data>> got;
    start(zk->get("/a"), got);
    auto asked = co_await peer.next();
    EXPECT_EQ(asked->header.type, OpCode::sasl);
    const std::string challenge = R"(realm="zk-sasl-md5",nonce="abc",charset=utf-8,algorithm=md5-sess)";
    peer.reply(asked->header.xid, 0, Code::ok, zkwire::SaslToken{bytes::as_bytes(challenge)});
    asked = co_await peer.next();
    const auto token = zkwire::decode<zkwire::SaslToken>(asked->body);
    EXPECT_NE(bytes::as_text(*token->token).find("username=\"kafka\""), std::string_view::npos);
    EXPECT_EQ(bytes::as_text(*token->token).find("secret"), std::string_view::npos);
    const std::string proof = "rspauth=0123456789abcdef0123456789abcdef";
    peer.reply(asked->header.xid, 0, Code::ok, zkwire::SaslToken{bytes::as_bytes(proof)});
    EXPECT_FALSE((co_await peer.next()).has_value());
    co_await peer.leave();
    EXPECT_EQ(zk->state(), State::auth_failed);
    EXPECT_FALSE(co_await zk->wait_connected(1s));
    co_await runtime::sleep(shard(), 10ms);
    EXPECT_TRUE(got && got->error().code == ZkCode::auth_failed);
    EXPECT_EQ((co_await zk->get("/a")).error().code, ZkCode::auth_failed);
    co_await zk->close();
  });
}

TEST_F(NativeTest, CredentialsThatWereTakenBeforeAreShownToTheNextServer) {
  with([this]() -> Task<void> {
    RealOptions options;
    options.auth_scheme = "digest";
    options.auth_credential = "kafka:secret";
    auto zk = open(std::move(options));
    for (int round = 0; round < 3; ++round) {
      auto peer = co_await meet();
      EXPECT_EQ((co_await peer.hello()).session_id, round == 0 ? 0 : 7);
      peer.welcome(7);
      auto asked = co_await peer.next();
      EXPECT_EQ(asked->header.type, OpCode::auth);
      const auto auth = zkwire::decode<zkwire::AuthPacket>(asked->body);
      EXPECT_EQ(auth->scheme, "digest");
      EXPECT_EQ(bytes::as_text(*auth->auth), "kafka:secret");
      peer.reply(zkwire::auth_xid, 0, round == 1 ? Code::auth_failed : Code::ok);
      if (round == 2) {
        EXPECT_TRUE(co_await zk->wait_connected(1s));
        co_await see_off(*zk, peer);
        co_return;
      }
      if (round == 1) EXPECT_FALSE((co_await peer.next()).has_value());
      co_await runtime::sleep(shard(), 10ms);
      co_await peer.leave();
    }
  });
}

TEST_F(NativeTest, NodesAreMadeWithTheAclOfTheirPath) {
  with([this]() -> Task<void> {
    RealOptions options;
    options.acl_of = [](std::string_view path) { return path == "/secret" ? Acl::creator : Acl::creator_all_read; };
    auto zk = open(std::move(options));
    auto peer = co_await meet();
    (void)co_await peer.hello();
    peer.welcome(7);
    EXPECT_TRUE(co_await zk->wait_connected(1s));
    std::optional<ZkResult<std::string>> made;
    start(zk->create("/secret", ""), made);
    auto asked = co_await peer.next();
    const zkwire::Acl creator{zkwire::perm::all, {"auth", ""}};
    const zkwire::Acl anyone_reads{zkwire::perm::read, {"world", "anyone"}};
    EXPECT_EQ(zkwire::decode<zkwire::CreateRequest>(asked->body)->acl, std::vector{creator});
    peer.reply(asked->header.xid, 1, Code::ok, zkwire::CreateResponse{"/root/secret"});
    std::optional<ZkResult<std::vector<OpResult>>> all;
    std::vector<Op> ops{Op::create("/plain", "x")};
    start(zk->multi(std::move(ops)), all);
    asked = co_await peer.next();
    const auto parts = zkwire::decode_multi(asked->body);
    EXPECT_EQ(std::get<zkwire::CreateRequest>(parts->at(0).request).acl, (std::vector{creator, anyone_reads}));
    peer.reply(asked->header.xid, 2, Code::ok);
    co_await see_off(*zk, peer);
    EXPECT_TRUE(made && **made == "/secret");
    EXPECT_FALSE(all->has_value());  // an answer without parts is none
  });
}

TEST(ConnectStringTest, IsServersAndAChroot) {
  const auto good = parse_connect_string("a:1, b ,[::1]:3/x/y/");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->chroot, "/x/y");
  EXPECT_EQ(good->servers, (std::vector<runtime::Address>{{"a", 1}, {"b", 2181}, {"::1", 3}}));
  for (std::string_view bad : {"", ",", "/x", "a:0", "a:x", "a:70000", ":1", "a//b"}) {
    EXPECT_FALSE(parse_connect_string(bad)) << bad;
  }
}

TEST(SessionKeyTest, ReadsWhatItWrites) {
  SessionKey key;
  key.id = -3;
  key.password.fill(std::byte{0xa5});
  EXPECT_EQ(SessionKey::parse(key.text())->id, -3);
  EXPECT_EQ(SessionKey::parse(key.text())->text(), key.text());
  for (std::string_view bad : {"", ":", "0:00", "7:zz", "x:00112233445566778899aabbccddeeff"}) {
    EXPECT_FALSE(SessionKey::parse(bad)) << bad;
  }
}

}  // namespace
}  // namespace weir::zkclient
