#include "runtime/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <system_error>

namespace weir::runtime {
namespace {

std::unexpected<IoError> failed(int number, std::string_view what, std::string_view path) {
  return std::unexpected(
      IoError{number, fmt::format("cannot {} {}: {}", what, path, std::generic_category().message(number))});
}
std::unexpected<IoError> failed(std::string_view what, std::string_view path) { return failed(errno, what, path); }

constexpr std::size_t page_bytes = 4096;
constexpr std::uint64_t probe_bytes = 64 * 1024;
constexpr std::size_t parts_per_call_max = 64;

// cachestat(2), Linux 6.5; the C library here has no name for it.
constexpr long cachestat_number = 451;
struct CachestatRange {
  std::uint64_t offset;
  std::uint64_t length;
};
struct Cachestat {
  std::uint64_t cached;
  std::uint64_t dirty;
  std::uint64_t writeback;
  std::uint64_t evicted;
  std::uint64_t recently_evicted;
};

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  Io<std::size_t> read_at(std::uint64_t position, bytes::MutableBytes out) const override {
    std::size_t done = 0;
    while (done < out.size()) {
      const auto n = ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(position + done));
      if (n < 0) {
        if (errno == EINTR) continue;
        return failed("read", path_);
      }
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Io<std::size_t> read_cached_at(std::uint64_t position, bytes::MutableBytes out) const override {
    std::size_t done = 0;
    while (done < out.size()) {
      const iovec to{out.data() + done, out.size() - done};
      const auto n = ::preadv2(fd_, &to, 1, static_cast<off_t>(position + done), RWF_NOWAIT);
      if (n < 0) {
        if (errno == EINTR) continue;
        // Not cached, or a file system that cannot tell: the caller reads it from the pool.
        if (errno == EAGAIN || errno == EOPNOTSUPP || errno == ENOSYS) break;
        return failed("read", path_);
      }
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Io<> write_at(std::uint64_t position, std::span<const bytes::Bytes> parts) override {
    std::array<iovec, parts_per_call_max> list;
    std::size_t part = 0;
    std::size_t offset = 0;  // within that part
    while (part < parts.size()) {
      std::size_t count = 0;
      for (auto i = part; i < parts.size() && count < list.size(); ++i) {
        const auto skip = i == part ? offset : 0;
        if (parts[i].size() == skip) continue;
        list[count++] = {const_cast<std::byte*>(parts[i].data()) + skip, parts[i].size() - skip};
      }
      if (count == 0) break;
      const auto n = ::pwritev(fd_, list.data(), static_cast<int>(count), static_cast<off_t>(position));
      if (n < 0) {
        if (errno == EINTR) continue;
        return failed("write", path_);
      }
      position += static_cast<std::uint64_t>(n);
      auto left = static_cast<std::size_t>(n);
      while (part < parts.size() && left >= parts[part].size() - offset) {
        left -= parts[part].size() - offset;
        offset = 0;
        ++part;
      }
      offset += left;
    }
    return {};
  }

  Io<> sync() override {
    while (::fdatasync(fd_) != 0) {
      if (errno != EINTR) return failed("sync", path_);
    }
    return {};
  }
  Io<> truncate(std::uint64_t size) override {
    while (::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
      if (errno != EINTR) return failed("truncate", path_);
    }
    return {};
  }
  Io<std::uint64_t> size() const override {
    struct stat info{};
    if (::fstat(fd_, &info) != 0) return failed("look at", path_);
    return static_cast<std::uint64_t>(info.st_size);
  }

  Io<> warm(std::uint64_t position, std::uint64_t length) const override {
    ::posix_fadvise(fd_, static_cast<off_t>(position), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
    // The advice may be cut short by the device's read-ahead limit; reading is what makes sure.
    thread_local std::array<std::byte, probe_bytes> scratch;
    while (length > 0) {
      const auto n =
          ::pread(fd_, scratch.data(), std::min<std::uint64_t>(length, scratch.size()), static_cast<off_t>(position));
      if (n < 0) {
        if (errno == EINTR) continue;
        return failed("read", path_);
      }
      if (n == 0) break;
      position += static_cast<std::uint64_t>(n);
      length -= static_cast<std::uint64_t>(n);
    }
    return {};
  }

  bool cached(std::uint64_t position, std::uint64_t length) const override {
    if (length == 0) return true;
    static std::atomic<bool> have_cachestat{true};
    if (have_cachestat.load(std::memory_order_relaxed)) {
      CachestatRange range{position, length};
      Cachestat found{};
      if (::syscall(cachestat_number, fd_, &range, &found, 0) == 0) {
        const auto pages = (position + length - 1) / page_bytes - position / page_bytes + 1;
        return found.cached >= pages;
      }
      if (errno == ENOSYS || errno == EPERM) have_cachestat.store(false, std::memory_order_relaxed);
    }
    std::byte byte{};
    const auto probe = [&](std::uint64_t at) {
      auto n = read_cached_at(at, bytes::MutableBytes(&byte, 1));
      return n && *n == 1;
    };
    for (std::uint64_t at = position; at < position + length; at += probe_bytes) {
      if (!probe(at)) return false;
    }
    return probe(position + length - 1);
  }

  int descriptor() const override { return fd_; }

 private:
  const int fd_;
  const std::string path_;
};

class PosixFiles final : public Files {
 public:
  Io<std::unique_ptr<File>> open(const std::string& path, Open how) override {
    int flags = O_CLOEXEC;
    switch (how) {
      case Open::read: flags |= O_RDONLY; break;
      case Open::write: flags |= O_RDWR; break;
      case Open::create: flags |= O_RDWR | O_CREAT; break;
      case Open::create_new: flags |= O_RDWR | O_CREAT | O_EXCL; break;
      case Open::create_private: flags |= O_RDWR | O_CREAT; break;
    }
    const bool is_private = how == Open::create_private;
    const int fd = open_fd(path, flags, is_private ? 0600 : 0644);
    if (fd < 0) return failed((flags & O_CREAT) != 0 ? "create" : "open", path);
    auto file = std::make_unique<PosixFile>(fd, path);
    if (is_private && ::fchmod(fd, 0600) != 0) return failed("make private", path);
    return file;
  }

  Io<bool> exists(const std::string& path) override {
    struct stat info{};
    if (::stat(path.c_str(), &info) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return failed("look at", path);
  }
  Io<bool> is_directory(const std::string& path) override {
    struct stat info{};
    if (::stat(path.c_str(), &info) == 0) return S_ISDIR(info.st_mode);
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return failed("look at", path);
  }
  Io<> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return failed(fmt::format("rename {} to", from), to);
    return {};
  }
  Io<> remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return failed("remove", path);
    return {};
  }
  Io<> remove_all(const std::string& path) override {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0) {
      if (errno == ENOENT) return {};
      return failed("look at", path);
    }
    if (!S_ISDIR(info.st_mode)) {
      if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed("remove", path);
      return {};
    }
    auto names = list(path);
    if (!names) {
      if (names.error().number == ENOENT) return {};
      return std::unexpected(names.error());
    }
    for (const auto& name : *names) {
      if (auto removed = remove_all(path + "/" + name); !removed) return removed;
    }
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return failed("remove", path);
    return {};
  }
  Io<> make_directories(const std::string& path) override {
    for (std::size_t end = 0; end != std::string::npos;) {
      end = path.find('/', end + 1);
      const auto part = path.substr(0, end);
      if (part.empty() || ::mkdir(part.c_str(), 0755) == 0) continue;
      const int number = errno;
      struct stat info{};
      if (::stat(part.c_str(), &info) == 0) {
        if (S_ISDIR(info.st_mode)) continue;
        return failed(ENOTDIR, "make directory", part);
      }
      return failed(number, "make directory", part);
    }
    return {};
  }
  Io<std::vector<std::string>> list(const std::string& directory) override {
    const auto close = [](DIR* d) { ::closedir(d); };
    const std::unique_ptr<DIR, decltype(close)> open(::opendir(directory.c_str()), close);
    if (!open) return failed("list", directory);
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const auto* entry = ::readdir(open.get());
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    if (errno != 0) return failed("list", directory);
    std::sort(names.begin(), names.end());
    return names;
  }
  Io<> sync_directory(const std::string& path) override {
    const int fd = open_fd(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return failed("open", path);
    int result = 0;
    do {
      result = ::fsync(fd);
    } while (result != 0 && errno == EINTR);
    const int number = errno;
    ::close(fd);
    if (result != 0) return failed(number, "sync", path);
    return {};
  }
  Io<std::unique_ptr<File>> lock(const std::string& path) override {
    auto file = open(path, Open::create);
    if (!file) return file;
    while (::flock((*file)->descriptor(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EINTR) return failed("lock", path);
    }
    return file;
  }
  Io<std::uint64_t> free_bytes(const std::string& path) override {
    struct statvfs info{};
    if (::statvfs(path.c_str(), &info) != 0) return failed("look at the disk of", path);
    return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
  }
  Io<std::uint64_t> total_bytes(const std::string& path) override {
    struct statvfs info{};
    if (::statvfs(path.c_str(), &info) != 0) return failed("look at the disk of", path);
    return static_cast<std::uint64_t>(info.f_blocks) * info.f_frsize;
  }

 private:
  static int open_fd(const std::string& path, int flags, mode_t mode = 0644) {
    int fd = -1;
    do {
      fd = ::open(path.c_str(), flags, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
  }
};

}  // namespace

Io<std::string> Files::read_whole(const std::string& path, std::size_t size_max) {
  auto file = open(path, Open::read);
  if (!file) return std::unexpected(file.error());
  const auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  if (*size > size_max) {
    return std::unexpected(
        IoError{EFBIG, fmt::format("cannot read {}: it has {} bytes, more than {}", path, *size, size_max)});
  }
  std::string content(*size, '\0');
  const auto n = (*file)->read_at(0, std::as_writable_bytes(std::span(content)));
  if (!n) return std::unexpected(n.error());
  content.resize(*n);
  return content;
}

Io<> Files::replace(const std::string& path, std::string_view content, Open how) {
  const auto temporary = path + ".tmp";
  {
    auto file = open(temporary, how);
    if (!file) return std::unexpected(file.error());
    if (auto done = (*file)->truncate(0); !done) return done;
    if (auto done = (*file)->write_at(0, bytes::as_bytes(content)); !done) return done;
    if (auto done = (*file)->sync(); !done) return done;
  }
  if (auto done = rename(temporary, path); !done) return done;
  const auto slash = path.rfind('/');
  const auto directory = slash == std::string::npos ? std::string(".") : slash == 0 ? "/" : path.substr(0, slash);
  return sync_directory(directory);
}

Files& system_files() {
  static PosixFiles files;
  return files;
}

}  // namespace weir::runtime
