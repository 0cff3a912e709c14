#include "cluster/assign.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <sstream>

namespace weir::cluster {
namespace {

// What Apache Kafka 3.9.1's AdminUtils.assignReplicasToBrokers gave: `brokers` brokers 1.. without racks, or one
// broker from 0 on for each of `racks`; start index and shift were the same number.
struct Case {
  int brokers;
  const char* racks;
  int partitions;
  int factor;
  int start;
  int first_partition;
  const char* expected;
};
const Case cases[] = {
    {5, "", 10, 3, 0, 0, "1.2.3 2.3.4 3.4.5 4.5.1 5.1.2 1.3.4 2.4.5 3.5.1 4.1.2 5.2.3"},
    {5, "", 10, 3, 2, 1, "4.2.3 5.3.4 1.4.5 2.5.1 3.2.4 4.3.5 5.4.1 1.5.2 2.1.3 3.4.5"},
    {3, "", 7, 1, 1, 0, "2 3 1 2 3 1 2"},
    {1, "", 3, 1, 0, 0, "1 1 1"},
    {4, "", 9, 4, 3, 2, "2.3.4.1 3.4.1.2 4.2.3.1 1.3.4.2 2.4.1.3 3.1.2.4 4.3.1.2 1.4.2.3 2.1.3.4"},
    {6, "", 13, 2, 5, 7, "1.2 2.3 3.4 4.5 5.6 6.2 1.3 2.4 3.5 4.6 5.1 6.3 1.4"},
    {0, "rack1|rack2|rack2|rack3|rack3|rack1", 7, 3, 0, 0, "0.1.3 1.3.5 3.5.2 5.2.4 2.4.0 4.0.1 0.2.4"},
    {0, "rack1|rack2|rack2|rack3|rack3|rack1", 9, 3, 2, 1, "5.4.1 2.0.3 4.1.5 0.3.2 1.5.4 3.1.5 5.3.2 2.5.4 4.2.0"},
    {0, "rack1|rack2|rack2|rack3|rack3|rack1", 10, 3, 1, 4,
     "4.5.2 0.2.4 1.5.4 3.2.0 5.4.1 2.0.3 4.1.5 0.3.2 1.0.3 3.1.5"},
    {0, "rack1|rack2|rack2|rack3|rack3|rack1", 6, 2, 0, 0, "0.1 1.3 3.5 5.2 2.4 4.0"},
    {0, "rack1|rack2|rack2|rack3|rack3|rack1", 8, 4, 3, 0,
     "5.3.2.4 2.5.4.0 4.2.0.1 0.4.1.3 1.0.3.5 3.1.5.2 5.1.3.2 2.3.5.4"},
    {0, "rack1|rack2|rack2|rack3|rack3|rack1", 11, 5, 2, 3,
     "4.1.5.2.0 0.3.2.4.1 1.5.4.0.3 3.1.5.2.4 5.3.2.4.0 2.5.4.0.1 4.2.0.1.3 0.4.1.3.5 1.0.3.5.2 3.0.1.5.2 5.1.3.2.4"},
    {0, "a|a|a|b|b|c", 7, 3, 0, 0, "0.3.5 3.5.1 5.1.4 1.4.5 4.2.5 2.3.5 0.4.5"},
    {0, "a|a|a|b|b|c", 9, 3, 2, 1, "1.3.5 4.0.5 2.3.5 0.5.4 3.1.5 5.3.1 1.5.4 4.1.5 2.4.5"},
    {0, "a|a|a|b|b|c", 10, 3, 1, 4, "2.4.5 0.4.5 3.1.5 5.4.2 1.3.5 4.0.5 2.3.5 0.5.4 3.0.5 5.3.1"},
    {0, "a|a|a|b|b|c", 6, 2, 0, 0, "0.3 3.5 5.1 1.4 4.2 2.3"},
    {0, "a|a|a|b|b|c", 8, 4, 3, 0, "1.5.4.2 4.1.5.2 2.4.5.1 0.3.5.1 3.0.5.1 5.3.1.4 1.3.5.4 4.5.1.2"},
    {0, "a|a|a|b|b|c", 11, 5, 2, 3,
     "2.3.5.1.4 0.5.4.2.3 3.1.5.4.2 5.3.1.4.2 1.5.4.2.0 4.1.5.2.0 2.4.5.1.0 0.3.5.1.4 3.0.5.1.4 5.2.3.1.4 1.3.5.4.2"},
    {0, "r1|r1|r2|r2", 7, 3, 0, 0, "0.2.1 2.1.3 1.3.0 3.0.2 0.3.2 2.0.1 1.2.3"},
    {0, "r1|r1|r2|r2", 9, 3, 2, 1, "3.1.0 0.3.2 2.0.1 1.3.0 3.0.2 0.2.1 2.1.3 1.2.3 3.1.0"},
    {0, "r1|r1|r2|r2", 10, 3, 1, 4, "2.0.1 1.2.3 3.1.0 0.3.2 2.1.3 1.3.0 3.0.2 0.2.1 2.0.1 1.2.3"},
    {0, "r1|r1|r2|r2", 6, 2, 0, 0, "0.2 2.1 1.3 3.0 0.3 2.0"},
    {0, "r1|r1|r2|r2", 8, 4, 3, 0, "3.0.2.1 0.2.1.3 2.1.3.0 1.3.0.2 3.1.0.2 0.3.2.1 2.0.1.3 1.2.3.0"},
    {0, "x|y|z", 7, 3, 0, 0, "0.1.2 1.2.0 2.0.1 0.2.1 1.0.2 2.1.0 0.1.2"},
    {0, "x|y|z", 9, 3, 2, 1, "0.1.2 1.2.0 2.1.0 0.2.1 1.0.2 2.0.1 0.1.2 1.2.0 2.1.0"},
    {0, "x|y|z", 10, 3, 1, 4, "2.1.0 0.2.1 1.2.0 2.0.1 0.1.2 1.0.2 2.1.0 0.2.1 1.2.0 2.0.1"},
    {0, "x|y|z", 6, 2, 0, 0, "0.1 1.2 2.0 0.2 1.0 2.1"},
    {0, "b|a|b|a|c", 7, 3, 0, 0, "1.0.4 0.4.3 4.3.2 3.2.4 2.1.4 1.2.4 0.1.4"},
    {0, "b|a|b|a|c", 9, 3, 2, 1, "3.0.4 2.4.3 1.2.4 0.1.4 4.2.1 3.0.4 2.4.3 1.4.2 0.3.4"},
    {0, "b|a|b|a|c", 10, 3, 1, 4, "1.2.4 0.1.4 4.1.0 3.0.4 2.4.3 1.2.4 0.3.4 4.2.1 3.0.4 2.4.3"},
    {0, "b|a|b|a|c", 6, 2, 0, 0, "1.0 0.4 4.3 3.2 2.1 1.2"},
    {0, "b|a|b|a|c", 8, 4, 3, 0, "3.0.4.2 2.4.3.1 1.4.2.0 0.3.4.2 4.2.1.0 3.2.4.1 2.1.4.3 1.0.4.3"},
    {0, "b|a|b|a|c", 11, 5, 2, 3,
     "1.2.4.3.0 0.1.4.3.2 4.2.1.0.3 3.0.4.2.1 2.4.3.1.0 1.4.2.0.3 0.3.4.2.1 4.3.2.1.0 3.2.4.1.0 2.1.4.3.0 1.0.4.3.2"},
};

std::vector<BrokerRack> brokers_of(const Case& c) {
  std::vector<BrokerRack> out;
  for (int i = 1; i <= c.brokers; ++i) out.push_back({BrokerId{i}, std::nullopt});
  std::stringstream racks(c.racks);
  std::string rack;
  while (std::getline(racks, rack, '|')) out.push_back({BrokerId{static_cast<std::int32_t>(out.size())}, rack});
  return out;
}

TEST(Assign, AsKafkaDoesIt) {
  for (const Case& c : cases) {
    const auto start = static_cast<std::uint32_t>(c.start);
    const auto got = assign_replicas(brokers_of(c), c.partitions, c.factor, {start, start, c.first_partition});
    ASSERT_TRUE(got.has_value());
    std::string text;
    for (const auto& replicas : *got) {
      if (!text.empty()) text += ' ';
      for (std::size_t i = 0; i < replicas.size(); ++i)
        text += fmt::format("{}{}", i == 0 ? "" : ".", replicas[i].value);
    }
    EXPECT_EQ(text, c.expected) << c.racks << " " << c.brokers << " start " << c.start;
  }
}

TEST(Assign, NeighboursAreOfDifferentRacks) {
  const std::vector<BrokerRack> brokers = {{BrokerId{0}, "rack1"}, {BrokerId{1}, "rack3"}, {BrokerId{2}, "rack3"},
                                           {BrokerId{3}, "rack2"}, {BrokerId{4}, "rack2"}, {BrokerId{5}, "rack1"}};
  const std::vector<BrokerId> expected = {BrokerId{0}, BrokerId{3}, BrokerId{1}, BrokerId{5}, BrokerId{4}, BrokerId{2}};
  EXPECT_EQ(rack_alternated(brokers), expected);
}

TEST(Assign, WhatCannotBeIsRefused) {
  const std::vector<BrokerRack> one = {{BrokerId{0}, std::nullopt}};
  const std::vector<BrokerRack> mixed = {{BrokerId{0}, "a"}, {BrokerId{1}, std::nullopt}};
  EXPECT_EQ(assign_replicas(one, 0, 1, {}).error().code, ErrorCode::INVALID_PARTITIONS);
  EXPECT_EQ(assign_replicas(one, 1, 0, {}).error().code, ErrorCode::INVALID_REPLICATION_FACTOR);
  EXPECT_EQ(assign_replicas(one, 1, 2, {}).error().code, ErrorCode::INVALID_REPLICATION_FACTOR);
  EXPECT_EQ(assign_replicas({}, 1, 1, {}).error().code, ErrorCode::INVALID_REPLICATION_FACTOR);
  EXPECT_EQ(assign_replicas(mixed, 1, 1, {}).error().code, ErrorCode::INVALID_REQUEST);
}

}  // namespace
}  // namespace weir::cluster
