#include "broker/config_resource.h"

#include <utility>

#include "base/log.h"
#include "broker/tls.h"
#include "config/broker_config.h"
#include "runtime/shard.h"

namespace weir::broker {
namespace {

// A key store that cannot be opened is refused here, and not found out when clients cannot connect any more. As
// KIP-226 has it.
runtime::Task<Result<>> stores_open(Node& node, const config::Properties& wanted) {
  if (node.tls == nullptr || !node.tls->any()) co_return Result<>{};
  auto layers = node.config()->layers;
  const auto of_tls = [](const config::Properties& all) {
    config::Properties out;
    for (const auto& [name, value] : all) {
      if (name.find("ssl.") != std::string::npos) out.emplace(name, value);
    }
    return out;
  };
  if (of_tls(wanted) == of_tls(layers.dynamic_broker)) co_return Result<>{};
  layers.dynamic_broker = wanted;
  auto loaded = config::load_broker_config(layers);
  if (!loaded) co_return Result<>{};  // what is wrong with it is not a store
  auto check = [&node, &loaded] { return node.tls->check(loaded->config); };
  auto checked = co_await node.pool->run(std::move(check));
  if (!checked) co_return fail(ErrorCode::INVALID_REQUEST, std::move(checked.error().message));
  co_return checked;
}

constexpr int conflicts_max = 50;

// On the control shard, when nobody else here changes the same config: an edit is a read and then a write over what
// was read. Another broker may be faster: then the edit is made of what that one wrote.
runtime::Task<Result<cluster::ConfigMap>> edit_in_turn(Node& node, cluster::ConfigKey key, const ConfigEdit& edit,
                                                       bool validate_only) {
  for (int conflicts = 0;; ++conflicts) {
    auto current = co_await node.admin->get_config(key);
    if (!current) co_return std::unexpected(current.error());
    auto wanted = edit(config::Properties(current->values.begin(), current->values.end()));
    if (!wanted) co_return std::unexpected(wanted.error());
    if (key == cluster::ConfigKey{cluster::ConfigType::broker, std::to_string(node.id.value)}) {
      if (auto fine = co_await stores_open(node, *wanted); !fine) co_return std::unexpected(fine.error());
    }
    cluster::ConfigMap next(wanted->begin(), wanted->end());
    if (validate_only) co_return next;
    auto done = co_await node.admin->replace_config(key, next, current->version);
    if (done) co_return next;
    if (done.error().code != ErrorCode::INVALID_UPDATE_VERSION || conflicts == conflicts_max) {
      co_return std::unexpected(done.error());
    }
  }
}

runtime::Task<Result<cluster::ConfigMap>> edit_here(Node& node, cluster::ConfigKey key, const ConfigEdit& edit,
                                                    bool validate_only) {
  while (!node.configs_in_edit.insert(key).second) {
    runtime::Waiter turn(*node.control);
    node.config_turns.push_back(&turn);
    co_await turn.wait();
  }
  auto done = co_await edit_in_turn(node, key, edit, validate_only);
  node.configs_in_edit.erase(key);
  for (auto* turn : std::exchange(node.config_turns, {})) turn->wake();
  co_return done;
}

}  // namespace

Result<> check_broker_name(Node& node, std::string_view name) {
  if (name == std::to_string(node.id.value)) return {};
  return fail(ErrorCode::INVALID_REQUEST,
              fmt::format("broker configs are asked of the broker itself: this is {}, not {}", node.id.value, name));
}

runtime::Task<Result<>> change_config(Node& node, std::int8_t type, std::string name, ConfigEdit edit,
                                      bool validate_only) {
  cluster::ConfigKey key;
  switch (static_cast<ResourceType>(type)) {
    case ResourceType::topic:
      if (!node.image()->topic(name)) co_return fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic");
      key = {cluster::ConfigType::topic, name};
      break;
    case ResourceType::broker:
      if (!name.empty()) {
        if (auto mine = check_broker_name(node, name); !mine) co_return mine;
      }
      key = {cluster::ConfigType::broker, name};
      break;
    case ResourceType::unknown:
    case ResourceType::any:
    case ResourceType::broker_logger:
    case ResourceType::client_metrics:
    case ResourceType::group:
      co_return fail(ErrorCode::INVALID_REQUEST, fmt::format("configs of resource type {} are not supported", type));
  }
  auto work = [&] { return edit_here(node, key, edit, validate_only); };
  auto written = co_await runtime::call(*node.control, std::move(work));
  if (!written) co_return std::unexpected(written.error());
  if (!validate_only) {
    auto seen = [&key, &written](const cluster::Image& image) { return image.config(key) == *written; };
    co_await node.images->wait_until(std::move(seen), seconds(1));
  }
  co_return Result<>{};
}

}  // namespace weir::broker
