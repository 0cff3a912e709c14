#include "coordinator/group/subscription.h"

#include "bytes/cursor.h"

namespace weir::coordinator::group {

bool add_subscribed_topics(bytes::Bytes metadata, std::set<std::string, std::less<>>& topics) {
  bytes::Reader in(metadata);
  if (in.i16() < 0) return false;
  const auto count = in.i32();
  if (!in.ok() || count < 0) return false;
  for (std::int32_t i = 0; i < count; ++i) {
    const auto length = in.i16();
    if (length < 0) return false;
    const auto topic = in.text(static_cast<std::size_t>(length));
    if (!in.ok()) return false;
    if (!topics.contains(topic)) topics.emplace(topic);
  }
  return in.ok();
}

}  // namespace weir::coordinator::group
