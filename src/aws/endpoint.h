// One HTTP endpoint for several AWS-style services. A request is verified (sigv4.h); the service name of its
// signature says who answers; that service's routes give operation and labels; the body is parsed; the service answers.
//
//   aws::Endpoint endpoint(shards, sockets, pool, random, credentials, {&kafka}, options);
//   auto bound = co_await endpoint.start({"127.0.0.1", 4566});      // on a shard; stop() on the same
//
// Whatever is answered has x-amzn-RequestId; a Fault also x-amzn-errortype. Bodies are bounded, JSON is bounded in
// depth. Unsigned and wrongly signed requests reach no service. `GET /health` needs no signature.
// Off loopback the endpoint does not start without TLS.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aws/credentials.h"
#include "aws/fault.h"
#include "aws/router.h"
#include "aws/sigv4.h"
#include "base/error.h"
#include "net/http.h"
#include "net/tls.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace boost::json {
class object;
class value;
}  // namespace boost::json

namespace weir::aws {

struct Request {
  std::string operation;  // "DescribeCluster"
  Labels labels;          // decoded path labels: {"clusterArn", "arn:aws:kafka:..."}
  Query query;            // decoded
  // The body; never null, empty when there was none. Include <boost/json/object.hpp> to look into it.
  std::shared_ptr<const boost::json::object> body;
  std::vector<std::pair<std::string, std::string>> headers;
  Caller caller;
  std::string request_id;

  // The first of that name; empty when there is none.
  std::string_view label(std::string_view name) const;
  std::string_view parameter(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string body = "{}";  // JSON
  std::vector<std::pair<std::string, std::string>> headers;
};

using Reply = std::expected<Response, Fault>;

// {200, the value's text}.
Response reply(const boost::json::value& value, int status = 200);
Response reply(const boost::json::object& value, int status = 200);

class Service {
 public:
  virtual ~Service() = default;
  // As in credential scopes: "kafka".
  virtual std::string_view name() const = 0;
  virtual const Router& router() const = 0;
  // On the shard of the connection; from several shards at once where the endpoint has several. An exception is
  // answered with 500 and logged.
  virtual runtime::Task<Reply> handle(Request request) = 0;
};

struct EndpointOptions {
  std::string region;                          // what requests must be scoped to; empty: any
  std::uint64_t body_bytes_max = 1024 * 1024;  // more: 413
  std::uint32_t json_depth_max = 32;           // more: 400
  std::uint32_t connections_max = 128;         // at the limit the longest silent one is closed for one that comes
  milliseconds request_max{30'000};            // from a request's first byte to its last
  milliseconds idle_max{60'000};               // a connection without traffic
  milliseconds refresh_interval{1000};         // how old what is known of the credentials may be
  // Asked for each connection, so that a renewed certificate serves from the next one on. Empty: no TLS.
  std::function<std::shared_ptr<const net::TlsContext>()> tls;
  std::function<bool()> healthy;  // for /health: false answers 503; empty: always true
};

class Endpoint {
 public:
  // All that is passed by reference or pointer outlives the endpoint.
  Endpoint(std::vector<runtime::Shard*> shards, runtime::Sockets& sockets, runtime::Pool& pool, runtime::Random& random,
           Credentials& credentials, std::vector<Service*> services, EndpointOptions options = {});
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  // The address with the port that was bound. INVALID_CONFIG for an address off loopback without TLS.
  runtime::Task<Result<runtime::Address>> start(runtime::Address at);
  runtime::Task<void> stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::aws
