// The content of Kafka's znodes, which any tool may have written. The first byte chooses the kind.
#include "fuzz/fuzz.h"
#include "zkwire/layout.h"

namespace weir::fuzz {
namespace {

using namespace zkwire::layout;

constexpr std::string_view path = "/some/path";

// What decodes is written by us and read again as the same.
template <class Decode, class Encode>
void turn(std::string_view data, Decode decode, Encode encode_it) {
  const auto first = decode(path, data);
  if (!first) {
    WEIR_CHECK(first.error().message.contains(path), "an error names the path");
    return;
  }
  const auto text = encode_it(*first);
  const auto again = decode(path, text);
  WEIR_CHECK(again, "what was written is read again");
  WEIR_CHECK(encode_it(*again) == text, "and is the same");
}
constexpr auto encode_any = [](const auto& value) { return encode(value); };

constexpr std::uint8_t kinds = 16;

void read(std::uint8_t kind, std::string_view data) {
  switch (kind) {
    case 0: return turn(data, decode_broker, encode_any);
    case 1: return turn(data, decode_topic, encode_any);
    case 2: return turn(data, decode_partition_state, encode_any);
    case 3: return turn(data, decode_controller, encode_any);
    case 4: return turn(data, decode_controller_epoch, encode_controller_epoch);
    case 5: return turn(data, decode_cluster_id, [](const std::string& id) { return encode_cluster_id(id); });
    case 6: return turn(data, decode_config, encode_config);
    case 7: return turn(data, decode_config_change, encode_any);
    case 8: return turn(data, decode_partition_set, encode_partition_set);
    case 9: return turn(data, decode_reassignment, encode_reassignment);
    case 10: return turn(data, decode_log_dir_event, encode_log_dir_event);
    case 11: return turn(data, decode_producer_id_block, encode_any);
    case 12: return turn(data, decode_features, encode_any);
    case 13: return turn(data, decode_acl, encode_acl);
    case 14: return turn(data, decode_acl_change, encode_any);
    case 15:
      WEIR_CHECK(desanitize(sanitize(data)) == data, "a name comes back");
      (void)desanitize(data);
      (void)broker_of_child(data);
      return;
    default: return;
  }
}

}  // namespace

void run(bytes::Bytes input) {
  const auto kind = choice(input);
  read(kind % kinds, own(input));
}

std::vector<std::string> seeds() {
  BrokerRegistration broker;
  broker.endpoints = {{"INTERNAL", "SSL", "h", 9093}};
  broker.rack = "r";
  broker.features["f"] = {1, 2};
  TopicAssignment topic;
  topic.partitions[PartitionId{0}] = {{BrokerId{1}, BrokerId{2}}, {BrokerId{2}}, {BrokerId{1}}};
  PartitionState state;
  state.isr = {BrokerId{1}, BrokerId{2}};
  std::vector<std::string> out = {
      seed(0, encode(broker)),
      seed(0, R"({"version":1,"host":"localhost","port":9092,"jmx_port":-1,"timestamp":"2233345666"})"),
      seed(1, encode(topic)),
      seed(1, R"({"version":1,"partitions":{"0":[1,2],"1":[2]}})"),
      seed(2, encode(state)),
      seed(3, encode(ControllerRegistration{BrokerId{1}, 5, -1})),
      seed(4, encode_controller_epoch(ControllerEpoch{3})),
      seed(5, encode_cluster_id("abc")),
      seed(6, encode_config({{"retention.ms", "1"}})),
      seed(7, encode(ConfigChange{"topics", "t"})),
      seed(7, R"({"version":1,"entity_type":"topics","entity_name":"t"})"),
      seed(8, encode_partition_set({{"t", PartitionId{0}}})),
      seed(9, encode_reassignment({{{"t", PartitionId{0}}, {BrokerId{1}}}})),
      seed(10, encode_log_dir_event(BrokerId{1})),
      seed(11, encode(ProducerIdBlock{BrokerId{1}, 0, 999})),
      seed(12, encode(Features{})),
      seed(12, R"({"version":1,"status":1,"features":{"f":{"min_version_level":1,"max_version_level":2}}})"),
      seed(13, encode_acl({{"User:a", "Allow", "Read", "*"}})),
      seed(14, encode(AclChange{true, "TOPIC", "t"})),
      seed(14, "Topic:t"),
      seed(15, "a%20<b>/\xc3\xa9"),
  };
  return out;
}

}  // namespace weir::fuzz
