// Making topics on behalf of requests, and waiting until they can be used.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "broker/node.h"
#include "controller/admin.h"

namespace weir::broker {

using runtime::Task;

// More partitions are not made by one request (Kafka's own limit with KRaft): each takes memory before it exists.
inline constexpr std::int32_t partitions_in_a_call_max = 10'000;

// How many more a request may make: INVALID_PARTITIONS for a topic whose `more` go beyond it, and it makes none.
class PartitionRoom {
 public:
  Result<> take(std::int64_t more);

 private:
  std::int64_t left_ = partitions_in_a_call_max;
};

// Whether every partition of the topic has a leader in this image.
bool has_leaders(const cluster::Image& image, std::string_view topic);

// Whether this broker is the controller; one that was just elected is waited for while it takes office (its first word
// to the cluster, which names it, leaves before it is done). On the control shard.
Task<bool> is_controller(Node& node);

// On any shard. Fails with NOT_CONTROLLER for all when this broker is not the controller. When `timeout` is above 0
// waits until the topics made have leaders in this shard's image: REQUEST_TIMED_OUT for those that have not.
Task<std::vector<controller::CreatedTopic>> create_topics(Node& node, std::vector<controller::NewTopic> topics,
                                                          bool validate_only, nanoseconds timeout);

// A topic that a request named and that is not there (auto.create.topics.enable), or an internal one that is needed.
// Success when it has leaders afterwards. LEADER_NOT_AVAILABLE: it is made, or may be, and whoever asks again finds it;
// what else stands in the way (INVALID_REPLICATION_FACTOR) is told as it is.
Task<Result<>> auto_create_topic(Node& node, std::string topic);

}  // namespace weir::broker
