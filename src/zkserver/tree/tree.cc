#include "zkserver/tree/tree.h"

#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "zkserver/tree/path.h"

namespace weir::zkserver {

using zkwire::EventType;

bool is_ttl(std::int64_t owner) { return (owner & ttl_mask) == ttl_mask; }
bool is_ephemeral(std::int64_t owner) { return owner != 0 && owner != container_owner && !is_ttl(owner); }

zkwire::Stat Node::stat() const {
  zkwire::Stat s;
  s.czxid = czxid;
  s.mzxid = mzxid;
  s.ctime = ctime;
  s.mtime = mtime;
  s.version = version;
  // Creations are counted; deletions follow from them and from what is left.
  s.cversion =
      static_cast<std::int32_t>(static_cast<std::uint32_t>(cversion) * 2 - static_cast<std::uint32_t>(children.size()));
  s.aversion = aversion;
  s.ephemeral_owner = is_ephemeral(owner) ? owner : 0;  // the marks of containers and TTL nodes stay inside
  s.data_length = static_cast<std::int32_t>(data.size());
  s.num_children = static_cast<std::int32_t>(children.size());
  s.pzxid = pzxid;
  return s;
}

Tree::Tree() {
  for (const auto* path : {"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"}) {
    NodeState state;
    state.acl = std::string_view(path) == "/zookeeper/config" ? read_acl() : open_acl();
    load_node(path, std::move(state));
  }
  loaded(0);
}

// --- loading ---------------------------------------------------------------------------------------------------

void Tree::load_node(std::string path, NodeState state) {
  Node made;
  static_cast<NodeState&>(made) = std::move(state);
  if (!made.acl) made.acl = open_acl();
  if (const auto old = nodes_.find(path); old != nodes_.end()) {
    data_bytes_ -= path.size() + old->second.data.size();
    nodes_.erase(old);
  }
  data_bytes_ += path.size() + made.data.size();
  made.acl = share(*made.acl);
  own(made.owner, path);
  nodes_.emplace(std::move(path), std::move(made));
}

void Tree::load_session(SessionState session) { sessions_.insert_or_assign(session.id, session); }

bool Tree::loaded(Zxid zxid) {
  for (const auto& [path, one] : nodes_) {
    if (path == "/") continue;
    auto* parent = node(parent_of(path));
    if (parent == nullptr) return false;
    parent->children.emplace(name_of(path));
  }
  for (const auto& [id, paths] : ephemerals_) {
    if (!sessions_.contains(id)) return false;
  }
  zxid_ = zxid;
  return true;
}

// --- connections -----------------------------------------------------------------------------------------------

void Tree::attach(ConnId conn, Ids ids) { connections_.insert_or_assign(conn, std::move(ids)); }

void Tree::add_id(ConnId conn, zkwire::Id id) {
  const auto at = connections_.find(conn);
  if (at == connections_.end()) return;
  for (const auto& own : at->second) {
    if (own == id) return;
  }
  at->second.push_back(std::move(id));
}

void Tree::detach(ConnId conn) {
  connections_.erase(conn);
  data_watches_.remove(conn);
  child_watches_.remove(conn);
}

const Ids& Tree::ids(ConnId conn) const {
  static const Ids nobody;
  const auto at = connections_.find(conn);
  return at == connections_.end() ? nobody : at->second;
}

// --- the journal -----------------------------------------------------------------------------------------------

void Tree::note(Touch touch, std::string path, std::move_only_function<void()> undo) {
  journal_.push_back({touch, std::move(path), 0, zxid_, std::move(undo)});
}

void Tree::note_session(SessionId id, std::move_only_function<void()> undo) {
  journal_.push_back({Touch::session, {}, id, zxid_, std::move(undo)});
}

void Tree::rollback(const Mark& mark) {
  while (journal_.size() > mark.journal) {
    auto undo = std::move(journal_.back().undo);
    journal_.pop_back();
    undo();
  }
  zxid_ = mark.zxid;
  triggers_.clear();
  if (events_.size() > mark.events) events_.resize(mark.events);
}

Changes Tree::changes() const {
  Changes out;
  out.zxid = zxid_;
  std::unordered_map<std::string_view, bool> whole;  // by path: whether its data changed too
  std::unordered_set<SessionId> sessions_touched;
  for (const auto& change : journal_) {
    if (change.touch == Touch::nothing) continue;
    if (change.touch == Touch::session) {
      sessions_touched.insert(change.session);
    } else {
      whole[change.path] |= change.touch == Touch::whole;
    }
  }
  using Kind = Changes::NodeChange::Kind;
  for (const auto& [path, with_data] : whole) {
    if (const auto* now = find(path)) {
      out.nodes.push_back(
          {std::string(path), with_data ? Kind::put : Kind::numbers, static_cast<const NodeState&>(*now)});
    } else {
      out.nodes.push_back({std::string(path), Kind::remove, {}});
    }
  }
  for (const auto id : sessions_touched) {
    const auto* now = session(id);
    out.sessions.push_back({now != nullptr ? *now : SessionState{id, {}, {}}, now == nullptr});
  }
  return out;
}

// --- nodes -----------------------------------------------------------------------------------------------------

const Node* Tree::find(std::string_view path) const {
  const auto at = nodes_.find(path);
  return at == nodes_.end() ? nullptr : &at->second;
}

Node* Tree::node(std::string_view path) {
  const auto at = nodes_.find(path);
  return at == nodes_.end() ? nullptr : &at->second;
}

AclRef Tree::share(Acls acls) {
  if (acls == *open_acl()) return open_acl();
  if (acls_.size() >= acls_prune_at_) {
    std::erase_if(acls_, [](const auto& one) { return one.second.expired(); });
    acls_prune_at_ = 2 * acls_.size() + 1024;
  }
  auto& known = acls_[std::string(zkwire::encode(zkwire::GetAclResponse{acls, {}}).text())];
  if (auto shared = known.lock()) return shared;
  auto made = std::make_shared<const Acls>(std::move(acls));
  known = made;
  return made;
}

bool Tree::permitted(const Caller& caller, const Node& of, std::int32_t permissions) const {
  return zkserver::permitted(*of.acl, permissions, ids(caller.conn));
}

void Tree::own(std::int64_t owner, const std::string& path) {
  if (is_ephemeral(owner)) {
    ephemerals_[owner].insert(path);
  } else if (owner != 0) {
    expiring_.insert(path);
  }
}

void Tree::disown(std::int64_t owner, const std::string& path) {
  if (is_ephemeral(owner)) {
    const auto at = ephemerals_.find(owner);
    at->second.erase(path);
    if (at->second.empty()) ephemerals_.erase(at);
  } else if (owner != 0) {
    expiring_.erase(path);
  }
}

void Tree::link(std::string path, Node made) {
  data_bytes_ += path.size() + made.data.size();
  own(made.owner, path);
  node(parent_of(path))->children.emplace(name_of(path));
  nodes_.emplace(std::move(path), std::move(made));
}

void Tree::unlink(const std::string& path) {
  const auto at = nodes_.find(path);
  data_bytes_ -= path.size() + at->second.data.size();
  disown(at->second.owner, path);
  auto& siblings = node(parent_of(path))->children;
  siblings.erase(siblings.find(name_of(path)));
  nodes_.erase(at);
}

void Tree::insert(CreateArgs args, Zxid zxid) {
  const std::string above(parent_of(args.path));
  auto* parent = node(above);
  WEIR_CHECK(parent != nullptr && find(args.path) == nullptr, "a node is made once, under its parent");
  note(Touch::numbers, above, [this, above, cversion = parent->cversion, pzxid = parent->pzxid] {
    auto* p = node(above);
    p->cversion = cversion;
    p->pzxid = pzxid;
  });
  parent->cversion = static_cast<std::int32_t>(static_cast<std::uint32_t>(parent->cversion) + 1);
  parent->pzxid = zxid;

  Node made;
  made.null_data = !args.data.has_value();
  if (args.data) made.data = bytes::Shared::copy(*args.data);
  made.acl = args.acl;
  made.czxid = made.mzxid = made.pzxid = zxid;
  made.ctime = made.mtime = args.now;
  made.owner = args.owner;
  note(Touch::whole, args.path, [this, path = args.path] { unlink(path); });
  triggers_.push_back({EventType::node_created, args.path, args.acl, parent->acl});
  link(std::move(args.path), std::move(made));
}

void Tree::erase(const std::string& path, Zxid zxid) {
  const std::string above(parent_of(path));
  auto* parent = node(above);
  note(Touch::numbers, above, [this, above, pzxid = parent->pzxid] { node(above)->pzxid = pzxid; });
  parent->pzxid = zxid;
  auto* gone = node(path);
  WEIR_CHECK(gone != nullptr && gone->children.empty(), "what is deleted is there and has no children");
  triggers_.push_back({EventType::node_deleted, path, gone->acl, parent->acl});
  note(Touch::whole, path, [this, path, kept = Node(*gone)]() mutable { link(path, std::move(kept)); });
  unlink(path);
}

// --- sessions --------------------------------------------------------------------------------------------------

const SessionState* Tree::session(SessionId id) const {
  const auto at = sessions_.find(id);
  return at == sessions_.end() ? nullptr : &at->second;
}

void Tree::create_session(const SessionState& made) {
  WEIR_CHECK(is_ephemeral(made.id) && session(made.id) == nullptr, "a session's id is new, and an owner's");
  sessions_.emplace(made.id, made);
  note_session(made.id, [this, id = made.id] { sessions_.erase(id); });
  accept(zxid_ + 1);
}

bool Tree::close_session(SessionId id) {
  const auto at = sessions_.find(id);
  if (at == sessions_.end()) return false;
  const Zxid zxid = zxid_ + 1;
  std::vector<std::string> paths;
  if (const auto owned = ephemerals_.find(id); owned != ephemerals_.end()) {
    paths.assign(owned->second.begin(), owned->second.end());
  }
  for (const auto& path : paths) erase(path, zxid);
  note_session(id, [this, kept = at->second] { sessions_.emplace(kept.id, kept); });
  sessions_.erase(at);
  accept(zxid);
  return true;
}

std::size_t Tree::ephemerals() const {
  std::size_t sum = 0;
  for (const auto& [id, paths] : ephemerals_) sum += paths.size();
  return sum;
}

std::vector<std::string> Tree::overdue(TimestampMs now, milliseconds container_never_used_max) const {
  std::vector<std::string> out;
  for (const auto& path : expiring_) {
    const auto& one = *find(path);
    if (!one.children.empty()) continue;
    const auto age = now - one.mtime;
    const bool due = is_ttl(one.owner) ? age > (one.owner & ttl_ms_max)
                                       : one.cversion > 0 || (container_never_used_max.count() != 0 &&
                                                              age > container_never_used_max.count());
    if (due) out.push_back(path);
  }
  return out;
}

void Tree::remove_overdue(const std::string& path) {
  const auto* one = find(path);
  if (one == nullptr || !one->children.empty() || is_ephemeral(one->owner) || one->owner == 0) return;
  const Zxid zxid = zxid_ + 1;
  erase(path, zxid);
  accept(zxid);
}

void Tree::accept(Zxid zxid) {
  zxid_ = zxid;
  for (const auto& trigger : std::exchange(triggers_, {})) fire(trigger);
}

std::vector<Event> Tree::take_events() { return std::exchange(events_, {}); }

}  // namespace weir::zkserver
