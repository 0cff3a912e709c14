// One accepted (or opened) connection: a stream of frames in, a stream of bytes out.
//
// A frame is 4 bytes of big-endian length and that many bytes (Kafka's and ZooKeeper's framing alike). Memory for a
// frame is leased from what the connections share (net/memory.h) before its body is read; until then the connection is
// not read, so a peer is slowed down and nothing grows. A Connection lives on one shard and is used on that shard only.
//
// It closes itself, with a log line that names peer and reason (limited, each kind for itself), on: a length that is
// negative or over the limit, no traffic for idle_max while it is not muted (connections.max.idle.ms), a queue of
// pushes over its bound, memory that it holds for what does not come while others wait for it. Reads and writes that
// wait then end with an error. What the peer broke off within a frame is logged too.
#pragma once

#include <array>
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bytes/shared.h"
#include "net/memory.h"
#include "net/transport.h"
#include "runtime/budget.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::net {

// What the connections of a server add up to; written with relaxed atomics by every shard, read by the metrics.
struct Counters {
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> closed{0};
  std::atomic<std::uint64_t> rejected{0};       // over a limit at accept
  std::atomic<std::uint64_t> delayed{0};        // held back by max.connection.creation.rate
  std::atomic<std::uint64_t> expired_idle{0};   // closed by connections.max.idle.ms
  std::atomic<std::uint64_t> bad_frames{0};     // closed for a length that lies
  std::atomic<std::uint64_t> accept_errors{0};  // EMFILE and the like
  std::atomic<std::uint64_t> frames{0};
  std::atomic<std::uint64_t> bytes_in{0};
  std::atomic<std::uint64_t> bytes_out{0};
  std::atomic<std::uint64_t> memory_waits{0};  // frames that waited for queued.max.request.bytes
  std::atomic<std::uint64_t> memory_held{0};   // closed: they held memory others waited for, and sent too little
  std::atomic<std::uint64_t> cut_frames{0};    // ended by the peer within a frame

  std::uint64_t open() const {
    const auto gone = closed.load(std::memory_order_relaxed);
    return accepted.load(std::memory_order_relaxed) - gone;
  }
};

inline constexpr std::size_t small_frame_bytes_max = 64 * 1024;

struct ConnectionOptions {
  std::uint32_t frame_bytes_max = 100 * 1024 * 1024;  // socket.request.max.bytes
  std::uint64_t queued_push_bytes_max = 1024 * 1024;  // for send()
  Memory* memory = nullptr;                           // queued.max.request.bytes; null: no limit
  // For a frame of at most small_frame_bytes_max that finds no room in `memory`, so that large ones do not hold up all
  // the small ones; null: they wait for `memory` too.
  Memory* small_memory = nullptr;
  milliseconds idle_max{0};        // connections.max.idle.ms; 0 or less: never
  Counters* counters = nullptr;    // null: not counted
  const char* protocol = "Kafka";  // for log lines
};

// A frame as it came: the body without its length. The lease gives the memory back to the budget; hold it as long
// as `bytes` is held.
struct Frame {
  bytes::Shared bytes;
  runtime::Lease lease;
};

// Why a read gave no frame. `closed` is the ordinary end: the peer left between two frames, or we closed.
enum class Ended : std::uint8_t { closed, broken, bad_frame, idle };

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // `number` is unique in the process; `listener` is the listener's name.
  static std::shared_ptr<Connection> make(runtime::Shard& shard, std::unique_ptr<Transport> transport,
                                          ConnectionOptions options, std::uint64_t number, std::string listener);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The next frame. One read at a time.
  runtime::Task<std::expected<Frame, Ended>> read_frame();
  // Whether read_frame() would give a frame without asking the socket: a peer that pipelines small requests is then
  // best answered by one write for several.
  bool has_frame() const;
  // The first four bytes of what comes next, without taking them (ZooKeeper's four-letter words).
  runtime::Task<std::expected<std::array<std::byte, 4>, Ended>> peek4();
  // Some bytes as they are, at most out.size(); 0 at the end of the stream. For what is not framed.
  runtime::Task<std::expected<std::size_t, Ended>> read_some(bytes::MutableBytes out);

  // Sends all, in order. Several writes may be called at once: they go out one after the other, in the order of the
  // calls. An error means the connection is closed.
  runtime::Task<runtime::Io<>> write(std::vector<runtime::Chunk> chunks);
  // Queues bytes nobody asked for (watches), behind all writes and pushes called before and before all called later.
  // Over queued_push_bytes_max the connection is closed. Never waits.
  void send(bytes::Shared bytes);

  // While muted the idle time does not count: the peer waits for us, not we for it. It does count while a write is
  // under way and the peer takes nothing. Nests.
  void mute() { ++muted_; }
  void unmute();

  // Ends everything that waits. At any time, more than once. `reason` is for the log at debug level.
  void close(std::string_view reason = {});
  bool closed() const { return closed_; }
  // Called once, from the shard's loop, when the connection has been closed from whichever side; at once when it is
  // closed already. One hook; an empty function takes it away.
  void on_close(std::function<void()> hook);

  runtime::Shard& shard() { return shard_; }
  Transport& transport() { return *transport_; }
  const Transport& transport() const { return *transport_; }
  const runtime::Address& local() const { return transport_->local(); }
  const runtime::Address& peer() const { return transport_->peer(); }
  const std::string& listener() const { return listener_; }
  std::uint64_t number() const { return number_; }
  nanoseconds opened_at() const { return opened_at_; }
  // For Memory: whether what it holds memory for gets on. May close it.
  void look_at_coming();

  // When bytes last came or went.
  nanoseconds active_at() const { return active_at_; }
  // "127.0.0.1:9092-127.0.0.1:53211-7", as Kafka names connections.
  std::string id() const;

  // Waits until the pushes have gone out, and closes. Called by the server when serve() has returned.
  runtime::Task<void> finish();

 private:
  Connection(runtime::Shard& shard, std::unique_ptr<Transport> transport, ConnectionOptions options,
             std::uint64_t number, std::string listener);

  std::size_t ahead() const { return ahead_end_ - ahead_begin_; }
  runtime::Task<std::expected<void, Ended>> fill(std::size_t at_least);
  runtime::Task<std::expected<std::size_t, Ended>> read_into(bytes::MutableBytes out);
  runtime::Task<std::expected<bytes::Shared, Ended>> read_body(std::size_t size);
  runtime::Task<std::expected<runtime::Lease, Ended>> take_memory(std::size_t size);
  runtime::Task<std::expected<runtime::Lease, Ended>> wait_for_memory(Memory& memory, std::size_t size);
  void begin_coming(std::size_t size);
  void end_coming();
  Ended why_ended() const;
  std::unexpected<Ended> refuse_frame(std::int32_t length);
  std::unexpected<Ended> cut_frame(Ended why, std::size_t came, std::size_t size);

  struct Batch;  // pushes that go out in one write
  struct Turn;   // waits until the writes before it have ended
  runtime::Task<runtime::Io<>> write_in_turn(std::shared_ptr<Batch> batch);
  runtime::Task<void> write_batch(std::shared_ptr<Batch> batch);
  void end_turn();

  void touch();
  void arm_idle(nanoseconds when);
  void idle_check();

  runtime::Shard& shard_;
  const std::unique_ptr<Transport> transport_;
  const ConnectionOptions options_;
  const std::uint64_t number_;
  const std::string listener_;
  const nanoseconds opened_at_;

  // Bytes read and not yet given out: ahead_bytes_[ahead_begin_, ahead_end_).
  std::unique_ptr<std::byte[]> ahead_bytes_;
  std::size_t ahead_begin_ = 0;
  std::size_t ahead_end_ = 0;

  bool closed_ = false;
  std::function<void()> on_close_;
  bool idle_closed_ = false;
  bool reading_ = false;
  int muted_ = 0;

  bool writing_ = false;
  std::deque<std::coroutine_handle<>> turns_;
  std::shared_ptr<Batch> open_batch_;  // the last in the queue, not yet started: pushes join it
  std::uint64_t queued_push_bytes_ = 0;
  runtime::Scope pushing_;
  std::uint64_t written_ = 0;       // bytes out; moves while a write is under way
  std::uint64_t written_seen_ = 0;  // at the last look of the idle timer

  runtime::Budget::Wait memory_wait_;
  Memory* leased_from_ = nullptr;  // of the frame that is being read; null: nobody's limit
  Coming coming_;                  // that frame
  bool is_coming_ = false;
  runtime::Shard::TimerId coming_timer_ = 0;

  nanoseconds active_at_;
  std::size_t unread_seen_ = 0;  // of the transport, by the idle timer, since something was read
  runtime::Shard::TimerId idle_timer_ = 0;
};

}  // namespace weir::net
