#include "apps/local_spec.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <filesystem>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "bytes/crc32c.h"
#include "msk/local.h"
#include "runtime/files.h"

namespace weir::apps {

namespace json = boost::json;

namespace {

constexpr std::size_t file_bytes_max = 1 << 20;

void replace_all(std::string& text, std::string_view mark, const std::string& by) {
  for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark, at + by.size())) {
    text.replace(at, mark.size(), by);
  }
}

}  // namespace

std::uint32_t LocalSpec::number() const {
  if (properties.empty()) return 0;
  const auto text = config::to_text(properties);
  const auto sum = bytes::crc32c(std::as_bytes(std::span(text)));
  return sum == 0 ? 1 : sum;
}

std::string to_json(const LocalSpec& spec) {
  json::object properties;
  for (const auto& [key, value] : spec.properties) properties[key] = value;
  json::object o;
  o["address"] = spec.address;
  o["properties"] = std::move(properties);
  return json::serialize(o) + "\n";
}

std::expected<std::optional<LocalSpec>, std::string> read_local_spec(const std::string& path) {
  std::error_code missing;
  if (!std::filesystem::exists(path, missing)) return std::nullopt;
  const auto text = runtime::system_files().read_whole(path, file_bytes_max);
  if (!text) return std::unexpected(text.error().message);
  json::error_code error;
  const auto value = json::parse(*text, error);
  const auto* o = value.if_object();
  const auto* address = o == nullptr ? nullptr : o->if_contains("address");
  const auto* properties = o == nullptr ? nullptr : o->if_contains("properties");
  if (error || address == nullptr || !address->is_string() || properties == nullptr || !properties->is_object()) {
    return std::unexpected(fmt::format("{} cannot be read", path));
  }
  LocalSpec out;
  out.address = std::string(address->get_string());
  for (const auto& entry : properties->get_object()) {
    if (!entry.value().is_string()) return std::unexpected(fmt::format("{} cannot be read", path));
    out.properties[std::string(entry.key())] = std::string(entry.value().get_string());
  }
  return out;
}

config::Properties put_over(config::Properties base, const LocalSpec& spec, const cli::Place& place,
                            const std::string& folder) {
  const auto port = static_cast<std::uint16_t>(place.port == 0 ? 0 : place.port + msk::local_tls_step);
  const auto of = [&base](const char* key) {
    const auto it = base.find(key);
    return it == base.end() ? std::string() : it->second;
  };
  const auto listeners = of("listeners");
  const auto advertised = of("advertised.listeners");
  for (const auto& [key, wanted] : spec.properties) {
    if (wanted == msk::mark_metrics) continue;
    if (wanted == msk::mark_absent) {
      base.erase(key);
      continue;
    }
    auto value = wanted;
    replace_all(value, msk::mark_listeners, listeners);
    replace_all(value, msk::mark_advertised, advertised);
    replace_all(value, msk::mark_tls_advertised, cli::host_port(place.advertise_host, port));
    replace_all(value, msk::mark_tls, cli::host_port(place.listen_host, port));
    replace_all(value, "@DIR@", folder);
    base.insert_or_assign(key, std::move(value));
  }
  return base;
}

}  // namespace weir::apps
