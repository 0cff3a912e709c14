#include "zkserver/session_link.h"

#include <utility>

#include "base/log.h"

namespace weir::zkserver {

using runtime::Task;

namespace {

// A connection that opens no session is not kept (zookeeper.nio.sessionlessCnxnTimeout).
constexpr milliseconds handshake_max{10'000};

}  // namespace

SessionLink::SessionLink(std::shared_ptr<net::Connection> connection, Engine& engine, const Options& options)
    : Link(connection->number(), connection->shard(), connection->peer().host, connection->peer().port),
      connection_(std::move(connection)),
      engine_(engine),
      options_(options),
      answers_(shard),
      room_(shard) {}

Task<void> SessionLink::serve() {
  runtime::Scope writer(shard);
  writer.spawn(write_answers());
  const bool opened = co_await handshake();
  if (opened) co_await read_requests();
  // What the engine still sends comes to an end that is closed: it is dropped.
  if (opened) engine_.post(LeaveOp{id});
  closing_ = true;
  answers_.wake();
  co_await writer.stop();
  connection_.reset();
}

Task<bool> SessionLink::handshake() {
  const auto timer =
      shard.schedule(shard.clock().mono() + handshake_max, [this] { connection_->close("no session was opened"); });
  auto frame = co_await connection_->read_frame();
  shard.cancel(timer);
  if (!frame) co_return false;
  bytes::Reader in(frame->bytes.view());
  const auto request = zkwire::decode<zkwire::ConnectRequest>(in);
  if (!request || (request->password && request->password->size() > 1024)) {
    WEIR_LOG_LIMITED(warn, seconds(5), "closed {}: what it sent is no ConnectRequest", connection_->id());
    co_return false;
  }
  ConnectOp op;
  op.link = shared_from_this();
  op.last_zxid_seen = request->last_zxid_seen;
  op.timeout = milliseconds(request->timeout_ms);
  op.session = request->session_id;
  const auto password = request->password.value_or(bytes::Bytes());
  op.password.assign(password.begin(), password.end());
  op.tells_read_only = in.left() > 0;
  ++in_flight_;
  engine_.post(std::move(op));
  co_return true;
}

bool SessionLink::may_read() const {
  if (closing_ || connection_->closed()) return true;  // to see the end
  if (in_flight_ >= requests_in_flight_max || out_bytes_ > out_bytes_pause) return false;
  // Everybody may have one under way, whatever the others do.
  return in_flight_ == 0 || engine_.queued() < options_.queued_requests_max;
}

Task<void> SessionLink::read_requests() {
  while (true) {
    while (!may_read()) co_await room_.wait();
    auto frame = co_await connection_->read_frame();
    if (!frame || closing_) co_return;
    bytes::Reader in(frame->bytes.view());
    const auto header = zkwire::decode<zkwire::RequestHeader>(in);
    if (!header) {
      WEIR_LOG_LIMITED(warn, seconds(5), "closed {}: a frame of {} bytes is no request", connection_->id(),
                       frame->bytes.size());
      co_return;
    }
    RequestOp op;
    op.conn = id;
    op.header = *header;
    op.body = frame->bytes.sub(in.rest());
    op.lease = std::move(frame->lease);
    op.came_at = shard.clock().mono();
    ++in_flight_;
    engine_.post(std::move(op));
  }
}

void SessionLink::deliver(Delivery delivery) {
  if (connection_ == nullptr || closing_) return;
  in_flight_ -= std::min(in_flight_, delivery.replies);
  for (auto& frame : delivery.frames) {
    out_bytes_ += frame.size();
    out_.push_back(std::move(frame));
  }
  if (out_bytes_ > out_bytes_max) {
    WEIR_LOG_LIMITED(warn, seconds(5), "closed {}: {} bytes wait and it does not read them", connection_->id(),
                     out_bytes_);
    connection_->close("does not read");
  }
  closing_ |= delivery.close;
  answers_.wake();
  room_.wake();
}

Task<void> SessionLink::write_answers() {
  while (true) {
    if (out_.empty()) {
      if (closing_) break;
      co_await answers_.wait();
      continue;
    }
    auto frames = std::exchange(out_, {});
    std::vector<runtime::Chunk> chunks;
    chunks.reserve(frames.size());
    std::size_t bytes = 0;
    for (auto& frame : frames) {
      bytes += frame.size();
      chunks.push_back({std::move(frame), nullptr, 0, 0});
    }
    const auto written = co_await connection_->write(std::move(chunks));
    out_bytes_ -= bytes;
    room_.wake();
    if (!written) break;
  }
  connection_->close("the session's connection ends");
  room_.wake();
}

}  // namespace weir::zkserver
