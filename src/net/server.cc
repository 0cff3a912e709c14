#include "net/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <list>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/log.h"

namespace weir::net {
namespace {

constexpr auto log_interval = seconds(10);
// How long accepting rests when the process has no descriptor or memory left for one more; a connection that ends
// cuts it short.
constexpr auto accept_rest = seconds(1);

// With Limits::make_room so many may be open over the limit for the moment it takes to close others.
constexpr std::uint64_t room_making_max = 16;

// How fast connections may come: on average `limit` a second, looked at over rate_window, so that a burst of
// rate_window's worth passes after a quiet time.
class Rate {
 public:
  // When the next may come; not before `now` when it has to wait. With a limit of 0: never.
  nanoseconds next(std::uint32_t limit, nanoseconds now) const {
    if (limit >= no_limit) return now;
    if (limit == 0) return nanoseconds::max();
    return std::max(now, due_ - (nanoseconds(rate_window) - interval(limit)));
  }
  void count(std::uint32_t limit, nanoseconds now) {
    if (limit > 0 && limit < no_limit) due_ = std::max(due_, now) + interval(limit);
  }
  // Another limit: what was counted under the old one is forgotten.
  void reset() { due_ = {}; }

 private:
  static nanoseconds interval(std::uint32_t limit) { return nanoseconds(seconds(1)) / limit; }
  nanoseconds due_{};  // when all that came would have come, had each waited for its turn
};

}  // namespace

struct Server::Impl {
  struct Door {
    ListenerOptions options;
    ListenerLimits limits;
    Rate rate;
    std::unique_ptr<runtime::Listener> listener;
    std::atomic<std::uint32_t> connections{0};
    runtime::Waiter* rest = nullptr;  // of its accept loop, while that waits for room
  };
  // What a shard owns. `connections` counts those it has and those on their way to it; home's to change.
  struct Seat {
    explicit Seat(runtime::Shard& s) : shard(s), scope(s) {}
    runtime::Shard& shard;
    runtime::Scope scope;
    std::list<std::shared_ptr<Connection>> open;  // in the order they came
    std::uint64_t connections = 0;
    bool stopping = false;
  };

  Impl(std::vector<runtime::Shard*> shards, runtime::Sockets& s, Service& v, ServerOptions o)
      : sockets(s),
        service(v),
        options(std::move(o)),
        limits(static_cast<const Limits&>(options)),
        memory(options.queued_bytes_max),
        small_memory(static_cast<std::int64_t>(options.queued_small_bytes_max)),
        spared_memory(options.queued_spared_bytes_max) {
    WEIR_CHECK(!shards.empty(), "a server has shards");
    for (auto* shard : shards) seats.push_back(std::make_unique<Seat>(*shard));
  }

  runtime::Task<void> accept_all(Door& door);
  runtime::Task<void> wait_for_room(Door& door);
  runtime::Task<void> rest(Door& door, nanoseconds time);
  bool admit_ip(const std::string& host);
  void seat(Door& door, Seat& seat, std::unique_ptr<runtime::Socket> socket);
  runtime::Task<void> run(Door& door, Seat& seat, std::unique_ptr<runtime::Socket> socket, std::uint64_t number,
                          bool spared);
  runtime::Task<bool> shake_hands(std::shared_ptr<Connection> connection);
  runtime::Task<void> serve(std::shared_ptr<Connection> connection);
  void left(Door& door, Seat& seat, const std::string& host);
  bool spared(std::string_view listener) const { return listener == limits.spared_listener; }
  bool full(const Door& door) const {
    if (door.connections.load(std::memory_order_relaxed) >= door.limits.connections_max) return true;
    // Those who are to go do so while the next come in.
    const std::uint64_t over = limits.make_room ? room_making_max : 0;
    return !spared(door.options.endpoint.listener) && open >= limits.connections_max + over;
  }
  runtime::Task<void> wait_for_turn(Door& door);
  bool too_many() const { return open > limits.connections_max && !stopping; }
  runtime::Task<void> shed();
  void apply_to(Door& door);
  void wake_doors();
  Seat& emptiest() {
    return **std::min_element(seats.begin(), seats.end(),
                              [](const auto& a, const auto& b) { return a->connections < b->connections; });
  }

  runtime::Sockets& sockets;
  Service& service;
  const ServerOptions options;
  Limits limits;  // as they are now; of home
  Rate rate;
  Counters counters;
  Memory memory;
  Memory small_memory;
  Memory spared_memory;
  std::vector<std::unique_ptr<Seat>> seats;
  std::vector<std::unique_ptr<Door>> doors;

  // Of the shard that called start().
  runtime::Shard* home = nullptr;
  std::unique_ptr<runtime::Scope> accepting;
  std::unordered_map<std::string, std::uint32_t> by_ip;
  std::uint64_t open = 0;
  std::uint64_t last_number = 0;
  bool shedding = false;
  runtime::Waiter* one_left = nullptr;  // of shed()
  bool stopping = false;
  bool stopped = false;
};

Server::Server(std::vector<runtime::Shard*> shards, runtime::Sockets& sockets, Service& service, ServerOptions options)
    : impl_(std::make_unique<Impl>(std::move(shards), sockets, service, std::move(options))) {}

Server::~Server() { WEIR_CHECK(impl_->home == nullptr || impl_->stopped, "a server is stopped before it goes"); }

const Counters& Server::counters() const { return impl_->counters; }
runtime::Budget& Server::budget() { return impl_->memory.budget(); }
const Memory& Server::memory() const { return impl_->memory; }

std::uint64_t Server::connections(std::string_view listener) const {
  std::uint64_t n = 0;
  for (const auto& door : impl_->doors) {
    if (door->options.endpoint.listener == listener) n += door->connections.load(std::memory_order_relaxed);
  }
  return n;
}

runtime::Task<Result<std::vector<Endpoint>>> Server::start(std::vector<ListenerOptions> listeners) {
  auto& impl = *impl_;
  WEIR_CHECK(impl.home == nullptr, "a server starts once");
  auto* const home = runtime::Shard::current();
  WEIR_CHECK(home != nullptr, "a server starts on a shard");
  std::vector<std::unique_ptr<Impl::Door>> doors;
  std::vector<Endpoint> bound;
  for (auto& options : listeners) {
    auto door = std::make_unique<Impl::Door>();
    auto listener = impl.sockets.listen(*home, options.endpoint.address, impl.options.socket);
    if (!listener) {
      co_return fail(ErrorCode::UNKNOWN_SERVER_ERROR,
                     fmt::format("listener {}: {}", options.endpoint.listener, listener.error().message));
    }
    door->listener = std::move(*listener);
    options.endpoint.address.port = door->listener->local().port;
    bound.push_back(options.endpoint);
    door->options = std::move(options);
    impl.apply_to(*door);
    doors.push_back(std::move(door));
  }
  impl.home = home;
  impl.accepting = std::make_unique<runtime::Scope>(*home);
  impl.doors = std::move(doors);
  for (auto& door : impl.doors) impl.accepting->spawn(impl.accept_all(*door));
  co_return bound;
}

// ---- accepting (at home) ----

runtime::Task<void> Server::Impl::rest(Door& door, nanoseconds time) {
  runtime::Waiter waiter(*home);
  door.rest = &waiter;
  co_await waiter.wait(time);
  door.rest = nullptr;
}

runtime::Task<void> Server::Impl::wait_for_room(Door& door) {
  if (full(door)) {
    WEIR_LOG_LIMITED_BY(warn, log_interval, door.options.endpoint.listener,
                        "listener {} does not accept: {} connections are open, {} on it",
                        door.options.endpoint.listener, open, door.connections.load(std::memory_order_relaxed));
  }
  while (full(door) && !stopping) co_await rest(door, std::chrono::hours(1));
}

// Holds a connection back that comes faster than the broker or the listener may have them.
runtime::Task<void> Server::Impl::wait_for_turn(Door& door) {
  while (!stopping) {
    const auto now = home->clock().mono();
    const bool free = spared(door.options.endpoint.listener);
    const auto mine = door.rate.next(door.limits.connections_per_second_max, now);
    const auto all = free ? now : rate.next(limits.connections_per_second_max, now);
    const auto turn = std::max(mine, all);
    if (turn <= now) {
      door.rate.count(door.limits.connections_per_second_max, now);
      if (!free) rate.count(limits.connections_per_second_max, now);
      co_return;
    }
    WEIR_LOG_LIMITED_BY(warn, log_interval, door.options.endpoint.listener,
                        "listener {}: connections come faster than {} a second and have to wait",
                        door.options.endpoint.listener,
                        std::min(door.limits.connections_per_second_max, limits.connections_per_second_max));
    counters.delayed.fetch_add(1, std::memory_order_relaxed);
    co_await rest(door, std::min(turn - now, nanoseconds(std::chrono::hours(1))));
  }
}

runtime::Task<void> Server::Impl::accept_all(Door& door) {
  while (!stopping) {
    co_await wait_for_room(door);
    if (stopping) break;
    auto& seat_taken = emptiest();
    ++seat_taken.connections;
    auto socket = co_await door.listener->accept(seat_taken.shard);
    // Another listener may have taken the last place meanwhile: this one then waits, connected and not served.
    if (socket) co_await wait_for_turn(door);
    if (socket) co_await wait_for_room(door);
    if (socket && !stopping && admit_ip((*socket)->peer().host)) {
      seat(door, seat_taken, std::move(*socket));
      continue;
    }
    --seat_taken.connections;
    if (socket) {  // it goes on the shard it was made for
      seat_taken.shard.post([unwanted = std::move(*socket)] {});
      continue;
    }
    if (stopping || socket.error().number == ECANCELED) break;
    counters.accept_errors.fetch_add(1, std::memory_order_relaxed);
    WEIR_LOG_LIMITED_BY(error, log_interval, door.options.endpoint.listener, "listener {}: {}; trying again",
                        door.options.endpoint.listener, socket.error().message);
    co_await rest(door, accept_rest);
  }
  door.listener->close();
}

bool Server::Impl::admit_ip(const std::string& host) {
  const auto special = limits.connections_per_ip_overrides.find(host);
  const auto limit =
      special == limits.connections_per_ip_overrides.end() ? limits.connections_per_ip_max : special->second;
  const auto found = by_ip.find(host);
  const auto now = found == by_ip.end() ? 0U : found->second;
  if (now < limit) {
    ++by_ip[host];
    return true;
  }
  counters.rejected.fetch_add(1, std::memory_order_relaxed);
  WEIR_LOG_LIMITED(warn, log_interval, "closed a connection from {} at once: {} are open from there, allowed are {}",
                   host, now, limit);
  return false;
}

void Server::Impl::seat(Door& door, Seat& seat, std::unique_ptr<runtime::Socket> socket) {
  ++open;
  door.connections.fetch_add(1, std::memory_order_relaxed);
  counters.accepted.fetch_add(1, std::memory_order_relaxed);
  const bool free = spared(door.options.endpoint.listener);
  seat.shard.post([this, &door, &seat, number = ++last_number, free, socket = std::move(socket)]() mutable {
    seat.scope.spawn(run(door, seat, std::move(socket), number, free));
  });
  // One was let in over the limit, by the spared listener or to make room: another goes.
  if (too_many() && !shedding) accepting->spawn(shed());
}

// Closes the longest silent of all but the spared listener, one after the other, while there are too many.
runtime::Task<void> Server::Impl::shed() {
  shedding = true;
  while (too_many()) {
    std::shared_ptr<Connection> oldest;  // touched on its own shard only
    nanoseconds oldest_at = nanoseconds::max();
    for (auto& seat : seats) {
      using Found = std::pair<std::shared_ptr<Connection>, nanoseconds>;
      auto find = [spared_listener = limits.spared_listener, one = seat.get()] {
        Found found{nullptr, nanoseconds::max()};
        for (const auto& connection : one->open) {
          if (connection->closed() || connection->listener() == spared_listener) continue;
          if (connection->active_at() < found.second) found = {connection, connection->active_at()};
        }
        return found;
      };
      auto found = co_await call(seat->shard, std::move(find));
      if (found.first && found.second < oldest_at) std::tie(oldest, oldest_at) = std::move(found);
    }
    if (!oldest || !too_many()) break;
    WEIR_LOG_LIMITED(warn, log_interval,
                     "{} connections are open, allowed are {}: closing those that are silent longest", open,
                     limits.connections_max);
    const auto before = counters.closed.load(std::memory_order_relaxed);  // others may come meanwhile
    auto& shard = oldest->shard();
    auto close = [victim = std::move(oldest)] { victim->close("another connection needs its place"); };
    co_await call(shard, std::move(close));
    runtime::Waiter gone(*home);
    while (counters.closed.load(std::memory_order_relaxed) == before && !stopping) {
      one_left = &gone;
      co_await gone.wait();
      one_left = nullptr;
    }
  }
  shedding = false;
}

void Server::Impl::left(Door& door, Seat& seat, const std::string& host) {
  --open;
  --seat.connections;
  door.connections.fetch_sub(1, std::memory_order_relaxed);
  counters.closed.fetch_add(1, std::memory_order_relaxed);
  const auto found = by_ip.find(host);
  if (--found->second == 0) by_ip.erase(found);
  wake_doors();
  if (one_left != nullptr) one_left->wake();
}

void Server::Impl::wake_doors() {
  for (auto& one : doors) {
    if (one->rest != nullptr) one->rest->wake();
  }
}

void Server::Impl::apply_to(Door& door) {
  const auto found = limits.listeners.find(door.options.endpoint.listener);
  const auto next = found == limits.listeners.end() ? ListenerLimits{} : found->second;
  if (next.connections_per_second_max != door.limits.connections_per_second_max) door.rate.reset();
  door.limits = next;
}

void Server::set_limits(Limits limits) {
  auto& impl = *impl_;
  WEIR_CHECK(impl.home != nullptr && impl.home->here(), "limits are set where the server was started");
  if (limits.connections_per_second_max != impl.limits.connections_per_second_max) impl.rate.reset();
  impl.limits = std::move(limits);
  for (auto& door : impl.doors) impl.apply_to(*door);
  if (impl.stopping) return;
  impl.wake_doors();
  if (impl.too_many() && !impl.shedding) impl.accepting->spawn(impl.shed());
}

// ---- serving (on the connection's shard) ----

runtime::Task<bool> Server::Impl::shake_hands(std::shared_ptr<Connection> connection) {
  auto& shard = connection->shard();
  bool late = false;
  const auto timer = shard.schedule(shard.clock().mono() + options.handshake_max, [&late, connection] {
    late = true;
    connection->close();
  });
  const auto opened = co_await connection->transport().open();
  shard.cancel(timer);
  if (opened && !late) co_return !connection->closed();
  if (connection->closed() && !late) co_return false;  // the server stops
  const auto why = late ? std::string("its handshake takes too long") : opened.error().message;
  // By its kind, not by the sentence: that may hold names which the peer made up.
  const auto kind = fmt::format("{} {}", connection->listener(), late ? "late" : connection->transport().trouble());
  WEIR_LOG_LIMITED_BY(warn, log_interval, kind, "closed {} connection {} of listener {}: {}", options.protocol,
                      connection->id(), connection->listener(), why);
  connection->close(why);
  co_return false;
}

runtime::Task<void> Server::Impl::serve(std::shared_ptr<Connection> connection) {
  try {
    co_await service.serve(connection);
  } catch (const std::exception& e) {
    WEIR_LOG_LIMITED(error, log_interval, "closed {} connection {}: an exception while serving it: {}",
                     options.protocol, connection->id(), e.what());
    connection->close();
  }
}

runtime::Task<void> Server::Impl::run(Door& door, Seat& seat, std::unique_ptr<runtime::Socket> socket,
                                      std::uint64_t number, bool spared) {
  const auto host = socket->peer().host;
  {
    auto transport = options.transports ? options.transports(door.options.endpoint, std::move(socket))
                                        : plain_transport(std::move(socket));
    ConnectionOptions with;
    with.frame_bytes_max = options.frame_bytes_max;
    with.queued_push_bytes_max = options.queued_push_bytes_max;
    if (spared) {
      with.memory = options.queued_spared_bytes_max < 0 ? nullptr : &spared_memory;
    } else if (options.queued_bytes_max >= 0) {
      with.memory = &memory;
      if (options.queued_small_bytes_max > 0) with.small_memory = &small_memory;
    }
    with.idle_max = options.idle_max;
    with.counters = &counters;
    with.protocol = options.protocol;
    const auto connection =
        Connection::make(seat.shard, std::move(transport), with, number, door.options.endpoint.listener);
    const auto at = seat.open.insert(seat.open.end(), connection);
    if (seat.stopping) connection->close();
    const bool ready = co_await shake_hands(connection);
    if (ready) co_await serve(connection);
    co_await connection->finish();
    seat.open.erase(at);
  }
  home->post([this, &door, &seat, host] { left(door, seat, host); });
}

// ---- the end ----

void Server::stop_accepting() {
  auto& impl = *impl_;
  if (impl.home == nullptr) return;
  WEIR_CHECK(impl.home->here(), "a server is stopped where it was started");
  impl.stopping = true;
  for (auto& door : impl.doors) {
    door->listener->close();
    if (door->rest != nullptr) door->rest->wake();
  }
  if (impl.one_left != nullptr) impl.one_left->wake();
}

runtime::Task<void> Server::stop() {
  auto& impl = *impl_;
  if (impl.home == nullptr || std::exchange(impl.stopped, true)) co_return;
  stop_accepting();
  co_await impl.accepting->stop();
  for (auto& seat : impl.seats) {
    auto* const one = seat.get();
    auto close_all = [one]() -> runtime::Task<void> {
      one->stopping = true;
      const auto open = one->open;
      for (const auto& connection : open) connection->close("the server stops");
      co_await one->scope.stop();
    };
    // Who left has told home before this returns: one shard's posts keep their order.
    co_await call(one->shard, std::move(close_all));
  }
  // On home's own shard the call above did not go through the queue: let what was posted run.
  runtime::Waiter last(*impl.home);
  impl.home->post([&last] { last.wake(); });
  co_await last.wait();
  for (auto& door : impl.doors) door->listener = nullptr;
}

}  // namespace weir::net
