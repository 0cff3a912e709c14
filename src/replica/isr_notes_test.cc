#include "replica/isr_notes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::replica {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

TopicPartition t(int partition) { return {"t", PartitionId{partition}}; }
std::vector<BrokerId> isr(int a, int b) { return {BrokerId{a}, BrokerId{b}}; }

TEST(IsrNotes, ManyChangesMakeOneLineADirection) {
  IsrNotes notes;
  EXPECT_EQ(notes.due(), IsrNotes::never);
  EXPECT_TRUE(notes.add(t(0), isr(1, 2), false, 100s)) << "somebody has to be woken for it";
  for (int i = 1; i < 300; ++i) EXPECT_FALSE(notes.add(t(i), isr(1, 2), false, 100s + milliseconds(i)));
  EXPECT_FALSE(notes.add(t(7), isr(2, 3), true, 100500ms));
  EXPECT_EQ(notes.due(), 101s) << "a second after the first, however many come";
  EXPECT_THAT(notes.take(),
              ElementsAre("the ISR of 300 partitions shrank: t-0 to [1,2], t-1 to [1,2], t-2 to [1,2] and 297 more",
                          "the ISR of 1 partition grew: t-7 to [2,3]"));
  EXPECT_EQ(notes.due(), IsrNotes::never);
  EXPECT_TRUE(notes.take().empty());
}

TEST(IsrNotes, WhatComesLaterIsAnotherLine) {
  IsrNotes notes;
  notes.add(t(0), isr(1, 2), false, 100s);
  (void)notes.take();
  EXPECT_TRUE(notes.add(t(0), {BrokerId{1}}, false, 105s));
  EXPECT_EQ(notes.due(), 106s);
  EXPECT_THAT(notes.take(), ElementsAre("the ISR of 1 partition shrank: t-0 to [1]"));
}

}  // namespace
}  // namespace weir::replica
