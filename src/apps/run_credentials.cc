#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <expected>
#include <string>
#include <vector>

#include "apps/control_files.h"
#include "apps/run.h"
#include "aws/credentials.h"
#include "cli/command_line.h"
#include "cli/text.h"
#include "runtime/clock.h"
#include "runtime/files.h"
#include "runtime/random.h"

namespace weir::apps {
namespace {

namespace json = boost::json;

using Action = cli::CredentialsOptions::Action;
using Outcome = std::expected<std::string, std::string>;  // what to print; why not

std::string_view text_of(aws::KeyStatus status) { return status == aws::KeyStatus::active ? "Active" : "Inactive"; }

// "2026-01-02 03:04:05", UTC.
std::string date(milliseconds wall) {
  const auto time = static_cast<std::time_t>(wall.count() / 1000);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

json::object object_of(const aws::AccessKey& key) {
  json::object o;
  o["accessKeyId"] = key.id;
  o["status"] = std::string(text_of(key.status));
  o["createDate"] = date(key.created);
  if (!key.user.empty()) o["userName"] = key.user;
  return o;
}

std::string list(const std::vector<aws::AccessKey>& keys, bool as_json) {
  if (as_json) {
    json::array all;
    for (const auto& key : keys) all.push_back(object_of(key));
    json::object o;
    o["accessKeys"] = std::move(all);
    return json::serialize(o) + "\n";
  }
  auto out = fmt::format("{:<22}{:<10}{:<21}{}\n", "ACCESS KEY", "STATUS", "CREATED (UTC)", "USER");
  for (const auto& key : keys) {
    out += fmt::format("{:<22}{:<10}{:<21}{}\n", key.id, text_of(key.status), date(key.created), key.user);
  }
  return out;
}

Outcome add(aws::Credentials& credentials, const cli::CredentialsOptions& options) {
  auto key = aws::generate_key(runtime::system_random(), runtime::system_clock().wall(), options.user);
  if (auto added = credentials.add(key); !added) return std::unexpected(added.error().message);
  if (options.json) {
    auto o = object_of(key);
    o["secretAccessKey"] = key.secret;
    return json::serialize(o) + "\n";
  }
  return fmt::format("export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\n", cli::shell_quoted(key.id),
                     cli::shell_quoted(key.secret));
}

// Without a key nobody, weir's own commands included, could call any more.
bool is_last_active(const std::vector<aws::AccessKey>& keys, const std::string& id) {
  bool is_active = false;
  bool others = false;
  for (const auto& key : keys) {
    if (key.status != aws::KeyStatus::active) continue;
    (key.id == id ? is_active : others) = true;
  }
  return is_active && !others;
}

Outcome change(aws::Credentials& credentials, const cli::CredentialsOptions& options) {
  const bool takes_away = options.action == Action::revoke || options.action == Action::deactivate;
  if (takes_away && is_last_active(credentials.list(), options.id)) {
    return std::unexpected(fmt::format("{} is the last active key: weir credentials add, first", options.id));
  }
  const auto status = options.action == Action::activate ? aws::KeyStatus::active : aws::KeyStatus::inactive;
  auto done =
      options.action == Action::revoke ? credentials.revoke(options.id) : credentials.set_status(options.id, status);
  if (!done) return std::unexpected(done.error().message);
  return std::string();
}

Outcome run(const cli::CredentialsOptions& options) {
  const auto dir = DataDir::find(options.data_dir);
  if (!dir) return std::unexpected(dir.error());
  auto& files = runtime::system_files();
  if (const auto there = files.is_directory(dir->path()); !there || !*there) {
    return std::unexpected(fmt::format("{} is not there: weir up, or weir control, makes it", dir->path()));
  }
  auto credentials = aws::FileCredentials::open(ControlFiles(*dir).credentials(), files);
  if (!credentials) return std::unexpected(credentials.error().message);
  if (options.action == Action::list) return list((*credentials)->list(), options.json);
  if (options.action == Action::add) return add(**credentials, options);
  return change(**credentials, options);
}

}  // namespace

int run_credentials(const cli::CredentialsOptions& options) {
  const auto outcome = run(options);
  if (!outcome) {
    std::fprintf(stderr, "weir: %s\n", outcome.error().c_str());
    return cli::exit_failure;
  }
  std::fputs(outcome->c_str(), stdout);
  return cli::exit_ok;
}

}  // namespace weir::apps
