#include "coordinator/runtime.h"

#include <gtest/gtest.h>

#include "coordinator/group/harness.h"

namespace weir::coordinator {
namespace {

using group::CommitResponse;
using group::Config;
using group::FetchOffsetsRequest;
using group::JoinResponse;
using group::SyncResponse;

class RuntimeTest : public testing::Test {
 protected:
  Now now{seconds(1), 1000};
  CoordinatorRuntime runtime{Config{}, 50};
  group::Harness forms;
  // "my-group" belongs to partition 12, "abc" to 4.
  static constexpr std::int32_t mine = 12;

  template <class R>
  static R only(const group::Effects& effects) {
    EXPECT_EQ(effects.replies.size(), 1u);
    return effects.replies.empty() ? R() : std::get<R>(effects.replies[0].response);
  }
  void activate(std::int32_t partition, std::int32_t epoch) {
    ASSERT_TRUE(runtime.begin_load(partition, LeaderEpoch{epoch}));
    runtime.finish_load(partition, LeaderEpoch{epoch}, now);
  }
  ErrorCode commit(const std::string& group) {
    const auto effects = runtime.commit(1, forms.commit_request(group, -1, "", 5), now);
    if (!effects.appends.empty()) return ErrorCode::NONE;
    return only<CommitResponse>(effects).topics.at(0).partitions.at(0).error;
  }
};

TEST_F(RuntimeTest, OnlyTheCoordinatorOfAGroupAnswers) {
  EXPECT_EQ(commit("my-group"), ErrorCode::NOT_COORDINATOR);
  activate(mine, 3);
  EXPECT_EQ(commit("my-group"), ErrorCode::NONE);
  EXPECT_EQ(commit("abc"), ErrorCode::NOT_COORDINATOR);
  EXPECT_EQ(runtime.describe("abc").error, ErrorCode::NOT_COORDINATOR);
  EXPECT_EQ(only<group::DeleteResponse>(runtime.delete_group(1, "abc", now)).error, ErrorCode::NOT_COORDINATOR);
  EXPECT_EQ(only<group::LeaveResponse>(runtime.leave(1, {"abc", {}}, now)).error, ErrorCode::NOT_COORDINATOR);
  FetchOffsetsRequest fetch;
  fetch.group = "abc";
  EXPECT_EQ(runtime.fetch_offsets(fetch).error, ErrorCode::NOT_COORDINATOR);
  EXPECT_EQ(runtime.heartbeat({"abc", 1, "m", std::nullopt}, now), ErrorCode::NOT_COORDINATOR);
}

TEST_F(RuntimeTest, WhileLoadingClientsAreToldToWaitInWordsTheyKnow) {
  ASSERT_TRUE(runtime.begin_load(mine, LeaderEpoch{1}));
  EXPECT_TRUE(runtime.loading(mine));
  EXPECT_EQ(commit("my-group"), ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
  EXPECT_EQ(only<JoinResponse>(runtime.join(1, forms.join_request("my-group"), now)).error,
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
  EXPECT_EQ(only<SyncResponse>(runtime.sync(1, {"my-group", 1, "m", {}, {}, {}, {}}, now)).error,
            ErrorCode::REBALANCE_IN_PROGRESS);
  EXPECT_EQ(runtime.heartbeat({"my-group", 1, "m", std::nullopt}, now), ErrorCode::NONE);
  EXPECT_EQ(runtime.list({}).error, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
}

TEST_F(RuntimeTest, EmptyGroupIdsAreForOffsetsOnly) {
  activate(0, 1);  // "" hashes to 0
  EXPECT_EQ(commit(""), ErrorCode::NONE);
  EXPECT_EQ(runtime.describe("").error, ErrorCode::NONE);
  EXPECT_EQ(only<JoinResponse>(runtime.join(1, forms.join_request(""), now)).error, ErrorCode::INVALID_GROUP_ID);
  EXPECT_EQ(runtime.heartbeat({"", 1, "m", std::nullopt}, now), ErrorCode::INVALID_GROUP_ID);
}

TEST_F(RuntimeTest, LoadsWhatItIsFed) {
  ASSERT_TRUE(runtime.begin_load(mine, LeaderEpoch{1}));
  const auto key = group::offset_key("my-group", "orders", 0);
  const auto value = group::offset_value({99, 1, "", 5, no_timestamp});
  LoadedRecord record;
  record.key = key.view();
  record.value = value.view();
  EXPECT_TRUE(runtime.load(mine, LeaderEpoch{1}, std::span(&record, 1)));
  runtime.finish_load(mine, LeaderEpoch{1}, now);
  EXPECT_EQ(runtime.active_epoch(mine), LeaderEpoch{1});
  FetchOffsetsRequest fetch;
  fetch.group = "my-group";
  EXPECT_EQ(runtime.fetch_offsets(fetch).topics.at(0).partitions.at(0).offset, 99);
  EXPECT_EQ(runtime.list({}).groups.size(), 1u);
}

TEST_F(RuntimeTest, OldElectionsAreIgnoredAndNewOnesEndALoad) {
  ASSERT_TRUE(runtime.begin_load(mine, LeaderEpoch{5}));
  EXPECT_FALSE(runtime.begin_load(mine, LeaderEpoch{5}));
  EXPECT_FALSE(runtime.begin_load(mine, LeaderEpoch{4}));
  ASSERT_TRUE(runtime.begin_load(mine, LeaderEpoch{6})) << "lost and won again: read anew";
  EXPECT_FALSE(runtime.load(mine, LeaderEpoch{5}, {}));
  runtime.finish_load(mine, LeaderEpoch{5}, now);
  EXPECT_TRUE(runtime.loading(mine));
  runtime.finish_load(mine, LeaderEpoch{6}, now);
  EXPECT_FALSE(runtime.begin_load(mine, LeaderEpoch{7})) << "elected again without a break";
  EXPECT_EQ(runtime.active_epoch(mine), LeaderEpoch{7});
  runtime.resign(mine, LeaderEpoch{6});
  EXPECT_EQ(runtime.active_epoch(mine), LeaderEpoch{7}) << "an old resignation";
  runtime.resign(mine, LeaderEpoch{8});
  EXPECT_FALSE(runtime.active_epoch(mine));
  EXPECT_FALSE(runtime.begin_load(mine, LeaderEpoch{7}));
  EXPECT_TRUE(runtime.begin_load(mine, LeaderEpoch{9}));
  runtime.fail_load(mine, LeaderEpoch{9});
  EXPECT_EQ(commit("my-group"), ErrorCode::NOT_COORDINATOR);
  EXPECT_TRUE(runtime.begin_load(mine, LeaderEpoch{9})) << "tried again";
}

TEST_F(RuntimeTest, TheEndOfAnAppendFindsTheMachineThatMadeItOnly) {
  activate(mine, 1);
  auto effects = runtime.commit(7, forms.commit_request("my-group", -1, "", 5), now);
  ASSERT_EQ(effects.appends.size(), 1u);
  EXPECT_EQ(effects.appends[0].partition, mine);
  EXPECT_EQ(effects.appends[0].epoch, LeaderEpoch{1});
  const auto old = effects.appends[0].id;
  effects = runtime.resign(mine, LeaderEpoch{2});
  EXPECT_EQ(only<CommitResponse>(effects).topics[0].partitions[0].error, ErrorCode::NOT_COORDINATOR);
  activate(mine, 3);
  effects = runtime.commit(8, forms.commit_request("my-group", -1, "", 6), now);
  ASSERT_EQ(effects.appends.size(), 1u);
  EXPECT_TRUE(runtime.committed(mine, old, now).empty());
  EXPECT_EQ(runtime.committed(mine, effects.appends[0].id, now).replies.size(), 1u);
}

TEST_F(RuntimeTest, TheNextDeadlineIsTheEarliestOfAll) {
  EXPECT_FALSE(runtime.next_deadline());
  activate(mine, 1);
  EXPECT_EQ(runtime.next_deadline(), now.mono + seconds(600));
  activate(4, 1);
  runtime.join(1, forms.join_request("abc"), now);
  EXPECT_EQ(runtime.next_deadline(), now.mono + seconds(3));
  now.mono += seconds(3);
  EXPECT_EQ(only<JoinResponse>(runtime.tick(now)).generation, 1);
}

TEST_F(RuntimeTest, AfterTheEndNothingIsServed) {
  activate(mine, 1);
  runtime.join(5, forms.join_request("my-group"), now);
  EXPECT_EQ(only<JoinResponse>(runtime.shut_down()).error, ErrorCode::NOT_COORDINATOR);
  EXPECT_EQ(commit("my-group"), ErrorCode::COORDINATOR_NOT_AVAILABLE);
  EXPECT_EQ(runtime.list({}).error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
  EXPECT_FALSE(runtime.begin_load(mine, LeaderEpoch{2}));
}

}  // namespace
}  // namespace weir::coordinator
