#include "msk/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <vector>

namespace weir::msk {
namespace {

bool alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The part up to `separator`, which `text` then goes on behind; nothing when there is none.
std::optional<std::string_view> take(std::string_view& text, char separator) {
  const auto at = text.find(separator);
  if (at == std::string_view::npos) return std::nullopt;
  const auto part = text.substr(0, at);
  text.remove_prefix(at + 1);
  return part;
}

}  // namespace

std::optional<Arn> parse_arn(const Realm& realm, std::string_view text) {
  if (text.size() > 1024) return std::nullopt;
  if (take(text, ':') != "arn") return std::nullopt;
  const auto partition = take(text, ':');
  if (!partition || !partition->starts_with("aws")) return std::nullopt;
  if (take(text, ':') != "kafka") return std::nullopt;
  if (take(text, ':') != realm.region) return std::nullopt;
  if (take(text, ':') != realm.account) return std::nullopt;
  const auto kind = take(text, '/');
  const auto name = take(text, '/');
  if (!kind || !name || kind->empty() || name->empty()) return std::nullopt;
  Arn arn;
  arn.kind = *kind;
  arn.name = *name;
  const auto id = take(text, '/');
  arn.id = id ? *id : text;
  if (id) arn.rest = text;
  const auto plain = [](char c) { return alnum(c) || c == '-'; };
  if (arn.id.empty() || !std::ranges::all_of(arn.id, plain) || !std::ranges::all_of(arn.name, plain))
    return std::nullopt;
  if (!std::ranges::all_of(arn.rest, [&](char c) { return plain(c) || c == '.' || c == '_'; })) return std::nullopt;
  return arn;
}

std::string arn_text(const Realm& realm, std::string_view kind, std::string_view name, std::string_view id,
                     std::string_view rest) {
  auto text = fmt::format("arn:aws:kafka:{}:{}:{}/{}/{}", realm.region, realm.account, kind, name, id);
  if (!rest.empty()) text.append("/").append(rest);
  return text;
}

std::string new_uuid(runtime::Random& random) {
  std::array<std::byte, 16> b;
  random.fill(b);
  b[6] = (b[6] & std::byte{0x0f}) | std::byte{0x40};
  b[8] = (b[8] & std::byte{0x3f}) | std::byte{0x80};
  std::string out;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    fmt::format_to(std::back_inserter(out), "{:02x}", std::to_integer<unsigned>(b[i]));
  }
  return out;
}

std::string new_id(runtime::Random& random) { return new_uuid(random) + "-2"; }

std::string new_version(runtime::Random& random) {
  static constexpr std::string_view digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  std::string out = "K";
  for (int i = 0; i < 13; ++i) out += digits[random.below(digits.size())];
  return out;
}

std::string iso8601(milliseconds since_epoch) {
  const auto ms = since_epoch.count();
  const auto days = std::chrono::floor<std::chrono::days>(since_epoch);
  const std::chrono::year_month_day date{std::chrono::sys_days(days)};
  const auto in_day = ms - std::chrono::duration_cast<milliseconds>(days).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), in_day / 3'600'000,
                     in_day / 60'000 % 60, in_day / 1000 % 60, in_day % 1000);
}

bool valid_name(std::string_view name) {
  return !name.empty() && alnum(name.front()) && std::ranges::all_of(name, [](char c) { return alnum(c) || c == '-'; });
}

}  // namespace weir::msk
