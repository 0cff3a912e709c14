#include "apps/left_session.h"

#include <string_view>

#include "runtime/files.h"
#include "zkclient/real.h"

namespace weir::apps {

bool end_left_session(const std::string& log_dir, milliseconds timeout) {
  constexpr std::size_t file_bytes_max = 4096;
  const auto text = runtime::system_files().read_whole(log_dir + "/weir.session", file_bytes_max);
  if (!text) return false;
  // Two lines: the key, and the zookeeper.connect that it is good for.
  const auto line = text->find('\n');
  if (line == std::string::npos || !text->ends_with('\n')) return false;
  zkclient::RealOptions options;
  options.connect = text->substr(line + 1, text->size() - line - 2);
  return zkclient::end_session(options, std::string_view(*text).substr(0, line), timeout);
}

}  // namespace weir::apps
