#include "msk/params.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <span>
#include <utility>

#include "bytes/crc32c.h"
#include "msk/names.h"

namespace weir::msk {
namespace {

namespace json = boost::json;

constexpr std::size_t tags_max = 50;
constexpr std::size_t tag_key_max = 128;
constexpr std::size_t tag_value_max = 256;
constexpr std::int64_t page_max = 100;
constexpr std::size_t token_sum_digits = 8;

// As it is shown in an error: short, and without control characters.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, 80));
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  if (text.size() > 80) out += "...";
  return out;
}

std::string check(std::string_view name, std::string_view value, const TextRule& rule) {
  if (value.size() < rule.min || value.size() > rule.max) {
    return fmt::format("Invalid value for parameter {}: '{}' has {} characters. It must have {} to {}.", name,
                       shown(value), value.size(), rule.min, rule.max);
  }
  if (rule.name_pattern && !valid_name(value)) {
    return fmt::format(
        "Invalid value for parameter {}: '{}'. It must satisfy the pattern ^[0-9A-Za-z][0-9A-Za-z-]{{0,}}$", name,
        shown(value));
  }
  return {};
}

}  // namespace

Params::Params(const json::object& body) : body_(&body), fault_(std::make_shared<std::optional<Fault>>()) {}
Params::Params(const json::object& body, std::shared_ptr<std::optional<Fault>> fault)
    : body_(&body), fault_(std::move(fault)) {}

void Params::wrong(std::string_view name, std::string message) {
  if (!*fault_) *fault_ = Fault{FaultType::bad_request, std::move(message), std::string(name)};
}

const json::value* Params::find(std::string_view name, bool required) {
  const auto* found = body_->if_contains(name);
  if (found != nullptr && !found->is_null()) return found;
  if (required) wrong(name, fmt::format("The parameter {} is required.", name));
  return nullptr;
}

bool Params::has(std::string_view name) const {
  const auto* found = body_->if_contains(name);
  return found != nullptr && !found->is_null();
}

std::optional<std::string> Params::text(std::string_view name, TextRule rule) {
  const auto* found = find(name, rule.required);
  if (found == nullptr) return std::nullopt;
  if (!found->is_string()) {
    wrong(name, fmt::format("The parameter {} must be a string.", name));
    return std::nullopt;
  }
  const std::string_view value(found->as_string());
  if (auto error = check(name, value, rule); !error.empty()) {
    wrong(name, std::move(error));
    return std::nullopt;
  }
  return std::string(value);
}

std::optional<std::string> Params::one_of(std::string_view name, std::vector<std::string_view> values, bool required) {
  TextRule rule;
  rule.required = required;
  auto value = text(name, rule);
  if (!value || std::ranges::find(values, *value) != values.end()) return value;
  wrong(name, fmt::format("Invalid value for parameter {}: '{}'. Valid values: [{}]", name, shown(*value),
                          fmt::join(values, ", ")));
  return std::nullopt;
}

std::optional<std::int64_t> Params::number(std::string_view name, NumberRule rule) {
  const auto* found = find(name, rule.required);
  if (found == nullptr) return std::nullopt;
  std::optional<std::int64_t> value;
  if (found->is_int64()) value = found->as_int64();
  if (found->is_uint64()) value = std::numeric_limits<std::int64_t>::max();
  // Some clients write whole numbers as 3.0.
  if (found->is_double() && found->as_double() >= -9e15 && found->as_double() <= 9e15 &&
      found->as_double() == static_cast<double>(static_cast<std::int64_t>(found->as_double()))) {
    value = static_cast<std::int64_t>(found->as_double());
  }
  if (!value) {
    wrong(name, fmt::format("The parameter {} must be a whole number.", name));
    return std::nullopt;
  }
  if (*value < rule.min || *value > rule.max) {
    wrong(name, rule.max == std::numeric_limits<std::int64_t>::max()
                    ? fmt::format("Invalid value for parameter {}: {}. It must be at least {}.", name, *value, rule.min)
                    : fmt::format("Invalid value for parameter {}: {}. It must be from {} to {}.", name, *value,
                                  rule.min, rule.max));
    return std::nullopt;
  }
  return value;
}

std::optional<bool> Params::flag(std::string_view name, bool required) {
  const auto* found = find(name, required);
  if (found == nullptr) return std::nullopt;
  if (found->is_bool()) return found->as_bool();
  wrong(name, fmt::format("The parameter {} must be true or false.", name));
  return std::nullopt;
}

std::optional<std::vector<std::string>> Params::texts(std::string_view name, ListRule rule, TextRule item) {
  const auto* found = find(name, rule.required);
  if (found == nullptr) return std::nullopt;
  if (!found->is_array()) {
    wrong(name, fmt::format("The parameter {} must be a list of strings.", name));
    return std::nullopt;
  }
  const auto& list = found->as_array();
  if (list.size() < rule.min || list.size() > rule.max) {
    wrong(name, fmt::format("Invalid value for parameter {}: it has {} items. It must have {} to {}.", name,
                            list.size(), rule.min, rule.max));
    return std::nullopt;
  }
  std::vector<std::string> out;
  for (const auto& value : list) {
    if (!value.is_string()) {
      wrong(name, fmt::format("The parameter {} must be a list of strings.", name));
      return std::nullopt;
    }
    const std::string_view each(value.as_string());
    if (auto error = check(name, each, item); !error.empty()) {
      wrong(name, std::move(error));
      return std::nullopt;
    }
    out.emplace_back(each);
  }
  return out;
}

std::optional<Tags> Params::tags(std::string_view name) {
  const auto* found = find(name, false);
  if (found == nullptr) return std::nullopt;
  if (!found->is_object()) {
    wrong(name, fmt::format("The parameter {} must be a map of strings.", name));
    return std::nullopt;
  }
  Tags out;
  for (const auto& tag : found->as_object()) {
    const std::string_view key(tag.key());
    const bool text = tag.value().is_string();
    const std::string_view value = text ? std::string_view(tag.value().as_string()) : std::string_view();
    if (!text || key.empty() || key.size() > tag_key_max || value.size() > tag_value_max || key.starts_with("aws:")) {
      wrong(name,
            fmt::format("Invalid value for parameter {}: the tag '{}'. A key has 1 to {} characters and does not begin "
                        "with aws:, a value is a string of at most {}.",
                        name, shown(key), tag_key_max, tag_value_max));
      return std::nullopt;
    }
    out.emplace(key, value);
  }
  if (out.size() > tags_max) {
    wrong(name,
          fmt::format("Invalid value for parameter {}: {} tags. There can be at most {}.", name, out.size(), tags_max));
    return std::nullopt;
  }
  return out;
}

std::optional<std::string> Params::blob(std::string_view name, std::size_t bytes_max, bool required) {
  TextRule rule;
  rule.max = bytes_max * 4 / 3 + 4;
  rule.required = required;
  const auto* found = find(name, required);
  if (found != nullptr && found->is_string() && found->as_string().size() > rule.max) {
    wrong(name, fmt::format("Invalid value for parameter {}: it is longer than {} bytes.", name, bytes_max));
    return std::nullopt;
  }
  const auto encoded = text(name, rule);
  if (!encoded) return std::nullopt;
  auto value = from_base64(*encoded);
  if (!value) wrong(name, fmt::format("The parameter {} must be base64.", name));
  return value;
}

std::optional<Params> Params::object(std::string_view name, bool required) {
  const auto* found = find(name, required);
  if (found == nullptr) return std::nullopt;
  if (!found->is_object()) {
    wrong(name, fmt::format("The parameter {} must be a structure.", name));
    return std::nullopt;
  }
  return Params(found->as_object(), fault_);
}

std::vector<Params> Params::objects(std::string_view name, ListRule rule) {
  std::vector<Params> out;
  const auto* found = find(name, rule.required);
  if (found == nullptr) return out;
  const bool good =
      found->is_array() && std::ranges::all_of(found->as_array(), [](const json::value& v) { return v.is_object(); });
  if (!good) {
    wrong(name, fmt::format("The parameter {} must be a list of structures.", name));
    return out;
  }
  const auto size = found->as_array().size();
  if (size < rule.min || size > rule.max) {
    wrong(name, fmt::format("Invalid value for parameter {}: it has {} items. It must have {} to {}.", name, size,
                            rule.min, rule.max));
    return out;
  }
  for (const auto& value : found->as_array()) out.push_back(Params(value.as_object(), fault_));
  return out;
}

Json Params::json(std::string_view name) {
  const auto* found = find(name, false);
  if (found == nullptr) return {};
  if (found->is_object()) return json::serialize(*found);
  wrong(name, fmt::format("The parameter {} must be a structure.", name));
  return {};
}

// --- base64

namespace {
constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const auto here = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8U | (j < here ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) out += j <= here ? base64_digits[group >> (18 - 6 * j) & 63U] : '=';
  }
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  text.remove_suffix(padding);
  std::string out;
  std::uint32_t group = 0;
  std::size_t bits = 0;
  for (const char c : text) {
    const auto digit = base64_digits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    group = group << 6U | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>(group >> bits & 0xffU);
    }
  }
  if ((group & ((1U << bits) - 1U)) != 0) return std::nullopt;  // bits that no encoder writes
  return out;
}

// --- pages

namespace {

// In hexadecimal. It tells a token that was spoilt or is of another list; there is nothing in one to be kept secret.
std::string token_sum(std::string_view scope, std::string_view key) {
  const auto raw = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  auto sum = bytes::crc32c(raw(scope));
  sum = bytes::crc32c_extend(sum, raw(std::string_view("\0", 1)));
  return fmt::format("{:0{}x}", bytes::crc32c_extend(sum, raw(key)), token_sum_digits);
}

}  // namespace

Answer<Page> page_of(std::string_view max_results, std::string_view next_token, std::string_view scope,
                     const std::vector<std::string>& keys) {
  std::int64_t max = page_max;
  if (!max_results.empty()) {
    const auto* end = max_results.data() + max_results.size();
    const auto read = std::from_chars(max_results.data(), end, max);
    if (read.ec != std::errc() || read.ptr != end || max < 1 || max > page_max) {
      return bad_request("maxResults",
                         fmt::format("Invalid value for parameter maxResults: '{}'. It must be from 1 to {}.",
                                     shown(max_results), page_max));
    }
  }
  Page page;
  for (std::size_t i = 0; i < keys.size(); ++i) page.items.push_back(i);
  std::ranges::sort(page.items, {}, [&keys](std::size_t i) -> const std::string& { return keys[i]; });
  if (!next_token.empty()) {
    const auto token = from_base64(next_token);
    const auto last = token && token->size() >= token_sum_digits ? token->substr(token_sum_digits) : std::string();
    if (!token || token->substr(0, token_sum_digits) != token_sum(scope, last)) {
      return bad_request("nextToken", "Invalid value for parameter nextToken: it is none that this list gave.");
    }
    std::erase_if(page.items, [&](std::size_t i) { return keys[i] <= last; });
  }
  if (page.items.size() > static_cast<std::size_t>(max)) {
    page.items.resize(static_cast<std::size_t>(max));
    const auto& last = keys[page.items.back()];
    page.next = to_base64(token_sum(scope, last) + last);
  }
  return page;
}

std::string number_key(std::int64_t number) { return fmt::format("{:016x}", number); }
std::string time_key(milliseconds created, std::string_view id) {
  return fmt::format("{}/{}", number_key(created.count()), id);
}
std::string latest_first_key(milliseconds created, std::string_view id) {
  return time_key(milliseconds(std::numeric_limits<std::int64_t>::max()) - created, id);
}

}  // namespace weir::msk
