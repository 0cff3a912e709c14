#include "broker/request.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/check.h"

namespace weir::broker {
namespace {

// Over this a request is not answered and its connection closed: it asks for more than a client can take.
constexpr std::uint64_t answer_bytes_max = 512 * MiB;

}  // namespace

Interrupts::Handle::Handle(Interrupts& all, std::function<void()> call) : all_(all), call_(std::move(call)) {
  if (all_.raised_) {
    call_();
  } else {
    all_.waiting_.push_back(this);
  }
}

Interrupts::Handle::~Handle() { std::erase(all_.waiting_, this); }

void Interrupts::raise() {
  raised_ = true;
  for (auto* handle : std::exchange(waiting_, {})) handle->call_();
}

Request::Started Request::start(std::int16_t version, protocol::Size body) const {
  protocol::ResponseHeader header{.correlation_id = header_.correlation_id};
  const auto key = header_.request_api_key;
  const auto head = protocol::response_header_size(header, key, version);
  // A frame's length is an int32; no answer of ours comes near it.
  if (4 + head.buffer + body.total() > answer_bytes_max) throw std::length_error("the answer would be too large");
  Started started{bytes::Shared::allocate(4 + head.buffer + body.buffer), 4 + head.buffer};
  bytes::Writer out(started.memory.mutable_view());
  out.i32(static_cast<std::int32_t>(head.buffer + body.total()));
  protocol::encode_response_header(out, key, version, header);
  return started;
}

Response Request::finish(Started started, std::size_t written, const protocol::Gaps& gaps,
                         std::vector<runtime::Chunk> outside) {
  WEIR_CHECK(started.at + written == started.memory.size(), "a message takes what it said it would");
  Response response{.kind = Response::Kind::send};
  std::size_t from = 0;
  for (const auto& gap : gaps) {
    const auto to = started.at + gap.at;
    if (to > from) response.chunks.push_back({.memory = started.memory.sub(from, to - from)});
    auto& chunk = outside.at(gap.id);
    WEIR_CHECK(chunk.size() == gap.size, "the records outside are as long as the message says");
    response.chunks.push_back(std::move(chunk));
    from = to;
  }
  if (from < started.memory.size()) {
    response.chunks.push_back({.memory = started.memory.sub(from, started.memory.size() - from)});
  }
  return response;
}

}  // namespace weir::broker
