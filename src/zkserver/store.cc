#include "zkserver/store.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cstring>
#include <utility>

#include "base/check.h"

namespace weir::zkserver {
namespace {

constexpr int schema_version = 1;
constexpr int page_bytes = 4096;

constexpr const char* schema = R"(
  CREATE TABLE node(path TEXT PRIMARY KEY NOT NULL, data BLOB, acl BLOB NOT NULL,
                    czxid INTEGER NOT NULL, mzxid INTEGER NOT NULL, pzxid INTEGER NOT NULL,
                    ctime INTEGER NOT NULL, mtime INTEGER NOT NULL,
                    version INTEGER NOT NULL, cversion INTEGER NOT NULL, aversion INTEGER NOT NULL,
                    owner INTEGER NOT NULL);
  CREATE TABLE session(id INTEGER PRIMARY KEY NOT NULL, timeout_ms INTEGER NOT NULL, password BLOB NOT NULL);
  CREATE TABLE state(name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL);
  INSERT INTO state VALUES('zxid', 0);
  PRAGMA user_version=1;
)";

constexpr const char* put_node =
    "INSERT INTO node(path,acl,czxid,mzxid,pzxid,ctime,mtime,version,cversion,aversion,owner,data) "
    "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12) ON CONFLICT(path) DO UPDATE SET acl=?2,czxid=?3,mzxid=?4,"
    "pzxid=?5,ctime=?6,mtime=?7,version=?8,cversion=?9,aversion=?10,owner=?11,data=?12";
// For a node that may not be on the disk yet (the root of a new tree), its data is empty there.
constexpr const char* put_numbers =
    "INSERT INTO node(path,acl,czxid,mzxid,pzxid,ctime,mtime,version,cversion,aversion,owner,data) "
    "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,x'') ON CONFLICT(path) DO UPDATE SET acl=?2,czxid=?3,mzxid=?4,"
    "pzxid=?5,ctime=?6,mtime=?7,version=?8,cversion=?9,aversion=?10,owner=?11";

struct Close {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Close>;

// The jute vector of an ACL; GetAclResponse with its Stat cut off would be the same bytes.
struct AclRow {
  std::vector<zkwire::Acl> acl;
  WEIR_JUTE(acl)
};

bytes::Bytes column_bytes(sqlite3_stmt* s, int i) {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(s, i));
  return {data, data == nullptr ? 0 : static_cast<std::size_t>(sqlite3_column_bytes(s, i))};
}

void bind(sqlite3_stmt* s, int i, std::int64_t v) { sqlite3_bind_int64(s, i, v); }
void bind(sqlite3_stmt* s, int i, std::string_view v) {
  sqlite3_bind_text(s, i, v.data(), static_cast<int>(v.size()), SQLITE_TRANSIENT);
}
void bind(sqlite3_stmt* s, int i, bytes::Bytes v) {
  // A null pointer would bind NULL, which is not the empty blob.
  const void* data = v.empty() ? static_cast<const void*>("") : v.data();
  sqlite3_bind_blob(s, i, data, static_cast<int>(v.size()), SQLITE_TRANSIENT);
}

void bind_numbers(sqlite3_stmt* s, const std::string& path, const NodeState& node) {
  bind(s, 1, std::string_view(path));
  bind(s, 2, zkwire::encode(AclRow{*node.acl}).view());
  const std::int64_t numbers[] = {node.czxid,   node.mzxid,    node.pzxid,    node.ctime, node.mtime,
                                  node.version, node.cversion, node.aversion, node.owner};
  int i = 3;
  for (const auto n : numbers) bind(s, i++, n);
}

}  // namespace

struct Store::Impl {
  std::unique_ptr<sqlite3, Close> db;
  std::string path;
  Statement put, numbers, remove, put_session, remove_session, zxid, begin, commit;

  Error error(std::string_view what) const {
    return {ErrorCode::KAFKA_STORAGE_ERROR, fmt::format("{} {}: {}", what, path, sqlite3_errmsg(db.get()))};
  }
  Result<> run(const char* sql) {
    if (sqlite3_exec(db.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
      return std::unexpected(error("cannot use"));
    }
    return {};
  }
  Result<Statement> prepare(const char* sql) {
    sqlite3_stmt* made = nullptr;
    if (sqlite3_prepare_v3(db.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr) != SQLITE_OK) {
      return std::unexpected(error("cannot read"));
    }
    return Statement(made);
  }
  static bool step(const Statement& s) {
    const int result = sqlite3_step(s.get());
    sqlite3_reset(s.get());
    return result == SQLITE_DONE || result == SQLITE_ROW;
  }
  Result<> prepare_all() {
    const std::pair<Statement*, const char*> all[] = {
        {&put, put_node},
        {&numbers, put_numbers},
        {&remove, "DELETE FROM node WHERE path=?1"},
        {&put_session, "INSERT OR REPLACE INTO session VALUES(?1,?2,?3)"},
        {&remove_session, "DELETE FROM session WHERE id=?1"},
        {&zxid, "UPDATE state SET value=?1 WHERE name='zxid'"},
        {&begin, "BEGIN IMMEDIATE"},
        {&commit, "COMMIT"},
    };
    for (const auto& [to, sql] : all) {
      auto made = prepare(sql);
      if (!made) return std::unexpected(made.error());
      *to = std::move(*made);
    }
    return {};
  }
  Result<std::int64_t> number(const char* sql) {
    auto s = prepare(sql);
    if (!s) return std::unexpected(s.error());
    if (sqlite3_step(s->get()) != SQLITE_ROW) return std::unexpected(error("cannot read"));
    return sqlite3_column_int64(s->get(), 0);
  }

  Result<> settle(std::uint64_t bytes_max) {
    // The lock on the data directory keeps others out; exclusive mode needs no shared memory file.
    if (auto r = run("PRAGMA page_size=4096; PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; "
                     "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-2048;");
        !r) {
      return r;
    }
    if (bytes_max > 0) {
      if (auto r = run(fmt::format("PRAGMA max_page_count={}", bytes_max / page_bytes).c_str()); !r) return r;
    }
    const auto version = number("PRAGMA user_version");
    if (!version) return std::unexpected(version.error());
    if (*version > schema_version) {
      return fail(ErrorCode::KAFKA_STORAGE_ERROR, fmt::format("{} was written by a newer version (format {}, this "
                                                              "one knows {})",
                                                              path, *version, schema_version));
    }
    if (*version == 0) {
      if (auto r = run(fmt::format("BEGIN IMMEDIATE;{}COMMIT;", schema).c_str()); !r) return r;
    }
    return prepare_all();
  }

  bool write(const Changes::NodeChange& change) {
    using Kind = Changes::NodeChange::Kind;
    switch (change.kind) {
      case Kind::put:
        bind_numbers(put.get(), change.path, change.state);
        if (change.state.null_data) {
          sqlite3_bind_null(put.get(), 12);
        } else {
          bind(put.get(), 12, change.state.data.view());
        }
        return step(put);
      case Kind::numbers: bind_numbers(numbers.get(), change.path, change.state); return step(numbers);
      case Kind::remove: bind(remove.get(), 1, std::string_view(change.path)); return step(remove);
    }
    return false;
  }
  bool write(const Changes::SessionChange& change) {
    if (change.removed) {
      bind(remove_session.get(), 1, change.session.id);
      return step(remove_session);
    }
    bind(put_session.get(), 1, change.session.id);
    bind(put_session.get(), 2, static_cast<std::int64_t>(change.session.timeout.count()));
    bind(put_session.get(), 3, bytes::Bytes(change.session.password));
    return step(put_session);
  }
  bool write(const Changes& changes) {
    if (!step(begin)) return false;
    for (const auto& node : changes.nodes) {
      if (!write(node)) return false;
    }
    for (const auto& session : changes.sessions) {
      if (!write(session)) return false;
    }
    bind(zxid.get(), 1, changes.zxid);
    return step(zxid) && step(commit);
  }
};

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(const std::string& path, std::uint64_t bytes_max) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  sqlite3* db = nullptr;
  const int result =
      sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  impl->db.reset(db);
  if (db == nullptr) return fail(ErrorCode::KAFKA_STORAGE_ERROR, "no memory for SQLite");
  if (result != SQLITE_OK) return std::unexpected(impl->error("cannot open"));
  if (auto r = impl->settle(bytes_max); !r) return std::unexpected(r.error());
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Result<> Store::load(Tree& tree) {
  auto nodes =
      impl_->prepare("SELECT path,data,acl,czxid,mzxid,pzxid,ctime,mtime,version,cversion,aversion,owner FROM node");
  if (!nodes) return std::unexpected(nodes.error());
  int result = SQLITE_ROW;
  for (auto* s = nodes->get(); (result = sqlite3_step(s)) == SQLITE_ROW;) {
    NodeState node;
    node.null_data = sqlite3_column_type(s, 1) == SQLITE_NULL;
    node.data = bytes::Shared::copy(column_bytes(s, 1));
    auto acl = zkwire::decode<AclRow>(column_bytes(s, 2));
    const std::string path(bytes::as_text(column_bytes(s, 0)));
    if (!acl)
      return fail(ErrorCode::KAFKA_STORAGE_ERROR, fmt::format("{}: the ACL of {} is damaged", impl_->path, path));
    node.acl = std::make_shared<const Acls>(std::move(acl->acl));
    node.czxid = sqlite3_column_int64(s, 3);
    node.mzxid = sqlite3_column_int64(s, 4);
    node.pzxid = sqlite3_column_int64(s, 5);
    node.ctime = sqlite3_column_int64(s, 6);
    node.mtime = sqlite3_column_int64(s, 7);
    node.version = sqlite3_column_int(s, 8);
    node.cversion = sqlite3_column_int(s, 9);
    node.aversion = sqlite3_column_int(s, 10);
    node.owner = sqlite3_column_int64(s, 11);
    tree.load_node(path, std::move(node));
  }
  if (result != SQLITE_DONE) return std::unexpected(impl_->error("cannot read"));

  auto sessions = impl_->prepare("SELECT id,timeout_ms,password FROM session");
  if (!sessions) return std::unexpected(sessions.error());
  for (auto* s = sessions->get(); (result = sqlite3_step(s)) == SQLITE_ROW;) {
    SessionState session;
    session.id = sqlite3_column_int64(s, 0);
    session.timeout = milliseconds(sqlite3_column_int64(s, 1));
    const auto password = column_bytes(s, 2);
    if (password.size() != session.password.size()) {
      return fail(ErrorCode::KAFKA_STORAGE_ERROR, fmt::format("{}: session {:#x} is damaged", impl_->path, session.id));
    }
    std::memcpy(session.password.data(), password.data(), password.size());
    tree.load_session(session);
  }
  if (result != SQLITE_DONE) return std::unexpected(impl_->error("cannot read"));

  const auto zxid = impl_->number("SELECT value FROM state WHERE name='zxid'");
  if (!zxid) return std::unexpected(zxid.error());
  if (!tree.loaded(*zxid)) {
    return fail(ErrorCode::KAFKA_STORAGE_ERROR,
                fmt::format("{} is damaged: a node has no parent, or an ephemeral node no session", impl_->path));
  }
  return {};
}

Result<> Store::commit(const Changes& changes) {
  if (impl_->write(changes)) return {};
  auto error = impl_->error("cannot write");
  if (sqlite3_get_autocommit(impl_->db.get()) == 0) {
    sqlite3_exec(impl_->db.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
  return std::unexpected(std::move(error));
}

std::uint64_t Store::size_bytes() const {
  const auto pages = impl_->number("PRAGMA page_count");
  return pages ? static_cast<std::uint64_t>(*pages) * page_bytes : 0;
}

}  // namespace weir::zkserver
