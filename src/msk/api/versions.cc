// ListKafkaVersions, GetCompatibleKafkaVersions.
#include <boost/json.hpp>
#include <utility>

#include "msk/api/api.h"
#include "msk/kafka.h"

namespace weir::msk::api {

namespace json = boost::json;

Task<Answer<Object>> list_kafka_versions(Context&, const aws::Request& request) {
  const auto all = kafka_versions();
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < all.size(); ++i) keys.push_back(number_key(static_cast<std::int64_t>(i)));
  co_return listed(request, "kafkaVersions", keys, [&](std::size_t i) {
    return Object{{"version", text(all[i].name)}, {"status", all[i].deprecated ? "DEPRECATED" : "ACTIVE"}};
  });
}

Task<Answer<Object>> get_compatible_kafka_versions(Context& context, const aws::Request& request) {
  const auto compatible = [](std::string_view source, std::string_view back) {
    json::array targets;
    for (const auto target : later_versions(source)) targets.push_back(text(target));
    if (!back.empty()) targets.push_back(text(back));
    return Object{{"sourceVersion", text(source)}, {"targetVersions", std::move(targets)}};
  };
  json::array list;
  if (const auto arn = request.parameter("clusterArn"); !arn.empty()) {
    auto cluster = co_await find_cluster(context, std::string(arn));
    if (!cluster) co_return std::unexpected(cluster.error());
    list.push_back(compatible(cluster->value.spec.kafka_version, cluster->value.spec.previous_version));
  } else {
    for (const auto& version : kafka_versions()) list.push_back(compatible(version.name, {}));
  }
  Object out;
  out["compatibleKafkaVersions"] = std::move(list);
  co_return out;
}

}  // namespace weir::msk::api
