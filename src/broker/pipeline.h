// From a connection's frames to its answers.
//
// Requests of a connection begin in the order they came, each when the one before says so (Request::go_on) or has
// ended; a request that waits (a long poll, acks) thus holds up no other of its connection. Answers leave in the
// order of the requests. At most `requests_in_flight_max` of a connection are begun and unanswered: then it is not
// read. A handler that throws closes its connection and nothing else.
#pragma once

#include <memory>

#include "broker/node.h"
#include "net/server.h"

namespace weir::broker {

using runtime::Task;

inline constexpr std::size_t requests_in_flight_max = 64;  // of one connection

class Pipeline : public net::Service {
 public:
  explicit Pipeline(Node& node) : node_(node) {}
  Task<void> serve(std::shared_ptr<net::Connection> connection) override;

 private:
  Node& node_;
};

}  // namespace weir::broker
