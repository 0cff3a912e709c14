#include "broker/fetch_session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace weir::broker {
namespace {

using namespace std::chrono_literals;
using protocol::FetchRequest;

using Where = std::pair<std::string, std::int32_t>;

struct FetchSessionsTest : testing::Test {
  FetchContext begin(std::int32_t id, std::int32_t epoch, std::vector<Where> wanted, std::vector<Where> forgotten = {},
                     std::int16_t version = 12) {
    names.assign(wanted.begin(), wanted.end());
    forgotten_names.assign(forgotten.begin(), forgotten.end());
    FetchRequest in;
    in.session_id = id;
    in.session_epoch = epoch;
    for (const auto& [topic, partition] : names) {
      auto& to = in.topics.emplace_back();
      if (version >= 13) {
        to.topic_id = id_of(topic);
      } else {
        to.topic = topic;
      }
      auto& asked = to.partitions.emplace_back();
      asked.partition = partition;
      asked.fetch_offset = next_offset;
      asked.partition_max_bytes = 1000;
    }
    for (const auto& [topic, partition] : forgotten_names) {
      auto& to = in.forgotten_topics_data.emplace_back();
      if (version >= 13) {
        to.topic_id = id_of(topic);
      } else {
        to.topic = topic;
      }
      to.partitions.push_back(partition);
    }
    return sessions->begin(in, version, now);
  }
  static Uuid id_of(const std::string& topic) {
    Uuid id;
    id.bytes[0] = 9;
    id.bytes[15] = static_cast<std::uint8_t>(topic.at(0));
    return id;
  }
  // All partitions of the context, and for each whether the answer names it.
  std::vector<Where> told(const FetchContext& context, std::int64_t high_watermark = 5, const std::string& with = "",
                          ErrorCode error = ErrorCode::NONE) {
    std::vector<Where> out;
    for (const auto& item : context.items) {
      const bool records = item.topic == with;
      if (sessions->tell(context.session_id, item, error, high_watermark, 0, records)) {
        out.emplace_back(item.topic, item.partition.value);
      }
    }
    return out;
  }
  static std::vector<Where> items(const FetchContext& context) {
    std::vector<Where> out;
    for (const auto& item : context.items) out.emplace_back(item.topic, item.partition.value);
    return out;
  }

  std::unique_ptr<runtime::Random> random = runtime::seeded_random(3);
  std::unique_ptr<FetchSessions> sessions = std::make_unique<FetchSessions>(2, *random);
  std::vector<Where> names;
  std::vector<Where> forgotten_names;
  std::int64_t next_offset = 0;
  nanoseconds now{1000s};
};

TEST_F(FetchSessionsTest, WithoutASessionNothingIsRemembered) {
  for (const auto epoch : {-1}) {
    const auto context = begin(0, epoch, {{"a", 0}, {"b", 1}});
    EXPECT_EQ(context.error, ErrorCode::NONE);
    EXPECT_EQ(context.session_id, 0);
    EXPECT_FALSE(context.incremental);
    EXPECT_EQ(items(context), (std::vector<Where>{{"a", 0}, {"b", 1}}));
  }
  EXPECT_EQ(begin(0, 0, {{"a", 0}}, {}, 6).session_id, 0) << "version 6 knows no sessions";
  EXPECT_EQ(sessions->size(), 0U);
}

TEST_F(FetchSessionsTest, AFullFetchMakesASessionAndIncrementalOnesGoOn) {
  const auto first = begin(0, 0, {{"a", 0}, {"b", 1}});
  ASSERT_NE(first.session_id, 0);
  EXPECT_FALSE(first.incremental) << "the first answer names all";
  told(first);

  // Nothing changed: all are read, none is told.
  const auto second = begin(first.session_id, 1, {});
  EXPECT_EQ(second.error, ErrorCode::NONE);
  EXPECT_TRUE(second.incremental);
  EXPECT_EQ(second.session_id, first.session_id);
  EXPECT_EQ(items(second), (std::vector<Where>{{"a", 0}, {"b", 1}}));
  EXPECT_TRUE(told(second).empty());

  // The high watermark moved: told once.
  EXPECT_EQ(told(begin(first.session_id, 2, {}), 6).size(), 2U);
  EXPECT_TRUE(told(begin(first.session_id, 3, {}), 6).empty());

  // A new offset replaces the old, a new partition is added, one is forgotten.
  next_offset = 77;
  const auto changed = begin(first.session_id, 4, {{"a", 0}, {"c", 2}}, {{"b", 1}});
  EXPECT_EQ(items(changed), (std::vector<Where>{{"a", 0}, {"c", 2}}));
  EXPECT_EQ(changed.items[0].offset, Offset{77});
  EXPECT_EQ(told(changed, 6), (std::vector<Where>{{"c", 2}})) << "what was never told is told";
}

TEST_F(FetchSessionsTest, AMovedLogStartIsTold) {
  const auto first = begin(0, 0, {{"a", 0}});
  told(first);
  const auto next = begin(first.session_id, 1, {});
  EXPECT_TRUE(sessions->tell(next.session_id, next.items[0], ErrorCode::NONE, 5, 3, false));
  EXPECT_FALSE(sessions->tell(next.session_id, next.items[0], ErrorCode::NONE, 5, 3, false));
}

TEST_F(FetchSessionsTest, WrongEpochsAndIdsAreRefusedAndTheSessionLivesOn) {
  const auto first = begin(0, 0, {{"a", 0}});
  EXPECT_EQ(begin(first.session_id, 2, {}).error, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
  EXPECT_EQ(begin(first.session_id + 1, 1, {}).error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
  EXPECT_EQ(begin(0, 1, {}).error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
  EXPECT_EQ(begin(first.session_id, 1, {}).error, ErrorCode::NONE);
  EXPECT_EQ(begin(first.session_id, 1, {}).error, ErrorCode::INVALID_FETCH_SESSION_EPOCH) << "a request sent twice";
}

TEST_F(FetchSessionsTest, TheFinalEpochEndsTheSession) {
  const auto first = begin(0, 0, {{"a", 0}});
  const auto last = begin(first.session_id, -1, {{"b", 0}});
  EXPECT_EQ(last.error, ErrorCode::NONE);
  EXPECT_EQ(last.session_id, 0);
  EXPECT_EQ(items(last), (std::vector<Where>{{"b", 0}}));
  EXPECT_EQ(sessions->size(), 0U);
  EXPECT_EQ(begin(first.session_id, 1, {}).error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

TEST_F(FetchSessionsTest, AFullFetchWithAnIdReplacesThatSession) {
  const auto first = begin(0, 0, {{"a", 0}});
  const auto again = begin(first.session_id, 0, {{"b", 0}});
  EXPECT_NE(again.session_id, 0);
  EXPECT_EQ(sessions->size(), 1U);
  EXPECT_EQ(begin(again.session_id, 1, {}).error, ErrorCode::NONE);
}

TEST_F(FetchSessionsTest, AnEmptySessionIsNone) {
  EXPECT_EQ(begin(0, 0, {}).session_id, 0);
  const auto first = begin(0, 0, {{"a", 0}});
  const auto empty = begin(first.session_id, 1, {}, {{"a", 0}});
  EXPECT_EQ(empty.error, ErrorCode::NONE);
  EXPECT_TRUE(empty.items.empty());
  EXPECT_EQ(empty.session_id, 0);
  EXPECT_EQ(sessions->size(), 0U);
}

TEST_F(FetchSessionsTest, AnErrorIsToldUntilItIsOverAndThenItsEnd) {
  const auto first = begin(0, 0, {{"a", 0}});
  told(first, 5);
  for (int epoch = 1; epoch <= 3; ++epoch) {
    const auto context = begin(first.session_id, epoch, {});
    EXPECT_EQ(told(context, -1, "", ErrorCode::NOT_LEADER_OR_FOLLOWER).size(), 1U);
  }
  EXPECT_EQ(told(begin(first.session_id, 4, {}), 5).size(), 1U) << "that it is well again is news";
  EXPECT_EQ(told(begin(first.session_id, 5, {}), 5).size(), 0U);
}

TEST_F(FetchSessionsTest, WhoHadRecordsGoesToTheEnd) {
  const auto first = begin(0, 0, {{"a", 0}, {"b", 0}, {"c", 0}});
  told(first);
  auto context = begin(first.session_id, 1, {});
  EXPECT_EQ(told(context, 5, "a"), (std::vector<Where>{{"a", 0}})) << "records are told though nothing else moved";
  context = begin(first.session_id, 2, {});
  EXPECT_EQ(items(context), (std::vector<Where>{{"b", 0}, {"c", 0}, {"a", 0}}));
  told(context, 5, "b");
  EXPECT_EQ(items(begin(first.session_id, 3, {})), (std::vector<Where>{{"c", 0}, {"a", 0}, {"b", 0}}));
}

TEST_F(FetchSessionsTest, TopicsByIdAreAWorldOfTheirOwn) {
  const auto first = begin(0, 0, {{"a", 0}, {"b", 0}}, {}, 13);
  ASSERT_NE(first.session_id, 0);
  EXPECT_EQ(begin(first.session_id, 1, {}, {}, 12).error, ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
  const auto next = begin(first.session_id, 1, {}, {{"a", 0}}, 13);
  EXPECT_EQ(next.error, ErrorCode::NONE);
  ASSERT_EQ(next.items.size(), 1U);
  EXPECT_EQ(next.items[0].topic_id, id_of("b"));
}

TEST_F(FetchSessionsTest, FullSlotsKeepTheLivelyAndGiveUpTheIdle) {
  const auto one = begin(0, 0, {{"a", 0}});
  now += 1s;
  const auto two = begin(0, 0, {{"b", 0}});
  const auto none = begin(0, 0, {{"c", 0}});
  EXPECT_EQ(none.session_id, 0) << "no slot: the fetch is answered without a session";
  EXPECT_EQ(items(none).size(), 1U);
  EXPECT_EQ(sessions->size(), 2U);

  now += 100s;
  ASSERT_EQ(begin(one.session_id, 1, {}).error, ErrorCode::NONE);  // used: not the idlest any more
  now += 21s;
  const auto three = begin(0, 0, {{"c", 0}});
  EXPECT_NE(three.session_id, 0);
  EXPECT_EQ(sessions->size(), 2U);
  EXPECT_EQ(begin(two.session_id, 1, {}).error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
  EXPECT_EQ(begin(one.session_id, 2, {}).error, ErrorCode::NONE);
}

TEST_F(FetchSessionsTest, NoSlotsMeansNoSessions) {
  sessions = std::make_unique<FetchSessions>(0, *random);
  EXPECT_EQ(begin(0, 0, {{"a", 0}}).session_id, 0);
  EXPECT_EQ(sessions->size(), 0U);
}

TEST_F(FetchSessionsTest, APartitionNamedTwiceIsOneInTheSession) {
  const auto first = begin(0, 0, {{"a", 0}, {"a", 0}});
  EXPECT_EQ(items(begin(first.session_id, 1, {})).size(), 1U);
}

TEST_F(FetchSessionsTest, IdsDiffer) {
  sessions = std::make_unique<FetchSessions>(1000, *random);
  std::set<std::int32_t> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(begin(0, 0, {{"a", 0}}).session_id);
  EXPECT_EQ(ids.size(), 1000U);
  EXPECT_TRUE(std::ranges::all_of(ids, [](auto id) { return id > 0; }));
}

}  // namespace
}  // namespace weir::broker
