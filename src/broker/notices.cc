#include "broker/notices.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cluster/topic_name.h"

namespace weir::broker {

std::string compaction_notice(const Node& node, const cluster::Image& image) {
  constexpr std::size_t shown_max = 10;
  std::vector<std::string> names;
  image.each_topic([&](const cluster::TopicPtr& topic) {
    if (cluster::internal_topic(topic->name)) return;
    if (node.topic_config(image, topic->name).cleanup_compact) names.push_back(topic->name);
  });
  if (names.empty()) return {};
  std::ranges::sort(names);
  const auto more = names.size() - std::min(names.size(), shown_max);
  names.resize(names.size() - more);
  return fmt::format("topics with cleanup.policy=compact: {}{}: Weir does not compact yet; they keep every record",
                     fmt::join(names, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
}

std::vector<std::string> new_warnings(const config::LoadedBrokerConfig& loaded, const config::Properties& file) {
  const auto before = config::load_broker_config({{}, {}, file});
  std::vector<std::string> out;
  for (const auto& warning : loaded.warnings) {
    if (!before || std::ranges::find(before->warnings, warning) == before->warnings.end()) out.push_back(warning);
  }
  return out;
}

}  // namespace weir::broker
