#include "aws/credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdint>
#include <span>
#include <utility>

namespace weir::aws {
namespace {

namespace json = boost::json;

constexpr std::size_t file_bytes_max = 1024 * 1024;
constexpr std::size_t text_bytes_max = 256;  // of an id, a secret, a user's name
constexpr std::int64_t version = 1;

constexpr std::string_view active_text = "Active";
constexpr std::string_view inactive_text = "Inactive";

Error storage_error(const runtime::IoError& error) { return Error{ErrorCode::KAFKA_STORAGE_ERROR, error.message}; }

std::string to_text(const std::vector<AccessKey>& keys) {
  json::array list;
  for (const auto& key : keys) {
    json::object o;
    o["accessKeyId"] = key.id;
    o["secretAccessKey"] = key.secret;
    o["status"] = json::string_view(key.status == KeyStatus::active ? active_text : inactive_text);
    o["createDate"] = static_cast<std::int64_t>(key.created.count());
    if (!key.user.empty()) o["userName"] = key.user;
    list.push_back(std::move(o));
  }
  json::object root;
  root["version"] = version;
  root["accessKeys"] = std::move(list);
  return json::serialize(root) + "\n";
}

// A member that is a text of 1 to text_bytes_max bytes.
bool take(const json::object& from, json::string_view name, std::string& to) {
  const auto* value = from.if_contains(name);
  if (value == nullptr || !value->is_string()) return false;
  const auto& text = value->get_string();
  if (text.empty() || text.size() > text_bytes_max) return false;
  to.assign(text.data(), text.size());
  return true;
}

bool parse_key(const json::value& value, AccessKey& key) {
  if (!value.is_object()) return false;
  const auto& o = value.get_object();
  std::string status;
  if (!take(o, "accessKeyId", key.id) || !take(o, "secretAccessKey", key.secret) || !take(o, "status", status)) {
    return false;
  }
  if (status != active_text && status != inactive_text) return false;
  key.status = status == active_text ? KeyStatus::active : KeyStatus::inactive;
  if (const auto* created = o.if_contains("createDate"); created != nullptr && created->is_int64()) {
    key.created = milliseconds(created->get_int64());
  }
  take(o, "userName", key.user);
  return true;
}

std::optional<std::vector<AccessKey>> parse(std::string_view text) {
  boost::system::error_code error;
  const auto root = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !root.is_object()) return std::nullopt;
  const auto* is = root.get_object().if_contains("version");
  const auto* list = root.get_object().if_contains("accessKeys");
  if (is == nullptr || !is->is_int64() || is->get_int64() != version || list == nullptr || !list->is_array()) {
    return std::nullopt;
  }
  std::vector<AccessKey> keys;
  for (const auto& value : list->get_array()) {
    if (!parse_key(value, keys.emplace_back())) return std::nullopt;
  }
  return keys;
}

std::vector<AccessKey>::iterator find(std::vector<AccessKey>& keys, std::string_view id) {
  return std::ranges::find(keys, id, &AccessKey::id);
}

Error not_there(std::string_view id) {
  return Error{ErrorCode::RESOURCE_NOT_FOUND, fmt::format("the access key {} is not there", id.substr(0, 40))};
}

// `count` characters of `alphabet`, whose size divides 256.
std::string draw(runtime::Random& random, std::string_view alphabet, std::size_t count) {
  std::string out(count, '\0');
  random.fill(std::as_writable_bytes(std::span(out)));
  for (char& c : out) c = alphabet[static_cast<unsigned char>(c) % alphabet.size()];
  return out;
}

}  // namespace

AccessKey generate_key(runtime::Random& random, milliseconds now, std::string user) {
  AccessKey key;
  key.id = "AKIA" + draw(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16);
  key.secret = draw(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 40);
  key.created = now;
  key.user = std::move(user);
  return key;
}

Result<std::unique_ptr<FileCredentials>> FileCredentials::open(std::string path, runtime::Files& files) {
  std::unique_ptr<FileCredentials> made(new FileCredentials(std::move(path), files));
  if (auto done = made->refresh(); !done) return std::unexpected(done.error());
  return made;
}

std::shared_ptr<const FileCredentials::Keys> FileCredentials::keys() const {
  const std::lock_guard guard(mutex_);
  return keys_;
}

std::optional<std::string> FileCredentials::secret_of(std::string_view access_key_id) const {
  const auto all = keys();
  const auto it = std::ranges::find(*all, access_key_id, &AccessKey::id);
  if (it == all->end() || it->status != KeyStatus::active) return std::nullopt;
  return it->secret;
}

std::vector<AccessKey> FileCredentials::list() const { return *keys(); }

Result<FileCredentials::Keys> FileCredentials::load() const {
  const auto text = files_.read_whole(path_, file_bytes_max);
  if (!text) {
    if (text.error().number == ENOENT) return Keys();
    return std::unexpected(storage_error(text.error()));
  }
  auto keys = parse(*text);
  if (!keys) return fail(ErrorCode::INVALID_CONFIG, fmt::format("{} is not a file of access keys", path_));
  return std::move(*keys);
}

Result<> FileCredentials::refresh() {
  auto loaded = load();
  if (!loaded) return std::unexpected(loaded.error());
  auto made = std::make_shared<const Keys>(std::move(*loaded));
  const std::lock_guard guard(mutex_);
  keys_ = std::move(made);
  return {};
}

template <class Change>
Result<> FileCredentials::change(Change change) {
  const std::lock_guard one_at_a_time(changing_);
  const auto lock = files_.lock(path_ + ".lock");
  if (!lock) {
    if (lock.error().number == EWOULDBLOCK) {
      return fail(ErrorCode::KAFKA_STORAGE_ERROR, fmt::format("another process is changing {}; try again", path_));
    }
    return std::unexpected(storage_error(lock.error()));
  }
  auto keys = load();
  if (!keys) return std::unexpected(keys.error());
  if (Result<> done = change(*keys); !done) return done;
  if (auto done = files_.write_private(path_, to_text(*keys)); !done) {
    return std::unexpected(storage_error(done.error()));
  }
  auto made = std::make_shared<const Keys>(std::move(*keys));
  const std::lock_guard guard(mutex_);
  keys_ = std::move(made);
  return {};
}

Result<> FileCredentials::add(AccessKey key) {
  const auto too_long = [](const std::string& text) { return text.size() > text_bytes_max; };
  if (key.id.empty() || key.secret.empty() || too_long(key.id) || too_long(key.secret) || too_long(key.user)) {
    return fail(ErrorCode::INVALID_REQUEST, "an access key has an id and a secret, none of them over 256 bytes");
  }
  return change([&key](Keys& keys) -> Result<> {
    if (find(keys, key.id) != keys.end()) {
      return fail(ErrorCode::DUPLICATE_RESOURCE, fmt::format("the access key {} is there already", key.id));
    }
    if (keys.size() >= keys_max) {
      return fail(ErrorCode::POLICY_VIOLATION, fmt::format("there are {} access keys, which is the limit", keys_max));
    }
    keys.push_back(std::move(key));
    return {};
  });
}

Result<> FileCredentials::set_status(std::string_view access_key_id, KeyStatus status) {
  return change([access_key_id, status](Keys& keys) -> Result<> {
    const auto it = find(keys, access_key_id);
    if (it == keys.end()) return std::unexpected(not_there(access_key_id));
    it->status = status;
    return {};
  });
}

Result<> FileCredentials::revoke(std::string_view access_key_id) {
  return change([access_key_id](Keys& keys) -> Result<> {
    const auto it = find(keys, access_key_id);
    if (it == keys.end()) return std::unexpected(not_there(access_key_id));
    keys.erase(it);
    return {};
  });
}

}  // namespace weir::aws
