// A request on its way through the broker, and the answer to it.
//
// A Request lives on its connection's shard until it is answered. The message decoded from it is a view of its frame.
// A handler is a coroutine of one argument:
//
//   Task<Response> api_versions(Request& request) {
//     protocol::ApiVersionsRequest in;
//     if (!request.read(in)) co_return Response::malformed();
//     ...
//     co_return request.answer(out);
//   }
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/cursor.h"
#include "net/connection.h"
#include "protocol/api.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"
#include "runtime/task.h"

namespace weir::broker {

using runtime::Task;

class Node;

struct Response {
  enum class Kind : std::uint8_t {
    send,       // the chunks
    none,       // nothing: acks=0
    malformed,  // what was read is not the message it says: the connection is closed
    close,      // the connection is closed for a reason the client is to notice
  };
  Kind kind = Kind::none;
  std::vector<runtime::Chunk> chunks;  // with the frame's length in front
  std::string reason;                  // of malformed and close, for the log
  std::string_view kind_of_reason{};   // what is logged by itself, however often others are; of a bounded set

  static Response nothing() { return {}; }
  static Response malformed(std::string why = "it does not decode") {
    return {Kind::malformed, {}, std::move(why), "malformed"};
  }
  static Response close(std::string why, std::string_view kind_of = {}) {
    return {Kind::close, {}, std::move(why), kind_of};
  }
};

// Lets requests that wait end when their connection does. On the connection's shard.
class Interrupts {
 public:
  // Called once, at most, while the handle lives; at once when the connection has ended already.
  class [[nodiscard]] Handle {
   public:
    Handle(Interrupts& all, std::function<void()> call);
    ~Handle();
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

   private:
    friend class Interrupts;
    Interrupts& all_;
    std::function<void()> call_;
  };
  void raise();
  bool raised() const { return raised_; }

 private:
  std::vector<Handle*> waiting_;
  bool raised_ = false;
};

class Request {
 public:
  Request(Node& node, net::Connection& connection, Interrupts& interrupts, net::Frame frame)
      : node_(node),
        connection_(connection),
        interrupts_(interrupts),
        frame_(std::move(frame)),
        body_(frame_.bytes.view()) {}

  // Reads the header; false when it is none.
  bool read_header() { return protocol::decode_request_header(body_, header_); }

  Node& node() { return node_; }
  net::Connection& connection() { return connection_; }
  const net::Connection& connection() const { return connection_; }
  Interrupts& interrupts() { return interrupts_; }
  runtime::Shard& shard() { return connection_.shard(); }
  const protocol::RequestHeader& header() const { return header_; }
  std::int16_t version() const { return header_.request_api_version; }
  std::string_view client_id() const { return header_.client_id.value_or(""); }
  // Memory that views of the message point into.
  const bytes::Shared& frame() const { return frame_.bytes; }

  // False when the bytes are not that message in that version.
  template <class Message>
  bool read(Message& message) {
    return decode(body_, header_.request_api_version, message) && body_.ok();
  }

  // `outside` are the records that lie outside memory, by the number the message gave them.
  template <class Message>
  Response answer(const Message& message, std::vector<runtime::Chunk> outside = {}) const {
    return answer_as(header_.request_api_version, message, std::move(outside));
  }
  template <class Message>
  Response answer_as(std::int16_t version, const Message& message, std::vector<runtime::Chunk> outside = {}) const {
    auto started = start(version, encoded_size(message, version));
    bytes::Writer out(started.memory.mutable_view().subspan(started.at));
    protocol::Gaps gaps;
    encode(out, version, message, &gaps);
    return finish(std::move(started), out.written(), gaps, std::move(outside));
  }

  // What must happen in the order of the connection's requests has happened: the next one may begin. Called at the
  // latest when the handler ends. The answers keep their order all the same.
  void go_on() {
    if (auto call = std::exchange(on_go_on_, nullptr)) call();
  }
  void when_going_on(std::move_only_function<void()> call) { on_go_on_ = std::move(call); }

 private:
  struct Started {
    bytes::Shared memory;
    std::size_t at = 0;  // where the message begins
  };
  Started start(std::int16_t version, protocol::Size body) const;
  static Response finish(Started started, std::size_t written, const protocol::Gaps& gaps,
                         std::vector<runtime::Chunk> outside);

  Node& node_;
  net::Connection& connection_;
  Interrupts& interrupts_;
  net::Frame frame_;
  bytes::Reader body_;
  protocol::RequestHeader header_;
  std::move_only_function<void()> on_go_on_;
};

using Handler = Task<Response> (*)(Request&);

}  // namespace weir::broker
