#include "broker/inter/controller_channel.h"

#include "base/log.h"

namespace weir::broker {

runtime::Task<Result<std::shared_ptr<client::Connection>>> ControllerChannel::reach() {
  const auto image = node_.images->latest();
  const auto id = image->controller();
  const auto* broker = image->broker(id);
  if (broker == nullptr) co_return fail(ErrorCode::NOT_CONTROLLER, "no controller is known");
  const auto live = node_.config();
  const auto* endpoint = broker->endpoint(live->config.inter_broker_listener);
  if (endpoint == nullptr) {
    co_return fail(ErrorCode::NOT_CONTROLLER, fmt::format("the controller, broker {}, has no listener {}", id.value,
                                                          live->config.inter_broker_listener));
  }
  // Another term of office is another life: what hangs on the way to the old one is not waited for.
  co_return co_await peers_.to(id, {endpoint->host, static_cast<std::uint16_t>(endpoint->port)},
                               image->controller_epoch().value);
}

}  // namespace weir::broker
