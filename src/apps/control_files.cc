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
  o["local"] = place.local;
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
  ApiPlace out{field("endpoint"), field("local"), field("region"), field("authority"), {}, field("boot")};
  out.process = {static_cast<std::int32_t>(number("pid")), static_cast<std::uint64_t>(number("started"))};
  return out;
}

bool ApiPlace::runs() const { return boot_id == apps::boot_id() && alive(process); }

std::string api_env_text(const ControlFiles& files) {
  const auto place = read_api_place(files);
  const auto key = read_access_key(files);
  if (!place || !key || !place->runs()) return {};
  // What a shell may have had for elsewhere, and SDKs would heed before or beside what follows.
  std::string out =
      "unset AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_CREDENTIAL_EXPIRATION AWS_PROFILE AWS_DEFAULT_PROFILE "
      "AWS_ENDPOINT_URL_KAFKA AWS_IGNORE_CONFIGURED_ENDPOINT_URLS AWS_USE_FIPS_ENDPOINT AWS_USE_DUALSTACK_ENDPOINT\n";
  const auto set = [&out](std::string_view name, const std::string& value) {
    out += fmt::format("export {}={}\n", name, cli::shell_quoted(value));
  };
  set("AWS_ENDPOINT_URL", place->endpoint);
  set("AWS_ACCESS_KEY_ID", key->id);
  set("AWS_SECRET_ACCESS_KEY", key->secret);
  set("AWS_DEFAULT_REGION", place->region);
  set("AWS_REGION", place->region);  // the same for the SDKs that read it first
  if (!place->authority.empty()) set("AWS_CA_BUNDLE", place->authority);
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
