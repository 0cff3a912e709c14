#include "apps/zookeeper_file.h"

#include <fmt/format.h>

#include <utility>

#include "broker/zk_security.h"
#include "config/broker_config.h"
#include "runtime/files.h"

namespace weir::apps {
namespace {

constexpr std::size_t file_bytes_max = 1 << 20;

bool of_the_session(const std::string& key) {
  return key.starts_with("zookeeper.ssl.") || key == "zookeeper.clientCnxnSocket" || key.starts_with("weir.zookeeper.");
}
bool names_a_file(const std::string& key) { return key.ends_with(".location") || key == "weir.zookeeper.jaas.config"; }

}  // namespace

std::expected<config::Properties, std::string> read_zookeeper_file(const std::string& path) {
  if (path.empty()) return config::Properties{};
  auto text = runtime::system_files().read_whole(path, file_bytes_max);
  if (!text) return std::unexpected(text.error().message);
  auto keys = config::parse_properties(*text);
  if (!keys) return std::unexpected(fmt::format("{}: {}", path, keys.error()));
  for (const auto& [key, value] : *keys) {
    if (!of_the_session(key)) {
      return std::unexpected(fmt::format(
          "{}: {} says nothing of a session with ZooKeeper: zookeeper.ssl.*, zookeeper.clientCnxnSocket and "
          "weir.zookeeper.* do",
          path, key));
    }
    if (names_a_file(key) && !value.starts_with('/')) {
      return std::unexpected(fmt::format("{}: {}={}: must be an absolute path", path, key, value));
    }
  }
  return keys;
}

std::expected<zkclient::RealOptions, std::string> session_options(const std::string& connect,
                                                                  const config::Properties& keys) {
  zkclient::RealOptions out;
  out.connect = connect;
  if (keys.empty()) return out;
  auto file = keys;
  file.insert_or_assign("zookeeper.connect", connect);
  auto loaded = config::load_broker_config({{}, {}, std::move(file)});
  if (!loaded) return std::unexpected(fmt::format("{}", fmt::join(loaded.error(), "; ")));
  auto secured = broker::secure(out, loaded->config, runtime::system_files());
  if (!secured) return std::unexpected(secured.error().message);
  return out;
}

}  // namespace weir::apps
