#include "client/connection.h"

#include <fmt/format.h>

#include <cstring>

#include "base/log.h"
#include "protocol/messages/api_versions.h"

namespace weir::client {

using runtime::Task;

namespace {

constexpr std::size_t ahead_bytes = 16 * KiB;

}  // namespace

struct Connection::Pending {
  explicit Pending(runtime::Shard& shard) : waiter(shard) {}
  runtime::Waiter waiter;
  std::optional<bytes::Shared> answer;
};

Connection::Connection(runtime::Shard& shard, runtime::Scope& scope, runtime::Address address,
                       ConnectionOptions options, std::unique_ptr<net::Transport> transport)
    : shard_(shard),
      scope_(scope),
      address_(std::move(address)),
      options_(std::move(options)),
      transport_(std::move(transport)),
      ahead_(ahead_bytes) {}

Connection::~Connection() { WEIR_CHECK(waiting_.empty(), "who waits holds the connection"); }

Task<Result<std::shared_ptr<Connection>>> Connection::open(runtime::Shard& shard, runtime::Scope& scope,
                                                           runtime::Sockets& sockets, runtime::Address address,
                                                           ConnectionOptions options) {
  auto socket = co_await sockets.connect(shard, address, options.socket);
  if (!socket) co_return fail(ErrorCode::NETWORK_EXCEPTION, socket.error().message);
  auto transport =
      options.transport ? options.transport(std::move(*socket), address) : net::plain_transport(std::move(*socket));
  bool late = false;
  const auto timer = shard.schedule(shard.clock().mono() + options.handshake_max, [&late, seen = transport.get()] {
    late = true;
    seen->close();
  });
  auto opened = co_await transport->open();
  shard.cancel(timer);
  if (late) co_return fail(ErrorCode::NETWORK_EXCEPTION, fmt::format("{} does not shake hands", address.text()));
  if (!opened) co_return fail(ErrorCode::NETWORK_EXCEPTION, opened.error().message);
  std::shared_ptr<Connection> made(
      new Connection(shard, scope, std::move(address), std::move(options), std::move(transport)));
  scope.spawn(read_loop(made));
  auto known = co_await made->handshake();
  if (!known) {
    made->close(known.error().message);
    co_return std::unexpected(known.error());
  }
  co_return made;
}

// Brokers that do not know our version of ApiVersions answer in version 0 with the versions they do know (KIP-511),
// or, before Apache Kafka 2.4, with none.
Task<Result<>> Connection::handshake() {
  protocol::ApiVersionsRequest request;
  request.client_software_name = "weir";
  request.client_software_version = options_.software_version;
  std::int16_t version = protocol::ApiVersionsRequest::version_max;
  for (int tries = 0; tries < 3; ++tries) {
    auto frame = encode(request, version);
    const auto memory = co_await exchange(last_correlation_, std::move(frame), options_.request_timeout);
    if (!memory) co_return std::unexpected(memory.error());
    bytes::Reader in(memory->view());
    protocol::ResponseHeader header;
    if (!protocol::decode_response_header(in, request.api_key, version, header)) co_return corrupt(request.api_key);
    bytes::Reader peek = in;
    const bool refused = peek.i16() == static_cast<std::int16_t>(ErrorCode::UNSUPPORTED_VERSION);
    protocol::ApiVersionsResponse response;
    if (!decode(in, refused ? std::int16_t{0} : version, response)) co_return corrupt(request.api_key);
    if (refused && version > 0) {
      std::int16_t best = 0;
      for (const auto& api : response.api_keys) {
        if (api.api_key == request.api_key) best = std::min(api.max_version, static_cast<std::int16_t>(version - 1));
      }
      version = std::max(best, std::int16_t{0});
      continue;
    }
    if (response.error_code != 0) {
      co_return fail(static_cast<ErrorCode>(response.error_code), fmt::format("{} refused ApiVersions", peer().text()));
    }
    for (const auto& api : response.api_keys) peer_versions_[api.api_key] = {api.min_version, api.max_version};
    co_return Result<>();
  }
  co_return fail(ErrorCode::UNSUPPORTED_VERSION, fmt::format("{} knows no version of ApiVersions", peer().text()));
}

Result<std::int16_t> Connection::version_for(std::int16_t api_key, std::int16_t own_min, std::int16_t own_max,
                                             Versions versions) const {
  const auto it = peer_versions_.find(api_key);
  if (it == peer_versions_.end()) {
    if (closed_) return fail(ErrorCode::NETWORK_EXCEPTION, closed_why_);
    return fail(ErrorCode::UNSUPPORTED_VERSION, fmt::format("{} does not serve API {}", address_.text(), api_key));
  }
  std::int16_t max = std::min({own_max, versions.max, it->second.max});
  const auto* api = protocol::find_api(api_key);
  if (api != nullptr && max >= api->unstable_from) max = static_cast<std::int16_t>(api->unstable_from - 1);
  const auto min = std::max({own_min, versions.min, it->second.min});
  if (min > max) {
    return fail(ErrorCode::UNSUPPORTED_VERSION,
                fmt::format("{} serves API {} in versions {} to {}, which we do not use", address_.text(), api_key,
                            it->second.min, it->second.max));
  }
  return max;
}

Result<> Connection::corrupt(std::int16_t api_key) {
  auto why = fmt::format("an answer of {} to API {} cannot be read", address_.text(), api_key);
  WEIR_LOG_LIMITED(warn, seconds(10), "{}", why);
  close(why);
  return fail(ErrorCode::CORRUPT_MESSAGE, std::move(why));
}

Task<Result<>> Connection::take_turn(milliseconds timeout) {
  const auto deadline = shard_.clock().mono() + timeout;
  while (!closed_ && waiting_.size() >= options_.in_flight_max) {
    runtime::Waiter waiter(shard_);
    const auto at = turns_.insert(turns_.end(), &waiter);
    const bool woken = co_await waiter.wait(deadline - shard_.clock().mono());
    turns_.erase(at);
    if (!woken)
      co_return fail(ErrorCode::REQUEST_TIMED_OUT, fmt::format("too many requests wait for {}", address_.text()));
  }
  if (closed_) co_return fail(ErrorCode::NETWORK_EXCEPTION, closed_why_);
  co_return Result<>();
}

Task<Result<bytes::Shared>> Connection::exchange(std::int32_t correlation, protocol::Frame frame,
                                                 milliseconds timeout) {
  const auto self = shared_from_this();
  if (closed_) co_return fail(ErrorCode::NETWORK_EXCEPTION, closed_why_);
  Pending pending(shard_);
  waiting_.emplace(correlation, &pending);
  enqueue(std::move(frame));
  const bool woken = co_await pending.waiter.wait(timeout);
  waiting_.erase(correlation);
  if (!turns_.empty()) turns_.front()->wake();
  if (pending.answer) co_return std::move(*pending.answer);
  if (woken) co_return fail(ErrorCode::NETWORK_EXCEPTION, closed_why_);
  auto why = fmt::format("{} did not answer in {} ms", address_.text(), timeout.count());
  close(why);
  co_return fail(ErrorCode::REQUEST_TIMED_OUT, std::move(why));
}

void Connection::enqueue(protocol::Frame frame) {
  WEIR_CHECK(frame.gaps.empty(), "a client's records are in memory");
  runtime::Chunk chunk;
  chunk.memory = std::move(frame.memory);
  out_.push_back(std::move(chunk));
  if (writing_) return;
  writing_ = true;
  scope_.spawn(write_loop(shared_from_this()));
}

Task<void> Connection::write_loop(std::shared_ptr<Connection> self) {
  while (!self->closed_ && !self->out_.empty()) {
    auto chunks = std::exchange(self->out_, {});
    const auto written = co_await self->transport_->write(std::move(chunks), nullptr);
    if (!written) self->close(written.error().message);
  }
  self->out_.clear();
  self->writing_ = false;
}

Task<bool> Connection::read_exact(bytes::MutableBytes out) {
  while (!out.empty() && !closed_) {
    if (ahead_begin_ < ahead_end_) {
      const auto n = std::min(out.size(), ahead_end_ - ahead_begin_);
      std::memcpy(out.data(), ahead_.data() + ahead_begin_, n);
      ahead_begin_ += n;
      out = out.subspan(n);
      continue;
    }
    const bool direct = out.size() >= ahead_.size();
    const bytes::MutableBytes to = direct ? out : bytes::MutableBytes(ahead_);
    const auto n = co_await transport_->read_some(to);
    if (!n || *n == 0) {
      close(n ? fmt::format("{} closed the connection", address_.text()) : n.error().message);
      co_return false;
    }
    if (direct) {
      out = out.subspan(*n);
    } else {
      ahead_begin_ = 0;
      ahead_end_ = *n;
    }
  }
  co_return !closed_;
}

Task<void> Connection::read_loop(std::shared_ptr<Connection> self) {
  std::array<std::byte, 4> head;
  while (!self->closed_) {
    const bytes::MutableBytes length_bytes(head);
    if (!co_await self->read_exact(length_bytes)) break;
    const auto length = bytes::load_big<std::int32_t>(head.data());
    if (length < 4 || static_cast<std::uint32_t>(length) > self->options_.response_bytes_max) {
      auto why = fmt::format("{} announced an answer of {} bytes", self->address_.text(), length);
      WEIR_LOG_LIMITED(warn, seconds(10), "{}", why);
      self->close(why);
      break;
    }
    auto memory = bytes::Shared::allocate(static_cast<std::size_t>(length));
    const auto whole = memory.mutable_view();
    if (!co_await self->read_exact(whole)) break;
    const auto correlation = bytes::load_big<std::int32_t>(memory.data());
    const auto it = self->waiting_.find(correlation);
    if (it == self->waiting_.end() || it->second->answer) {
      auto why = fmt::format("{} answered a request that nobody made ({})", self->address_.text(), correlation);
      WEIR_LOG_LIMITED(warn, seconds(10), "{}", why);
      self->close(why);
      break;
    }
    it->second->answer = std::move(memory);
    it->second->waiter.wake();
  }
}

void Connection::close(std::string_view reason) {
  if (std::exchange(closed_, true)) return;
  closed_why_ = reason.empty() ? fmt::format("the connection to {} was closed", address_.text()) : std::string(reason);
  transport_->close();
  for (auto& [correlation, pending] : waiting_) pending->waiter.wake();
  for (auto* turn : turns_) turn->wake();
}

}  // namespace weir::client
