#include "net/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "bytes/cursor.h"

namespace weir::net {
namespace {

// Small frames arrive here, several in one read; a large one gets memory of its own, into which it is read with a
// little of what follows, so that a stream of large frames costs one read each and is never copied as a whole.
constexpr std::size_t ahead_bytes_max = 2048;
constexpr std::size_t slack_bytes = 512;

constexpr auto log_interval = seconds(10);

void add(std::atomic<std::uint64_t>& counter, std::uint64_t n = 1) { counter.fetch_add(n, std::memory_order_relaxed); }

// What a peer most likely speaks whose first bytes are no length.
std::string_view guess(bytes::Bytes first) {
  const auto text = bytes::as_text(first);
  for (const std::string_view verb : {"GET ", "POST", "PUT ", "HEAD", "OPTI", "DELE", "CONN", "PATC", "PRI "}) {
    if (text == verb) return "; this looks like HTTP";
  }
  if (first[0] == std::byte{0x16} && first[1] == std::byte{0x03}) {
    return "; this looks like TLS, and the listener does not speak it";
  }
  if (text == "SSH-") return "; this looks like SSH";
  return "";
}

}  // namespace

struct Connection::Batch {
  std::vector<runtime::Chunk> chunks;
  std::uint64_t bytes = 0;
  bool pushed = false;
};

struct Connection::Turn {
  Connection& connection;
  bool await_ready() const noexcept { return !std::exchange(connection.writing_, true); }
  void await_suspend(std::coroutine_handle<> handle) const { connection.turns_.push_back(handle); }
  void await_resume() const noexcept {}
};

std::shared_ptr<Connection> Connection::make(runtime::Shard& shard, std::unique_ptr<Transport> transport,
                                             ConnectionOptions options, std::uint64_t number, std::string listener) {
  WEIR_CHECK(shard.here(), "a connection is made on its shard");
  std::shared_ptr<Connection> made(new Connection(shard, std::move(transport), options, number, std::move(listener)));
  if (options.idle_max > milliseconds(0)) made->arm_idle(made->opened_at_ + options.idle_max);
  return made;
}

Connection::Connection(runtime::Shard& shard, std::unique_ptr<Transport> transport, ConnectionOptions options,
                       std::uint64_t number, std::string listener)
    : shard_(shard),
      transport_(std::move(transport)),
      options_(options),
      number_(number),
      listener_(std::move(listener)),
      opened_at_(shard.clock().mono()),
      pushing_(shard),
      active_at_(opened_at_) {}

Connection::~Connection() { close(); }

std::string Connection::id() const { return fmt::format("{}-{}-{}", local().text(), peer().text(), number_); }

// ---- reading ----

Ended Connection::why_ended() const {
  if (idle_closed_) return Ended::idle;
  return closed_ ? Ended::closed : Ended::broken;
}

// Like a read of the transport, but it moves the idle time, and the end of the stream is 0.
runtime::Task<std::expected<std::size_t, Ended>> Connection::read_into(bytes::MutableBytes out) {
  if (closed_) co_return std::unexpected(why_ended());
  auto n = co_await transport_->read_some(out);
  if (!n) co_return std::unexpected(why_ended());
  if (closed_) co_return std::unexpected(why_ended());
  touch();
  if (options_.counters != nullptr) add(options_.counters->bytes_in, *n);
  co_return *n;
}

runtime::Task<std::expected<void, Ended>> Connection::fill(std::size_t at_least) {
  if (!ahead_bytes_) ahead_bytes_ = std::make_unique_for_overwrite<std::byte[]>(ahead_bytes_max);
  while (ahead() < at_least) {
    if (ahead_begin_ > 0) {
      std::memmove(ahead_bytes_.get(), ahead_bytes_.get() + ahead_begin_, ahead());
      ahead_end_ = ahead();
      ahead_begin_ = 0;
    }
    const bytes::MutableBytes room(ahead_bytes_.get() + ahead_end_, ahead_bytes_max - ahead_end_);
    const auto n = co_await read_into(room);
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0) co_return std::unexpected(ahead() == 0 ? Ended::closed : Ended::broken);
    ahead_end_ += *n;
  }
  co_return std::expected<void, Ended>{};
}

std::unexpected<Ended> Connection::refuse_frame(std::int32_t length) {
  const bytes::Bytes first(ahead_bytes_.get() + ahead_begin_, 4);
  if (options_.counters != nullptr) add(options_.counters->bad_frames);
  WEIR_LOG_LIMITED(warn, log_interval,
                   "closed {} connection {} of listener {}: a request of {} bytes, allowed are 0 to {}{}",
                   options_.protocol, id(), listener_, length, options_.frame_bytes_max, guess(first));
  close("a length that cannot be");
  return std::unexpected(Ended::bad_frame);
}

runtime::Task<std::expected<runtime::Lease, Ended>> Connection::take_memory(std::uint64_t size) {
  if (options_.budget == nullptr) co_return runtime::Lease{};
  if (auto lease = options_.budget->try_take(size)) co_return std::move(*lease);
  if (options_.counters != nullptr) add(options_.counters->memory_waits);
  mute();
  auto lease = co_await options_.budget->take(size, &memory_wait_);
  unmute();
  if (closed_ || !lease) co_return std::unexpected(why_ended());
  co_return std::move(lease);
}

runtime::Task<std::expected<bytes::Shared, Ended>> Connection::read_body(std::size_t size) {
  auto whole = bytes::Shared::allocate(size + slack_bytes);
  auto room = whole.mutable_view();
  auto got = ahead();
  std::memcpy(room.data(), ahead_bytes_.get() + ahead_begin_, got);
  ahead_begin_ = ahead_end_ = 0;
  while (got < size) {
    transport_->expect(size - got);
    const auto n = co_await read_into(room.subspan(got));
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0) co_return std::unexpected(Ended::broken);
    got += *n;
  }
  std::memcpy(ahead_bytes_.get(), room.data() + size, got - size);
  ahead_end_ = got - size;
  co_return whole.sub(0, size);
}

runtime::Task<std::expected<Frame, Ended>> Connection::read_frame() {
  WEIR_CHECK(shard_.here(), "a connection is used on its shard");
  WEIR_CHECK(!std::exchange(reading_, true), "one read at a time");
  const auto self = shared_from_this();
  struct Done {
    Connection& connection;
    ~Done() { connection.reading_ = false; }
  } const done{*this};

  if (closed_) co_return std::unexpected(why_ended());
  if (ahead() < 4) {
    const auto filled = co_await fill(4);
    if (!filled) co_return std::unexpected(filled.error());
  }
  const auto length = bytes::load_big<std::int32_t>(ahead_bytes_.get() + ahead_begin_);
  if (length < 0 || static_cast<std::uint32_t>(length) > options_.frame_bytes_max) co_return refuse_frame(length);
  ahead_begin_ += 4;
  const auto size = static_cast<std::size_t>(length);

  auto lease = co_await take_memory(size);
  if (!lease) co_return std::unexpected(lease.error());
  Frame frame;
  frame.lease = std::move(*lease);
  if (size <= ahead()) {
    frame.bytes = bytes::Shared::copy(bytes::Bytes(ahead_bytes_.get() + ahead_begin_, size));
    ahead_begin_ += size;
  } else {
    auto body = co_await read_body(size);
    if (!body) co_return std::unexpected(body.error());
    frame.bytes = std::move(*body);
  }
  if (options_.counters != nullptr) add(options_.counters->frames);
  co_return std::move(frame);
}

bool Connection::has_frame() const {
  if (closed_ || ahead() < 4) return false;
  const auto length = bytes::load_big<std::int32_t>(ahead_bytes_.get() + ahead_begin_);
  return length >= 0 && static_cast<std::size_t>(length) <= ahead() - 4;
}

runtime::Task<std::expected<std::array<std::byte, 4>, Ended>> Connection::peek4() {
  const auto self = shared_from_this();
  const auto filled = co_await fill(4);
  if (!filled) co_return std::unexpected(filled.error());
  std::array<std::byte, 4> first{};
  std::memcpy(first.data(), ahead_bytes_.get() + ahead_begin_, first.size());
  co_return first;
}

runtime::Task<std::expected<std::size_t, Ended>> Connection::read_some(bytes::MutableBytes out) {
  const auto self = shared_from_this();
  if (ahead() > 0) {
    const auto n = std::min(out.size(), ahead());
    std::memcpy(out.data(), ahead_bytes_.get() + ahead_begin_, n);
    ahead_begin_ += n;
    co_return n;
  }
  const auto n = co_await read_into(out);
  co_return n;
}

// ---- writing ----

void Connection::end_turn() {
  if (turns_.empty()) {
    writing_ = false;
    return;
  }
  const auto next = turns_.front();
  turns_.pop_front();
  shard_.post([next] { next.resume(); });
}

runtime::Task<runtime::Io<>> Connection::write_in_turn(std::shared_ptr<Batch> batch) {
  WEIR_CHECK(shard_.here(), "a connection is used on its shard");
  const auto self = shared_from_this();
  if (!batch->pushed) open_batch_ = nullptr;  // later pushes come after this
  Turn turn{*this};
  co_await turn;
  if (open_batch_ == batch) open_batch_ = nullptr;
  if (closed_) {
    end_turn();
    co_return std::unexpected(runtime::IoError{ECANCELED, fmt::format("connection {} is closed", id())});
  }
  const auto before = written_;
  auto result = co_await transport_->write(std::move(batch->chunks), &written_);
  if (options_.counters != nullptr) add(options_.counters->bytes_out, written_ - before);
  touch();
  if (!result) close(result.error().message);
  end_turn();
  co_return result;
}

runtime::Task<runtime::Io<>> Connection::write(std::vector<runtime::Chunk> chunks) {
  auto batch = std::make_shared<Batch>();
  batch->chunks = std::move(chunks);
  return write_in_turn(std::move(batch));
}

runtime::Task<void> Connection::write_batch(std::shared_ptr<Batch> batch) {
  auto result = co_await write_in_turn(batch);
  queued_push_bytes_ -= batch->bytes;
}

void Connection::send(bytes::Shared bytes) {
  WEIR_CHECK(shard_.here(), "a connection is used on its shard");
  if (closed_) return;
  if (bytes.size() > options_.queued_push_bytes_max - std::min(queued_push_bytes_, options_.queued_push_bytes_max)) {
    WEIR_LOG_LIMITED(warn, log_interval,
                     "closed {} connection {} of listener {}: it does not take what it is sent ({} bytes wait)",
                     options_.protocol, id(), listener_, queued_push_bytes_);
    close("too many bytes wait");
    return;
  }
  queued_push_bytes_ += bytes.size();
  const bool joins = open_batch_ != nullptr;
  auto batch = joins ? open_batch_ : std::make_shared<Batch>();
  batch->pushed = true;
  batch->bytes += bytes.size();
  runtime::Chunk chunk;
  chunk.memory = std::move(bytes);
  batch->chunks.push_back(std::move(chunk));
  if (joins) return;
  open_batch_ = batch;
  pushing_.spawn(write_batch(std::move(batch)));
}

// ---- idle time and the end ----

void Connection::touch() { active_at_ = shard_.clock().mono(); }

void Connection::unmute() {
  WEIR_CHECK(muted_ > 0, "what is unmuted was muted");
  --muted_;
  touch();
}

void Connection::arm_idle(nanoseconds when) {
  idle_timer_ = shard_.schedule(when, [this] {
    idle_timer_ = 0;
    idle_check();
  });
}

void Connection::idle_check() {
  const auto now = shard_.clock().mono();
  if (written_ != std::exchange(written_seen_, written_) || (muted_ > 0 && !writing_))
    active_at_ = std::max(active_at_, now);
  if (now - active_at_ < options_.idle_max) {
    arm_idle(active_at_ + options_.idle_max);
    return;
  }
  idle_closed_ = true;
  if (options_.counters != nullptr) add(options_.counters->expired_idle);
  WEIR_LOG(debug, "closed {} connection {} of listener {}: idle for {} ms", options_.protocol, id(), listener_,
           std::chrono::duration_cast<milliseconds>(now - active_at_).count());
  close();
}

void Connection::close(std::string_view reason) {
  if (std::exchange(closed_, true)) return;
  if (!reason.empty()) WEIR_LOG(debug, "closed {} connection {}: {}", options_.protocol, id(), reason);
  if (idle_timer_ != 0) shard_.cancel(std::exchange(idle_timer_, 0));
  memory_wait_.cancel();
  transport_->close();
  if (on_close_) {
    shard_.post([self = shared_from_this()] {
      if (self->on_close_) std::exchange(self->on_close_, nullptr)();
    });
  }
}

void Connection::on_close(std::function<void()> hook) {
  on_close_ = std::move(hook);
  if (closed_ && on_close_) std::exchange(on_close_, nullptr)();
}

runtime::Task<void> Connection::finish() {
  const auto self = shared_from_this();
  co_await pushing_.stop();
  close();
}

}  // namespace weir::net
