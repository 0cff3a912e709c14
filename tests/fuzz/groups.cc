// The records of __consumer_offsets and the consumers' subscriptions. The first byte chooses the kind.
#include "coordinator/batches.h"
#include "coordinator/group/records.h"
#include "coordinator/group/subscription.h"
#include "fuzz/fuzz.h"

namespace weir::fuzz {
namespace {

using namespace coordinator;
using namespace coordinator::group;

constexpr std::uint8_t kinds = 5;

void read_batches(bytes::Bytes from) {
  std::size_t seen = 0;
  const auto each = [&seen](const LoadedRecord& record) {
    if (record.key) (void)parse_key(*record.key);
    return ++seen < 10'000;
  };
  (void)each_record(from, each);
}

}  // namespace

void run(bytes::Bytes input) {
  const auto kind = choice(input);
  const auto text = own(input);
  const auto from = bytes::as_bytes(text);
  switch (kind % kinds) {
    case 0: (void)parse_key(from); return;
    case 1: (void)parse_offset_value(from); return;
    case 2: (void)parse_group_value(from); return;
    case 3: {
      std::set<std::string, std::less<>> topics;
      (void)add_subscribed_topics(from, topics);
      return;
    }
    case 4: return read_batches(from);
    default: return;
  }
}

std::vector<std::string> seeds() {
  OffsetValue offset;
  offset.offset = 5;
  offset.metadata = "noted";
  offset.commit_timestamp = 1'700'000'000'000;
  auto expiring = offset;
  expiring.expire_timestamp = 1'700'000'000'001;
  GroupValue group;
  group.protocol_type = "consumer";
  group.generation = 3;
  group.protocol = "range";
  group.leader = "m";
  auto& member = group.members.emplace_back();
  member.member_id = "m";
  member.instance_id = "i";
  member.client_id = "c";
  member.client_host = "/127.0.0.1";
  member.subscription = bytes::as_bytes("abc");
  member.assignment = bytes::as_bytes("def");
  Append append;
  append.records.push_back({group_key("g"), group_value(group)});
  append.records.push_back({offset_key("g", "t", 0), std::nullopt});
  const std::string subscription("\0\1\0\0\0\1\0\1t\xff\xff\xff\xff\0\0\0\0", 17);
  return {
      seed(0, offset_key("g", "t", 0).text()), seed(0, group_key("g").text()),     seed(1, offset_value(offset).text()),
      seed(1, offset_value(expiring).text()),  seed(2, group_value(group).text()), seed(3, subscription),
      seed(4, batch_of(append).text()),
  };
}

}  // namespace weir::fuzz
