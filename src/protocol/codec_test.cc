// The generated messages: what lies on the wire, what a hostile peer gets, and what the sender of file ranges is told.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "bytes/cursor.h"
#include "protocol/api.h"
#include "protocol/frame.h"
#include "protocol/messages/api_versions.h"
#include "protocol/messages/describe_topic_partitions.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/metadata.h"
#include "protocol/messages/offset_fetch.h"
#include "protocol/messages/produce.h"
#include "protocol/messages/record_consumer_protocol.h"
#include "protocol/messages/record_offset_commit.h"
#include "protocol/messages/sasl_authenticate.h"
#include "protocol/messages/streams_group_heartbeat.h"
#include "protocol/messages/update_metadata.h"
#include "protocol/wire.h"

namespace weir::protocol {
namespace {

using bytes::Reader;
using bytes::Writer;

std::string from_hex(std::string_view hex) {
  std::string out;
  int high = -1;
  for (const char c : hex) {
    if (c == ' ') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<char>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}

std::string to_hex(std::string_view data) {
  std::string out;
  for (const char c : data) {
    for (const int digit : {(c >> 4) & 15, c & 15}) out.push_back("0123456789abcdef"[digit]);
  }
  return out;
}

template <class M>
std::string encoded(const M& message, std::int16_t version) {
  const Size size = encoded_size(message, version);
  EXPECT_EQ(size.outside, 0U);
  std::string out(size.buffer, '\0');
  Writer to(std::as_writable_bytes(std::span(out)));
  encode(to, version, message);
  EXPECT_EQ(to.left(), 0U);
  return out;
}

// Decodes all of `data`; the message's views point into `data`.
template <class M>
bool decoded(std::string_view data, std::int16_t version, M& message) {
  Reader in(bytes::as_bytes(data));
  return decode(in, version, message) && in.done();
}

// Every proper beginning of a good message is refused.
template <class M>
void refuses_beginnings(std::string_view data, std::int16_t version) {
  for (std::size_t n = 0; n < data.size(); ++n) {
    M message;
    EXPECT_FALSE(decoded(data.substr(0, n), version, message)) << n << " of " << data.size();
  }
}

TEST(Messages, ProduceRequestOldEncoding) {
  ProduceRequest m;
  m.acks = -1;
  m.timeout_ms = 1500;
  auto& topic = m.topic_data.emplace_back();
  topic.name = "ab";
  auto& partition = topic.partition_data.emplace_back();
  partition.index = 7;
  partition.records = Records::in_memory(bytes::as_bytes("xyz"));
  const auto wire = encoded(m, 3);
  EXPECT_EQ(to_hex(wire), to_hex(from_hex("ffff ffff 000005dc 00000001 0002 6162 00000001 00000007 00000003 78797a")));
  EXPECT_EQ(encoded(m, 2), wire.substr(2));  // no transactional id before version 3

  ProduceRequest back;
  ASSERT_TRUE(decoded(wire, 3, back));
  EXPECT_FALSE(back.transactional_id.has_value());
  EXPECT_EQ(back.topic_data[0].name, "ab");
  const auto& records = back.topic_data[0].partition_data[0].records;
  EXPECT_EQ(bytes::as_text(records.view), "xyz");
  EXPECT_EQ(static_cast<const void*>(records.view.data()), wire.data() + wire.size() - 3) << "a view, not a copy";
  refuses_beginnings<ProduceRequest>(wire, 3);
}

TEST(Messages, ProduceRequestFlexibleEncoding) {
  ProduceRequest m;
  m.transactional_id = "t";
  m.acks = 1;
  m.timeout_ms = 1;
  auto& topic = m.topic_data.emplace_back();
  topic.name = "ab";
  auto& partition = topic.partition_data.emplace_back();
  partition.index = 7;  // null records
  const auto wire = encoded(m, 9);
  EXPECT_EQ(to_hex(wire), to_hex(from_hex("02 74 0001 00000001 02 03 6162 02 00000007 00 00 00 00")));
  ProduceRequest back;
  ASSERT_TRUE(decoded(wire, 9, back));
  EXPECT_EQ(back.transactional_id, "t");
  EXPECT_TRUE(back.topic_data[0].partition_data[0].records.null);
  refuses_beginnings<ProduceRequest>(wire, 9);
}

TEST(Messages, AFieldThatTheVersionLacksIsNotWritten) {
  ProduceRequest m;
  m.topic_data.emplace_back().name = "by name";
  m.topic_data[0].topic_id.bytes[15] = 5;
  ProduceRequest back;
  const auto by_id = encoded(m, 13);
  ASSERT_TRUE(decoded(by_id, 13, back));
  EXPECT_EQ(back.topic_data[0].name, "");
  EXPECT_EQ(back.topic_data[0].topic_id, m.topic_data[0].topic_id);
  ProduceRequest old;
  const auto by_name = encoded(m, 12);
  ASSERT_TRUE(decoded(by_name, 12, old));
  EXPECT_EQ(old.topic_data[0].name, "by name");
  EXPECT_TRUE(old.topic_data[0].topic_id.is_zero());
}

TEST(Messages, MetadataNullTopicsMeanAllAndVersionZeroHasNoNull) {
  MetadataRequest m;
  m.topics.reset();
  EXPECT_EQ(to_hex(encoded(m, 1)), "ffffffff");
  EXPECT_EQ(to_hex(encoded(m, 0)), "00000000");
  MetadataRequest back;
  const auto null = from_hex("ffffffff");
  ASSERT_TRUE(decoded(null, 1, back));
  EXPECT_FALSE(back.topics.has_value());
  EXPECT_FALSE(decoded(null, 0, back));
  const auto negative = from_hex("fffffffe");
  EXPECT_FALSE(decoded(negative, 1, back));
}

TEST(Messages, MetadataResponseRoundTrip) {
  for (std::int16_t version = MetadataResponse::version_min; version <= MetadataResponse::version_max; ++version) {
    MetadataResponse m;
    m.throttle_time_ms = 3;
    m.cluster_id = "cluster";
    m.controller_id = 1;
    auto& broker = m.brokers.emplace_back();
    broker.node_id = 1;
    broker.host = "127.0.1.1";
    broker.port = 9092;
    auto& topic = m.topics.emplace_back();
    topic.error_code = 3;
    topic.name = "t";
    auto& partition = topic.partitions.emplace_back();
    partition.leader_id = 1;
    partition.replica_nodes = {1, 2, 3};
    partition.isr_nodes = {1, 3};
    const auto wire = encoded(m, version);
    MetadataResponse back;
    ASSERT_TRUE(decoded(wire, version, back)) << version;
    EXPECT_EQ(back.brokers.at(0).host, "127.0.1.1");
    EXPECT_EQ(back.brokers[0].port, 9092);
    EXPECT_EQ(back.topics.at(0).error_code, 3);
    EXPECT_EQ(back.topics[0].partitions.at(0).isr_nodes, (std::vector<std::int32_t>{1, 3}));
    EXPECT_EQ(back.cluster_id, version >= 2 ? std::optional<std::string_view>("cluster") : std::nullopt);
    EXPECT_EQ(to_hex(encoded(back, version)), to_hex(wire)) << version;
    refuses_beginnings<MetadataResponse>(wire, version);
  }
}

TEST(Messages, VersionsOutsideTheSchemaAreRefused) {
  const auto wire = from_hex("00000000");
  MetadataRequest m;
  for (const std::int16_t version : {-1, 14, 32767, -32768}) {
    Reader in(bytes::as_bytes(wire));
    EXPECT_FALSE(decode(in, version, m)) << version;
  }
}

TEST(Tags, KnownOnesAreWrittenOnlyWhenTheyDiffer) {
  ApiVersionsResponse m;
  m.api_keys.emplace_back().max_version = 5;
  // error, one key of 6 bytes and no tags, throttle time, no tags
  EXPECT_EQ(to_hex(encoded(m, 3)), to_hex(from_hex("0000 02 0000 0000 0005 00 00000000 00")));
  m.finalized_features_epoch = 7;
  m.zk_migration_ready = true;
  EXPECT_EQ(to_hex(encoded(m, 3)),
            to_hex(from_hex("0000 02 0000 0000 0005 00 00000000 02 01 08 0000000000000007 03 01 01")));
  EXPECT_EQ(to_hex(encoded(m, 2)), to_hex(from_hex("0000 00000001 0000 0000 0005 00000000")));
}

TEST(Tags, UnknownOnesAreKeptInTheirPlace) {
  // Tag 1 is known (the epoch); 2 is known; 9 and 300 are not.
  const auto wire = from_hex("0000 01 00000000 04 01 08 0000000000000007 03 01 01 09 03 616263 ac02 00");
  ApiVersionsResponse m;
  ASSERT_TRUE(decoded(wire, 3, m));
  EXPECT_EQ(m.finalized_features_epoch, 7);
  EXPECT_TRUE(m.zk_migration_ready);
  ASSERT_EQ(m.unknown_tags.size(), 2U);
  EXPECT_EQ(m.unknown_tags[0].tag, 9U);
  EXPECT_EQ(bytes::as_text(m.unknown_tags[0].data), "abc");
  EXPECT_EQ(m.unknown_tags[1].tag, 300U);
  EXPECT_EQ(to_hex(encoded(m, 3)), to_hex(wire));
  refuses_beginnings<ApiVersionsResponse>(wire, 3);

  ApiVersionsRequest bare;
  const auto request = from_hex("01 01 01 05 02 6869");
  ASSERT_TRUE(decoded(request, 3, bare));
  EXPECT_EQ(bare.unknown_tags.at(0).tag, 5U);
  EXPECT_EQ(encoded(bare, 3), request);
}

TEST(Tags, ALowerUnknownTagStaysBeforeAKnownOne) {
  FetchRequest m;
  m.replica_state.replica_id = 4;  // tag 1
  m.unknown_tags.push_back({.tag = 7, .data = bytes::as_bytes("z")});
  const auto wire = encoded(m, 15);
  FetchRequest back;
  ASSERT_TRUE(decoded(wire, 15, back));
  EXPECT_EQ(back.replica_state.replica_id, 4);
  EXPECT_EQ(back.unknown_tags.at(0).tag, 7U);
  // In version 12 the schema has tag 0 only: what the peer sent as tag 1 is unknown, and comes back as it was.
  const auto old = from_hex("ffffffff 00000000 00000000 00000000 00 00000000 00000000 01 01 01 02 01 01 78 07 01 7a");
  FetchRequest as_old;
  ASSERT_TRUE(decoded(old, 12, as_old));
  ASSERT_EQ(as_old.unknown_tags.size(), 2U);
  as_old.cluster_id = "c";
  const auto with_cluster = encoded(as_old, 12);
  EXPECT_EQ(to_hex(with_cluster),
            to_hex(old.substr(0, old.size() - 7)) + to_hex(from_hex("03 00 02 02 63 01 01 78 07 01 7a")));
}

TEST(Tags, AKnownFieldWhoseLengthLiesIsRefused) {
  for (const char* tag : {"01 07 00000000000000", "01 09 000000000000000700", "03 00", "03 02 0100", "03 7f 01"}) {
    ApiVersionsResponse hostile;
    EXPECT_FALSE(decoded(from_hex(std::string("0000 01 00000000 01 ") + tag), 3, hostile)) << tag;
  }
}

TEST(Tags, ATagGivenTwiceCountsOnce) {
  // Features "a", then features "b".
  const auto wire = from_hex("0000 01 00000000 02 00 08 02 02 61 0000 0001 00 00 08 02 02 62 0000 0001 00");
  ApiVersionsResponse m;
  ASSERT_TRUE(decoded(wire, 3, m));
  ASSERT_EQ(m.supported_features.size(), 1U);
  EXPECT_EQ(m.supported_features[0].name, "b");
}

TEST(Tags, ANestedStructAtItsDefaultIsNotWritten) {
  ProduceResponse m;
  m.responses.emplace_back().partition_responses.emplace_back();
  const auto without = encoded(m, 10);
  m.responses[0].partition_responses[0].current_leader.leader_id = 2;
  const auto with = encoded(m, 10);
  EXPECT_EQ(with.size(), without.size() + 2 + 9);  // tag, length; two int32 and no tags
  ProduceResponse back;
  ASSERT_TRUE(decoded(with, 10, back));
  EXPECT_EQ(back.responses[0].partition_responses[0].current_leader.leader_id, 2);
  EXPECT_EQ(back.responses[0].partition_responses[0].current_leader.leader_epoch, -1);
}

TEST(Tags, NullableStructs) {
  DescribeTopicPartitionsRequest m;
  m.topics.emplace_back().name = "t";
  const auto none = encoded(m, 0);
  m.cursor.emplace().topic_name = "u";
  m.cursor->partition_index = 9;
  const auto some = encoded(m, 0);
  DescribeTopicPartitionsRequest back;
  ASSERT_TRUE(decoded(none, 0, back));
  EXPECT_FALSE(back.cursor.has_value());
  ASSERT_TRUE(decoded(some, 0, back));
  EXPECT_EQ(back.cursor->partition_index, 9);
  EXPECT_EQ(encoded(back, 0), some);
}

TEST(Hostile, LengthsThatLie) {
  struct Case {
    const char* why;
    std::int16_t version;
    const char* wire;
  };
  for (const auto& c : std::vector<Case>{
           {"topics: 2 billion", 3, "ffff 0001 00000000 7fffffff"},
           {"topics: more than the rest can hold", 3, "ffff 0001 00000000 00000003 0000 00000000 0000 00000000"},
           {"topics: negative, not null", 3, "ffff 0001 00000000 fffffffe"},
           {"topics: null where there is none", 3, "ffff 0001 00000000 ffffffff"},
           {"string: negative, not null", 3, "fffe 0001 00000000 00000000"},
           {"string: longer than the rest", 3, "0010 61"},
           {"records: longer than the rest", 3, "ffff 0001 00000000 00000001 0001 61 00000001 00000000 00000009 61"},
           {"records: negative", 3, "ffff 0001 00000000 00000001 0001 61 00000001 00000000 80000000"},
           {"compact array: 4 billion", 9, "00 0001 00000000 ffffffff0f"},
           {"compact array: null", 9, "00 0001 00000000 00 00"},
           {"compact string: over 32767", 9, "818002"},
           {"varint of six bytes", 9, "808080808001"},
           {"varint over 32 bits", 9, "ffffffff1f"},
           {"4 billion tags", 9, "00 0001 00000000 01 ffffffff0f"},
           {"a tag longer than the rest", 9, "00 0001 00000000 01 01 05 ffffffff0f 61"},
       }) {
    ProduceRequest m;
    EXPECT_FALSE(decoded(from_hex(c.wire), c.version, m)) << c.why;
  }
}

TEST(Hostile, AnArrayTakesNoMoreMemoryThanItsBytesAllow) {
  // 1,000 bytes cannot hold more than 250 int32, whatever the count says.
  std::string wire = from_hex("00000001 0001 61 000000fb");
  wire.resize(wire.size() + 1000);
  OffsetFetchRequest m;
  std::string request = from_hex("0001 67") + wire;
  EXPECT_FALSE(decoded(request, 1, m));
  EXPECT_EQ(m.topics->at(0).partition_indexes.capacity(), 0U);
}

TEST(Hostile, AMessageTakesNoMoreMemoryThanAFewTimesItsBytes) {
  // Topics with an empty name take two bytes on the wire and many more in memory.
  const auto request = [](std::size_t topics) {
    std::string wire(5, '\0');
    Writer count(std::as_writable_bytes(std::span(wire)));
    count.uvarint(static_cast<std::uint32_t>(topics + 1));
    wire.resize(count.written());
    wire += std::string(2 * topics, '\1');
    for (std::size_t i = 0; i < topics; ++i) wire[wire.size() - 1 - 2 * i] = '\0';
    return wire + std::string("\0\0\0\0", 4);
  };
  MetadataRequest m;
  EXPECT_TRUE(decoded(request(100'000), 9, m));
  EXPECT_EQ(m.topics->size(), 100'000U);
  MetadataRequest large;
  EXPECT_FALSE(decoded(request(2'000'000), 9, large));
  EXPECT_TRUE(!large.topics || large.topics->empty());

  // Tags without end are an array too.
  ApiVersionsRequest tags;
  std::string wire = from_hex("01 01 80ade204");  // 10,000,000 of them
  for (std::size_t i = 0; i < 10'000'000; ++i) wire += std::string("\5\0", 2);
  EXPECT_FALSE(decoded(wire, 3, tags));
}

// What `data` says, if it says anything, encodes to as many bytes as announced and reads back.
template <class M>
void survives(std::string_view data) {
  for (int v = M::version_min; v <= M::version_max; ++v) {
    const auto version = static_cast<std::int16_t>(v);
    M m;
    Reader in(bytes::as_bytes(data));
    if (!decode(in, version, m)) continue;
    std::string out(encoded_size(m, version).buffer, '\0');
    Writer to(std::as_writable_bytes(std::span(out)));
    encode(to, version, m);
    M again;
    EXPECT_TRUE(to.left() == 0 && decoded(out, version, again)) << v << " " << to_hex(data);
  }
}

// The same noise each time through decoders of every shape: no crash and, under ASan, no read outside.
// tests/conformance does it to every message.
TEST(Hostile, Noise) {
  std::uint64_t state = 42;
  const auto next = [&state] {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  };
  std::string data(96, '\0');
  for (int round = 0; round < 2000; ++round) {
    const auto small = next() % 4 != 0;
    for (auto& c : data) c = static_cast<char>(small ? next() % 4 : next());
    const std::string_view view(data.data(), next() % (data.size() + 1));
    survives<ProduceRequest>(view);
    survives<FetchRequest>(view);
    survives<FetchResponse>(view);
    survives<MetadataResponse>(view);
    survives<ApiVersionsResponse>(view);
    survives<UpdateMetadataRequest>(view);
    survives<StreamsGroupHeartbeatRequest>(view);
    survives<ConsumerProtocolSubscription>(view);
  }
}

TEST(Gaps, FetchResponseTellsWhereTheFilesGo) {
  for (const std::int16_t version : {0, 4, 11, 12, 16, 18}) {
    FetchResponse m;
    const std::string in_memory = "in memory";
    const std::vector<std::string> files = {std::string(300, 'a'), std::string(70000, 'b')};
    for (const int topic : {0, 1}) {
      auto& t = m.responses.emplace_back();
      t.topic = "t";
      t.partitions.resize(2);
      t.partitions[0].records = topic == 0 ? Records::outside(10, files[0].size()) : Records{};
      t.partitions[1].records =
          topic == 0 ? Records::in_memory(bytes::as_bytes(in_memory)) : Records::outside(11, files[1].size());
      t.partitions[1].diverging_epoch.epoch = 3;  // tagged fields come after the records
    }
    const Frame frame = encode_response(77, version, m);
    ASSERT_EQ(frame.gaps.size(), 2U);
    EXPECT_EQ(frame.gaps[0].id, 10U);
    EXPECT_EQ(frame.gaps[1].id, 11U);
    EXPECT_EQ(encoded_size(m, version).outside, 70300U);

    // Put together as a sender would, it is the response with all of it in memory.
    std::string sent;
    std::size_t at = 0;
    for (std::size_t i = 0; i < 2; ++i) {
      sent += frame.memory.text().substr(at, frame.gaps[i].at - at);
      at = frame.gaps[i].at;
      EXPECT_EQ(frame.gaps[i].size, files[i].size());
      sent += files[i];
    }
    sent += frame.memory.text().substr(at);
    EXPECT_EQ(sent.size(), frame.size());
    m.responses[0].partitions[0].records = Records::in_memory(bytes::as_bytes(files[0]));
    m.responses[1].partitions[1].records = Records::in_memory(bytes::as_bytes(files[1]));
    const Frame whole = encode_response(77, version, m);
    EXPECT_TRUE(whole.gaps.empty());
    EXPECT_TRUE(whole.memory.text() == sent) << version;
    EXPECT_EQ(bytes::load_big<std::int32_t>(whole.memory.data()), static_cast<std::int32_t>(sent.size() - 4));
  }
}

TEST(Strings, OneThatCannotBeReadIsCut) {
  const std::string text(40000, 'x');
  SaslAuthenticateResponse m;
  m.error_message = text;
  for (const std::int16_t version : {1, 2}) {
    SaslAuthenticateResponse back;
    const auto wire = encoded(m, version);
    ASSERT_TRUE(decoded(wire, version, back));
    EXPECT_EQ(back.error_message->size(), 32767U);
  }
}

TEST(Records, KeysOfTheOffsetsTopic) {
  OffsetCommitKey key;
  key.group = "g";
  key.topic = "t";
  key.partition = 2;
  EXPECT_EQ(to_hex(encoded(key, 1)), to_hex(from_hex("0001 67 0001 74 00000002")));
  OffsetCommitValue value;
  value.offset = 5;
  value.metadata = "";
  value.commit_timestamp = 6;
  EXPECT_EQ(to_hex(encoded(value, 3)), to_hex(from_hex("0000000000000005 ffffffff 0000 0000000000000006")));
  EXPECT_EQ(to_hex(encoded(value, 4)), to_hex(from_hex("0000000000000005 ffffffff 01 0000000000000006 00")));
}

}  // namespace
}  // namespace weir::protocol
