#include "zkserver/options.h"

#include <fmt/format.h>

#include <charconv>
#include <functional>
#include <map>
#include <optional>

namespace weir::zkserver {
namespace {

std::string_view trim(std::string_view text) {
  const auto from = text.find_first_not_of(" \t\r\f");
  if (from == text.npos) return {};
  return text.substr(from, text.find_last_not_of(" \t\r\f") - from + 1);
}

struct Line {
  std::string_view key;
  std::string_view value;
};

std::optional<std::int64_t> number(std::string_view text, std::int64_t least, std::int64_t most) {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < least || n > most) return std::nullopt;
  return n;
}

// Reads a number of the range into what `set` names.
using Set = std::function<void(Options&, std::int64_t)>;
struct Key {
  std::int64_t least;
  std::int64_t most;
  Set set;
};

const std::map<std::string_view, Key>& keys() {
  constexpr std::int64_t day_ms = 86'400'000;
  constexpr std::int64_t int_max = 0x7fffffff;
  static const std::map<std::string_view, Key> table = {
      {"clientPort", {0, 65535, [](Options& o, std::int64_t n) { o.listen.port = static_cast<std::uint16_t>(n); }}},
      {"tickTime", {1, day_ms, [](Options& o, std::int64_t n) { o.tick = milliseconds(n); }}},
      {"minSessionTimeout", {-1, day_ms, [](Options& o, std::int64_t n) { o.session_timeout_min = milliseconds(n); }}},
      {"maxSessionTimeout", {-1, day_ms, [](Options& o, std::int64_t n) { o.session_timeout_max = milliseconds(n); }}},
      {"maxClientCnxns",
       {0, int_max, [](Options& o, std::int64_t n) { o.connections_per_ip_max = static_cast<std::uint32_t>(n); }}},
      {"maxCnxns", {0, int_max, [](Options& o, std::int64_t n) { o.connections_max = static_cast<std::uint32_t>(n); }}},
      {"jute.maxbuffer",
       {1024, 0x10000000, [](Options& o, std::int64_t n) { o.frame_bytes_max = static_cast<std::uint32_t>(n); }}},
      {"globalOutstandingLimit",
       {1, int_max, [](Options& o, std::int64_t n) { o.queued_requests_max = static_cast<std::uint32_t>(n); }}},
      {"stateBytesMax",
       {0, INT64_MAX, [](Options& o, std::int64_t n) { o.state_bytes_max = static_cast<std::uint64_t>(n); }}},
      {"znode.container.checkIntervalMs",
       {1, day_ms, [](Options& o, std::int64_t n) { o.container_check_interval = milliseconds(n); }}},
      {"znode.container.maxNeverUsedIntervalMs",
       {0, int_max, [](Options& o, std::int64_t n) { o.container_never_used_max = milliseconds(n); }}},
  };
  return table;
}

std::vector<std::string> words(std::string_view list) {
  std::vector<std::string> out;
  while (!list.empty()) {
    const auto comma = list.find(',');
    if (const auto word = trim(list.substr(0, comma)); !word.empty()) out.emplace_back(word);
    list = comma == list.npos ? std::string_view() : list.substr(comma + 1);
  }
  return out;
}

// What Apache's configuration has and one node does not need: taken without a word.
bool needless(std::string_view key) {
  for (const auto* known : {"initLimit", "syncLimit", "dataLogDir", "autopurge.snapRetainCount",
                            "autopurge.purgeInterval", "admin.enableServer", "admin.serverPort", "snapCount",
                            "extendedTypesEnabled", "standaloneEnabled", "reconfigEnabled"}) {
    if (key == known) return true;
  }
  return false;
}

Result<> take(const Line& line, ParsedOptions& out) {
  // Apache reads unknown keys as system properties "zookeeper.KEY"; people write both.
  const auto key = line.key.starts_with("zookeeper.") ? line.key.substr(10) : line.key;
  if (const auto known = keys().find(key); known != keys().end()) {
    const auto n = number(line.value, known->second.least, known->second.most);
    if (!n) {
      return fail(ErrorCode::INVALID_CONFIG, fmt::format("{}={}: must be a number from {} to {}", line.key, line.value,
                                                         known->second.least, known->second.most));
    }
    known->second.set(out.options, *n);
  } else if (key == "dataDir") {
    out.options.data_dir = line.value;
  } else if (key == "clientPortAddress") {
    out.options.listen.host = line.value;
  } else if (key == "4lw.commands.whitelist") {
    out.options.four_letter_words = words(line.value);
  } else if (key == "superDigest" || key == "DigestAuthenticationProvider.superDigest") {
    if (!line.value.starts_with("super:")) {
      return fail(ErrorCode::INVALID_CONFIG, fmt::format("{}: must be super:BASE64 of a SHA-1 hash", line.key));
    }
    out.options.super_digest = line.value;
  } else if (key.starts_with("server.") || key == "secureClientPort") {
    return fail(ErrorCode::INVALID_CONFIG,
                fmt::format("{}={}: this coordination service is one node without TLS; for an ensemble run Apache "
                            "ZooKeeper and point zookeeper.connect at it",
                            line.key, line.value));
  } else if (!needless(key)) {
    out.warnings.push_back(fmt::format("unknown key {} is ignored", line.key));
  }
  return {};
}

}  // namespace

Result<ParsedOptions> parse_zoo_cfg(std::string_view text) {
  ParsedOptions out;
  out.options.listen.host = "";
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto line = trim(text.substr(0, end));
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line.front() == '#' || line.front() == '!') continue;
    const auto equals = line.find_first_of("=:");
    if (equals == line.npos) {
      return fail(ErrorCode::INVALID_CONFIG, fmt::format("\"{}\" is not KEY=VALUE", line));
    }
    if (auto r = take({trim(line.substr(0, equals)), trim(line.substr(equals + 1))}, out); !r) {
      return std::unexpected(r.error());
    }
  }
  const auto& o = out.options;
  if (o.data_dir.empty()) return fail(ErrorCode::INVALID_CONFIG, "dataDir is not set");
  if (o.min_timeout() > o.max_timeout()) {
    return fail(ErrorCode::INVALID_CONFIG, fmt::format("minSessionTimeout={} is larger than maxSessionTimeout={}",
                                                       o.min_timeout().count(), o.max_timeout().count()));
  }
  return out;
}

}  // namespace weir::zkserver
