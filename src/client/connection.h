// One connection to a broker: requests go out as they are made, answers come back in the same order.
//
//   auto opened = co_await Connection::open(shard, scope, sockets, address, options);
//   protocol::MetadataRequest request;
//   auto answer = co_await (*opened)->call<protocol::MetadataResponse>(std::move(request));
//
// Lives on one shard. Its loops run in the owner's Scope: close() it, then the scope's stop() ends. When it breaks,
// every call that waits gets NETWORK_EXCEPTION; it does not connect again (Client does).
// A call that runs out of time gets REQUEST_TIMED_OUT and closes the connection: what comes behind a lost answer
// would be late, too.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "bytes/cursor.h"
#include "bytes/shared.h"
#include "net/transport.h"
#include "protocol/api.h"
#include "protocol/frame.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::client {

struct ConnectionOptions {
  std::string client_id = "weir";
  std::string software_version = "unknown";
  milliseconds request_timeout{30'000};
  std::size_t in_flight_max = 64;                  // more wait for their turn
  std::uint32_t response_bytes_max = 128U << 20U;  // a longer answer closes the connection
  runtime::SocketOptions socket;
  // The seat of TLS and SASL, told which address was dialled; null: plaintext.
  std::function<std::unique_ptr<net::Transport>(std::unique_ptr<runtime::Socket>, const runtime::Address&)> transport;
  milliseconds handshake_max{10'000};  // of that transport
};

// Which versions a call may use; the highest that both sides know is taken.
struct Versions {
  std::int16_t min = 0;
  std::int16_t max = 0x7fff;
};

// A response and the memory that its views point into.
template <class Response>
struct Answer {
  Response message;
  bytes::Shared memory;
  std::int16_t version = 0;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // Connected, and the broker's versions known (KIP-35, KIP-511).
  static runtime::Task<Result<std::shared_ptr<Connection>>> open(runtime::Shard& shard, runtime::Scope& scope,
                                                                 runtime::Sockets& sockets, runtime::Address address,
                                                                 ConnectionOptions options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // What the request's views point into must live until the answer is there. UNSUPPORTED_VERSION when there is no
  // version in common; CORRUPT_MESSAGE (and the connection is closed) for an answer that cannot be decoded.
  // `timeout` 0: the options' request_timeout. A request that waits at the broker (Fetch) needs more.
  template <class Response, class Request>
  runtime::Task<Result<Answer<Response>>> call(Request request, Versions versions = {}, milliseconds timeout = {});

  // For a request that is not answered (Produce with acks 0).
  template <class Request>
  Result<> send(const Request& request, Versions versions = {});

  // The version a call would use.
  Result<std::int16_t> version_for(std::int16_t api_key, std::int16_t own_min, std::int16_t own_max,
                                   Versions versions) const;

  // Ends all calls. At any time on the shard, more than once.
  void close(std::string_view reason = {});
  bool closed() const { return closed_; }
  const runtime::Address& peer() const { return address_; }
  std::size_t in_flight() const { return waiting_.size(); }

 private:
  struct Pending;

  Connection(runtime::Shard& shard, runtime::Scope& scope, runtime::Address address, ConnectionOptions options,
             std::unique_ptr<net::Transport> transport);

  template <class Request>
  protocol::Frame encode(const Request& request, std::int16_t version);
  // Sends and waits; the answer's bytes behind the correlation id.
  runtime::Task<Result<bytes::Shared>> exchange(std::int32_t correlation, protocol::Frame frame, milliseconds timeout);
  runtime::Task<Result<>> take_turn(milliseconds timeout);
  runtime::Task<Result<>> handshake();
  void enqueue(protocol::Frame frame);
  static runtime::Task<void> read_loop(std::shared_ptr<Connection> self);
  static runtime::Task<void> write_loop(std::shared_ptr<Connection> self);
  runtime::Task<bool> read_exact(bytes::MutableBytes out);
  Result<> corrupt(std::int16_t api_key);

  runtime::Shard& shard_;
  runtime::Scope& scope_;
  const runtime::Address address_;
  const ConnectionOptions options_;
  const std::unique_ptr<net::Transport> transport_;
  std::map<std::int16_t, Versions> peer_versions_;
  std::int32_t last_correlation_ = 0;
  std::map<std::int32_t, Pending*> waiting_;
  std::list<runtime::Waiter*> turns_;  // calls over in_flight_max
  std::vector<runtime::Chunk> out_;
  bool writing_ = false;
  bool closed_ = false;
  std::string closed_why_;
  // Read and not yet used: ahead_[begin, end).
  std::vector<std::byte> ahead_;
  std::size_t ahead_begin_ = 0;
  std::size_t ahead_end_ = 0;
};

template <class Request>
protocol::Frame Connection::encode(const Request& request, std::int16_t version) {
  protocol::RequestHeader header;
  header.request_api_key = Request::api_key;
  header.request_api_version = version;
  header.correlation_id = ++last_correlation_;
  header.client_id = options_.client_id;
  return protocol::encode_request(header, request);
}

template <class Response, class Request>
runtime::Task<Result<Answer<Response>>> Connection::call(Request request, Versions versions, milliseconds timeout) {
  static_assert(Request::api_key == Response::api_key, "a request is answered by its own API");
  const auto self = shared_from_this();
  if (timeout <= milliseconds(0)) timeout = options_.request_timeout;
  const auto version = version_for(Request::api_key, Request::version_min, Request::version_max, versions);
  if (!version) co_return std::unexpected(version.error());
  const auto turn = co_await take_turn(timeout);
  if (!turn) co_return std::unexpected(turn.error());
  auto frame = encode(request, *version);
  auto memory = co_await exchange(last_correlation_, std::move(frame), timeout);
  if (!memory) co_return std::unexpected(memory.error());
  Answer<Response> answer;
  answer.version = *version;
  answer.memory = std::move(*memory);
  bytes::Reader in(answer.memory.view());
  protocol::ResponseHeader header;
  if (!protocol::decode_response_header(in, Request::api_key, *version, header) ||
      !decode(in, *version, answer.message)) {
    co_return std::unexpected(corrupt(Request::api_key).error());
  }
  co_return answer;
}

template <class Request>
Result<> Connection::send(const Request& request, Versions versions) {
  const auto version = version_for(Request::api_key, Request::version_min, Request::version_max, versions);
  if (!version) return std::unexpected(version.error());
  if (closed_) return fail(ErrorCode::NETWORK_EXCEPTION, closed_why_);
  enqueue(encode(request, *version));
  return {};
}

}  // namespace weir::client
