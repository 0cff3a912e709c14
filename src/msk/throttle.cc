#include "msk/throttle.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "zkwire/layout.h"

namespace weir::msk {
namespace {

namespace layout = zkwire::layout;

using Changes = std::map<std::string, std::optional<std::string>>;
using Keys = std::array<std::string_view, 2>;

constexpr std::string_view leader_list = "leader.replication.throttled.replicas";
constexpr std::string_view follower_list = "follower.replication.throttled.replicas";
constexpr Keys list_keys{leader_list, follower_list};
constexpr Keys rate_keys{"leader.replication.throttled.rate", "follower.replication.throttled.rate"};

void add(std::string& list, std::int32_t partition, std::int32_t broker) {
  list += fmt::format("{}{}:{}", list.empty() ? "" : ",", partition, broker);
}

std::string entity(std::string_view type, std::string_view name) { return fmt::format("{}/{}", type, name); }
std::string entity(std::int32_t broker) { return entity(layout::brokers_type, std::to_string(broker)); }

// What of `keys` this configuration has.
std::map<std::string, std::string> those_of(const std::map<std::string, std::string>& config, const Keys& keys) {
  std::map<std::string, std::string> out;
  for (const auto key : keys) {
    if (const auto found = config.find(std::string(key)); found != config.end()) out.insert(*found);
  }
  return out;
}

}  // namespace

std::map<std::string, ThrottleLists> throttle_lists(const std::vector<PartitionFact>& partitions,
                                                    const std::map<Partition, std::vector<std::int32_t>>& assignment) {
  std::map<std::string, ThrottleLists> out;
  for (const auto& p : partitions) {
    const auto target = assignment.find({p.topic, p.partition});
    if (target == assignment.end()) continue;
    std::vector<std::int32_t> added;
    for (const auto id : target->second) {
      if (std::ranges::find(p.replicas, id) == p.replicas.end()) added.push_back(id);
    }
    if (added.empty()) continue;  // another order of the same
    auto& lists = out[p.topic];
    for (const auto id : p.replicas) add(lists.leaders, p.partition, id);
    for (const auto id : added) add(lists.followers, p.partition, id);
  }
  return out;
}

std::string joined_lists(std::string_view users, std::string_view ours) {
  if (users.empty()) return std::string(ours);
  const std::string all = fmt::format(",{},", users);
  std::string out(users);
  while (users != "*" && !ours.empty()) {
    const auto one = ours.substr(0, ours.find(','));
    ours.remove_prefix(std::min(one.size() + 1, ours.size()));
    if (all.find(fmt::format(",{},", one)) == std::string::npos) out += fmt::format(",{}", one);
  }
  return out;
}

Task<Stored<Throttle>> throttle_for(KafkaView view, std::map<Partition, std::vector<std::int32_t>> assignment,
                                    std::vector<std::int32_t> brokers, std::int64_t bytes_per_second) {
  std::set<std::string> names;
  for (const auto& [partition, replicas] : assignment) names.insert(partition.first);
  std::vector<PartitionFact> partitions;
  for (const auto& name : names) {
    auto read = co_await topic(view, name);
    if (!read && read.error().kind == StoreError::Kind::missing) continue;  // it is gone meanwhile
    if (!read) co_return std::unexpected(read.error());
    for (auto& p : read->partitions) partitions.push_back(std::move(p));
  }
  Throttle out;
  out.topics = throttle_lists(partitions, assignment);
  out.brokers = std::move(brokers);
  out.bytes_per_second = bytes_per_second;
  co_return out;
}

Task<Stored<Settings>> settings_to_remember(KafkaView view, Throttle throttle, Settings before) {
  Settings out;
  for (const auto& [name, ours] : throttle.topics) {
    auto key = entity(layout::topics_type, name);
    if (before.contains(key)) continue;
    const auto now = co_await config_of(view, std::string(layout::topics_type), name);
    if (!now) co_return std::unexpected(now.error());
    out.emplace(std::move(key), those_of(*now, list_keys));
  }
  for (const auto id : throttle.brokers) {
    if (before.contains(entity(id))) continue;
    const auto now = co_await config_of(view, std::string(layout::brokers_type), std::to_string(id));
    if (!now) co_return std::unexpected(now.error());
    out.emplace(entity(id), those_of(*now, rate_keys));
  }
  co_return out;
}

Task<Stored<>> set_throttle(KafkaView view, Throttle throttle, Settings before) {
  for (const auto& [name, ours] : throttle.topics) {
    const auto& users = before[entity(layout::topics_type, name)];
    const auto joined = [&users](std::string_view key, const std::string& list) {
      const auto found = users.find(std::string(key));
      return joined_lists(found == users.end() ? "" : found->second, list);
    };
    Changes changes{{std::string(leader_list), joined(leader_list, ours.leaders)},
                    {std::string(follower_list), joined(follower_list, ours.followers)}};
    auto set = co_await set_config(view, std::string(layout::topics_type), name, std::move(changes));
    if (!set) co_return set;
  }
  if (throttle.topics.empty()) co_return Stored<>{};
  const auto rate = std::to_string(throttle.bytes_per_second);
  for (const auto id : throttle.brokers) {
    const auto& users = before[entity(id)];
    Changes changes;
    for (const auto key : rate_keys) {
      if (!users.contains(std::string(key))) changes.emplace(key, rate);
    }
    if (changes.empty()) continue;
    auto set = co_await set_config(view, std::string(layout::brokers_type), std::to_string(id), std::move(changes));
    if (!set) co_return set;
  }
  co_return Stored<>{};
}

Task<Stored<>> unthrottle(KafkaView view, Settings before) {
  for (const auto& [at, users] : before) {
    const auto slash = at.find('/');
    const auto type = at.substr(0, slash);
    const auto name = at.substr(slash + 1);
    const bool topic = type == layout::topics_type;
    if (!topic && name == layout::default_entity) continue;
    Changes changes;
    for (const auto key : topic ? list_keys : rate_keys) {
      const auto found = users.find(std::string(key));
      if (found == users.end()) {
        changes.emplace(key, std::nullopt);
      } else if (topic) {
        changes.emplace(key, found->second);
      }
    }
    auto done = co_await put_back_config(view, type, name, std::move(changes));
    if (!done) co_return done;
  }
  co_return Stored<>{};
}

bool throttled_unremembered(const Operation& operation) {
  for (const auto& [at, users] : operation.settings_before) {
    if (at != entity(layout::brokers_type, layout::default_entity)) return false;
  }
  return std::ranges::any_of(operation.steps, [&operation](const Step& step) {
    const bool moves = step.kind == StepKind::spread || step.kind == StepKind::drain || step.kind == StepKind::cancel;
    if (!moves) return false;
    // The note has how often it was asked for. Of moves that are taken back it may be the first time.
    return !step.note.empty() || (step.kind == StepKind::cancel && step.begun && operation.replicas_before.empty());
  });
}

Task<Stored<>> clear_throttles(KafkaView view, std::vector<std::int32_t> brokers) {
  const auto names = co_await topic_names(view);
  if (!names) co_return std::unexpected(names.error());
  Settings none;
  for (const auto& name : *names) none[entity(layout::topics_type, name)];
  for (const auto id : brokers) none[entity(id)];
  co_return co_await unthrottle(view, std::move(none));
}

}  // namespace weir::msk
