// DescribeConfigs (KIP-133), versions 0 to 4.
//   1 sources and synonyms   3 types and documentation   4 flexible

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "broker/api/handlers.h"
#include "broker/config_resource.h"
#include "broker/node.h"
#include "broker/texts.h"
#include "config/describe.h"
#include "protocol/messages/describe_configs.h"

namespace weir::broker::api {
namespace {

using Out = protocol::DescribeConfigsResponse;

Result<std::vector<config::Described>> describe(Node& node, std::int8_t type, std::string_view name) {
  const auto live = node.config();
  const auto image = node.image();
  switch (static_cast<ResourceType>(type)) {
    case ResourceType::topic: {
      if (!image->topic(name)) return fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic");
      const auto& overrides = image->config({cluster::ConfigType::topic, std::string(name)});
      return config::describe_topic(live->layers, config::Properties(overrides.begin(), overrides.end()));
    }
    case ResourceType::broker: {
      if (name.empty()) return config::describe_broker_default(live->layers);
      if (auto mine = check_broker_name(node, name); !mine) return std::unexpected(mine.error());
      return config::describe_broker(live->layers);
    }
    case ResourceType::unknown:
    case ResourceType::any:
    case ResourceType::broker_logger:
    case ResourceType::client_metrics:
    case ResourceType::group: break;
  }
  return fail(ErrorCode::INVALID_REQUEST, fmt::format("configs of resource type {} are not supported", type));
}

void fill(Out::DescribeConfigsResourceResult& to, config::Described& from, bool synonyms, bool documentation,
          Texts& texts) {
  to.name = texts.keep(std::move(from.name));
  to.value.reset();
  if (from.value) to.value = texts.keep(std::move(*from.value));
  to.read_only = from.read_only;
  to.is_default = from.source == config::Source::default_config;
  to.config_source = static_cast<std::int8_t>(from.source);
  to.is_sensitive = from.sensitive;
  to.config_type = static_cast<std::int8_t>(from.type);
  to.documentation.reset();
  if (documentation) to.documentation = from.doc;
  if (!synonyms) return;
  for (auto& synonym : from.synonyms) {
    auto& entry = to.synonyms.emplace_back();
    entry.name = texts.keep(std::move(synonym.name));
    entry.value.reset();
    if (synonym.value) entry.value = texts.keep(std::move(*synonym.value));
    entry.source = static_cast<std::int8_t>(synonym.source);
  }
}

}  // namespace

Task<Response> describe_configs(Request& request) {
  protocol::DescribeConfigsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  Out out;
  Texts texts;
  std::set<std::pair<std::int8_t, std::string_view>> named;  // a resource named twice is answered once
  for (const auto& resource : in.resources) {
    if (!named.emplace(resource.resource_type, resource.resource_name).second) continue;
    auto& to = out.results.emplace_back();
    to.resource_type = resource.resource_type;
    to.resource_name = resource.resource_name;
    to.error_message.reset();
    auto described = describe(request.node(), resource.resource_type, resource.resource_name);
    if (!described) {
      to.error_code = static_cast<std::int16_t>(described.error().code);
      to.error_message = texts.keep(std::move(described.error().message));
      continue;
    }
    for (auto& key : *described) {
      const auto& asked = resource.configuration_keys;
      if (asked && std::ranges::find(*asked, std::string_view(key.name)) == asked->end()) continue;
      fill(to.configs.emplace_back(), key, in.include_synonyms, in.include_documentation, texts);
    }
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
