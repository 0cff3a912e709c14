// A small HTTP/1.1 server over the same sockets: the Prometheus endpoint, and whatever else speaks HTTP to us.
//
// Requests of a connection are answered one after the other (keep-alive, pipelining allowed). Head and body are
// bounded; what is over a bound, or is no HTTP, is answered with 4xx and the connection is closed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/connection.h"
#include "net/server.h"

namespace weir::net {

struct HttpRequest {
  std::string method;                                        // "GET"
  std::string target;                                        // as sent: "/metrics?name=x"
  std::vector<std::pair<std::string, std::string>> headers;  // in the order sent
  std::string body;
  runtime::Address peer;

  // The first header of that name, in any case; empty when there is none.
  std::string_view header(std::string_view name) const;
  std::string_view path() const;   // the target up to '?'
  std::string_view query() const;  // what follows it
};

struct HttpResponse {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;  // Content-Length, Connection and Date are added
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";

  // As of a request.
  std::string_view header(std::string_view name) const;
};

using HttpHandler = std::function<runtime::Task<HttpResponse>(HttpRequest)>;

struct HttpOptions {
  std::uint32_t head_bytes_max = 16 * 1024;
  std::uint64_t body_bytes_max = 1024 * 1024;
  milliseconds idle_max{60'000};        // a connection without traffic
  milliseconds request_max{30'000};     // from a request's first byte to its last
  std::uint32_t connections_max = 256;  // at the limit nothing is accepted until one ends, or
  bool make_room = false;               // the longest silent one is closed for one that comes (server.h)
  TransportFactory transports;          // empty: plain TCP
  // What is answered to a request that was refused before the handler saw it (too large, too slow to be HTTP at all):
  // the status is kept, the rest is the hook's. Empty: a line of text.
  std::function<HttpResponse(int status)> refusal;
};

// The handler runs on the connection's shard; an exception of it is answered with 500 and logged.
class HttpServer {
 public:
  HttpServer(std::vector<runtime::Shard*> shards, runtime::Sockets& sockets, HttpHandler handler,
             HttpOptions options = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // The address with the port that was bound. On a shard; stop() on the same.
  runtime::Task<Result<runtime::Address>> start(runtime::Address at);
  runtime::Task<void> stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::net
