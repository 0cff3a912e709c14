// A small signed REST-JSON client, for weir's own commands. One connection a call.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "aws/fault.h"
#include "aws/sign.h"
#include "base/error.h"
#include "base/units.h"
#include "net/tls.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::aws {

struct ClientOptions {
  std::string endpoint;  // "http://127.0.0.1:4566" or "https://..."
  Signer signer;
  std::shared_ptr<const net::TlsContext> tls;  // for https
  milliseconds timeout{30'000};                // for a call as a whole
};

struct Answer {
  int status = 200;
  std::string body;  // JSON
  std::string request_id;
};

class Client {
 public:
  // INVALID_CONFIG for an endpoint that is no URL, or https without a TlsContext.
  static Result<Client> make(ClientOptions options, runtime::Sockets& sockets);

  // `target` is the path, its labels through uri_encode() (sigv4.h), with the query: "/v1/clusters?maxResults=5".
  // `body` is JSON, or empty. On a shard. What the service answered with 300 or more is its Fault; when there was no
  // answer the Fault has status 0 and type "EndpointConnectionError" or "RequestTimeout".
  runtime::Task<std::expected<Answer, Fault>> call(std::string method, std::string target, std::string body = {}) const;

 private:
  Client(ClientOptions options, runtime::Sockets& sockets, runtime::Address address, bool tls)
      : options_(std::move(options)), sockets_(&sockets), address_(std::move(address)), tls_(tls) {}

  ClientOptions options_;
  runtime::Sockets* sockets_;
  runtime::Address address_;
  bool tls_;
};

}  // namespace weir::aws
