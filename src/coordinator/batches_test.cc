#include "coordinator/batches.h"

#include <gtest/gtest.h>

#include <string>

#include "coordinator/group/harness.h"
#include "record/batch.h"
#include "record/control.h"

namespace weir::coordinator {
namespace {

TEST(Batches, WhatIsWrittenIsLoadedAgain) {
  group::Harness h;
  const auto g = h.stable("g", 2);
  h.commit(h.commit_request("g", 1, g.members[0], 5));
  h.commit(h.commit_request("other", -1, "", 6));
  EXPECT_EQ(h.delete_group("other"), ErrorCode::NONE);

  std::string log;
  std::int64_t offset = 0;
  for (const auto& append : h.log) {
    auto batch = batch_of(append);
    const record::BatchView view(batch.view());
    EXPECT_TRUE(view.crc_matches());
    EXPECT_EQ(view.max_timestamp(), append.timestamp);
    record::set_base_offset(batch.mutable_view(), Offset{offset});
    offset += view.count();
    log += batch.text();
  }
  group::Machine loaded{h.config};
  const auto next = each_record(bytes::as_bytes(log), [&](const LoadedRecord& r) { return loaded.replay(r); });
  ASSERT_TRUE(next);
  EXPECT_EQ(*next, Offset{offset});
  loaded.activate(h.now);
  EXPECT_EQ(loaded.dump(), h.machine->dump());
}

TEST(Batches, MarkersOfTransactionsAreSeen) {
  const auto marker =
      record::end_transaction_batch({record::ControlType::commit, 1}, ProducerId{77}, ProducerEpoch{0}, 1000);
  int seen = 0;
  const auto next = each_record(marker.view(), [&](const LoadedRecord& r) {
    ++seen;
    EXPECT_EQ(r.kind, LoadedRecord::Kind::commit_marker);
    EXPECT_EQ(r.producer_id, 77);
    return true;
  });
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(*next, Offset{1});
}

TEST(Batches, ACutOffTailIsLeftForTheNextRead) {
  Append append;
  append.timestamp = 1;
  append.records.push_back({bytes::Shared::copy("key"), std::nullopt});
  const auto batch = batch_of(append);
  std::string log(batch.text());
  log += batch.text().substr(0, batch.size() - 1);
  int seen = 0;
  const auto next = each_record(bytes::as_bytes(log), [&](const LoadedRecord& r) {
    ++seen;
    EXPECT_FALSE(r.value);
    return true;
  });
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(*next, Offset{1});
  const auto none = each_record(batch.view().first(20), [](const LoadedRecord&) { return true; });
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
}

TEST(Batches, GarbageIsAnError) {
  const std::string garbage(100, '\xff');  // a length of -1
  EXPECT_FALSE(each_record(bytes::as_bytes(garbage), [](const LoadedRecord&) { return true; }).has_value());
}

}  // namespace
}  // namespace weir::coordinator
