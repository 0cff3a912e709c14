#include "config/alter.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "config/topic_config.h"

namespace weir::config {

namespace {

// A name or value in an error text: what a client sends may be long.
std::string_view shortened(std::string_view s) { return s.substr(0, 200); }

std::string joined(const std::vector<std::string>& items) { return fmt::format("{}", fmt::join(items, ",")); }

const Key* find_key(const Table& table, std::string_view name) {
  return &table == &broker_keys() ? find_broker_key(name) : table.find(name);
}

// append and subtract: the list after the change.
Result<std::string> changed_list(const Key& key, const Properties& current, const Alteration& change) {
  if (key.type != Type::list) {
    return fail(ErrorCode::INVALID_CONFIG,
                fmt::format("{} is not a list: nothing can be appended to it or subtracted from it", change.name));
  }
  auto it = current.find(change.name);
  auto items = parse_list(it != current.end() ? std::string_view(it->second) : key.initial.value_or(""));
  for (const auto& item : parse_list(*change.value)) {
    bool there = std::ranges::find(items, item) != items.end();
    if (change.op == AlterOp::append && !there) items.push_back(item);
    if (change.op == AlterOp::subtract && there) std::erase(items, item);
  }
  return joined(items);
}

Result<> validate(const Table& table, const Properties& wanted, std::string_view whose) {
  for (const auto& [name, value] : wanted) {
    const Key* key = find_key(table, name);
    if (key == nullptr) {
      return fail(ErrorCode::INVALID_CONFIG,
                  fmt::format("{}: {} have no configuration of this name", shortened(name), whose));
    }
    if (auto wrong = complaint(*key, value)) return fail(ErrorCode::INVALID_CONFIG, std::move(*wrong));
  }
  return {};
}

// Keys that this level cannot take; the text says why.
Result<> check_dynamic(std::string_view name, bool per_broker) {
  const Key* key = find_broker_key(name);
  if (key == nullptr) {
    return fail(ErrorCode::INVALID_REQUEST,
                fmt::format("{}: brokers have no configuration of this name", shortened(name)));
  }
  if (key->update == Update::read_only || key->update == Update::at_start) {
    return fail(ErrorCode::INVALID_REQUEST, fmt::format("{} cannot be changed while a broker runs: it is set in "
                                                        "server.properties",
                                                        shortened(name)));
  }
  if (key->update == Update::per_broker && !per_broker) {
    return fail(ErrorCode::INVALID_REQUEST,
                fmt::format("{} is set for one broker at a time, not for all", shortened(name)));
  }
  if (key->type == Type::password) {
    return fail(ErrorCode::INVALID_REQUEST,
                fmt::format("{} is a secret, and ZooKeeper is no place for it: it is set in server.properties",
                            shortened(name)));
  }
  if (key->name.starts_with("ssl.") && !name.starts_with("listener.name.")) {
    return fail(ErrorCode::INVALID_REQUEST,
                fmt::format("{0} is changed for one listener: listener.name.LISTENER.{0}", shortened(name)));
  }
  return {};
}

}  // namespace

bool is_dynamic(std::string_view name) {
  const Key* key = find_broker_key(name);
  return key != nullptr && key->update != Update::read_only && key->update != Update::at_start;
}

Result<Properties> alter(const Table& table, const Properties& current, std::span<const Alteration> changes) {
  Properties next = current;
  std::set<std::string_view> seen;
  for (const Alteration& change : changes) {
    if (!seen.insert(change.name).second) {
      return fail(ErrorCode::INVALID_REQUEST, fmt::format("{} is named twice", shortened(change.name)));
    }
    if (change.op == AlterOp::remove) {
      next.erase(change.name);
      continue;
    }
    if (!change.value) {
      return fail(ErrorCode::INVALID_REQUEST, fmt::format("{} has no value", shortened(change.name)));
    }
    const Key* key = find_key(table, change.name);
    if (key == nullptr) {
      return fail(ErrorCode::INVALID_CONFIG,
                  fmt::format("{}: there is no configuration of this name", shortened(change.name)));
    }
    std::string value = *change.value;
    switch (change.op) {
      case AlterOp::set: break;
      case AlterOp::append:
      case AlterOp::subtract: {
        auto list = changed_list(*key, current, change);
        if (!list) return std::unexpected(list.error());
        value = std::move(*list);
        break;
      }
      default:
        return fail(ErrorCode::INVALID_REQUEST,
                    fmt::format("{}: unknown operation {}", shortened(change.name), static_cast<int>(change.op)));
    }
    if (auto wrong = complaint(*key, value)) return fail(ErrorCode::INVALID_CONFIG, std::move(*wrong));
    next.insert_or_assign(change.name, std::move(value));
  }
  return next;
}

Result<Properties> alter_topic(const Properties& current, std::span<const Alteration> changes) {
  auto next = alter(topic_keys(), current, changes);
  if (!next) return next;
  if (auto good = validate_topic_config(*next); !good) return std::unexpected(good.error());
  return next;
}

Result<Properties> alter_broker(const Properties& current, std::span<const Alteration> changes, bool per_broker) {
  for (const Alteration& change : changes) {
    if (change.op == AlterOp::remove) continue;  // whatever is there may go
    if (auto good = check_dynamic(change.name, per_broker); !good) return std::unexpected(good.error());
  }
  return alter(broker_keys(), current, changes);
}

Result<> validate_broker_dynamic(const Properties& current, const Properties& wanted, bool per_broker) {
  for (const auto& [name, value] : wanted) {
    if (const auto before = current.find(name); before != current.end() && before->second == value) continue;
    if (auto good = check_dynamic(name, per_broker); !good) return good;
  }
  return validate(broker_keys(), wanted, "brokers");
}

Result<> validate_group(const Properties& wanted) { return validate(group_keys(), wanted, "groups"); }

Result<> validate_client_metrics(const Properties& wanted) {
  return validate(client_metrics_keys(), wanted, "client metrics");
}

}  // namespace weir::config
