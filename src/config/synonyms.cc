#include "config/synonyms.h"

#include <fmt/format.h>

namespace weir::config {

std::vector<std::string> broker_synonyms(std::string_view key) {
  if (key == "log.roll.ms" || key == "log.roll.hours") return {"log.roll.ms", "log.roll.hours"};
  if (key == "log.roll.jitter.ms" || key == "log.roll.jitter.hours") {
    return {"log.roll.jitter.ms", "log.roll.jitter.hours"};
  }
  if (key == "log.flush.interval.ms") return {"log.flush.interval.ms", "log.flush.scheduler.interval.ms"};
  if (key == "log.retention.ms" || key == "log.retention.minutes" || key == "log.retention.hours") {
    return {"log.retention.ms", "log.retention.minutes", "log.retention.hours"};
  }
  std::vector<std::string> names{std::string(key)};
  if (key.starts_with("listener.name.")) {
    if (const Key* base = find_broker_key(key)) names.emplace_back(base->name);
  }
  return names;
}

std::string in_unit_of_first(std::string_view first, std::string_view synonym, std::string_view value) {
  std::int64_t factor = 1;
  if (first.ends_with(".ms") && synonym.ends_with(".minutes")) factor = 60'000;
  if (first.ends_with(".ms") && synonym.ends_with(".hours")) factor = 3'600'000;
  auto number = factor == 1 ? std::nullopt : parse_int(value);
  if (!number) return std::string(value);
  if (*number < 0) return "-1";
  return fmt::format("{}", *number * factor);  // of 32 bits, so the product fits
}

std::optional<std::string> topic_default(const Key& key, const Properties& broker_values) {
  if (!key.broker_key.empty()) {
    auto synonyms = broker_synonyms(key.broker_key);
    for (const auto& name : synonyms) {
      if (auto it = broker_values.find(name); it != broker_values.end()) {
        std::string value = in_unit_of_first(key.broker_key, name, it->second);
        // A negative log.retention.ms means for ever, whatever the number.
        if (key.name == "retention.ms" && parse_int(value).value_or(0) < 0) return "-1";
        return value;
      }
    }
  }
  if (!key.initial) return std::nullopt;
  return std::string(*key.initial);
}

}  // namespace weir::config
