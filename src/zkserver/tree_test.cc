#include "zkserver/tree/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "zkserver/tree/path.h"

namespace weir::zkserver {
namespace {

using testing::ElementsAre;
using zkwire::Code;
using zkwire::EventType;
using zkwire::OpCode;

const Acls open = {zkwire::Acl{zkwire::perm::all, {"world", "anyone"}}};

// A tree with two clients, and requests in a line.
struct Client {
  Tree& tree;
  Caller caller;

  Code call(OpCode type, const bytes::Shared& body) { return tree.handle(caller, type, body.view()).err; }
  Code create(std::string_view path, std::string_view data = "", int flags = 0, Acls acl = open) {
    return call(OpCode::create, zkwire::encode(zkwire::CreateRequest{path, bytes::as_bytes(data), acl, flags}));
  }
  Code remove(std::string_view path, int version = -1) {
    return call(OpCode::remove, zkwire::encode(zkwire::PathVersion{path, version}));
  }
  Code set(std::string_view path, std::string_view data, int version = -1) {
    return call(OpCode::set_data, zkwire::encode(zkwire::SetDataRequest{path, bytes::as_bytes(data), version}));
  }
  Code set_acl(std::string_view path, Acls acl) {
    return call(OpCode::set_acl, zkwire::encode(zkwire::SetAclRequest{path, std::move(acl), -1}));
  }
  Code watch(std::string_view path) { return call(OpCode::exists, zkwire::encode(zkwire::PathWatch{path, true})); }
  Code watch_children(std::string_view path) {
    return call(OpCode::get_children, zkwire::encode(zkwire::PathWatch{path, true}));
  }
  Code add_watch(std::string_view path, zkwire::AddWatchMode mode) {
    return call(OpCode::add_watch, zkwire::encode(zkwire::AddWatchRequest{path, mode}));
  }
};

struct TreeTest : testing::Test {
  TreeTest() {
    for (const SessionId id : {11, 12}) {
      tree.attach(static_cast<ConnId>(id), Ids{{"ip", "127.0.0.1"}});
      tree.create_session(SessionState{id, milliseconds(1000), {}});
    }
    tree.committed();
  }
  std::vector<std::string> events() {
    std::vector<std::string> out;
    for (const auto& e : tree.take_events()) {
      out.push_back(std::to_string(e.to) + ":" + std::to_string(static_cast<int>(e.type)) + ":" + e.path);
    }
    return out;
  }
  Tree tree;
  Client a{tree, {11, 11, 1000}};
  Client b{tree, {12, 12, 2000}};
};

// --- everything there is to see, as text -------------------------------------------------------------------------

void put_node(std::string& out, const std::string& path, const Node& n) {
  out += path + " '" + std::string(n.data.text()) + "'" + (n.null_data ? "null" : "");
  for (const std::int64_t v : {n.czxid, n.mzxid, n.pzxid, n.ctime, n.mtime, n.owner, std::int64_t{n.version},
                               std::int64_t{n.cversion}, std::int64_t{n.aversion}}) {
    out += " " + std::to_string(v);
  }
  for (const auto& acl : *n.acl) out += " " + std::to_string(acl.perms) + acl.id.scheme + acl.id.id;
  for (const auto& child : n.children) out += " >" + child;
  out += "\n";
}

void walk(std::string& out, const Tree& tree, const std::string& path) {
  const auto* node = tree.find(path);
  ASSERT_NE(node, nullptr) << path << " is a child and not there";
  put_node(out, path, *node);
  for (const auto& child : node->children) walk(out, tree, (path == "/" ? "" : path) + "/" + child);
}

std::string durable_part(const Tree& tree) {
  std::string out = std::to_string(tree.zxid()) + " " + std::to_string(tree.data_bytes()) + "\n";
  walk(out, tree, "/");
  std::map<SessionId, SessionState> sessions(tree.sessions().begin(), tree.sessions().end());
  for (const auto& [id, s] : sessions) out += "session " + std::to_string(id) + "\n";
  for (const auto& [id, paths] : tree.ephemerals_by_session()) {
    for (const auto& path : paths) out += std::to_string(id) + " owns " + path + "\n";
  }
  return out;
}

std::string all_of(const Tree& tree) {
  std::string out = durable_part(tree);
  for (const auto* table : {&tree.data_watches(), &tree.child_watches()}) {
    out += "watches " + std::to_string(table->watches()) + "\n";
    for (const auto& [conn, own] : table->by_connection()) {
      for (const auto& path : own.paths) {
        out += std::to_string(conn) + " " + path + " " + std::to_string(table->modes(path, conn)) + "\n";
      }
    }
  }
  return out;
}

// --- tests ---------------------------------------------------------------------------------------------------------

TEST_F(TreeTest, AChangeTellsItsWatchersAndEphemeralsEndWithTheirSession) {
  EXPECT_EQ(a.create("/a", "x"), Code::ok);
  EXPECT_EQ(a.create("/a/e", "", 1), Code::ok);
  EXPECT_EQ(b.watch("/a/e"), Code::ok);
  EXPECT_EQ(b.watch_children("/a"), Code::ok);
  EXPECT_EQ(tree.find("/a/e")->stat().ephemeral_owner, 11);
  events();
  const auto zxid = tree.zxid();
  EXPECT_TRUE(tree.close_session(11));
  EXPECT_EQ(tree.zxid(), zxid + 1) << "the end of a session is one change";
  EXPECT_EQ(tree.find("/a/e"), nullptr);
  EXPECT_EQ(tree.find("/a")->pzxid, zxid + 1);
  EXPECT_THAT(events(), ElementsAre("12:2:/a/e", "12:4:/a"));
  EXPECT_FALSE(tree.close_session(11));
}

TEST_F(TreeTest, ADetachedConnectionHearsNothing) {
  EXPECT_EQ(a.watch("/"), Code::ok);
  EXPECT_EQ(a.add_watch("/", zkwire::AddWatchMode::persistent_recursive), Code::ok);
  tree.detach(11);
  EXPECT_EQ(b.create("/x"), Code::ok);
  EXPECT_THAT(events(), ElementsAre());
  EXPECT_EQ(tree.data_watches().watches(), 0U);
}

TEST_F(TreeTest, WatchesOfAConnectionAreBounded) {
  tree.set_watches_per_connection_max(3);
  for (const auto* path : {"/1", "/2", "/3"}) EXPECT_EQ(a.watch(path), Code::no_node);
  EXPECT_EQ(a.watch("/4"), Code::throttled_op);
  EXPECT_EQ(a.watch("/3"), Code::no_node) << "one that is there is set again";
  EXPECT_EQ(a.watch_children("/"), Code::throttled_op);
  EXPECT_EQ(b.watch("/4"), Code::no_node) << "others are not concerned";
}

TEST_F(TreeTest, WatchesOfAConnectionAreBoundedInBytes) {
  const std::string path = "/" + std::string(1 * MiB, 'x');
  int kept = 0;
  for (int i = 0; i < 64 && a.watch(path + std::to_string(i)) == Code::no_node; ++i) ++kept;
  EXPECT_EQ(kept, 31);
}

TEST_F(TreeTest, OverdueContainersAndTtlNodes) {
  const auto create = [&](OpCode type, std::string_view path, int flags, std::int64_t ttl) {
    if (type == OpCode::create_ttl) {
      return a.call(type, zkwire::encode(zkwire::CreateTtlRequest{path, {}, open, flags, ttl}));
    }
    return a.call(type, zkwire::encode(zkwire::CreateRequest{path, {}, open, flags}));
  };
  EXPECT_EQ(create(OpCode::create_container, "/unused", 4, 0), Code::ok);
  EXPECT_EQ(create(OpCode::create_container, "/used", 4, 0), Code::ok);
  EXPECT_EQ(create(OpCode::create_ttl, "/ttl", 5, 500), Code::ok);
  EXPECT_EQ(a.create("/used/child"), Code::ok);
  EXPECT_EQ(a.create("/plain"), Code::ok);
  EXPECT_THAT(tree.overdue(1500, milliseconds(10'000)), ElementsAre()) << "the TTL is not over yet";
  EXPECT_THAT(tree.overdue(1501, milliseconds(10'000)), ElementsAre("/ttl"));
  EXPECT_EQ(a.remove("/used/child"), Code::ok);
  EXPECT_THAT(tree.overdue(1000, milliseconds(10'000)), ElementsAre("/used"));
  EXPECT_THAT(tree.overdue(11'001, milliseconds(10'000)), ElementsAre("/ttl", "/unused", "/used"));
  EXPECT_THAT(tree.overdue(99'000, milliseconds(0)), ElementsAre("/ttl", "/used")) << "0: an unused one stays";
  tree.remove_overdue("/used");
  EXPECT_EQ(tree.find("/used"), nullptr);
  tree.remove_overdue("/plain");
  EXPECT_NE(tree.find("/plain"), nullptr) << "only those that may expire do";
}

TEST_F(TreeTest, SequenceNumbersGoOnAfterTheLargest) {
  NodeState state;
  state.acl = open_acl();
  state.cversion = 2147483647;
  tree.load_node("/seq", state);
  ASSERT_TRUE(tree.loaded(tree.zxid()));
  EXPECT_EQ(a.create("/seq/n", "", 2), Code::ok);
  EXPECT_EQ(a.create("/seq/n", "", 2), Code::ok);
  EXPECT_NE(tree.find("/seq/n2147483647"), nullptr);
  EXPECT_NE(tree.find("/seq/n-2147483648"), nullptr);
}

TEST_F(TreeTest, AVersionIsNeverTheAnyOfClients) {
  NodeState state;
  state.acl = open_acl();
  state.version = -2;
  tree.load_node("/v", state);
  ASSERT_TRUE(tree.loaded(tree.zxid()));
  EXPECT_EQ(a.set("/v", "x", -2), Code::ok);
  EXPECT_EQ(tree.find("/v")->version, 0);
}

TEST_F(TreeTest, ATreeWithAHoleIsNotLoaded) {
  NodeState state;
  state.acl = open_acl();
  Tree orphan;
  orphan.load_node("/no/child", state);
  EXPECT_FALSE(orphan.loaded(1));
  Tree masterless;
  state.owner = 77;
  masterless.load_node("/e", state);
  EXPECT_FALSE(masterless.loaded(1));
}

TEST_F(TreeTest, AMultiReadDoesNotGrowBeyondItsBound) {
  EXPECT_EQ(a.create("/big", std::string(900'000, 'x')), Code::ok);
  std::string body;
  for (int i = 0; i < 1000; ++i) {
    body += zkwire::encode(zkwire::MultiHeader{OpCode::get_data, false, -1}, zkwire::PathWatch{"/big", false}).text();
  }
  body += zkwire::encode(zkwire::multi_end).text();
  EXPECT_EQ(tree.handle(a.caller, OpCode::multi_read, bytes::as_bytes(body)).err, Code::throttled_op);
}

// Random requests: undone, they leave nothing; committed, what was written makes the same tree again.
class Chance {
 public:
  explicit Chance(unsigned seed) : random_(seed) {}
  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
  std::string path() {
    std::string out;
    for (unsigned depth = 1 + below(3); depth > 0; --depth)
      out += "/" + std::string(1, static_cast<char>('a' + below(3)));
    return out;
  }

 private:
  std::mt19937 random_;
};

void one_request(Chance& chance, Tree& tree, Client& client) {
  const auto path = chance.path();
  switch (chance.below(12)) {
    case 0:
    case 1: client.create(path, path, static_cast<int>(chance.below(5))); break;
    case 2: client.create(path + "-", "", 2); break;
    case 3: client.remove(path); break;
    case 4: client.set(path, std::to_string(chance.below(1000))); break;
    case 5: client.set_acl(path, {zkwire::Acl{zkwire::perm::all, {"ip", "127.0.0.1"}}}); break;
    case 6: client.watch(path); break;
    case 7: client.watch_children(path); break;
    case 8: client.add_watch(path, static_cast<zkwire::AddWatchMode>(chance.below(2))); break;
    case 9: {
      const auto other = chance.path();
      client.call(OpCode::multi, zkwire::encode(zkwire::MultiHeader{OpCode::create, false, -1},
                                                zkwire::CreateRequest{path, {}, open, 0},
                                                zkwire::MultiHeader{OpCode::remove, false, -1},
                                                zkwire::PathVersion{other, -1}, zkwire::multi_end));
      break;
    }
    case 10: {
      const SessionId id = 100 + chance.below(3);
      if (tree.session(id) == nullptr) {
        tree.create_session(SessionState{id, milliseconds(5), {}});
      } else if (chance.below(2) == 0) {
        tree.close_session(id);
      } else {
        Client theirs{tree, {11, id, 5}};
        theirs.create(path, "e", 1);
      }
      break;
    }
    default:
      for (const auto& due : tree.overdue(1'000'000, milliseconds(1))) tree.remove_overdue(due);
  }
}

struct Disk {
  std::map<std::string, NodeState> nodes;
  std::map<SessionId, SessionState> sessions;
  Zxid zxid = 0;

  void write(const Changes& changes) {
    using Kind = Changes::NodeChange::Kind;
    for (const auto& change : changes.nodes) {
      if (change.kind == Kind::remove) {
        nodes.erase(change.path);
        continue;
      }
      auto state = change.state;
      if (change.kind == Kind::numbers) {
        state.data = nodes[change.path].data;
        state.null_data = nodes[change.path].null_data;
      }
      nodes[change.path] = state;
    }
    for (const auto& change : changes.sessions) {
      if (change.removed) {
        sessions.erase(change.session.id);
      } else {
        sessions[change.session.id] = change.session;
      }
    }
    zxid = changes.zxid;
  }
  std::string read() const {
    Tree tree;
    for (const auto& [path, state] : nodes) tree.load_node(path, state);
    for (const auto& [id, state] : sessions) tree.load_session(state);
    EXPECT_TRUE(tree.loaded(zxid));
    return durable_part(tree);
  }
};

TEST(TreeChance, WhatIsUndoneWasNeverThereAndWhatIsCommittedIsOnTheDisk) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    Chance chance(seed);
    Tree tree;
    Disk disk;
    for (const SessionId id : {11, 12}) {
      tree.attach(static_cast<ConnId>(id), Ids{{"ip", "127.0.0.1"}});
      tree.create_session(SessionState{id, milliseconds(1000), {}});
    }
    Client clients[] = {{tree, {11, 11, 1000}}, {tree, {12, 12, 2000}}};
    disk.write(tree.changes());
    tree.committed();
    for (int batch = 0; batch < 30; ++batch) {
      const auto before = all_of(tree);
      for (unsigned n = chance.below(20); n > 0; --n) one_request(chance, tree, clients[chance.below(2)]);
      if (chance.below(3) == 0) {
        tree.rollback();
        ASSERT_EQ(all_of(tree), before) << "seed " << seed << " batch " << batch;
        ASSERT_TRUE(tree.take_events().empty());
      } else {
        const auto changes = tree.changes();
        if (!changes.empty()) disk.write(changes);
        tree.committed();
        tree.take_events();
        ASSERT_EQ(disk.read(), durable_part(tree)) << "seed " << seed << " batch " << batch;
      }
    }
  }
}

TEST(Path, Valid) {
  for (const auto* good : {"/", "/a", "/a/b", "/a.b/..c/...", "/k\xc3\xa4se"}) EXPECT_TRUE(valid_path(good)) << good;
  for (const auto* bad : {"", "a", "/a/", "//", "/a//b", "/.", "/..", "/a/./b", "/a/..", "/\x01", "/\x7f", "/\xc3",
                          "/\xff", "/\xee\x80\x80", "/\xc0\xaf", "/\xf0\x9d\x84\x9e"}) {
    EXPECT_FALSE(valid_path(bad)) << bad;
  }
  EXPECT_FALSE(valid_path(std::string_view("/a\0b", 4)));
  EXPECT_EQ(parent_of("/a"), "/");
  EXPECT_EQ(parent_of("/a/b"), "/a");
  EXPECT_EQ(name_of("/a/bc"), "bc");
}

TEST(Acl, Networks) {
  EXPECT_TRUE(in_network("10.1.2.3", "10.0.0.0/8"));
  EXPECT_FALSE(in_network("11.1.2.3", "10.0.0.0/8"));
  EXPECT_TRUE(in_network("10.1.2.3", "10.1.2.3"));
  EXPECT_TRUE(in_network("10.1.2.3", "0.0.0.0/0"));
  EXPECT_TRUE(in_network("::1", "::/64"));
  EXPECT_FALSE(in_network("::1", "127.0.0.1/8"));
  for (const auto* bad : {"", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0/8", "x", "::1/129", "10.0.0.0/8x"}) {
    EXPECT_FALSE(valid_network(bad)) << bad;
  }
}

}  // namespace
}  // namespace weir::zkserver
