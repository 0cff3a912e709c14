// IncrementalAlterConfigs (KIP-339), versions 0 to 1: sets, removes, appends and subtracts single keys.
//   1 flexible

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "broker/api/handlers.h"
#include "broker/config_resource.h"
#include "broker/node.h"
#include "broker/texts.h"
#include "config/alter.h"
#include "protocol/messages/incremental_alter_configs.h"

namespace weir::broker::api {

Task<Response> incremental_alter_configs(Request& request) {
  protocol::IncrementalAlterConfigsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  protocol::IncrementalAlterConfigsResponse out;
  Texts texts;
  for (const auto& resource : in.resources) {
    std::vector<config::Alteration> changes;
    Result<> done;
    for (const auto& config : resource.configs) {
      if (config.config_operation < 0 || config.config_operation > 3) {
        done = fail(ErrorCode::INVALID_REQUEST,
                    fmt::format("{}: there is no config operation {}", config.name, config.config_operation));
        break;
      }
      auto& change = changes.emplace_back();
      change.name = std::string(config.name);
      change.op = static_cast<config::AlterOp>(config.config_operation);
      if (config.value) change.value = std::string(*config.value);
    }
    if (done) {
      const bool topic = static_cast<ResourceType>(resource.resource_type) == ResourceType::topic;
      const bool one_broker = !resource.resource_name.empty();
      auto edit = [&](const config::Properties& current) {
        return topic ? config::alter_topic(current, changes) : config::alter_broker(current, changes, one_broker);
      };
      done = co_await change_config(request.node(), resource.resource_type, std::string(resource.resource_name),
                                    std::move(edit), in.validate_only);
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
