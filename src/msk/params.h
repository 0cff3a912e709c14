// Reading a request's parameters with the bounds of the model, on the server: botocore checks few of them.
//
//   Params p(body);
//   const auto name = p.text("clusterName", {.min = 1, .max = 64, .required = true});
//   if (auto fault = p.fault()) return std::unexpected(*fault);
//
// The first thing that is wrong is kept; reading goes on with defaults. Messages name parameter, value and range.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msk/fault.h"
#include "msk/model.h"

namespace boost::json {
class array;
class object;
class value;
}  // namespace boost::json

namespace weir::msk {

struct TextRule {
  std::size_t min = 0;
  std::size_t max = 1024;
  bool required = false;
  bool name_pattern = false;  // ^[0-9A-Za-z][0-9A-Za-z-]*$
};
struct NumberRule {
  std::int64_t min = std::numeric_limits<std::int64_t>::min();
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  bool required = false;
};
struct ListRule {
  std::size_t min = 0;
  std::size_t max = 1000;
  bool required = false;
};

class Params {
 public:
  // `body` outlives this.
  explicit Params(const boost::json::object& body);

  std::optional<std::string> text(std::string_view name, TextRule rule = {});
  std::optional<std::string> one_of(std::string_view name, std::vector<std::string_view> values, bool required = false);
  std::optional<std::int64_t> number(std::string_view name, NumberRule rule = {});
  std::optional<bool> flag(std::string_view name, bool required = false);
  std::optional<std::vector<std::string>> texts(std::string_view name, ListRule rule = {}, TextRule item = {});
  std::optional<Tags> tags(std::string_view name);
  // A base64 blob, decoded.
  std::optional<std::string> blob(std::string_view name, std::size_t bytes_max, bool required = false);
  // The members of an object; nothing when it is absent. What is wrong inside is told of the outermost.
  std::optional<Params> object(std::string_view name, bool required = false);
  std::vector<Params> objects(std::string_view name, ListRule rule = {});
  // An object as text, unread. Empty: absent.
  Json json(std::string_view name);
  bool has(std::string_view name) const;

  // Says that something is wrong, unless something was before. `name`: the parameter; empty: none.
  void wrong(std::string_view name, std::string message);
  const std::optional<Fault>& fault() const { return *fault_; }

 private:
  Params(const boost::json::object& body, std::shared_ptr<std::optional<Fault>> fault);
  // The value, or null when it is absent or null; says so when it is required.
  const boost::json::value* find(std::string_view name, bool required);

  const boost::json::object* body_;
  std::shared_ptr<std::optional<Fault>> fault_;
};

// Standard base64 with padding. Nothing for any other text.
std::optional<std::string> from_base64(std::string_view text);
std::string to_base64(std::string_view bytes);

// One page of a list: what `maxResults` and `nextToken` of the query choose.
struct Page {
  std::vector<std::size_t> items;  // which of the keys, in the list's order
  std::string next;                // nextToken; empty: this is the last
};
// The list is in the order of `keys`, which are of any order here, each of one thing and never of another. A token
// names the last key that was shown, so what comes and goes between two pages makes nothing come twice and hides
// nothing that stays. `scope` says which list it is: a token of another list, or one that was changed, is a BadRequest.
Answer<Page> page_of(std::string_view max_results, std::string_view next_token, std::string_view scope,
                     const std::vector<std::string>& keys);
// Keys of numbers in their order, and of things by the time of their creation.
std::string number_key(std::int64_t number);
std::string time_key(milliseconds created, std::string_view id);
std::string latest_first_key(milliseconds created, std::string_view id);

}  // namespace weir::msk
