#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "runtime/sim.h"
#include "runtime/sim_machine.h"

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
  std::string from;
  std::string to;
  SimProcess* writer = nullptr;  // whose end it is; null: the world's own
  SimProcess* reader = nullptr;
  bool silent = false;           // the reader's machine lost power: nothing arrives, nobody says so
  bool unheard = false;          // something was sent there since
  bool back_up = false;          // and the machine is there again
  std::weak_ptr<SimPipe> other;  // the other direction
  nanoseconds last_at{0};        // when what was sent last arrives
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
  std::map<std::pair<std::string, std::string>, SimSockets::Link> links;
  std::set<std::string> down;  // machines without power

  bool is_cut(const SimPipe& pipe) const { return cut || link(pipe.from, pipe.to).cut; }
  SimSockets::Link link(const std::string& from, const std::string& to) const {
    const auto found = links.find({from, to});
    return found == links.end() ? SimSockets::Link{} : found->second;
  }
  nanoseconds delay(const std::string& from, const std::string& to) {
    const auto link_now = link(from, to);
    auto time = latency + link_now.latency_min;
    if (link_now.latency_max > link_now.latency_min) {
      const auto span = link_now.latency_max - link_now.latency_min;
      time += nanoseconds(world.random().below(static_cast<std::uint64_t>(span.count())));
    }
    return time;
  }
  // Until what is sent now arrives: not before what was sent earlier.
  nanoseconds delay(SimPipe& pipe) {
    const auto now = world.clock().mono();
    pipe.last_at = std::max(pipe.last_at, now + delay(pipe.from, pipe.to));
    return pipe.last_at - now;
  }
  void each_pipe(const auto& what) {
    for (auto& weak : pipes) {
      if (const auto pipe = weak.lock()) what(pipe);
    }
  }
};

namespace {

using Pipe = std::shared_ptr<SimPipe>;
using StatePtr = std::shared_ptr<SimSockets::State>;

// Something came to a machine that knows nothing of this connection.
void stray(SimPipe& pipe) {
  pipe.reset = true;
  pipe.changed.notify();
  if (const auto other = pipe.other.lock()) {
    other->reset = true;
    other->changed.notify();
  }
}

void arrive(SimPipe& pipe) {
  if (pipe.silent) {
    pipe.unheard = true;
    if (pipe.back_up) stray(pipe);
    return;
  }
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

  std::size_t unread() const override { return in_->ready.size(); }

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
    if (out_->writer != nullptr && !out_->writer->alive()) return;
    state_->world.after(state_->delay(*out_), [pipe = out_, state = state_] {
      pipe->ending = true;
      if (!state->is_cut(*pipe)) arrive(*pipe);
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
        if (out_->writer != nullptr && !out_->writer->alive()) continue;
        state_->world.after(state_->delay(*out_),
                            [pipe = out_, state = state_, data = std::vector(part.begin(), part.end())] {
                              pipe->on_the_way.insert(pipe->on_the_way.end(), data.begin(), data.end());
                              if (!state->is_cut(*pipe)) arrive(*pipe);
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

  SimListener(StatePtr state, Shard& shard, Address at, SimProcess* process)
      : state_(std::move(state)), shard_(shard), local_(std::move(at)), process_(process) {
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
  SimProcess* process() const { return process_; }
  // Where it can be reached: on the machine of its process, or anywhere.
  bool at(const Address& to) const {
    if (local_.port != to.port) return false;
    if (process_ != nullptr && process_->host() != to.host) return false;
    return local_.host == to.host || everywhere(local_.host);
  }

  std::deque<Pending> pending;
  SimEvent changed;

 private:
  const StatePtr state_;
  Shard& shard_;
  const Address local_;
  SimProcess* const process_;
  bool closed_ = false;
};

namespace {

// The reader finds out once nothing is in the way any more.
void reset_later(const StatePtr& state, const Pipe& pipe) {
  if (state->is_cut(*pipe)) {
    state->world.after(milliseconds(100 + state->world.random().below(400)),
                       [state, pipe] { reset_later(state, pipe); });
    return;
  }
  state->world.after(state->delay(*pipe), [pipe] {
    pipe->reset = true;
    pipe->changed.notify();
  });
}

}  // namespace

SimSockets::SimSockets(SimWorld& world)
    : state_(std::shared_ptr<State>(new State{.world = world, .listeners = {}, .pipes = {}, .links = {}, .down = {}})) {
}
SimSockets::~SimSockets() = default;

Io<std::unique_ptr<Listener>> SimSockets::listen(Shard& shard, Address at, SocketOptions) {
  return listen_as(nullptr, shard, std::move(at));
}
Io<std::unique_ptr<Listener>> SimSockets::listen_as(SimProcess* process, Shard& shard, Address at) {
  if (at.port == 0) at.port = ++state_->last_port;
  for (const auto* other : state_->listeners) {
    const auto& taken = other->local();
    const bool same_machine =
        process == nullptr || other->process() == nullptr || process->host() == other->process()->host();
    if (same_machine && taken.port == at.port &&
        (taken.host == at.host || everywhere(taken.host) || everywhere(at.host))) {
      return failed(EADDRINUSE, "listen on", at.text());
    }
  }
  return std::make_unique<SimListener>(state_, shard, std::move(at), process);
}

Task<Io<std::unique_ptr<Socket>>> SimSockets::connect(Shard& shard, Address to, SocketOptions options) {
  return connect_as(nullptr, shard, std::move(to), options);
}
Task<Io<std::unique_ptr<Socket>>> SimSockets::connect_as(SimProcess* process, Shard& shard, Address to,
                                                         SocketOptions options) {
  const auto state = state_;
  const auto from = process == nullptr ? state->source : process->host();
  const auto deadline = state->world.clock().mono() + options.connect_max;
  const auto way = state->delay(from, to.host);
  if (way > nanoseconds(0)) co_await sleep(shard, way);
  while (state->cut || state->down.contains(to.host) || state->link(from, to.host).cut ||
         state->link(to.host, from).cut) {
    const auto left = deadline - state->world.clock().mono();
    if (options.connect_given_up && *options.connect_given_up) co_return failed(ECANCELED, "connect to", to.text());
    if (left <= nanoseconds(0)) co_return failed(ETIMEDOUT, "connect to", to.text());
    co_await sleep(shard, std::min<nanoseconds>(left, milliseconds(100)));
  }
  SimListener* listener = nullptr;
  for (auto* one : state->listeners) {
    if (one->at(to)) listener = one;
  }
  if (listener == nullptr) co_return failed(ECONNREFUSED, "connect to", to.text());
  auto there = std::make_shared<SimPipe>();
  auto back = std::make_shared<SimPipe>();
  there->other = back;
  back->other = there;
  there->from = back->to = from;
  there->to = back->from = to.host;
  there->writer = back->reader = process;
  there->reader = back->writer = listener->process();
  std::erase_if(state->pipes, [](const auto& pipe) { return pipe.expired(); });
  state->pipes.push_back(there);
  state->pipes.push_back(back);
  const Address local{from, ++state->last_port};
  listener->pending.push_back({there, back, local});
  listener->changed.notify();
  std::unique_ptr<Socket> socket = std::make_unique<SimSocket>(state, shard, back, there, local, to);
  co_return socket;
}

void SimSockets::end_of(SimProcess& process, bool silently) {
  std::erase_if(state_->listeners, [&](const SimListener* one) { return one->process() == &process; });
  if (silently) state_->down.insert(process.host());
  state_->each_pipe([&](const Pipe& pipe) {
    if (pipe->reader == &process) {
      pipe->silent = true;
      pipe->back_up = !silently;
    }
    if (pipe->writer == &process && !silently) reset_later(state_, pipe);
  });
}

void SimSockets::machine_up(const std::string& host) {
  state_->down.erase(host);
  // What comes for a connection that this machine knows nothing of is answered with a reset.
  std::vector<Pipe> all;
  state_->each_pipe([&](const Pipe& pipe) { all.push_back(pipe); });
  for (const auto& pipe : all) {
    if (!pipe->silent || pipe->reader == nullptr || pipe->reader->host() != host) continue;
    pipe->back_up = true;
    if (pipe->unheard) stray(*pipe);
  }
}

void SimSockets::set_link(const std::string& from, const std::string& to, Link link) {
  const bool mended = state_->link(from, to).cut && !link.cut;
  state_->links[{from, to}] = link;
  if (!mended) return;
  state_->each_pipe([&](const Pipe& pipe) {
    if (pipe->from != from || pipe->to != to) return;
    // What was held up is sent again by and by.
    const auto again = milliseconds(state_->world.random().below(400));
    state_->world.after(again, [pipe, state = state_] {
      if (!state->is_cut(*pipe)) arrive(*pipe);
    });
  });
}
SimSockets::Link SimSockets::link(const std::string& from, const std::string& to) const {
  return state_->link(from, to);
}
void SimSockets::reset(const std::string& one, const std::string& other) {
  state_->each_pipe([&](const Pipe& pipe) {
    if ((pipe->from != one || pipe->to != other) && (pipe->from != other || pipe->to != one)) return;
    pipe->reset = true;
    pipe->changed.notify();
  });
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
