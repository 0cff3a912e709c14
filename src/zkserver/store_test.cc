#include "zkserver/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace weir::zkserver {
namespace {

using testing::HasSubstr;

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    std::string name = testing::TempDir() + "weir-store-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~StoreTest() override { std::filesystem::remove_all(folder_); }
  std::string path() const { return folder_ + "/coordination.db"; }

  std::unique_ptr<Store> open(std::uint64_t bytes_max = 0) {
    auto store = Store::open(path(), bytes_max);
    EXPECT_TRUE(store) << store.error().message;
    return std::move(*store);
  }

  std::string folder_;
};

NodeState node(std::string_view data, Zxid zxid) {
  NodeState state;
  state.data = bytes::Shared::copy(data);
  state.acl = std::make_shared<const Acls>(Acls{{31, {"digest", "me:hash"}}, {1, {"world", "anyone"}}});
  state.czxid = zxid;
  state.mzxid = zxid + 1;
  state.pzxid = zxid + 2;
  state.ctime = 1'700'000'000'000;
  state.mtime = 1'700'000'000'001;
  state.version = 3;
  state.cversion = 4;
  state.aversion = -5;
  return state;
}

Changes put(std::string path, NodeState state, Zxid zxid) {
  Changes changes;
  changes.zxid = zxid;
  changes.nodes.push_back({std::move(path), Changes::NodeChange::Kind::put, std::move(state)});
  return changes;
}

TEST_F(StoreTest, GivesBackWhatItWasGiven) {
  const SessionId session = 0x0123456789abcd;
  {
    auto store = open();
    auto changes = put("/a", node("data\0with zero", 10), 12);
    auto null = node("", 20);
    null.null_data = true;
    null.owner = session;
    changes.nodes.push_back({"/a/null", Changes::NodeChange::Kind::put, null});
    changes.nodes.push_back({"/a/empty", Changes::NodeChange::Kind::put, node("", 21)});
    SessionState state{session, milliseconds(6000), {}};
    state.password[15] = std::byte{7};
    changes.sessions.push_back({state, false});
    ASSERT_TRUE(store->commit(changes));
  }
  Tree tree;
  ASSERT_TRUE(open()->load(tree));
  EXPECT_EQ(tree.zxid(), 12);
  const auto* a = tree.find("/a");
  ASSERT_NE(a, nullptr);
  const auto wanted = node("data\0with zero", 10);
  EXPECT_EQ(a->data.text(), wanted.data.text());
  EXPECT_EQ(*a->acl, *wanted.acl);
  EXPECT_EQ(a->stat().mzxid, 11);
  EXPECT_EQ(a->pzxid, 12);
  EXPECT_EQ(a->ctime, 1'700'000'000'000);
  EXPECT_EQ(a->mtime, 1'700'000'000'001);
  EXPECT_EQ(a->version, 3);
  EXPECT_EQ(a->cversion, 4);
  EXPECT_EQ(a->aversion, -5);
  EXPECT_EQ(a->children.size(), 2U);
  EXPECT_TRUE(tree.find("/a/null")->null_data);
  EXPECT_FALSE(tree.find("/a/empty")->null_data);
  EXPECT_EQ(tree.find("/a/null")->owner, session);
  ASSERT_NE(tree.session(session), nullptr);
  EXPECT_EQ(tree.session(session)->timeout, milliseconds(6000));
  EXPECT_EQ(tree.session(session)->password[15], std::byte{7});
}

TEST_F(StoreTest, NumbersAloneKeepTheData) {
  auto store = open();
  ASSERT_TRUE(store->commit(put("/a", node("data", 1), 1)));
  Changes changes;
  changes.zxid = 2;
  auto state = node("not written", 1);
  state.cversion = 99;
  changes.nodes.push_back({"/a", Changes::NodeChange::Kind::numbers, state});
  ASSERT_TRUE(store->commit(changes));
  Tree tree;
  ASSERT_TRUE(store->load(tree));
  EXPECT_EQ(tree.find("/a")->data.text(), "data");
  EXPECT_EQ(tree.find("/a")->cversion, 99);
}

TEST_F(StoreTest, RemovesNodesAndSessions) {
  auto store = open();
  auto changes = put("/a", node("data", 1), 1);
  changes.sessions.push_back({{5, milliseconds(1), {}}, false});
  ASSERT_TRUE(store->commit(changes));
  changes = {};
  changes.zxid = 2;
  changes.nodes.push_back({"/a", Changes::NodeChange::Kind::remove, {}});
  changes.sessions.push_back({{5, {}, {}}, true});
  ASSERT_TRUE(store->commit(changes));
  Tree tree;
  ASSERT_TRUE(store->load(tree));
  EXPECT_EQ(tree.find("/a"), nullptr);
  EXPECT_EQ(tree.session(5), nullptr);
}

TEST_F(StoreTest, AFullDiskRefusesAndKeepsWhatWasThere) {
  auto store = open(256 * 1024);
  ASSERT_TRUE(store->commit(put("/a", node("first", 1), 1)));
  const auto refused = store->commit(put("/a", node(std::string(500'000, 'x'), 2), 2));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("full"));
  ASSERT_TRUE(store->commit(put("/b", node("small", 3), 3))) << "smaller changes go on";
  Tree tree;
  ASSERT_TRUE(store->load(tree));
  EXPECT_EQ(tree.find("/a")->data.text(), "first");
  EXPECT_EQ(tree.zxid(), 3);
}

// A child commits one by one and tells after each; it is killed in between. All it told of is there, and what it did
// not tell of is there whole or not at all.
TEST_F(StoreTest, AKilledProcessLosesNothingThatWasCommitted) {
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  const auto child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto store = Store::open(path(), 0);
    for (std::int32_t i = 1;; ++i) {
      auto changes = put("/a", node("first " + std::to_string(i), i), i);
      changes.nodes.push_back({"/b", Changes::NodeChange::Kind::put, node("second " + std::to_string(i), i)});
      if (!store || !(*store)->commit(changes)) _exit(1);
      if (write(told[1], &i, sizeof i) != sizeof i) _exit(1);
    }
  }
  close(told[1]);
  std::int32_t last = 0;
  for (std::int32_t i = 0; last < 50 && read(told[0], &i, sizeof i) == sizeof i;) last = i;
  kill(child, SIGKILL);
  for (std::int32_t i = 0; read(told[0], &i, sizeof i) == sizeof i;) last = i;
  waitpid(child, nullptr, 0);
  close(told[0]);
  ASSERT_GE(last, 50);

  Tree tree;
  ASSERT_TRUE(open()->load(tree));
  EXPECT_GE(tree.zxid(), last);
  EXPECT_LE(tree.zxid(), last + 1);
  const auto n = std::to_string(tree.zxid());
  EXPECT_EQ(tree.find("/a")->data.text(), "first " + n);
  EXPECT_EQ(tree.find("/b")->data.text(), "second " + n);
}

TEST_F(StoreTest, WhatIsNoDatabaseIsRefused) {
  std::ofstream(path()) << std::string(10'000, 'x');
  const auto store = Store::open(path(), 0);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message, HasSubstr(path()));
}

TEST_F(StoreTest, AMissingFolderIsRefused) { EXPECT_FALSE(Store::open(folder_ + "/no/coordination.db", 0)); }

}  // namespace
}  // namespace weir::zkserver
