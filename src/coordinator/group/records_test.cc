#include "coordinator/group/records.h"

#include <gtest/gtest.h>

#include <string>

namespace weir::coordinator::group {
namespace {

using bytes::Shared;

std::string hex(bytes::Bytes data) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const auto b : data) {
    text += digits[static_cast<unsigned>(b) >> 4];
    text += digits[static_cast<unsigned>(b) & 15];
  }
  return text;
}

Shared unhex(std::string_view text) {
  auto made = Shared::allocate(text.size() / 2);
  for (std::size_t i = 0; i < made.size(); ++i) {
    made.mutable_view()[i] = static_cast<std::byte>(std::stoi(std::string(text.substr(2 * i, 2)), nullptr, 16));
  }
  return made;
}

// Written by the generated classes of Apache Kafka 3.9.1 (OffsetCommitValue, GroupMetadataValue, ...), v0 to v4.
constexpr std::string_view offset_key_hex = "00010002673100066f726465727300000007";
constexpr std::string_view offset_values[] = {
    "00000000011f71fb04cb00056dc3a974610000018bcfe56800",
    "00010000011f71fb04cb00056dc3a974610000018bcfe568000000018bcfee8fc0",
    "00020000011f71fb04cb00056dc3a974610000018bcfe56800",
    "00030000011f71fb04cb0000000500056dc3a974610000018bcfe56800",
    "00040000011f71fb04cb00000005066dc3a974610000018bcfe5680000",
};
constexpr std::string_view group_key_hex = "000200026731";
constexpr std::string_view group_values[] = {
    "00000008636f6e73756d657200000003000572616e6765000463312d6100000002000463312d610002633100092f31302e302e302e310000a"
    "fc800000003010203000000020405000469322d620002633200092f31302e302e302e3200002710000000000000000106",
    "00010008636f6e73756d657200000003000572616e6765000463312d6100000002000463312d610002633100092f31302e302e302e3100049"
    "3e00000afc800000003010203000000020405000469322d620002633200092f31302e302e302e320000ea6000002710000000000000000106",
    "00020008636f6e73756d657200000003000572616e6765000463312d610000018bcfe5680100000002000463312d610002633100092f31302"
    "e302e302e31000493e00000afc800000003010203000000020405000469322d620002633200092f31302e302e302e320000ea600000271000"
    "0000000000000106",
    "00030008636f6e73756d657200000003000572616e6765000463312d610000018bcfe5680100000002000463312d61ffff000263310009"
    "2f31302e302e302e31000493e00000afc800000003010203000000020405000469322d62000269320002633200092f31302e302e302e32"
    "0000ea6000002710000000000000000106",
    "000409636f6e73756d6572000000030672616e67650563312d610000018bcfe56801030563312d61000363310a2f31302e302e302e3100"
    "0493e00000afc804010203030405000569322d620369320363320a2f31302e302e302e320000ea60000027100102060000",
};

GroupValue java_group() {
  static const Shared subscription = unhex("010203");
  static const Shared first = unhex("0405");
  static const Shared second = unhex("06");
  GroupValue value;
  value.protocol_type = "consumer";
  value.generation = 3;
  value.protocol = "range";
  value.leader = "c1-a";
  value.state_timestamp = 1700000000001;
  value.members = {{"c1-a", std::nullopt, "c1", "/10.0.0.1", 300000, 45000, subscription.view(), first.view()},
                   {"i2-b", "i2", "c2", "/10.0.0.2", 60000, 10000, {}, second.view()}};
  return value;
}

TEST(Records, WritesWhatJavaWrites) {
  EXPECT_EQ(hex(offset_key("g1", "orders", 7).view()), offset_key_hex);
  EXPECT_EQ(hex(group_key("g1").view()), group_key_hex);
  EXPECT_EQ(hex(offset_value({1234567890123, 5, "m\u00e9ta", 1700000000000, no_timestamp}).view()), offset_values[3]);
  EXPECT_EQ(hex(offset_value({1234567890123, 5, "m\u00e9ta", 1700000000000, 1700000600000}).view()), offset_values[1]);
  EXPECT_EQ(hex(group_value(java_group()).view()), group_values[3]);
}

TEST(Records, WritesAnEmptyGroupAsJavaDoes) {
  GroupValue value;
  value.protocol_type = "consumer";
  value.generation = 4;
  value.state_timestamp = 1;
  EXPECT_EQ(hex(group_value(value).view()), "00030008636f6e73756d657200000004ffffffff000000000000000100000000");
}

TEST(Records, ReadsAllVersionsOfJava) {
  for (int v = 0; v <= 4; ++v) {
    const auto data = unhex(offset_values[v]);
    const auto value = parse_offset_value(data.view());
    ASSERT_TRUE(value) << v;
    EXPECT_EQ(value->offset, 1234567890123);
    EXPECT_EQ(value->metadata, "m\u00e9ta");
    EXPECT_EQ(value->commit_timestamp, 1700000000000);
    EXPECT_EQ(value->leader_epoch, v >= 3 ? 5 : -1);
    EXPECT_EQ(value->expire_timestamp, v == 1 ? 1700000600000 : no_timestamp);

    const auto stored = unhex(group_values[v]);
    const auto group = parse_group_value(stored.view());
    ASSERT_TRUE(group) << v;
    EXPECT_EQ(group->protocol_type, "consumer");
    EXPECT_EQ(group->generation, 3);
    EXPECT_EQ(group->protocol, "range");
    EXPECT_EQ(group->leader, "c1-a");
    EXPECT_EQ(group->state_timestamp, v >= 2 ? 1700000000001 : no_timestamp);
    ASSERT_EQ(group->members.size(), 2u);
    const auto& second = group->members[1];
    EXPECT_EQ(second.member_id, "i2-b");
    EXPECT_EQ(second.instance_id.value_or("-"), v >= 3 ? "i2" : "-");
    EXPECT_EQ(second.client_host, "/10.0.0.2");
    EXPECT_EQ(second.rebalance_timeout_ms, v == 0 ? 10000 : 60000);  // v0: the session timeout
    EXPECT_EQ(second.session_timeout_ms, 10000);
    EXPECT_EQ(hex(group->members[0].subscription), "010203");
    EXPECT_EQ(hex(second.assignment), "06");
  }
  const auto key = unhex(offset_key_hex);
  const auto parsed = parse_key(key.view());
  ASSERT_TRUE(parsed);
  const auto& offset = std::get<OffsetKey>(*parsed);
  EXPECT_EQ(offset.group, "g1");
  EXPECT_EQ(offset.topic, "orders");
  EXPECT_EQ(offset.partition, 7);
}

TEST(Records, KeysOfLaterProtocolsAreTold) {
  const auto key = unhex("000300026731");  // ConsumerGroupMetadataKey of KIP-848
  EXPECT_EQ(std::get<UnknownKey>(*parse_key(key.view())).version, 3);
}

TEST(Records, EveryPrefixIsRefusedAndNothingIsReadPastTheEnd) {
  for (int v = 0; v <= 4; ++v) {
    const auto stored = unhex(group_values[v]);
    for (std::size_t n = 0; n < stored.size(); ++n) {
      // A copy of its own size, so that the sanitizer sees a read past it.
      EXPECT_FALSE(parse_group_value(Shared::copy(stored.view().first(n)).view())) << v << " " << n;
    }
    const auto value = unhex(offset_values[v]);
    for (std::size_t n = 0; n < value.size(); ++n) {
      EXPECT_FALSE(parse_offset_value(Shared::copy(value.view().first(n)).view())) << v << " " << n;
    }
  }
  const auto key = unhex(offset_key_hex);
  for (std::size_t n = 0; n < key.size(); ++n) EXPECT_FALSE(parse_key(key.view().first(n)));
}

TEST(Records, ACountThatLiesIsRefusedWithoutItsMemory) {
  EXPECT_FALSE(parse_group_value(unhex("00030008636f6e73756d657200000004ffffffff00000000000000017fffffff").view()));
  EXPECT_FALSE(parse_group_value(unhex("00030008636f6e73756d657200000004ffffffff0000000000000001ffffffff").view()));
  EXPECT_FALSE(parse_group_value(unhex("0005").view()));
  EXPECT_FALSE(parse_offset_value(unhex("ffff").view()));
}

}  // namespace
}  // namespace weir::coordinator::group
