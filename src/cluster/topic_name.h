// What may be the name of a topic (Kafka's org.apache.kafka.common.internals.Topic).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace weir::cluster {

inline constexpr std::size_t topic_name_size_max = 249;
inline constexpr std::size_t folder_name_size_max = 255;  // of a partition: the topic's name, '-', its number
inline constexpr std::string_view group_metadata_topic = "__consumer_offsets";
inline constexpr std::string_view transaction_state_topic = "__transaction_state";

// INVALID_TOPIC_EXCEPTION with the reason: empty, "." or "..", too long, other than letters, digits, '.', '_', '-'.
Result<> validate_topic_name(std::string_view name);
// The same for a topic that is there already: Kafka before 0.11 made some that are longer. Those that it could make a
// folder of, for partition 0 at least, are kept, served and deleted.
Result<> validate_name_of_existing(std::string_view name);
// Whether there can be a folder of that partition.
bool folder_fits(std::string_view topic, std::int32_t partition);
// '.' and '_' become the same character in metric names: two topics that differ only there collide.
bool has_collision_chars(std::string_view name);
bool collides(std::string_view a, std::string_view b);
bool internal_topic(std::string_view name);

}  // namespace weir::cluster
