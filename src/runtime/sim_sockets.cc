#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "runtime/sim.h"

namespace weir::runtime {
namespace {

std::unexpected<IoError> failed(int number, std::string_view what, const std::string& whom) {
  return std::unexpected(
      IoError{number, fmt::format("cannot {} {}: {}", what, whom, std::generic_category().message(number))});
}

bool everywhere(const std::string& host) { return host.empty() || host == "0.0.0.0" || host == "::"; }

}  // namespace

// What wakes when something changes; on whichever shard it waits.
class SimEvent {
 public:
  Task<void> wait(Shard& shard) {
    Waiter waiter(shard);
    waiters_.push_back(&waiter);
    co_await waiter.wait();
  }
  void notify() {
    for (auto* waiter : std::exchange(waiters_, {})) waiter->wake();
  }

 private:
  std::vector<Waiter*> waiters_;
};

// One direction of a connection.
struct SimPipe {
  std::deque<std::byte> ready;       // arrived
  std::deque<std::byte> on_the_way;  // held up by a cut
  std::size_t held = 0;              // bytes sent and not read
  bool ended = false;                // the writer closed, and all before that has arrived
  bool ending = false;               // the same, held up by a cut
  bool reader_gone = false;
  bool reset = false;
  SimEvent changed;
};

class SimListener;

struct SimSockets::State {
  SimWorld& world;
  std::string source = "127.0.0.1";
  nanoseconds latency{0};
  std::size_t window = 64 * 1024;
  std::size_t read_max = 0;
  bool cut = false;
  int accept_error = 0;
  std::uint16_t last_port = 40000;
  std::vector<SimListener*> listeners;
  std::vector<std::weak_ptr<SimPipe>> pipes;
};

namespace {

using Pipe = std::shared_ptr<SimPipe>;
using StatePtr = std::shared_ptr<SimSockets::State>;

void arrive(SimPipe& pipe) {
  pipe.ready.insert(pipe.ready.end(), pipe.on_the_way.begin(), pipe.on_the_way.end());
  pipe.on_the_way.clear();
  pipe.ended = pipe.ended || pipe.ending;
  pipe.changed.notify();
}

class SimSocket final : public Socket {
 public:
  SimSocket(StatePtr state, Shard& shard, Pipe in, Pipe out, Address local, Address peer)
      : state_(std::move(state)),
        shard_(shard),
        in_(std::move(in)),
        out_(std::move(out)),
        local_(std::move(local)),
        peer_(std::move(peer)) {}
  ~SimSocket() override {
    WEIR_CHECK(waiting_ == 0, "a socket outlives its reads and writes");
    close();
  }

  Task<Io<std::size_t>> read_some(bytes::MutableBytes out) override {
    ++waiting_;
    auto result = co_await read(out);
    --waiting_;
    co_return result;
  }

  Task<Io<>> write(std::vector<Chunk> chunks, std::uint64_t* progress) override {
    WEIR_CHECK(!std::exchange(writing_, true), "one write at a time");
    ++waiting_;
    auto result = co_await write_all(std::move(chunks), progress);
    --waiting_;
    writing_ = false;
    co_return result;
  }

  void close() override {
    if (std::exchange(closed_, true)) return;
    in_->reader_gone = true;
    in_->changed.notify();
    out_->changed.notify();
    state_->world.after(state_->latency, [pipe = out_, state = state_] {
      pipe->ending = true;
      if (!state->cut) arrive(*pipe);
    });
  }
  const Address& local() const override { return local_; }
  const Address& peer() const override { return peer_; }

 private:
  Task<Io<std::size_t>> read(bytes::MutableBytes out) {
    for (;;) {
      if (closed_) co_return failed(ECANCELED, "read from", peer_.text());
      if (in_->reset) co_return failed(ECONNRESET, "read from", peer_.text());
      if (!in_->ready.empty()) break;
      if (in_->ended) co_return std::size_t{0};
      co_await in_->changed.wait(shard_);
    }
    auto n = std::min(out.size(), in_->ready.size());
    if (state_->read_max > 0) n = std::min(n, state_->read_max);
    std::copy_n(in_->ready.begin(), n, out.begin());
    in_->ready.erase(in_->ready.begin(), in_->ready.begin() + static_cast<std::ptrdiff_t>(n));
    in_->held -= n;
    in_->changed.notify();
    co_return n;
  }

  Task<Io<>> write_all(std::vector<Chunk> chunks, std::uint64_t* progress) {
    for (const auto& chunk : chunks) {
      std::vector<std::byte> copy;
      auto view = chunk.memory.view();
      if (chunk.file) {
        copy.resize(chunk.length);
        const auto n = chunk.file->read_at(chunk.position, copy);
        if (!n) co_return std::unexpected(n.error());
        if (*n < chunk.length) {
          co_return std::unexpected(IoError{EIO, "a file ended before the range that was to be sent"});
        }
        view = copy;
      }
      while (!view.empty()) {
        if (closed_) co_return failed(ECANCELED, "write to", peer_.text());
        if (out_->reset || out_->reader_gone)
          co_return failed(out_->reset ? ECONNRESET : EPIPE, "write to", peer_.text());
        const auto room = state_->window > out_->held ? state_->window - out_->held : 0;
        if (room == 0) {
          co_await out_->changed.wait(shard_);
          continue;
        }
        const auto part = view.first(std::min(room, view.size()));
        view = view.subspan(part.size());
        out_->held += part.size();
        if (progress != nullptr) *progress += part.size();
        state_->world.after(state_->latency,
                            [pipe = out_, state = state_, data = std::vector(part.begin(), part.end())] {
                              pipe->on_the_way.insert(pipe->on_the_way.end(), data.begin(), data.end());
                              if (!state->cut) arrive(*pipe);
                            });
      }
    }
    co_return Io<>{};
  }

  const StatePtr state_;
  Shard& shard_;
  const Pipe in_;
  const Pipe out_;
  const Address local_;
  const Address peer_;
  bool closed_ = false;
  bool writing_ = false;
  int waiting_ = 0;
};

}  // namespace

class SimListener final : public Listener {
 public:
  struct Pending {
    Pipe in;
    Pipe out;
    Address peer;
  };

  SimListener(StatePtr state, Shard& shard, Address at)
      : state_(std::move(state)), shard_(shard), local_(std::move(at)) {
    state_->listeners.push_back(this);
  }
  ~SimListener() override { close(); }

  Task<Io<std::unique_ptr<Socket>>> accept(Shard& owner) override {
    for (;;) {
      if (closed_) co_return failed(ECANCELED, "accept on", local_.text());
      if (const int number = std::exchange(state_->accept_error, 0))
        co_return failed(number, "accept on", local_.text());
      if (!pending.empty()) break;
      co_await changed.wait(shard_);
    }
    auto next = std::move(pending.front());
    pending.pop_front();
    std::unique_ptr<Socket> socket =
        std::make_unique<SimSocket>(state_, owner, next.in, next.out, local_, std::move(next.peer));
    co_return socket;
  }
  void close() override {
    if (std::exchange(closed_, true)) return;
    std::erase(state_->listeners, this);
    for (auto& one : pending) {  // connected, never accepted
      one.in->reader_gone = one.in->reset = true;
      one.out->reset = true;
      one.in->changed.notify();
      one.out->changed.notify();
    }
    pending.clear();
    changed.notify();
  }
  const Address& local() const override { return local_; }

  std::deque<Pending> pending;
  SimEvent changed;

 private:
  const StatePtr state_;
  Shard& shard_;
  const Address local_;
  bool closed_ = false;
};

SimSockets::SimSockets(SimWorld& world)
    : state_(std::shared_ptr<State>(new State{.world = world, .listeners = {}, .pipes = {}})) {}
SimSockets::~SimSockets() = default;

Io<std::unique_ptr<Listener>> SimSockets::listen(Shard& shard, Address at, SocketOptions) {
  if (at.port == 0) at.port = ++state_->last_port;
  for (const auto* other : state_->listeners) {
    const auto& taken = other->local();
    if (taken.port == at.port && (taken.host == at.host || everywhere(taken.host) || everywhere(at.host))) {
      return failed(EADDRINUSE, "listen on", at.text());
    }
  }
  return std::make_unique<SimListener>(state_, shard, std::move(at));
}

Task<Io<std::unique_ptr<Socket>>> SimSockets::connect(Shard& shard, Address to, SocketOptions options) {
  const auto state = state_;
  const auto deadline = state->world.clock().mono() + options.connect_max;
  if (state->latency > nanoseconds(0)) co_await sleep(shard, state->latency);
  while (state->cut) {
    const auto left = deadline - state->world.clock().mono();
    if (left <= nanoseconds(0)) co_return failed(ETIMEDOUT, "connect to", to.text());
    co_await sleep(shard, std::min<nanoseconds>(left, milliseconds(100)));
  }
  SimListener* listener = nullptr;
  for (auto* one : state->listeners) {
    if (one->local().port == to.port && (one->local().host == to.host || everywhere(one->local().host))) listener = one;
  }
  if (listener == nullptr) co_return failed(ECONNREFUSED, "connect to", to.text());
  auto there = std::make_shared<SimPipe>();
  auto back = std::make_shared<SimPipe>();
  std::erase_if(state->pipes, [](const auto& pipe) { return pipe.expired(); });
  state->pipes.push_back(there);
  state->pipes.push_back(back);
  const Address local{state->source, ++state->last_port};
  listener->pending.push_back({there, back, local});
  listener->changed.notify();
  std::unique_ptr<Socket> socket = std::make_unique<SimSocket>(state, shard, back, there, local, to);
  co_return socket;
}

void SimSockets::set_source(std::string host) { state_->source = std::move(host); }
void SimSockets::set_latency(nanoseconds latency) { state_->latency = latency; }
void SimSockets::set_window(std::size_t bytes) { state_->window = bytes; }
void SimSockets::set_read_max(std::size_t bytes) { state_->read_max = bytes; }
void SimSockets::set_cut(bool cut) {
  state_->cut = cut;
  if (cut) return;
  for (auto& weak : state_->pipes) {
    if (const auto pipe = weak.lock()) arrive(*pipe);
  }
}
void SimSockets::reset_all() {
  for (auto& weak : state_->pipes) {
    if (const auto pipe = weak.lock()) {
      pipe->reset = true;
      pipe->changed.notify();
    }
  }
}
void SimSockets::fail_accept(int number) {
  state_->accept_error = number;
  for (auto* listener : state_->listeners) listener->changed.notify();
}

}  // namespace weir::runtime
