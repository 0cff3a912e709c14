// The open files of many logs, within a budget.
//
// Whoever needs a file asks for it by path each time; the least recently asked for are closed. A file that somebody
// still holds (a slice being sent, a flush) stays open until let go, whatever happens to its name. Shared by the
// shards and the pool, so it has a mutex of its own: held for a map lookup, and while a file is opened.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "runtime/files.h"

namespace weir::log {

class FileCache {
 public:
  FileCache(runtime::Files& files, std::size_t open_files_max) : files_(files), open_max_(open_files_max) {}

  // Opened for reading and writing; made when missing only where `create`.
  runtime::Io<std::shared_ptr<runtime::File>> get(const std::string& path, bool create = false);
  // Lets go of one path: it was renamed or removed.
  void forget(const std::string& path);
  // Lets go of all paths under a directory.
  void forget_under(const std::string& directory);

  runtime::Files& files() { return files_; }
  std::size_t open() const;

 private:
  struct Entry {
    std::string path;
    std::shared_ptr<runtime::File> file;
  };

  runtime::Files& files_;
  const std::size_t open_max_;
  mutable std::mutex mutex_;
  std::list<Entry> recent_;  // front: asked for last
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_path_;
};

}  // namespace weir::log
