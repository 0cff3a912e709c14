#include "apps/control_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "apps/process.h"
#include "cli/text.h"
#include "runtime/files.h"

namespace weir::apps {

namespace json = boost::json;

std::expected<void, std::string> write_api_place(const ControlFiles& files, const ApiPlace& place) {
  json::object o;
  o["endpoint"] = place.endpoint;
  o["region"] = place.region;
  o["authority"] = place.authority;
  o["pid"] = place.process.pid;
  o["started"] = place.process.started;
  o["boot"] = place.boot_id;
  if (auto written = runtime::system_files().write_whole(files.state(), json::serialize(o) + "\n"); !written) {
    return std::unexpected(written.error().message);
  }
  return {};
}

std::expected<ApiPlace, std::string> read_api_place(const ControlFiles& files) {
  const auto text = runtime::system_files().read_whole(files.state(), 1 << 16);
  if (!text)
    return std::unexpected(fmt::format("no control plane has run on {}: weir up, or weir control", files.path));
  json::error_code error;
  const auto value = json::parse(*text, error);
  if (error || !value.is_object()) return std::unexpected(fmt::format("{} cannot be read", files.state()));
  const auto field = [&](const char* key) {
    const auto* v = value.get_object().if_contains(key);
    return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
  };
  const auto number = [&](const char* key) {
    const auto* v = value.get_object().if_contains(key);
    json::error_code bad;
    return v == nullptr ? 0 : v->to_number<std::int64_t>(bad);
  };
  ApiPlace out{field("endpoint"), field("region"), field("authority"), {}, field("boot")};
  out.process = {static_cast<std::int32_t>(number("pid")), static_cast<std::uint64_t>(number("started"))};
  return out;
}

bool ApiPlace::runs() const { return boot_id == apps::boot_id() && alive(process); }

std::string api_env_text(const ControlFiles& files) {
  const auto place = read_api_place(files);
  const auto key = read_access_key(files);
  if (!place || !key || !place->runs()) return {};
  auto out = fmt::format(
      "export AWS_ENDPOINT_URL={}\nexport AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\n"
      "export AWS_DEFAULT_REGION={}\n",
      cli::shell_quoted(place->endpoint), cli::shell_quoted(key->id), cli::shell_quoted(key->secret),
      cli::shell_quoted(place->region));
  if (!place->authority.empty()) out += fmt::format("export AWS_CA_BUNDLE={}\n", cli::shell_quoted(place->authority));
  return out;
}

std::expected<aws::AccessKey, std::string> read_access_key(const ControlFiles& files) {
  auto credentials = aws::FileCredentials::open(files.credentials(), runtime::system_files());
  if (!credentials) return std::unexpected(credentials.error().message);
  for (auto& key : (*credentials)->list()) {
    if (key.status == aws::KeyStatus::active) return key;
  }
  return std::unexpected(fmt::format("{} holds no active access key", files.credentials()));
}

}  // namespace weir::apps
