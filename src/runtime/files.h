// Files and directories, as the rest of Weir sees them. Calls block; who must not wait uses the Pool.
// Production binds them to the system; tests to a disk in memory that can crash, tear writes and fill up.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bytes/shared.h"

namespace weir::runtime {

struct IoError {
  int number = 0;       // errno
  std::string message;  // "cannot open /data/t-0/00000000000000000000.log: No such file or directory"
};
template <class T = void>
using Io = std::expected<T, IoError>;

// An open file. Reads and writes name their position; there is no cursor. Thread-safe as pread and pwrite are.
class File {
 public:
  virtual ~File() = default;

  // Reads up to out.size() bytes; fewer only at the end of the file.
  virtual Io<std::size_t> read_at(std::uint64_t position, bytes::MutableBytes out) const = 0;
  // The same, but only what needs no disk (preadv2 RWF_NOWAIT): may give fewer bytes, 0 when nothing is cached.
  virtual Io<std::size_t> read_cached_at(std::uint64_t position, bytes::MutableBytes out) const = 0;
  // Writes all of `parts`, one after the other, from `position`. A failed write may have written a part.
  virtual Io<> write_at(std::uint64_t position, std::span<const bytes::Bytes> parts) = 0;
  Io<> write_at(std::uint64_t position, bytes::Bytes data) { return write_at(position, std::span(&data, 1)); }
  // The data, and the size, are on the disk when it returns (fdatasync).
  virtual Io<> sync() = 0;
  virtual Io<> truncate(std::uint64_t size) = 0;
  virtual Io<std::uint64_t> size() const = 0;
  // Brings a range into the page cache; blocks until it is there.
  virtual Io<> warm(std::uint64_t position, std::uint64_t length) const = 0;
  // Whether a range is (most likely) in the page cache, so that sending it does not wait for a disk.
  virtual bool cached(std::uint64_t position, std::uint64_t length) const = 0;
  // The system's descriptor, for sendfile; -1 where there is none (simulated): read instead.
  virtual int descriptor() const = 0;
};

enum class Open {
  read,            // must exist
  write,           // must exist
  create,          // made when missing
  create_new,      // must not exist
  create_private,  // as create, for the owner only (mode 0600): keys and secrets
};

class Files {
 public:
  virtual ~Files() = default;

  virtual Io<std::unique_ptr<File>> open(const std::string& path, Open how) = 0;
  virtual Io<bool> exists(const std::string& path) = 0;
  virtual Io<> rename(const std::string& from, const std::string& to) = 0;  // replaces `to`
  virtual Io<> remove(const std::string& path) = 0;                         // a file; missing is an error
  virtual Io<> remove_all(const std::string& path) = 0;                     // a tree; missing is fine
  virtual Io<> make_directories(const std::string& path) = 0;
  // Names only, sorted, without "." and "..".
  virtual Io<std::vector<std::string>> list(const std::string& directory) = 0;
  virtual Io<bool> is_directory(const std::string& path) = 0;
  // Creations, renames and removals in it are on the disk when it returns.
  virtual Io<> sync_directory(const std::string& path) = 0;
  // An exclusive lock on a file, made when missing; held until the result is destroyed. EWOULDBLOCK when another
  // process holds it.
  virtual Io<std::unique_ptr<File>> lock(const std::string& path) = 0;
  virtual Io<std::uint64_t> free_bytes(const std::string& path) = 0;
  // Of the whole volume that `path` is on.
  virtual Io<std::uint64_t> total_bytes(const std::string& path) = 0;

  // Whole small files. write_whole replaces the file atomically: temporary file, sync, rename, directory sync.
  Io<std::string> read_whole(const std::string& path, std::size_t size_max = 64 * 1024 * 1024);
  Io<> write_whole(const std::string& path, std::string_view content) { return replace(path, content, Open::create); }
  // The same for a secret: at no time can another user read it.
  Io<> write_private(const std::string& path, std::string_view content) {
    return replace(path, content, Open::create_private);
  }

 private:
  Io<> replace(const std::string& path, std::string_view content, Open how);
};

// The system's file system; lives as long as the process.
Files& system_files();

}  // namespace weir::runtime
