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
  asked_ = id;
  asked_epoch_ = image->controller_epoch();
  co_return co_await peers_.to(id, {endpoint->host, static_cast<std::uint16_t>(endpoint->port)},
                               image->controller_epoch().value);
}

void ControllerChannel::controller_changed() {
  const auto& image = node_.images->latest();
  if (asked_ == no_broker || (image->controller() == asked_ && image->controller_epoch() == asked_epoch_)) return;
  peers_.drop(asked_);
  asked_ = no_broker;
}

}  // namespace weir::broker
