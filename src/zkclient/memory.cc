#include "zkclient/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <utility>

#include "zkclient/hub.h"

namespace weir::zkclient {
namespace {

struct Node {
  std::string data;
  Stat stat;
  std::set<std::string> children;  // names
  std::int32_t next_sequence = 0;
};

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? std::string("/") : path.substr(0, slash);
}
bool valid(const std::string& path, bool sequential) {
  if (path == "/") return true;
  if (path.empty() || path.front() != '/' || path.find("//") != std::string::npos) return false;
  return sequential || path.back() != '/';
}

class MemoryZk;

class Tree final : public MemoryTree, public std::enable_shared_from_this<Tree> {
 public:
  Tree() { nodes_["/"]; }

  std::unique_ptr<Zk> connect(milliseconds session_timeout) override;
  void expire(std::int64_t session_id) override;
  void hold_new_sessions(bool hold) override;
  void disconnect(std::int64_t session_id) override;
  void reconnect(std::int64_t session_id) override;
  std::map<std::string, std::uint64_t> operations() const override {
    const std::lock_guard lock(mutex_);
    return operations_;
  }
  std::vector<std::pair<std::string, std::string>> dump() const override {
    const std::lock_guard lock(mutex_);
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [path, node] : nodes_) {
      if (path != "/") out.emplace_back(path, node.data);
    }
    return out;
  }
  std::optional<std::string> data(const std::string& path) const override {
    const std::lock_guard lock(mutex_);
    const auto found = nodes_.find(path);
    return found == nodes_.end() ? std::nullopt : std::optional(found->second.data);
  }
  std::size_t watches() const override {
    const std::lock_guard lock(mutex_);
    std::size_t n = 0;
    for (const auto* table : {&node_watches_, &child_watches_}) {
      for (const auto& [path, list] : *table) n += list.size();
    }
    return n;
  }

  // What a call does, under the lock. `session` is the caller's; 0 when it has none.
  template <class T, class Fn>
  ZkResult<T> call(std::string_view kind, std::int64_t session, const std::string& path, Fn fn) {
    const std::lock_guard lock(mutex_);
    ++operations_[std::string(kind)];
    ++operations_["all"];
    const auto found = sessions_.find(session);
    if (found == sessions_.end()) return zk_fail(ZkCode::connection_loss, path);
    if (found->second.away) return zk_fail(ZkCode::connection_loss, path);
    return fn(*this);
  }

  ZkResult<std::string> create(std::int64_t session, std::string path, const std::string& data, CreateMode mode);
  ZkResult<Stat> set(const std::string& path, const std::string& data, std::int32_t version);
  ZkResult<> remove(const std::string& path, std::int32_t version);
  ZkResult<> check(const std::string& path, std::int32_t version) const;
  ZkResult<std::vector<OpResult>> multi(std::int64_t session, const std::vector<Op>& ops);
  const Node* find(const std::string& path) const {
    const auto found = nodes_.find(path);
    return found == nodes_.end() ? nullptr : &found->second;
  }
  void watch(bool child, std::int64_t session, const std::string& path, Watch watcher);
  void end_session(MemoryZk* zk);

 private:
  friend class MemoryZk;
  struct Watching {
    std::int64_t session;
    Watch watcher;
    runtime::Shard* shard;
  };
  using Watches = std::map<std::string, std::vector<Watching>>;
  struct Session {
    MemoryZk* zk = nullptr;
    bool away = false;
    std::set<std::string> ephemerals;
    std::vector<std::pair<Watching, WatchEvent>> missed;  // told on reconnect
  };

  void open(MemoryZk* zk);
  void drop(std::int64_t session);
  void fire(Watches& watches, const std::string& path, WatchEvent::Type type);
  void touch_parent(const std::string& path);

  mutable std::mutex mutex_;  // sessions of several shards share the tree
  std::map<std::string, Node> nodes_;
  std::map<std::int64_t, Session> sessions_;
  Watches node_watches_;
  Watches child_watches_;
  std::map<std::string, std::uint64_t> operations_;
  std::int64_t zxid_ = 0;
  std::int64_t last_session_ = 0x1000;
  bool hold_ = false;
  std::vector<MemoryZk*> held_;
  // Events are told after the change, still under the lock: only posts to shards.
  bool quiet_ = false;  // while a multi is tried
  std::vector<std::pair<bool, std::pair<std::string, WatchEvent::Type>>> queued_;
};

class MemoryZk final : public Zk {
 public:
  MemoryZk(std::shared_ptr<Tree> tree, milliseconds timeout) : tree_(std::move(tree)), timeout_(timeout) {}
  ~MemoryZk() override { tree_->end_session(this); }

  Task<ZkResult<std::string>> create(std::string path, std::string data, CreateMode mode, Acl) override {
    const auto session = session_id();
    auto answer = tree_->call<std::string>("create", session, path,
                                           [&](Tree& tree) { return tree.create(session, path, data, mode); });
    co_return co_await later<std::string>(std::move(answer));
  }
  Task<ZkResult<Data>> get(std::string path, Watch watch) override {
    const auto session = session_id();
    auto answer = tree_->call<Data>("get", session, path, [&](Tree& tree) -> ZkResult<Data> {
      const Node* node = tree.find(path);
      if (node == nullptr) return zk_fail(ZkCode::no_node, path);
      tree.watch(false, session, path, watch);
      return Data{node->data, node->stat};
    });
    co_return co_await later<Data>(std::move(answer));
  }
  Task<ZkResult<Stat>> set(std::string path, std::string data, std::int32_t version) override {
    auto answer =
        tree_->call<Stat>("set", session_id(), path, [&](Tree& tree) { return tree.set(path, data, version); });
    co_return co_await later<Stat>(std::move(answer));
  }
  Task<ZkResult<>> remove(std::string path, std::int32_t version) override {
    auto answer =
        tree_->call<void>("remove", session_id(), path, [&](Tree& tree) { return tree.remove(path, version); });
    co_return co_await later<void>(std::move(answer));
  }
  Task<ZkResult<std::vector<std::string>>> children(std::string path, Watch watch) override {
    using Names = std::vector<std::string>;
    const auto session = session_id();
    auto answer = tree_->call<Names>("children", session, path, [&](Tree& tree) -> ZkResult<Names> {
      const Node* node = tree.find(path);
      if (node == nullptr) return zk_fail(ZkCode::no_node, path);
      tree.watch(true, session, path, watch);
      return Names(node->children.begin(), node->children.end());
    });
    co_return co_await later<Names>(std::move(answer));
  }
  Task<ZkResult<std::optional<Stat>>> exists(std::string path, Watch watch) override {
    using Found = std::optional<Stat>;
    const auto session = session_id();
    auto answer = tree_->call<Found>("exists", session, path, [&](Tree& tree) -> ZkResult<Found> {
      const Node* node = tree.find(path);
      tree.watch(false, session, path, watch);
      return node == nullptr ? Found() : Found(node->stat);
    });
    co_return co_await later<Found>(std::move(answer));
  }
  Task<ZkResult<std::vector<OpResult>>> multi(std::vector<Op> ops) override {
    using Results = std::vector<OpResult>;
    const auto session = session_id();
    const std::string path = ops.empty() ? std::string() : ops.front().path;
    auto answer = tree_->call<Results>("multi", session, path, [&](Tree& tree) { return tree.multi(session, ops); });
    co_return co_await later<Results>(std::move(answer));
  }
  Task<ZkResult<>> sync(std::string path) override {
    auto answer = tree_->call<void>("sync", session_id(), path, [](Tree&) { return ZkResult<>(); });
    co_return co_await later<void>(std::move(answer));
  }

  std::int64_t session_id() const override {
    const std::lock_guard lock(tree_->mutex_);
    return session_;
  }
  State state() const override { return hub_.state(); }
  milliseconds session_timeout() const override { return timeout_; }
  void listen(Watch watcher) override { hub_.listen(std::move(watcher)); }
  Task<bool> wait_connected(nanoseconds timeout) override { return hub_.wait_connected(timeout); }
  Task<void> close() override {
    tree_->end_session(this);
    hub_.close();
    co_return;
  }

 private:
  friend class Tree;
  // As an answer of a server: it comes as a job of its own.
  template <class T>
  Task<ZkResult<T>> later(ZkResult<T> answer) {
    if (!answer && hub_.state() == State::closed) answer = zk_fail(ZkCode::closed, answer.error().path);
    auto start = [&answer](const std::shared_ptr<Reply<T>>& reply) {
      complete(reply, std::move(answer));
      return true;
    };
    Asking<T, decltype(start)> asking{std::make_shared<Reply<T>>(), start};
    co_return co_await asking;
  }

  std::shared_ptr<Tree> tree_;
  milliseconds timeout_;
  Hub hub_;
  std::int64_t session_ = 0;  // under the tree's lock
};

std::unique_ptr<Zk> Tree::connect(milliseconds session_timeout) {
  auto zk = std::make_unique<MemoryZk>(shared_from_this(), session_timeout);
  const std::lock_guard lock(mutex_);
  open(zk.get());
  return zk;
}

void Tree::open(MemoryZk* zk) {
  zk->session_ = ++last_session_;
  sessions_[zk->session_].zk = zk;
  zk->hub_.change(State::connected, SessionEvent::connected);
}

// The session's end as the server sees it: its ephemerals go, its watches are forgotten.
void Tree::drop(std::int64_t session) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return;
  const auto ephemerals = std::move(found->second.ephemerals);
  sessions_.erase(found);
  for (auto* table : {&node_watches_, &child_watches_}) {
    for (auto at = table->begin(); at != table->end();) {
      std::erase_if(at->second, [&](const Watching& w) { return w.session == session; });
      at = at->second.empty() ? table->erase(at) : std::next(at);
    }
  }
  for (const auto& path : ephemerals) (void)remove(path, any_version);
}

void Tree::end_session(MemoryZk* zk) {
  const std::lock_guard lock(mutex_);
  std::erase(held_, zk);
  drop(std::exchange(zk->session_, 0));
}

void Tree::expire(std::int64_t session_id) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(session_id);
  if (found == sessions_.end()) return;
  MemoryZk* zk = found->second.zk;
  drop(session_id);
  zk->session_ = 0;
  zk->hub_.change(State::connecting, SessionEvent::expired);
  if (hold_) {
    held_.push_back(zk);
  } else {
    open(zk);
  }
}

void Tree::hold_new_sessions(bool hold) {
  const std::lock_guard lock(mutex_);
  hold_ = hold;
  if (hold_) return;
  for (auto* zk : std::exchange(held_, {})) open(zk);
}

void Tree::disconnect(std::int64_t session_id) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(session_id);
  if (found == sessions_.end() || found->second.away) return;
  found->second.away = true;
  found->second.zk->hub_.change(State::connecting, SessionEvent::disconnected);
}

void Tree::reconnect(std::int64_t session_id) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(session_id);
  if (found == sessions_.end() || !found->second.away) return;
  found->second.away = false;
  found->second.zk->hub_.change(State::connected, SessionEvent::connected);
  for (auto& [watching, event] : std::exchange(found->second.missed, {})) {
    tell(*watching.shard, watching.watcher, event);
  }
}

void Tree::watch(bool child, std::int64_t session, const std::string& path, Watch watcher) {
  if (watcher.expired()) return;
  auto& list = (child ? child_watches_ : node_watches_)[path];
  for (const auto& w : list) {
    if (w.session == session && !w.watcher.owner_before(watcher) && !watcher.owner_before(w.watcher)) return;
  }
  list.push_back({session, std::move(watcher), runtime::Shard::current()});
}

void Tree::fire(Watches& watches, const std::string& path, WatchEvent::Type type) {
  if (quiet_) {
    queued_.push_back({&watches == &child_watches_, {path, type}});
    return;
  }
  const auto found = watches.find(path);
  if (found == watches.end()) return;
  auto list = std::move(found->second);
  watches.erase(found);
  for (auto& watching : list) {
    const auto session = sessions_.find(watching.session);
    if (session == sessions_.end()) continue;
    if (session->second.away) {
      session->second.missed.emplace_back(std::move(watching), WatchEvent{type, path});
    } else {
      tell(*watching.shard, watching.watcher, WatchEvent{type, path});
    }
  }
}

void Tree::touch_parent(const std::string& path) {
  auto& parent = nodes_[parent_of(path)];
  ++parent.stat.cversion;
  parent.stat.pzxid = zxid_;
  parent.stat.num_children = static_cast<std::int32_t>(parent.children.size());
}

ZkResult<std::string> Tree::create(std::int64_t session, std::string path, const std::string& data, CreateMode mode) {
  const bool sequential = mode == CreateMode::persistent_sequential || mode == CreateMode::ephemeral_sequential;
  const bool ephemeral = mode == CreateMode::ephemeral || mode == CreateMode::ephemeral_sequential;
  if (!valid(path, sequential)) return zk_fail(ZkCode::bad_arguments, path);
  if (path == "/") return zk_fail(ZkCode::node_exists, path);
  const auto parent_path = parent_of(path);
  const auto parent = nodes_.find(parent_path);
  if (parent == nodes_.end()) return zk_fail(ZkCode::no_node, path);
  if (parent->second.stat.ephemeral_owner != 0) return zk_fail(ZkCode::no_children_for_ephemerals, path);
  if (sequential) path += fmt::format("{:010}", parent->second.next_sequence);
  if (nodes_.contains(path)) return zk_fail(ZkCode::node_exists, path);
  ++parent->second.next_sequence;
  ++zxid_;
  Node node;
  node.data = data;
  node.stat.czxid = node.stat.mzxid = node.stat.pzxid = zxid_;
  node.stat.ephemeral_owner = ephemeral ? session : 0;
  node.stat.data_length = static_cast<std::int32_t>(data.size());
  nodes_[path] = std::move(node);
  parent->second.children.insert(path.substr(path.rfind('/') + 1));
  touch_parent(path);
  if (ephemeral) sessions_[session].ephemerals.insert(path);
  fire(node_watches_, path, WatchEvent::Type::created);
  fire(child_watches_, parent_path, WatchEvent::Type::children);
  return path;
}

ZkResult<> Tree::check(const std::string& path, std::int32_t version) const {
  const auto found = nodes_.find(path);
  if (found == nodes_.end()) return zk_fail(ZkCode::no_node, path);
  if (version != any_version && found->second.stat.version != version) return zk_fail(ZkCode::bad_version, path);
  return {};
}

ZkResult<Stat> Tree::set(const std::string& path, const std::string& data, std::int32_t version) {
  if (auto fits = check(path, version); !fits) return std::unexpected(fits.error());
  auto& node = nodes_[path];
  node.data = data;
  node.stat.mzxid = ++zxid_;
  ++node.stat.version;
  node.stat.data_length = static_cast<std::int32_t>(data.size());
  fire(node_watches_, path, WatchEvent::Type::changed);
  return node.stat;
}

ZkResult<> Tree::remove(const std::string& path, std::int32_t version) {
  if (path == "/") return zk_fail(ZkCode::bad_arguments, path);
  if (auto fits = check(path, version); !fits) return fits;
  const auto found = nodes_.find(path);
  if (!found->second.children.empty()) return zk_fail(ZkCode::not_empty, path);
  const auto owner = sessions_.find(found->second.stat.ephemeral_owner);
  if (owner != sessions_.end()) owner->second.ephemerals.erase(path);
  nodes_.erase(found);
  ++zxid_;
  const auto parent_path = parent_of(path);
  nodes_[parent_path].children.erase(path.substr(path.rfind('/') + 1));
  touch_parent(path);
  fire(node_watches_, path, WatchEvent::Type::deleted);
  fire(child_watches_, path, WatchEvent::Type::deleted);
  fire(child_watches_, parent_path, WatchEvent::Type::children);
  return {};
}

ZkResult<std::vector<OpResult>> Tree::multi(std::int64_t session, const std::vector<Op>& ops) {
  // Undone by copies of what it touches: each named node and its parent.
  std::map<std::string, std::optional<Node>> before;
  const auto remember = [&](const std::string& path) {
    const auto found = nodes_.find(path);
    before.try_emplace(path, found == nodes_.end() ? std::optional<Node>() : std::optional<Node>(found->second));
  };
  const auto ephemerals = sessions_[session].ephemerals;
  const auto zxid = zxid_;
  quiet_ = true;
  std::vector<OpResult> results(ops.size());
  std::optional<ZkError> error;
  for (std::size_t i = 0; i < ops.size() && !error; ++i) {
    const Op& op = ops[i];
    if (op.path.empty() || op.path.front() != '/') {
      error = ZkError{ZkCode::bad_arguments, op.path};
      break;
    }
    if (op.kind != Op::Kind::check) {
      remember(op.path);
      if (op.path != "/") remember(parent_of(op.path));
    }
    if (op.kind == Op::Kind::check) {
      if (auto r = check(op.path, op.version); !r) error = r.error();
    } else if (op.kind == Op::Kind::create) {
      auto r = create(session, op.path, op.data, op.mode);
      if (r) {
        results[i].path = *r;
        before.try_emplace(*r, std::nullopt);
      } else {
        error = r.error();
      }
    } else if (op.kind == Op::Kind::set) {
      auto r = set(op.path, op.data, op.version);
      if (r) {
        results[i].stat = *r;
      } else {
        error = r.error();
      }
    } else if (auto r = remove(op.path, op.version); !r) {
      error = r.error();
    }
    if (error) error->op = static_cast<int>(i);
  }
  quiet_ = false;
  const auto queued = std::exchange(queued_, {});
  if (error) {
    for (auto& [path, node] : before) {
      if (node) {
        // What the multi removed belongs to its session again.
        const auto owner = sessions_.find(node->stat.ephemeral_owner);
        if (owner != sessions_.end()) owner->second.ephemerals.insert(path);
        nodes_[path] = std::move(*node);
      } else {
        nodes_.erase(path);
      }
    }
    sessions_[session].ephemerals = ephemerals;
    zxid_ = zxid;
    return std::unexpected(*error);
  }
  for (const auto& [child, event] : queued) fire(child ? child_watches_ : node_watches_, event.first, event.second);
  return results;
}

}  // namespace

std::shared_ptr<MemoryTree> MemoryTree::make() { return std::make_shared<Tree>(); }

}  // namespace weir::zkclient
