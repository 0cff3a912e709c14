#include "msk/health.h"

#include <boost/json.hpp>

namespace weir::msk {
namespace {

namespace json = boost::json;

constexpr std::size_t sentence_bytes_max = 1000;

json::object object_of(const std::map<std::string, std::string>& texts) {
  json::object out;
  for (const auto& [id, text] : texts) out[id] = text.substr(0, sentence_bytes_max);
  return out;
}

std::map<std::string, std::string> texts_of(const json::object& object, std::string_view key) {
  std::map<std::string, std::string> out;
  const auto* found = object.if_contains(key);
  if (found == nullptr || !found->is_object()) return out;
  for (const auto& [id, text] : found->get_object()) {
    if (text.is_string()) out.emplace(id, std::string_view(text.get_string()));
  }
  return out;
}

}  // namespace

std::string encode(const Health& health) {
  return json::serialize(json::object{
      {"ailing", object_of(health.ailing)}, {"waiting", object_of(health.waiting)}, {"full", object_of(health.full)}});
}

Health decode_health(std::string_view text) {
  boost::system::error_code error;
  const auto value = json::parse(text, error);
  if (error || !value.is_object()) return {};
  const auto& all = value.get_object();
  return {texts_of(all, "ailing"), texts_of(all, "waiting"), texts_of(all, "full")};
}

}  // namespace weir::msk
