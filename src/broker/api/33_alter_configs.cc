// AlterConfigs (KIP-133), versions 0 to 2: replaces all overrides of a resource.
//   2 flexible

#include <string>
#include <utility>

#include "base/log.h"
#include "broker/api/handlers.h"
#include "broker/config_resource.h"
#include "broker/node.h"
#include "broker/texts.h"
#include "config/alter.h"
#include "config/topic_config.h"
#include "protocol/messages/alter_configs.h"

namespace weir::broker::api {

Task<Response> alter_configs(Request& request) {
  protocol::AlterConfigsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  protocol::AlterConfigsResponse out;
  Texts texts;
  for (const auto& resource : in.resources) {
    config::Properties wanted;
    Result<> done;
    for (const auto& config : resource.configs) {
      if (!config.value) done = fail(ErrorCode::INVALID_REQUEST, fmt::format("null is no value for {}", config.name));
      wanted.insert_or_assign(std::string(config.name), std::string(config.value.value_or("")));
    }
    if (done) {
      const bool topic = static_cast<ResourceType>(resource.resource_type) == ResourceType::topic;
      const bool one_broker = !resource.resource_name.empty();
      auto replace = [&](const config::Properties& current) -> Result<config::Properties> {
        auto fine = topic ? config::validate_topic_config(wanted)
                          : config::validate_broker_dynamic(current, wanted, one_broker);
        if (!fine) return std::unexpected(fine.error());
        return wanted;
      };
      done = co_await change_config(request.node(), resource.resource_type, std::string(resource.resource_name),
                                    std::move(replace), in.validate_only);
    }
    auto& to = out.responses.emplace_back();
    to.resource_type = resource.resource_type;
    to.resource_name = resource.resource_name;
    to.error_message.reset();
    if (!done) {
      to.error_code = static_cast<std::int16_t>(done.error().code);
      to.error_message = texts.keep(std::move(done.error().message));
    }
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
