#include "apps/left_session.h"

#include <cerrno>
#include <string_view>

#include "log/names.h"
#include "runtime/files.h"
#include "zkclient/real.h"

namespace weir::apps {

namespace {

// Whoever works there keeps the lock as long as it lives. One that nobody ever took is not made.
bool in_use(const std::string& log_dir) {
  auto& files = runtime::system_files();
  const auto path = log_dir + "/" + std::string(log::lock_name);
  const auto there = files.exists(path);
  if (!there || !*there) return false;
  const auto lock = files.lock(path);
  return !lock && lock.error().number == EWOULDBLOCK;
}

}  // namespace

bool end_left_session(const std::string& log_dir, milliseconds timeout) {
  constexpr std::size_t file_bytes_max = 4096;
  const auto text = runtime::system_files().read_whole(log_dir + "/weir.session", file_bytes_max);
  if (!text) return false;
  // Two lines: the key, and the zookeeper.connect that it is good for.
  const auto line = text->find('\n');
  if (line == std::string::npos || !text->ends_with('\n')) return false;
  // Looked at after the key was read: whoever takes the directory from now on has another one.
  if (in_use(log_dir)) return false;
  zkclient::RealOptions options;
  options.connect = text->substr(line + 1, text->size() - line - 2);
  return zkclient::end_session(options, std::string_view(*text).substr(0, line), timeout);
}

}  // namespace weir::apps
