// The disk of the coordination service: an SQLite database with the nodes, the sessions and the last zxid.
//
//   node(path, data, acl, czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, owner)
//   session(id, timeout_ms, password)
//   state(name, value): zxid
//
// A commit is one transaction in write-ahead mode with synchronous=FULL: when commit() returns, it is on the disk.
// `data` is NULL for ZooKeeper's null; `acl` is a jute vector. All calls block and come from one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "zkserver/tree/tree.h"

namespace weir::zkserver {

class Store {
 public:
  // Opens or makes the database. Errors: not a database, damaged, or written by a newer version.
  // `bytes_max` bounds the file; 0: no limit.
  static Result<std::unique_ptr<Store>> open(const std::string& path, std::uint64_t bytes_max);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Fills a fresh tree.
  Result<> load(Tree& tree);
  // All of it or nothing. After an error the database is as before.
  Result<> commit(const Changes& changes);
  std::uint64_t size_bytes() const;

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::zkserver
