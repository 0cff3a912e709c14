// The tables of configuration keys: what exists, its type, default, range, and how it may be changed.
//
// Facts follow Apache Kafka 3.9 (and 2.2 for keys removed since); texts are Weir's own. A key that is `accepted` is
// known, so that a configuration of a real cluster loads without noise, but has no effect in Weir.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::config {

// The numbers are those of DescribeConfigs (ConfigType in response v3+).
enum class Type : std::int8_t {
  boolean = 1,
  string = 2,
  int32 = 3,
  int16 = 4,
  int64 = 5,
  float64 = 6,
  list = 7,
  class_name = 8,
  password = 9,
};
std::string_view name(Type type);  // "int"
enum class Importance : std::uint8_t { high, medium, low };
// KIP-226: read_only needs a restart; per_broker may be set on one broker while it runs (and on the cluster default
// where Kafka allows it); cluster_wide on one broker or for all. at_start: as read_only, but what brokers of Kafka,
// which may change it while they run, left in ZooKeeper for one broker counts when it starts.
enum class Update : std::uint8_t { read_only, at_start, per_broker, cluster_wide };
enum class Effect : std::uint8_t { active, accepted };

// Forms that a set of values or bounds cannot say.
enum class Form : std::uint8_t {
  any,
  kafka_version,       // "3.9", "2.2-IV1", "0.10.2"
  throttled_replicas,  // "", "*", or "PARTITION:BROKER,..."
};

// What a value must be, beyond its type.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::string_view one_of = {};  // "a|b|c": one of them; for a list, each item is one of them. Empty: anything.
  bool ignore_case = false;      // of one_of
  bool not_empty = false;        // a string or list of at least one character or item
  bool or_minus_one = false;     // -1 is also good
  Form form = Form::any;
};

struct Key {
  std::string_view name;
  Type type;
  std::optional<std::string_view> initial;  // the default; nothing for null
  Range range;
  Importance importance;
  Update update;
  Effect effect;
  std::string_view doc;
  std::string_view broker_key = {};  // topic keys: the broker key that gives the default
};

// A table sorted by name.
class Table {
 public:
  constexpr explicit Table(std::span<const Key> keys) : keys_(keys) {}
  const Key* find(std::string_view name) const;  // nullptr: not a key
  std::span<const Key> all() const { return keys_; }

 private:
  std::span<const Key> keys_;
};

const Table& broker_keys();  // with Weir's own, which begin with "weir."
const Table& topic_keys();
const Table& group_keys();           // consumer and share groups (KIP-848, KIP-932)
const Table& client_metrics_keys();  // KIP-714

// The key behind a name as it stands in a file: "listener.name.internal.ssl.keystore.location" finds
// ssl.keystore.location; nullptr when nothing is known.
const Key* find_broker_key(std::string_view name);

// Why `value` cannot be the value of `key`: "num.partitions=0: must be at least 1". Nothing when it can.
// Values of passwords are not shown. `written` is the key as it stands in the file, if another than its name
// ("listener.name.internal.max.connections").
std::optional<std::string> complaint(const Key& key, std::string_view value, std::string_view written = {});

// "at least 1", "some of: compact, delete"; empty when any value of the type is good.
std::string range_text(const Key& key);

// Typed reading; nothing when the text is not of that type. Surrounding blanks are ignored, as in Kafka.
std::optional<bool> parse_bool(std::string_view text);
std::optional<std::int64_t> parse_int(std::string_view text);
std::optional<double> parse_double(std::string_view text);
// Items between commas, without surrounding blanks; no items for an empty text.
std::vector<std::string> parse_list(std::string_view text);

}  // namespace weir::config
