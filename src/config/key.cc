#include "config/key.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

#include "config/broker_config.h"
#include "config/keys/keys.h"

namespace weir::config {

namespace {

constexpr std::string_view blanks = " \t\r\n\f\v";

std::string_view trim(std::string_view s) {
  auto first = s.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(blanks) - first + 1);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same(std::string_view a, std::string_view b, bool ignore_case) {
  if (!ignore_case) return a == b;
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

bool is_one_of(std::string_view value, const Range& range) {
  std::string_view rest = range.one_of;
  while (!rest.empty()) {
    auto end = std::min(rest.find('|'), rest.size());
    if (same(value, rest.substr(0, end), range.ignore_case)) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

std::string alternatives(std::string_view one_of) {
  std::string out;
  for (char c : one_of) {
    if (c == '|') {
      out += ", ";
    } else {
      out += c;
    }
  }
  return out;
}

bool is_whole(Type type) { return type == Type::int32 || type == Type::int16 || type == Type::int64; }

// "at least 1", "between 0 and 1"; empty when there are no bounds.
std::string bounds_text(const Range& range) {
  bool low = std::isfinite(range.min);
  bool high = std::isfinite(range.max);
  std::string or_minus_one = range.or_minus_one ? ", or -1" : "";
  if (low && high) return fmt::format("between {} and {}{}", range.min, range.max, or_minus_one);
  if (low) return fmt::format("at least {}{}", range.min, or_minus_one);
  if (high) return fmt::format("at most {}{}", range.max, or_minus_one);
  return {};
}

std::string_view whole_text(Type type) {
  switch (type) {
    case Type::int16: return "a whole number from -32768 to 32767";
    case Type::int32: return "a whole number from -2147483648 to 2147483647";
    default: return "a whole number of 64 bits";
  }
}

std::string form_text(Form form) {
  switch (form) {
    case Form::any: return {};
    case Form::kafka_version: return "a version of Kafka, such as 3.9 or 2.2-IV1";
    case Form::throttled_replicas: return "*, or PARTITION:BROKER separated by commas";
  }
  return {};
}

bool is_throttled_replicas(const std::vector<std::string>& items) {
  if (items.size() == 1 && items[0] == "*") return true;
  return std::ranges::all_of(items, [](const std::string& item) {
    auto colon = item.find(':');
    if (colon == std::string::npos) return false;
    auto partition = parse_int(std::string_view(item).substr(0, colon));
    auto broker = parse_int(std::string_view(item).substr(colon + 1));
    return partition && broker && *partition >= 0 && *broker >= 0;
  });
}

// What is wrong with the value, as the end of a sentence; nothing when it is good.
std::optional<std::string> fault(const Key& key, std::string_view value) {
  const Range& range = key.range;
  auto in_bounds = [&](double v) { return (v >= range.min && v <= range.max) || (range.or_minus_one && v == -1); };
  switch (key.type) {
    case Type::boolean:
      if (!parse_bool(value)) return "must be true or false";
      return std::nullopt;
    case Type::int16:
    case Type::int32:
    case Type::int64: {
      auto v = parse_int(value);
      bool fits = v && (key.type == Type::int64 || (key.type == Type::int32 && *v == static_cast<std::int32_t>(*v)) ||
                        (key.type == Type::int16 && *v == static_cast<std::int16_t>(*v)));
      std::string bounds = bounds_text(range);
      if (!fits) return fmt::format("must be {}{}", whole_text(key.type), bounds.empty() ? "" : ", " + bounds);
      if (!in_bounds(static_cast<double>(*v))) return "must be " + bounds;
      return std::nullopt;
    }
    case Type::float64: {
      auto v = parse_double(value);
      std::string bounds = bounds_text(range);
      if (!v) return fmt::format("must be a number{}", bounds.empty() ? "" : ", " + bounds);
      if (!in_bounds(*v)) return "must be " + bounds;
      return std::nullopt;
    }
    case Type::list: {
      auto items = parse_list(value);
      if (range.not_empty && items.empty()) return "must not be empty";
      if (!range.one_of.empty()) {
        for (const auto& item : items) {
          if (!is_one_of(item, range)) return "must be some of: " + alternatives(range.one_of);
        }
      }
      if (range.form == Form::throttled_replicas && !is_throttled_replicas(items)) {
        return "must be " + form_text(range.form);
      }
      return std::nullopt;
    }
    case Type::string:
    case Type::class_name: {
      auto text = trim(value);
      if (range.not_empty && text.empty()) return "must not be empty";
      if (!range.one_of.empty() && !is_one_of(text, range)) return "must be one of: " + alternatives(range.one_of);
      if (range.form == Form::kafka_version && !parse_kafka_version(text)) return "must be " + form_text(range.form);
      return std::nullopt;
    }
    case Type::password: return std::nullopt;
  }
  return std::nullopt;
}

std::vector<Key> sorted(std::initializer_list<std::span<const Key>> parts) {
  std::vector<Key> all;
  for (auto part : parts) all.insert(all.end(), part.begin(), part.end());
  std::ranges::sort(all, {}, &Key::name);
  return all;
}

}  // namespace

const Key* Table::find(std::string_view name) const {
  auto it = std::ranges::lower_bound(keys_, name, {}, &Key::name);
  return it != keys_.end() && it->name == name ? &*it : nullptr;
}

const Table& broker_keys() {
  static const std::vector<Key> keys =
      sorted({keys::node(), keys::network(), keys::topics(), keys::replication(), keys::groups(), keys::transactions(),
              keys::security(), keys::quotas(), keys::kraft(), keys::remote(), keys::weir()});
  static const Table table{keys};
  return table;
}

const Table& topic_keys() {
  static const std::vector<Key> keys = sorted({keys::topic()});
  static const Table table{keys};
  return table;
}

const Table& group_keys() {
  static const std::vector<Key> keys = sorted({keys::group()});
  static const Table table{keys};
  return table;
}

const Table& client_metrics_keys() {
  static const std::vector<Key> keys = sorted({keys::client_metrics()});
  static const Table table{keys};
  return table;
}

const Key* find_broker_key(std::string_view name) {
  if (const Key* key = broker_keys().find(name)) return key;
  constexpr std::string_view prefix = "listener.name.";
  if (!name.starts_with(prefix)) return nullptr;
  // listener.name.LISTENER.KEY or listener.name.LISTENER.MECHANISM.KEY; neither name holds a dot.
  name.remove_prefix(prefix.size());
  for (int depth = 0; depth < 2; ++depth) {
    auto dot = name.find('.');
    if (dot == std::string_view::npos || dot == 0) return nullptr;
    name.remove_prefix(dot + 1);
    const Key* key = broker_keys().find(name);
    if (key != nullptr && (depth == 0 || name.starts_with("sasl.") || name == "connections.max.reauth.ms")) return key;
  }
  return nullptr;
}

std::optional<std::string> complaint(const Key& key, std::string_view value, std::string_view written) {
  auto what = fault(key, value);
  if (!what) return std::nullopt;
  if (written.empty()) written = key.name;
  std::string_view shown = key.type == Type::password ? "[hidden]" : value;
  // A value can come from a client: the text about it stays short.
  constexpr std::size_t shown_max = 200;
  if (shown.size() > shown_max) return fmt::format("{}={}...: {}", written, shown.substr(0, shown_max), *what);
  return fmt::format("{}={}: {}", written, shown, *what);
}

std::string range_text(const Key& key) {
  const Range& range = key.range;
  std::string more;
  if (!range.one_of.empty()) {
    more = (key.type == Type::list ? "some of: " : "one of: ") + alternatives(range.one_of);
  } else if (range.form != Form::any) {
    more = form_text(range.form);
  } else if (is_whole(key.type) || key.type == Type::float64) {
    more = bounds_text(range);
  } else if (range.not_empty) {
    more = "not empty";
  }
  return more;
}

std::string_view name(Type type) {
  switch (type) {
    case Type::boolean: return "boolean";
    case Type::string: return "string";
    case Type::int32: return "int";
    case Type::int16: return "short";
    case Type::int64: return "long";
    case Type::float64: return "double";
    case Type::list: return "list";
    case Type::class_name: return "class";
    case Type::password: return "password";
  }
  return "string";
}

std::optional<bool> parse_bool(std::string_view text) {
  text = trim(text);
  if (same(text, "true", true)) return true;
  if (same(text, "false", true)) return false;
  return std::nullopt;
}

std::optional<std::int64_t> parse_int(std::string_view text) {
  text = trim(text);
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  std::int64_t v = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return v;
}

std::optional<double> parse_double(std::string_view text) {
  text = trim(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  double v = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc{} || end != text.data() + text.size() || std::isnan(v)) return std::nullopt;
  return v;
}

std::vector<std::string> parse_list(std::string_view text) {
  std::vector<std::string> items;
  text = trim(text);
  if (text.empty()) return items;
  for (;;) {
    auto comma = text.find(',');
    items.emplace_back(trim(text.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return items;
}

}  // namespace weir::config
