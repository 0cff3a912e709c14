#include "config/document.h"

#include <fmt/format.h>

#include <iterator>

#include "config/key.h"

namespace weir::config {

namespace {

std::string_view text(Update update) {
  switch (update) {
    case Update::read_only:
    case Update::at_start: return "at start";
    case Update::per_broker: return "live, one broker";
    case Update::cluster_wide: return "live";
  }
  return {};
}

std::string initial_text(const Key& key) {
  if (!key.initial) return "not set";
  if (key.initial->empty()) return "empty";
  std::string_view v = *key.initial;
  if (v == "9223372036854775807" || v == "2147483647" || v == "1.7976931348623157E308") return "no limit";
  return fmt::format("`{}`", v);
}

// A bar would end the cell.
std::string cell(std::string_view s) {
  std::string out;
  for (char c : s) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

void put_active(std::string& out, const Table& table, bool with_update) {
  auto to = std::back_inserter(out);
  fmt::format_to(to, "| key | type, range | default |{} what it does |\n", with_update ? " changed |" : "");
  fmt::format_to(to, "| --- | --- | --- |{} --- |\n", with_update ? " --- |" : "");
  for (const Key& key : table.all()) {
    if (key.effect != Effect::active) continue;
    std::string range = range_text(key);
    fmt::format_to(to, "| `{}` | {}{}{} | {} |", key.name, name(key.type), range.empty() ? "" : ", ", cell(range),
                   cell(initial_text(key)));
    if (with_update) fmt::format_to(to, " {} |", text(key.update));
    fmt::format_to(to, " {} |\n", cell(key.doc));
  }
}

void put_accepted(std::string& out, const Table& table) {
  out += "| key | type | default | what it is in Apache Kafka |\n| --- | --- | --- | --- |\n";
  for (const Key& key : table.all()) {
    if (key.effect == Effect::active) continue;
    fmt::format_to(std::back_inserter(out), "| `{}` | {} | {} | {} |\n", key.name, name(key.type),
                   cell(initial_text(key)), cell(key.doc));
  }
}

}  // namespace

std::string configuration_document() {
  std::string out;
  out +=
      "# Configuration\n\n"
      "Written from the tables in `src/config/keys/` by `WEIR_UPDATE_DOCS=1 config_tests`; do not edit by hand.\n\n"
      "A broker reads Apache Kafka's `server.properties` as it is. A key that is not known is a warning; a bad value\n"
      "stops the start with a line that names key, value and range, and so does `authorizer.class.name`, as there are\n"
      "no ACLs yet, unless `weir.ignore.unsupported` names it. Other keys that ask for what is not done (policies and\n"
      "reporters of Java, compaction, tiered storage, SASL) are a warning at each start. \"Changed: live\" means by "
      "`kafka-configs` (or "
      "any\n"
      "admin client) while brokers run, for one broker or for all; \"live, one broker\" for one broker at a time;\n"
      "\"at start\" needs a restart. `listener.name.NAME.KEY` sets a key for one listener.\n\n"
      "## Broker: keys with an effect\n\n";
  put_active(out, broker_keys(), true);
  out += "\n## Topic: keys with an effect\n\nA topic without a value of its own has the broker's.\n\n";
  put_active(out, topic_keys(), false);
  out +=
      "\n## Accepted without effect\n\n"
      "Known, so that the configuration of a real cluster loads as it is; Weir does nothing by them.\n\n"
      "### Broker\n\n";
  put_accepted(out, broker_keys());
  out += "\n### Topic\n\n";
  put_accepted(out, topic_keys());
  out += "\n### Group\n\n";
  put_accepted(out, group_keys());
  out += "\n### Client metrics\n\n";
  put_accepted(out, client_metrics_keys());
  return out;
}

}  // namespace weir::config
