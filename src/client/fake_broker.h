// For tests: a broker that says what a test wants it to say.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bytes/cursor.h"
#include "protocol/api.h"
#include "protocol/frame.h"
#include "protocol/messages/api_versions.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::client {

class FakeBroker {
 public:
  struct Request {
    protocol::RequestHeader header;
    bytes::Shared memory;
    bytes::Reader in{{}};

    std::int16_t version() const { return header.request_api_version; }
    template <class Message>
    Message as() const {
      Message message;
      bytes::Reader reader = in;
      WEIR_CHECK(decode(reader, version(), message), "a client's request can be decoded");
      return message;
    }
    // The whole frame of an answer.
    template <class Message>
    bytes::Shared answer(const Message& message) const {
      return protocol::encode_response(header.correlation_id, version(), message).memory;
    }
  };
  // The bytes to send; none: nothing. An answer that is empty closes the connection.
  using Handler = std::function<std::optional<bytes::Shared>(const Request&)>;

  FakeBroker(runtime::Shard& shard, runtime::Sockets& sockets, runtime::Address at = {"127.0.0.1", 0})
      : shard_(shard), sockets_(sockets), scope_(shard), at_(std::move(at)) {}

  void start() {
    auto listener = sockets_.listen(shard_, at_, {});
    WEIR_CHECK(listener.has_value(), "the address is free");
    listener_ = std::move(*listener);
    at_ = listener_->local();
    scope_.spawn(accept_loop());
  }
  // Closes listener and connections; start() again is a restart.
  runtime::Task<void> stop() {
    if (listener_) listener_->close();
    drop_connections();
    co_await scope_.stop();
    listener_.reset();
  }
  void drop_connections() {
    for (auto* socket : open_) socket->close();
  }

  const runtime::Address& address() const { return at_; }
  std::map<std::int16_t, Handler> handlers;                                // by API; ApiVersions has one of its own
  std::map<std::int16_t, std::pair<std::int16_t, std::int16_t>> versions;  // what it advertises; else all it can
  std::size_t accepted = 0;
  std::vector<std::pair<std::int16_t, std::int16_t>> seen;  // API and version of each request

  // Sends bytes on every connection, unasked.
  void blurt(bytes::Shared bytes) {
    for (auto* socket : open_) scope_.spawn(write(socket, bytes));
  }

  std::optional<bytes::Shared> api_versions(const Request& request) const {
    protocol::ApiVersionsResponse response;
    for (const auto& [key, handler] : handlers) {
      const auto it = versions.find(key);
      const auto* api = protocol::find_api(key);
      auto& to = response.api_keys.emplace_back();
      to.api_key = key;
      to.min_version = it == versions.end() ? api->version_min : it->second.first;
      to.max_version = it == versions.end() ? api->version_max : it->second.second;
    }
    const auto it = versions.find(18);
    const std::int16_t max = it == versions.end() ? std::int16_t{4} : it->second.second;
    auto& own = response.api_keys.emplace_back();
    own.api_key = 18;
    own.max_version = max;
    if (request.version() <= max) return request.answer(response);
    response.error_code = 35;
    return protocol::encode_response(request.header.correlation_id, 0, response).memory;
  }

 private:
  static runtime::Task<void> write(runtime::Socket* socket, bytes::Shared bytes) {
    runtime::Chunk chunk;
    chunk.memory = std::move(bytes);
    std::vector<runtime::Chunk> chunks;
    chunks.push_back(std::move(chunk));
    (void)co_await socket->write(std::move(chunks));
  }
  runtime::Task<void> accept_loop() {
    for (;;) {
      auto socket = co_await listener_->accept(shard_);
      if (!socket) co_return;
      ++accepted;
      scope_.spawn(serve(std::move(*socket)));
    }
  }
  static runtime::Task<bool> read_exact(runtime::Socket& socket, bytes::MutableBytes out) {
    while (!out.empty()) {
      const auto n = co_await socket.read_some(out);
      if (!n || *n == 0) co_return false;
      out = out.subspan(*n);
    }
    co_return true;
  }
  runtime::Task<void> serve(std::unique_ptr<runtime::Socket> socket) {
    const auto at = open_.insert(open_.end(), socket.get());
    for (;;) {
      auto head = bytes::Shared::allocate(4);
      const auto head_bytes = head.mutable_view();
      if (!co_await read_exact(*socket, head_bytes)) break;
      Request request;
      request.memory = bytes::Shared::allocate(static_cast<std::size_t>(bytes::load_big<std::int32_t>(head.data())));
      const auto body = request.memory.mutable_view();
      if (!co_await read_exact(*socket, body)) break;
      request.in = bytes::Reader(request.memory.view());
      WEIR_CHECK(protocol::decode_request_header(request.in, request.header), "a client's header can be decoded");
      const auto key = request.header.request_api_key;
      seen.emplace_back(key, request.version());
      const auto it = handlers.find(key);
      auto answer = key == 18 && it == handlers.end() ? api_versions(request) : it->second(request);
      if (!answer) continue;
      if (answer->empty()) break;
      auto bytes = std::move(*answer);
      co_await write(socket.get(), std::move(bytes));
    }
    open_.erase(at);
  }

  runtime::Shard& shard_;
  runtime::Sockets& sockets_;
  runtime::Scope scope_;
  runtime::Address at_;
  std::unique_ptr<runtime::Listener> listener_;
  std::list<runtime::Socket*> open_;
};

}  // namespace weir::client
