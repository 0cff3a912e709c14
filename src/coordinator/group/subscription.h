// The topics in a consumer's JoinGroup metadata: the consumer protocol's Subscription, version 0 and what later
// versions added behind it (ConsumerProtocolSubscription.json). The coordinator needs them to know which committed
// offsets are in use (KIP-211, KIP-496).
#pragma once

#include <set>
#include <string>

#include "bytes/shared.h"

namespace weir::coordinator::group {

// Adds the topics; false when this is no Subscription.
bool add_subscribed_topics(bytes::Bytes metadata, std::set<std::string, std::less<>>& topics);

}  // namespace weir::coordinator::group
