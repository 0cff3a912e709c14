#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "metrics/registry.h"

namespace weir::metrics {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

TEST(Counter, SumsWhatAllThreadsAddedAlsoAfterTheyEnded) {
  Counter counter;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100'000; ++i) counter.add();
    });
  }
  threads.clear();
  EXPECT_EQ(counter.value(), 400'000u);
  std::jthread([&] { counter.add(5); }).join();  // goes on in the copies of a thread that has ended
  EXPECT_EQ(counter.value(), 400'005u);
}

TEST(Counter, IsReadWhileOthersWrite) {
  Counter counter;
  std::latch started(1);
  std::atomic<bool> stop{false};
  std::jthread writer([&] {
    counter.add();
    started.count_down();
    while (!stop) counter.add();
  });
  started.wait();
  std::uint64_t last = 0;
  for (int i = 0; i < 1000; ++i) {
    std::uint64_t now = counter.value();
    ASSERT_GE(now, last);
    last = now;
  }
  stop = true;
}

TEST(Counter, StartsAtZeroInCellsThatWereUsedBefore) {
  {
    Counter old;
    old.add(1000);
    EXPECT_EQ(old.value(), 1000u);
  }
  Counter fresh;  // takes the cell that `old` gave back
  EXPECT_EQ(fresh.value(), 0u);
  fresh.add(2);
  EXPECT_EQ(fresh.value(), 2u);
}

TEST(Counter, ThousandsOfThemStayApart) {
  std::vector<std::unique_ptr<Counter>> counters;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    counters.push_back(std::make_unique<Counter>());
    counters.back()->add(i);
  }
  for (std::uint64_t i = 0; i < 3000; ++i) ASSERT_EQ(counters[i]->value(), i);
}

TEST(Histogram, BucketsMeetWithoutGapOrOverlap) {
  for (std::uint32_t b = 0; b + 1 < Histogram::buckets; ++b) {
    std::uint64_t edge = Histogram::upper_edge(b);
    ASSERT_EQ(Histogram::bucket_of(edge - 1), b) << edge;
    ASSERT_EQ(Histogram::bucket_of(edge), b + 1) << edge;
  }
  EXPECT_EQ(Histogram::bucket_of(0), 0u);
  EXPECT_EQ(Histogram::bucket_of(~0ULL), Histogram::buckets - 1);
}

TEST(Histogram, QuantilesAreWithinABucket) {
  Histogram h;
  for (int i = 1; i <= 1000; ++i) h.observe(std::chrono::microseconds(i));
  auto s = h.snapshot();
  EXPECT_EQ(s.count(), 1000u);
  EXPECT_EQ(s.sum, 500'500u);
  EXPECT_GE(s.quantile(0.5), 500u);
  EXPECT_LE(s.quantile(0.5), 625u);
  EXPECT_GE(s.quantile(0.99), 990u);
  EXPECT_LE(s.quantile(0.99), 1240u);
  EXPECT_EQ(Histogram().snapshot().quantile(0.5), 0u);
}

TEST(Histogram, KeepsExtremesInsteadOfLosingThem) {
  Histogram h;
  h.observe(-5ns);
  h.observe(24h);
  auto s = h.snapshot();
  EXPECT_EQ(s.counts[0], 1u);
  EXPECT_EQ(s.counts[Histogram::buckets - 1], 1u);
  EXPECT_EQ(s.below(Histogram::octaves), 1u);
}

TEST(Registry, WritesTheTextFormat) {
  Registry r;
  r.counter("weir_b_total", "Second").add(3);
  r.gauge("weir_a", "First, with a \\ and a\nline").set(-2);
  auto& family = r.counters("weir_c_total", "By topic", {"topic", "kind"}, 10);
  family.with({"z", "1"})->add(1);
  family.with({"quote\"back\\slash\nline", "2"})->add(7);
  EXPECT_EQ(r.text(),
            "# HELP weir_a First, with a \\\\ and a\\nline\n"
            "# TYPE weir_a gauge\n"
            "weir_a -2\n"
            "# HELP weir_b_total Second\n"
            "# TYPE weir_b_total counter\n"
            "weir_b_total 3\n"
            "# HELP weir_c_total By topic\n"
            "# TYPE weir_c_total counter\n"
            "weir_c_total{topic=\"quote\\\"back\\\\slash\\nline\",kind=\"2\"} 7\n"
            "weir_c_total{topic=\"z\",kind=\"1\"} 1\n"
            "# HELP weir_metrics_label_overflows_total Look-ups of a metric by labels that were counted under "
            "\"other\" because the family is full\n"
            "# TYPE weir_metrics_label_overflows_total counter\n"
            "weir_metrics_label_overflows_total 0\n");
}

TEST(Registry, HistogramsAreCumulativeAndInSeconds) {
  Registry r;
  Histogram& h = r.histogram("weir_request_seconds", "Time of a request");
  h.observe(3us);
  h.observe(100us);
  h.observe(10min);
  std::string text = r.text();
  EXPECT_THAT(text, HasSubstr("weir_request_seconds_bucket{le=\"2e-06\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("weir_request_seconds_bucket{le=\"4e-06\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("weir_request_seconds_bucket{le=\"0.000128\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("weir_request_seconds_bucket{le=\"134.217728\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("weir_request_seconds_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("weir_request_seconds_sum 600.000103\n"));
  EXPECT_THAT(text, HasSubstr("weir_request_seconds_count 3\n"));

  r.histogram("weir_batch_bytes", "Size of a batch", Unit::plain).observe_value(1000);
  EXPECT_THAT(r.text(), HasSubstr("weir_batch_bytes_bucket{le=\"1024\"} 1\n"));
}

TEST(Registry, AFullFamilyCountsUnderOther) {
  Registry r;
  auto& family = r.counters("weir_topic_bytes_total", "Bytes", {"topic"}, 2);
  family.with({"a"})->add(1);
  family.with({"b"})->add(1);
  for (int i = 0; i < 1000; ++i) family.with({"client-" + std::to_string(i)})->add(1);
  EXPECT_EQ(family.size(), 2u);
  family.with({"a"})->add(1);  // one that is there is still found
  std::string text = r.text();
  EXPECT_THAT(text, HasSubstr("weir_topic_bytes_total{topic=\"a\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("weir_topic_bytes_total{topic=\"other\"} 1000\n"));
  EXPECT_THAT(text, HasSubstr("weir_metrics_label_overflows_total 1000\n"));

  family.remove({"b"});
  family.with({"c"})->add(4);  // the place is free again
  text = r.text();
  EXPECT_THAT(text, HasSubstr("weir_topic_bytes_total{topic=\"c\"} 4\n"));
  EXPECT_THAT(text, Not(HasSubstr("topic=\"b\"")));
}

TEST(Registry, AMetricInHandOutlivesItsRemoval) {
  Registry r;
  auto& family = r.counters("weir_x_total", "X", {"topic"}, 2);
  auto held = family.with({"gone"});
  family.remove({"gone"});
  Counter unrelated;  // must not get the cell that is still held
  held->add(9);
  EXPECT_EQ(unrelated.value(), 0u);
  EXPECT_EQ(held->value(), 9u);
}

TEST(Registry, SameNameIsTheSameMetric) {
  Registry r;
  r.counter("weir_x_total", "X").add(1);
  r.counter("weir_x_total", "X").add(1);
  EXPECT_EQ(r.counter("weir_x_total", "X").value(), 2u);
  EXPECT_DEATH((void)r.gauge("weir_x_total", "X"), "used in two ways");
}

TEST(Registry, CallbacksRunUntilTheirHandleGoes) {
  Registry r;
  {
    auto up = r.gauge_callback("weir_up", "Up", [] { return 0.5; });
    auto sizes = r.collector("weir_log_bytes", "Size", Kind::gauge, {"topic", "partition"}, [](Emit& emit) {
      emit.sample({"t", "0"}, 1e12);
      emit.sample({"t", "1"}, 3);
    });
    auto moved = std::move(sizes);
    std::string text = r.text();
    EXPECT_THAT(text, HasSubstr("# TYPE weir_up gauge\nweir_up 0.5\n"));
    EXPECT_THAT(text, HasSubstr("weir_log_bytes{topic=\"t\",partition=\"0\"} 1000000000000\n"
                                "weir_log_bytes{topic=\"t\",partition=\"1\"} 3\n"));
  }
  EXPECT_THAT(r.text(), Not(HasSubstr("weir_up")));
  EXPECT_THAT(r.text(), Not(HasSubstr("weir_log_bytes")));
}

}  // namespace
}  // namespace weir::metrics
