// Whole requests and responses as they go over a connection: four bytes of length, header, message.
#pragma once

#include <cstdint>

#include "bytes/cursor.h"
#include "bytes/shared.h"
#include "protocol/api.h"
#include "protocol/types.h"

namespace weir::protocol {

// What is sent: `memory`, and between its bytes the records that `gaps` name (Gap::at counts from the start of
// `memory`). The length at the start counts both.
struct Frame {
  bytes::Shared memory;
  Gaps gaps;

  std::uint64_t size() const {
    std::uint64_t n = memory.size();
    for (const auto& gap : gaps) n += gap.size;
    return n;
  }
};

namespace detail {

// A frame with room for its length and what follows.
inline Frame make_frame(Size size) {
  WEIR_CHECK(size.total() <= 0x7fffffff, "a frame's length fits the protocol's int32");
  Frame frame{.memory = bytes::Shared::allocate(4 + size.buffer), .gaps = {}};
  return frame;
}

}  // namespace detail

// Key and version are the header's.
template <class Message>
Frame encode_request(const RequestHeader& header, const Message& message) {
  const auto version = header.request_api_version;
  const Size head = request_header_size(header);
  const Size body = encoded_size(message, version);
  Frame frame = detail::make_frame({.buffer = head.buffer + body.buffer, .outside = body.outside});
  bytes::Writer out(frame.memory.mutable_view());
  out.i32(static_cast<std::int32_t>(head.buffer + body.total()));
  encode_request_header(out, header);
  encode(out, version, message, &frame.gaps);
  WEIR_CHECK(out.left() == 0, "the size was computed before writing");
  return frame;
}

// The answer in `version` of the message's API to the request with that correlation id.
template <class Message>
Frame encode_response(std::int32_t correlation_id, std::int16_t version, const Message& message) {
  ResponseHeader header;
  header.correlation_id = correlation_id;
  const Size head = response_header_size(header, Message::api_key, version);
  const Size body = encoded_size(message, version);
  Frame frame = detail::make_frame({.buffer = head.buffer + body.buffer, .outside = body.outside});
  bytes::Writer out(frame.memory.mutable_view());
  out.i32(static_cast<std::int32_t>(head.buffer + body.total()));
  encode_response_header(out, Message::api_key, version, header);
  encode(out, version, message, &frame.gaps);
  WEIR_CHECK(out.left() == 0, "the size was computed before writing");
  return frame;
}

}  // namespace weir::protocol
