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

std::int64_t ms(nanoseconds time) { return std::chrono::duration_cast<milliseconds>(time).count(); }

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
  unread_seen_ = 0;
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
  const auto looks_like = guess(first);
  const auto kind = !looks_like.empty() ? looks_like : length < 0 ? "negative" : "too large";
  WEIR_LOG_LIMITED_BY(warn, log_interval, kind,
                      "closed {} connection {} of listener {}: a request of {} bytes, allowed are 0 to {}{}",
                      options_.protocol, id(), listener_, length, options_.frame_bytes_max, looks_like);
  close("a length that cannot be");
  return std::unexpected(Ended::bad_frame);
}

// The peer went away, or broke the connection, in the middle of something.
std::unexpected<Ended> Connection::cut_frame(Ended why, std::size_t came, std::size_t size) {
  if (closed_) return std::unexpected(why);
  if (options_.counters != nullptr) add(options_.counters->cut_frames);
  WEIR_LOG_LIMITED(info, log_interval,
                   "{} connection {} of listener {} ended within a request: {} of its {} bytes had come",
                   options_.protocol, id(), listener_, came, size);
  return std::unexpected(why);
}

runtime::Task<std::expected<runtime::Lease, Ended>> Connection::wait_for_memory(Memory& memory, std::size_t size) {
  if (options_.counters != nullptr) add(options_.counters->memory_waits);
  mute();
  memory.begin_wait();
  WEIR_LOG_LIMITED(warn, log_interval,
                   "{} connection {} of listener {} waits to send a request of {} bytes: of the memory for requests "
                   "(queued.max.request.bytes) {}; {} wait",
                   options_.protocol, id(), listener_, size, memory.text(shard_.clock().mono()), memory.waiting());
  auto lease = co_await memory.budget().take(size, &memory_wait_);
  memory.end_wait();
  unmute();
  if (closed_ || !lease) co_return std::unexpected(why_ended());
  co_return std::move(lease);
}

runtime::Task<std::expected<runtime::Lease, Ended>> Connection::take_memory(std::size_t size) {
  auto* from = options_.memory;
  leased_from_ = from;
  if (from == nullptr) co_return runtime::Lease{};
  // It may have come long ago, with what was read before: the peer waits for us since then.
  const auto announced = shard_.clock().mono();
  coming_.leased = coming_.begun = coming_.last = announced;
  coming_.unread = 0;
  if (auto lease = from->budget().try_take(size)) co_return std::move(*lease);
  if (options_.small_memory != nullptr && size <= small_frame_bytes_max) {
    from = leased_from_ = options_.small_memory;
    if (auto lease = from->budget().try_take(size)) co_return std::move(*lease);
  }
  // Who only announces something does not stand in the queue.
  const auto filled = co_await fill(std::min(size, ahead_bytes_max));
  if (!filled) co_return cut_frame(filled.error(), ahead(), size);
  coming_.last = std::max(announced, active_at_);
  if (auto lease = from->budget().try_take(size)) co_return std::move(*lease);
  auto lease = co_await wait_for_memory(*from, size);
  if (!lease) co_return std::unexpected(lease.error());
  coming_.leased = shard_.clock().mono();
  // It could not send more than the network holds while it waited; but who did not even do that is as silent as before.
  const auto unread = transport_->unread();
  const bool eager = ahead() + unread >= std::min(size, eager_bytes);
  coming_.begun = eager ? coming_.leased : announced;
  coming_.unread = unread;
  if (eager) coming_.last = coming_.leased;
  co_return std::move(*lease);
}

void Connection::look_at_coming() {
  if (coming_timer_ != 0) shard_.cancel(std::exchange(coming_timer_, 0));
  if (closed_ || !is_coming_ || !leased_from_->watch(coming_)) return;
  const auto now = shard_.clock().mono();
  const auto unread = transport_->unread();
  if (unread > coming_.unread) coming_.last = now;
  coming_.unread = unread;
  const auto due = coming_.due();
  if (due > now) {
    coming_timer_ = shard_.schedule(due, [this] {
      coming_timer_ = 0;
      look_at_coming();
    });
    return;
  }
  if (options_.counters != nullptr) add(options_.counters->memory_held);
  const bool silent = coming_.silent(now);
  WEIR_LOG_LIMITED_BY(warn, log_interval, silent ? "silent" : "slow",
                      "closed {} connection {} of listener {}: {} wait for the memory that it holds for a request "
                      "of {} bytes, of which {} have come in {} ms{} (queued.max.request.bytes)",
                      options_.protocol, id(), listener_, leased_from_->waiting(), coming_.size, coming_.came + unread,
                      ms(now - coming_.begun),
                      silent ? fmt::format(", and none for {} ms", ms(now - coming_.last)) : std::string());
  close("it holds memory that others wait for");
}

runtime::Task<std::expected<bytes::Shared, Ended>> Connection::read_body(std::size_t size) {
  auto whole = bytes::Shared::allocate(size + slack_bytes);
  auto room = whole.mutable_view();
  auto got = ahead();
  std::memcpy(room.data(), ahead_bytes_.get() + ahead_begin_, got);
  ahead_begin_ = ahead_end_ = 0;
  while (got < size) {
    coming_.came = got;
    transport_->expect(size - got);
    const auto n = co_await read_into(room.subspan(got));
    if (!n) co_return cut_frame(n.error(), got, size);
    if (*n == 0) co_return cut_frame(Ended::broken, got, size);
    got += *n;
    coming_.last = active_at_;
    coming_.unread = 0;
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
    ~Done() {
      connection.end_coming();
      connection.reading_ = false;
    }
  } const done{*this};

  if (closed_) co_return std::unexpected(why_ended());
  if (ahead() < 4) {
    const auto filled = co_await fill(4);
    if (!filled && ahead() > 0) co_return cut_frame(filled.error(), ahead(), 4);
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
    begin_coming(size);
    auto body = co_await read_body(size);
    if (!body) co_return std::unexpected(body.error());
    frame.bytes = std::move(*body);
  }
  if (options_.counters != nullptr) add(options_.counters->frames);
  co_return std::move(frame);
}

void Connection::begin_coming(std::size_t size) {
  if (leased_from_ == nullptr) return;
  coming_.connection = this;
  coming_.size = size;
  coming_.came = ahead();
  is_coming_ = true;
  if (leased_from_->add(coming_)) look_at_coming();
}

void Connection::end_coming() {
  if (!std::exchange(is_coming_, false)) return;
  leased_from_->remove(coming_);
  if (coming_timer_ != 0) shard_.cancel(std::exchange(coming_timer_, 0));
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
  // What came and no read took: it waits for more (SO_RCVLOWAT), or for the rest of a TLS record.
  const auto unread = transport_->unread();
  const bool came = unread > std::exchange(unread_seen_, unread);
  const bool went = written_ != std::exchange(written_seen_, written_);
  if (came || went || (muted_ > 0 && !writing_)) touch();
  if (now - active_at_ < options_.idle_max) {
    arm_idle(active_at_ + options_.idle_max);
    return;
  }
  idle_closed_ = true;
  if (options_.counters != nullptr) add(options_.counters->expired_idle);
  if (writing_) {
    WEIR_LOG_LIMITED(info, log_interval,
                     "closed {} connection {} of listener {}: it has taken nothing of what it was answered for {} ms "
                     "(connections.max.idle.ms)",
                     options_.protocol, id(), listener_, ms(now - active_at_));
  } else {
    WEIR_LOG(debug, "closed {} connection {} of listener {}: idle for {} ms", options_.protocol, id(), listener_,
             ms(now - active_at_));
  }
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
