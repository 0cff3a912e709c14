#include "zkclient/memory_service.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "zkclient/hub.h"

namespace weir::zkclient {
namespace {

using runtime::Shard;
using runtime::SimProcess;
using runtime::SimWorld;

constexpr milliseconds tick{50};

class Session;

class Service final : public MemoryService, public std::enable_shared_from_this<Service> {
 public:
  Service(SimWorld& w, std::string h, std::shared_ptr<MemoryTree> t)
      : world(w), host(std::move(h)), tree(std::move(t)), shard(w.shard(0)), scope(w.shard(0)) {}

  std::unique_ptr<Zk> connect(SimProcess& process, milliseconds session_timeout) override;
  void reset(const std::string& of) override;
  void set_down(bool value) override;
  std::uint64_t expired() const override { return expirations; }

  bool reaches(const std::string& from) const {
    return !down && !world.sockets().link(from, host).cut && !world.sockets().link(host, from).cut;
  }
  nanoseconds delay(const std::string& from, const std::string& to) {
    const auto link = world.sockets().link(from, to);
    auto time = link.latency_min;
    if (link.latency_max > link.latency_min) {
      time += nanoseconds(world.random().below(static_cast<std::uint64_t>((link.latency_max - time).count())));
    }
    return time;
  }

  SimWorld& world;
  const std::string host;
  const std::shared_ptr<MemoryTree> tree;
  Shard& shard;
  runtime::Scope scope;
  bool down = false;
  std::uint64_t expirations = 0;
  std::vector<std::weak_ptr<Session>> sessions;
};

// A client's watcher, as it stands at the service.
class Proxy final : public Watcher {
 public:
  Proxy(std::weak_ptr<Session> session, Watch watcher, Shard& home)
      : session_(std::move(session)), watcher_(std::move(watcher)), home_(home) {}
  void on_watch(const WatchEvent& event) override;
  const Watch& watcher() const { return watcher_; }
  Shard& home() const { return home_; }

 private:
  const std::weak_ptr<Session> session_;
  const Watch watcher_;
  Shard& home_;
};

// Both ends of one client's session after another.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Service> service, SimProcess& process, milliseconds timeout)
      : service_(std::move(service)), process_(process), timeout_(timeout) {}

  void begin() {
    connecting_until_ = now();
    on_tick();
  }

  // ---- the client's end

  template <class T, class Fn>
  Task<ZkResult<T>> ask(std::string path, Fn fn) {
    auto start = [this, &path, &fn](const std::shared_ptr<Reply<T>>& reply) {
      return send<T>(path, std::move(fn), reply);
    };
    Asking<T, decltype(start)> asking{std::make_shared<Reply<T>>(), start};
    co_return co_await asking;
  }

  Hub& hub() { return hub_; }
  const std::string& host() const { return process_.host(); }
  std::int64_t id() const { return id_; }
  milliseconds timeout() const { return timeout_; }

  void close() {
    if (std::exchange(closed_, true)) return;
    fail_all(ZkCode::closed);
    ++connection_;
    hub_.close();
    // Its word reaches the service, or the session times out there.
    if (process_.alive() && service_->reaches(process_.host())) end_at_service();
  }

  std::shared_ptr<Proxy> proxy(const Watch& watcher) {
    std::erase_if(proxies_, [](const auto& one) { return one.first.expired(); });
    const auto found = proxies_.find(watcher);
    if (found != proxies_.end()) return found->second;
    auto made = std::make_shared<Proxy>(weak_from_this(), watcher, *Shard::current());
    proxies_.emplace(watcher, made);
    return made;
  }

  // ---- the service's end

  void told(const Proxy& from, const WatchEvent& event) {
    missed_.push_back({from.watcher(), &from.home(), event, ++events_});
    if (connected_) deliver_events();
  }

  void reset() {
    if (!connected_ || closed_) return;
    lose_connection(milliseconds(5 + static_cast<std::int64_t>(service_->world.random().below(500))));
  }

  // ---- time

  void on_tick() {
    const bool there = process_.alive() && !closed_;
    const bool reaches = service_->reaches(process_.host());
    if (reaches) send_again();
    if (service_->down) heard_at_ = std::max(heard_at_, now());
    if (there && process_.running() && reaches && connected_) heard_at_ = now();
    if (session_ && now() - heard_at_ > timeout_) {
      ++service_->expirations;
      end_at_service();
    }
    if (!there && !session_) return;  // nothing more will happen
    if (there && process_.running()) client_tick(reaches);
    service_->world.after(tick, [self = shared_from_this()] { self->on_tick(); });
  }

 private:
  struct Missed {
    Watch watcher;
    Shard* home;
    WatchEvent event;
    std::uint64_t number;
  };
  struct InFlight {
    std::uint64_t number;
    std::function<void(ZkCode)> fail;
  };

  nanoseconds now() const { return service_->world.clock().mono(); }

  // What comes to one end of the connection. While it is cut that is sent again and again, in its order.
  void arrive(std::deque<runtime::Job>& held, std::uint64_t connection, runtime::Job job) {
    if (connection_ != connection) return;
    if (held.empty() && service_->reaches(process_.host())) {
      job();
    } else {
      held.push_back(std::move(job));
    }
  }
  void send_again() {
    for (auto* held : {&held_up_, &held_down_}) {
      const auto connection = connection_;
      for (auto& job : std::exchange(*held, {})) {
        if (connection_ == connection) job();
      }
    }
  }

  void client_tick(bool reaches) {
    if (connected_) {
      // A client that stood still for long finds that its connection is gone.
      const bool stood_still = now() - ticked_at_ > timeout_ * 2 / 3;
      if (reaches && !stood_still) answered_at_ = now();
      if (stood_still || now() - answered_at_ > timeout_ * 2 / 3) lose_connection(tick);
    } else if (reaches && now() >= connecting_until_) {
      establish();
    }
    ticked_at_ = now();
  }

  void lose_connection(nanoseconds pause) {
    connected_ = false;
    ++connection_;
    connecting_until_ = now() + pause;
    fail_all(ZkCode::connection_loss);
    hub_.change(State::connecting, SessionEvent::disconnected);
  }

  void establish() {
    if (id_ != 0 && !session_) {
      id_ = 0;
      missed_.clear();
      proxies_.clear();
      hub_.change(State::connecting, SessionEvent::expired);
    }
    if (!session_) {
      session_ = service_->tree->connect(timeout_);
      id_ = session_->session_id();
    }
    connected_ = true;
    ++connection_;
    heard_at_ = answered_at_ = ticked_at_ = now();
    last_sent_ = last_answered_ = now();
    hub_.change(State::connected, SessionEvent::connected);
    deliver_events();
  }

  void end_at_service() {
    if (!session_) return;
    // A call may be in it: it goes when that has ended.
    auto ended = std::exchange(session_, nullptr);
    auto close = [](std::shared_ptr<Zk> zk) -> Task<void> { co_await zk->close(); };
    service_->shard.post([service = service_, ended, close] { service->scope.spawn(close(ended)); });
  }

  void deliver_events() {
    for (const auto& one : missed_) {
      if (one.number <= events_sent_) continue;
      events_sent_ = one.number;
      service_->world.after(answer_time(), [self = shared_from_this(), number = one.number, connection = connection_] {
        self->arrive(self->held_down_, connection, [self, number] {
          const auto at = std::ranges::find(self->missed_, number, &Missed::number);
          if (at == self->missed_.end()) return;
          const auto event = std::move(*at);
          self->missed_.erase(at);
          tell(*event.home, event.watcher, event.event);
        });
      });
    }
  }

  nanoseconds answer_time() {
    last_answered_ = std::max(last_answered_, now() + service_->delay(service_->host, process_.host()));
    return last_answered_ - now();
  }

  template <class T, class Fn>
  bool send(const std::string& path, Fn fn, const std::shared_ptr<Reply<T>>& reply) {
    if (closed_ || !connected_) {
      complete<T>(reply, zk_fail(closed_ ? ZkCode::closed : ZkCode::connection_loss, path));
      return true;
    }
    if (!process_.alive()) return true;  // frozen for ever
    const auto number = ++calls_;
    in_flight_.push_back({number, [reply, path](ZkCode code) { complete<T>(reply, zk_fail(code, path)); }});
    last_sent_ = std::max(last_sent_, now() + service_->delay(process_.host(), service_->host));
    auto serve_it = [self = shared_from_this(), number, connection = connection_, reply, fn = std::move(fn)]() mutable {
      self->service_->shard.post([self, number, connection, reply, fn = std::move(fn)]() mutable {
        if (!self->session_) return;
        self->service_->scope.spawn(
            self->template serve<T>(self, self->session_, number, connection, reply, std::move(fn)));
      });
    };
    service_->world.after(last_sent_ - now(), [self = shared_from_this(), connection = connection_,
                                               serve_it = std::move(serve_it)]() mutable {
      self->arrive(self->held_up_, connection, std::move(serve_it));
    });
    return true;
  }

  template <class T, class Fn>
  static Task<void> serve(std::shared_ptr<Session> self, std::shared_ptr<Zk> at, std::uint64_t number,
                          std::uint64_t connection, std::shared_ptr<Reply<T>> reply, Fn fn) {
    auto result = co_await fn(*at);
    if (self->connection_ != connection) co_return;
    if (!result && (result.error().code == ZkCode::closed || result.error().code == ZkCode::connection_loss)) co_return;
    auto answer = std::make_shared<ZkResult<T>>(std::move(result));
    self->service_->world.after(self->answer_time(), [self, number, connection, reply, answer] {
      self->arrive(self->held_down_, connection, [self, number, reply, answer] {
        std::erase_if(self->in_flight_, [&](const InFlight& one) { return one.number == number; });
        complete<T>(reply, std::move(*answer));
      });
    });
  }

  void fail_all(ZkCode code) {
    for (auto& one : std::exchange(in_flight_, {})) one.fail(code);
    held_up_.clear();
    held_down_.clear();
    // What was told on the lost connection is told again on the next.
    events_sent_ = 0;
  }

  const std::shared_ptr<Service> service_;
  SimProcess& process_;
  const milliseconds timeout_;
  Hub hub_;
  std::shared_ptr<Zk> session_;  // at the service
  std::int64_t id_ = 0;          // as the client knows it
  bool connected_ = false;
  bool closed_ = false;
  std::uint64_t connection_ = 0;
  std::uint64_t calls_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t events_sent_ = 0;
  nanoseconds heard_at_{0};     // the service the client
  nanoseconds answered_at_{0};  // the client the service
  nanoseconds ticked_at_{0};
  nanoseconds connecting_until_{0};
  nanoseconds last_sent_{0};
  nanoseconds last_answered_{0};
  std::deque<InFlight> in_flight_;
  std::deque<runtime::Job> held_up_;    // on the way to the service
  std::deque<runtime::Job> held_down_;  // and from it
  std::deque<Missed> missed_;
  std::map<Watch, std::shared_ptr<Proxy>, std::owner_less<Watch>> proxies_;
};

void Proxy::on_watch(const WatchEvent& event) {
  if (const auto session = session_.lock()) session->told(*this, event);
}

class ServiceZk final : public Zk {
 public:
  explicit ServiceZk(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  ~ServiceZk() override { session_->close(); }

  Task<ZkResult<std::string>> create(std::string path, std::string data, CreateMode mode, Acl acl) override {
    auto work = [path, data, mode, acl](Zk& zk) { return zk.create(path, data, mode, acl); };
    return session_->ask<std::string>(std::move(path), std::move(work));
  }
  Task<ZkResult<Data>> get(std::string path, Watch watch) override {
    auto work = [path, watch = placed(watch)](Zk& zk) { return zk.get(path, watch); };
    return session_->ask<Data>(std::move(path), std::move(work));
  }
  Task<ZkResult<Stat>> set(std::string path, std::string data, std::int32_t version) override {
    auto work = [path, data, version](Zk& zk) { return zk.set(path, data, version); };
    return session_->ask<Stat>(std::move(path), std::move(work));
  }
  Task<ZkResult<>> remove(std::string path, std::int32_t version) override {
    auto work = [path, version](Zk& zk) { return zk.remove(path, version); };
    return session_->ask<void>(std::move(path), std::move(work));
  }
  Task<ZkResult<std::vector<std::string>>> children(std::string path, Watch watch) override {
    auto work = [path, watch = placed(watch)](Zk& zk) { return zk.children(path, watch); };
    return session_->ask<std::vector<std::string>>(std::move(path), std::move(work));
  }
  Task<ZkResult<std::optional<Stat>>> exists(std::string path, Watch watch) override {
    auto work = [path, watch = placed(watch)](Zk& zk) { return zk.exists(path, watch); };
    return session_->ask<std::optional<Stat>>(std::move(path), std::move(work));
  }
  Task<ZkResult<std::vector<OpResult>>> multi(std::vector<Op> ops) override {
    std::string path = ops.empty() ? std::string() : ops.front().path;
    auto work = [ops = std::move(ops)](Zk& zk) { return zk.multi(ops); };
    return session_->ask<std::vector<OpResult>>(std::move(path), std::move(work));
  }
  Task<ZkResult<>> sync(std::string path) override {
    auto work = [path](Zk& zk) { return zk.sync(path); };
    return session_->ask<void>(std::move(path), std::move(work));
  }

  std::int64_t session_id() const override { return session_->id(); }
  State state() const override { return session_->hub().state(); }
  milliseconds session_timeout() const override { return session_->timeout(); }
  void listen(Watch watcher) override { session_->hub().listen(std::move(watcher)); }
  Task<bool> wait_connected(nanoseconds timeout) override { return session_->hub().wait_connected(timeout); }
  Task<void> close() override {
    session_->close();
    co_return;
  }

 private:
  Watch placed(const Watch& watch) {
    if (watch.expired()) return {};
    return session_->proxy(watch);
  }

  const std::shared_ptr<Session> session_;
};

std::unique_ptr<Zk> Service::connect(SimProcess& process, milliseconds session_timeout) {
  auto session = std::make_shared<Session>(shared_from_this(), process, session_timeout);
  std::erase_if(sessions, [](const auto& one) { return one.expired(); });
  sessions.push_back(session);
  world.after(nanoseconds(0), [session] { session->begin(); });
  return std::make_unique<ServiceZk>(std::move(session));
}

void Service::reset(const std::string& of) {
  for (auto& weak : sessions) {
    if (const auto session = weak.lock(); session && session->host() == of) session->reset();
  }
}

void Service::set_down(bool value) { down = value; }

}  // namespace

std::shared_ptr<MemoryService> MemoryService::make(SimWorld& world, std::string host,
                                                   std::shared_ptr<MemoryTree> tree) {
  // What froze may point to it: never destroyed.
  static auto* all = new std::vector<std::shared_ptr<MemoryService>>;
  return all->emplace_back(std::make_shared<Service>(world, std::move(host), std::move(tree)));
}

}  // namespace weir::zkclient
