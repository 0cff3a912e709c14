// ListTagsForResource, TagResource, UntagResource: of clusters and VPC connections.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <functional>
#include <utility>

#include "msk/api/api.h"

namespace weir::msk::api {
namespace {

constexpr std::size_t tags_max = 50;
constexpr int tries_max = 5;  // of a compare-and-set: an operation may be writing the same record

Fault no_resource() { return {FaultType::not_found, "The requested resource does not exist.", "resourceArn"}; }

// Reads the tags, and writes what `change` makes of them; without one they are only read.
Task<Answer<Tags>> with_tags(Context& context, std::string resource, std::function<Answer<>(Tags&)> change) {
  const auto arn = parse_arn(context.options.realm, resource);
  if (!arn) {
    if (resource.starts_with("arn:")) co_return std::unexpected(no_resource());
    co_return bad_request("resourceArn", "Invalid value for parameter resourceArn: it is not an ARN.");
  }
  for (int attempt = 0; attempt < tries_max; ++attempt) {
    Stored<> written;
    Tags tags;
    if (arn->kind == cluster_kind) {
      auto found = co_await find_cluster(context, resource, "resourceArn");
      if (!found) co_return std::unexpected(found.error());
      if (change) {
        if (auto changed = change(found->value.tags); !changed) co_return std::unexpected(changed.error());
      }
      tags = found->value.tags;
      if (change) written = co_await context.store.set_cluster(std::move(*found));
    } else if (arn->kind == vpc_connection_kind) {
      auto found = co_await context.store.vpc_connection(arn->id);
      if (!found) co_return std::unexpected(no_resource());
      if (change) {
        if (auto changed = change(found->value.tags); !changed) co_return std::unexpected(changed.error());
      }
      tags = found->value.tags;
      if (change) written = co_await context.store.set_vpc_connection(std::move(*found));
    } else {
      co_return std::unexpected(no_resource());
    }
    if (written) co_return tags;
    if (written.error().kind != StoreError::Kind::conflict) co_return failed(written.error(), "resource");
  }
  co_return refuse(FaultType::unavailable, "The resource is being changed by others. Try again.");
}

}  // namespace

Task<Answer<Object>> list_tags_for_resource(Context& context, const aws::Request& request) {
  auto tags = co_await with_tags(context, std::string(request.label("resourceArn")), nullptr);
  if (!tags) co_return std::unexpected(tags.error());
  Object out;
  out["tags"] = tags_of(*tags);
  co_return out;
}

Task<Answer<Object>> tag_resource(Context& context, const aws::Request& request) {
  Params params(*request.body);
  if (!params.has("tags")) params.wrong("tags", "The parameter tags is required.");
  const auto wanted = params.tags("tags");
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  std::function<Answer<>(Tags&)> change = [&wanted](Tags& tags) -> Answer<> {
    for (const auto& [key, value] : *wanted) tags.insert_or_assign(key, value);
    if (tags.size() > tags_max) {
      return bad_request("tags", fmt::format("A resource can have at most {} tags.", tags_max));
    }
    return {};
  };
  auto tags = co_await with_tags(context, std::string(request.label("resourceArn")), std::move(change));
  if (!tags) co_return std::unexpected(tags.error());
  co_return Object();
}

Task<Answer<Object>> untag_resource(Context& context, const aws::Request& request) {
  const auto [first, last] = request.query.equal_range("tagKeys");
  if (first == last) co_return bad_request("tagKeys", "The parameter tagKeys is required.");
  std::vector<std::string> keys;
  for (auto it = first; it != last; ++it) keys.push_back(it->second);
  std::function<Answer<>(Tags&)> change = [&keys](Tags& tags) -> Answer<> {
    for (const auto& key : keys) tags.erase(key);
    return {};
  };
  auto tags = co_await with_tags(context, std::string(request.label("resourceArn")), std::move(change));
  if (!tags) co_return std::unexpected(tags.error());
  co_return Object();
}

}  // namespace weir::msk::api
