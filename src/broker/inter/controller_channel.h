// This broker's way to the cluster's controller, as far as its image knows who that is: the controller in this process
// is asked by a call, another one over a connection. On the control shard.
#pragma once

#include <utility>

#include "broker/inter/peers.h"
#include "broker/node.h"

namespace weir::broker {

class ControllerChannel {
 public:
  ControllerChannel(Node& node, runtime::Sockets& sockets, client::ConnectionOptions options)
      : node_(node), peers_(*node.control, sockets, std::move(options)) {}

  BrokerId controller() const { return node_.images->latest()->controller(); }
  bool here() const { return controller() == node_.id; }

  // NOT_CONTROLLER when nobody is known to be controller; NETWORK_EXCEPTION, REQUEST_TIMED_OUT, UNSUPPORTED_VERSION
  // as of client::Connection.
  template <class Response, class Request>
  runtime::Task<Result<client::Answer<Response>>> call(Request request, client::Versions versions = {},
                                                       milliseconds timeout = {}) {
    auto connection = co_await reach();
    if (!connection) co_return std::unexpected(connection.error());
    co_return co_await (*connection)->template call<Response>(std::move(request), versions, timeout);
  }
  // The version a call would use.
  template <class Request>
  runtime::Task<Result<std::int16_t>> version_of() {
    auto connection = co_await reach();
    if (!connection) co_return std::unexpected(connection.error());
    co_return (*connection)->version_for(Request::api_key, Request::version_min, Request::version_max, {});
  }

  // The image may name another controller now: calls that hang on the way to the one before end.
  void controller_changed();

  // Calls under way end.
  runtime::Task<void> stop() { return peers_.stop(); }

 private:
  runtime::Task<Result<std::shared_ptr<client::Connection>>> reach();

  Node& node_;
  Peers peers_;
  BrokerId asked_ = no_broker;  // who was asked last, in which term of office
  ControllerEpoch asked_epoch_{-1};
};

}  // namespace weir::broker
