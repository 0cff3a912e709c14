// For tests: a machine with a log in memory and a time that the test sets. Appends are committed at once unless a
// test holds them.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bytes/cursor.h"
#include "coordinator/group/machine.h"
#include "coordinator/group/records.h"

namespace weir::coordinator::group {

inline std::string subscription(const std::vector<std::string>& topics) {
  std::string text("\0\1", 2);
  const auto put = [&](std::size_t n, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>((n >> (8 * i)) & 0xff);
  };
  put(topics.size(), 4);
  for (const auto& t : topics) {
    put(t.size(), 2);
    text += t;
  }
  put(0xffffffff, 4);  // no user data
  return text;
}

class Harness {
 public:
  explicit Harness(Config c = {}) : config(c), machine(std::make_unique<Machine>(c)) { take(machine->activate(now)); }

  Config config;
  Now now{seconds(1000), 1'700'000'000'000};
  std::unique_ptr<Machine> machine;
  bool hold = false;  // keep appends under way
  std::deque<Append> held;
  std::vector<Append> log;  // what was committed
  std::map<Token, Response> replies;
  Token last_token = 0;

  void take(Effects effects) {
    for (auto& r : effects.replies) {
      EXPECT_FALSE(replies.contains(r.token)) << "a request is answered once";
      replies.insert_or_assign(r.token, std::move(r.response));
    }
    for (auto& a : effects.appends) {
      EXPECT_FALSE(a.records.empty());
      EXPECT_EQ(a.timestamp, now.wall);
      held.push_back(std::move(a));
    }
    while (!hold && !held.empty()) commit_one();
  }
  void commit_one() {
    ASSERT_FALSE(held.empty());
    auto append = std::move(held.front());
    held.pop_front();
    const auto id = append.id;
    log.push_back(std::move(append));
    take(machine->committed(id, now));
  }
  void fail_one(ErrorCode error) {
    ASSERT_FALSE(held.empty());
    const auto id = held.front().id;
    held.pop_front();
    take(machine->append_failed(id, error, now));
  }

  // Time passes; every deadline on the way is met at its time.
  void pass(milliseconds time) {
    const auto end = now.mono + time;
    for (;;) {
      const auto next = machine->next_deadline();
      if (!next || *next > end) break;
      const auto at = std::max(*next, now.mono);
      now.wall += std::chrono::duration_cast<milliseconds>(at - now.mono).count();
      now.mono = at;
      take(machine->tick(now));
    }
    now.wall += std::chrono::duration_cast<milliseconds>(end - now.mono).count();
    now.mono = end;
  }

  bool answered(Token token) const { return replies.contains(token); }
  template <class R>
  R reply(Token token) const {
    const auto it = replies.find(token);
    if (it == replies.end()) {
      ADD_FAILURE() << "no answer yet";
      return R();
    }
    return std::get<R>(it->second);
  }

  // ---- short forms

  JoinRequest join_request(std::string group, std::string member_id = "") {
    JoinRequest r;
    r.group = std::move(group);
    r.member_id = std::move(member_id);
    r.client_id = "client";
    r.client_host = "/127.0.0.1";
    r.protocol_type = "consumer";
    r.protocols.push_back({"range", bytes::Shared::copy(subscription({"orders"}))});
    r.session_timeout_ms = 10'000;
    r.rebalance_timeout_ms = 60'000;
    ++fresh_;
    for (std::size_t i = 0; i < 8; ++i) r.fresh.bytes[15 - i] = static_cast<std::uint8_t>(fresh_ >> (8 * i));
    return r;
  }
  Token join(JoinRequest request) {
    const auto token = ++last_token;
    take(machine->join(token, std::move(request), now));
    return token;
  }
  Token sync(const std::string& group, std::int32_t generation, const std::string& member,
             std::vector<std::pair<std::string, std::string>> assignments = {},
             std::optional<std::string> instance = std::nullopt) {
    SyncRequest r;
    r.group = group;
    r.generation = generation;
    r.member_id = member;
    r.instance_id = std::move(instance);
    for (auto& [m, a] : assignments) r.assignments.push_back({m, bytes::Shared::copy(a)});
    return sync(std::move(r));
  }
  Token sync(SyncRequest request) {
    const auto token = ++last_token;
    take(machine->sync(token, std::move(request), now));
    return token;
  }
  ErrorCode heartbeat(const std::string& group, std::int32_t generation, const std::string& member,
                      std::optional<std::string> instance = std::nullopt) {
    return machine->heartbeat({group, generation, member, std::move(instance)}, now);
  }
  LeaveResponse leave(const std::string& group, std::vector<LeavingMember> members) {
    const auto token = ++last_token;
    take(machine->leave(token, {group, std::move(members)}, now));
    return reply<LeaveResponse>(token);
  }
  CommitRequest commit_request(std::string group, std::int32_t generation, std::string member, std::int64_t offset) {
    CommitRequest r;
    r.group = std::move(group);
    r.generation = generation;
    r.member_id = std::move(member);
    CommitTopic topic;
    topic.name = "orders";
    topic.partitions.push_back({0, offset, 3, "meta", no_timestamp});
    r.topics.push_back(std::move(topic));
    return r;
  }
  Token commit(CommitRequest request) {
    const auto token = ++last_token;
    take(machine->commit(token, std::move(request), now));
    return token;
  }
  ErrorCode committed(Token token) const {
    const auto r = reply<CommitResponse>(token);
    return r.topics.empty() || r.topics[0].partitions.empty() ? ErrorCode::UNKNOWN_SERVER_ERROR
                                                              : r.topics[0].partitions[0].error;
  }
  // The committed offset of orders-0; -1 when there is none.
  FetchOffsetsResponse::Partition fetch(const std::string& group, bool stable = false,
                                        const std::string& topic = "orders") const {
    FetchOffsetsRequest r;
    r.group = group;
    r.require_stable = stable;
    r.topics.emplace();
    r.topics->push_back({topic, {0}});
    return machine->fetch_offsets(r).topics[0].partitions[0];
  }
  ErrorCode delete_group(const std::string& group) {
    const auto token = ++last_token;
    take(machine->delete_group(token, group, now));
    return reply<DeleteResponse>(token).error;
  }
  std::string state(const std::string& group) const { return machine->describe(group).state; }

  struct Joined {
    std::vector<std::string> members;  // in the order of joining; the first leads
    std::int32_t generation = -1;
  };
  // A stable group of `n` dynamic members, which got "a0", "a1", ... assigned.
  Joined stable(const std::string& group, std::size_t n) {
    std::vector<Token> tokens;
    for (std::size_t i = 0; i < n; ++i) tokens.push_back(join(join_request(group)));
    pass(seconds(6));
    Joined out;
    std::vector<std::pair<std::string, std::string>> assignments;
    for (const auto t : tokens) {
      const auto r = reply<JoinResponse>(t);
      EXPECT_EQ(r.error, ErrorCode::NONE);
      out.members.push_back(r.member_id);
      out.generation = r.generation;
      assignments.emplace_back(r.member_id, "a" + std::to_string(assignments.size()));
    }
    std::vector<Token> syncs;
    for (const auto& m : out.members)
      syncs.push_back(sync(group, out.generation, m, m == out.members[0] ? assignments : decltype(assignments)()));
    for (const auto t : syncs) EXPECT_EQ(reply<SyncResponse>(t).error, ErrorCode::NONE);
    EXPECT_EQ(state(group), "Stable");
    return out;
  }

  // A machine that was loaded from what this one committed.
  std::unique_ptr<Machine> reloaded() const {
    auto made = std::make_unique<Machine>(config);
    for (const auto& append : log) {
      for (const auto& record : append.records) {
        LoadedRecord loaded;
        loaded.key = record.key.view();
        if (record.value) loaded.value = record.value->view();
        EXPECT_TRUE(made->replay(loaded));
      }
    }
    const auto effects = made->activate(now);
    EXPECT_TRUE(effects.empty());
    return made;
  }

 private:
  std::uint64_t fresh_ = 0;
};

}  // namespace weir::coordinator::group
