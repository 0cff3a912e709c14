// The rows of the tables, one file a subject.
#pragma once

#include <span>

#include "config/key.h"

namespace weir::config::keys {

// So that a row is short to read.
using enum Type;
using enum Importance;
using enum Update;
using enum Effect;

std::span<const Key> node();
std::span<const Key> network();
std::span<const Key> topics();
std::span<const Key> replication();
std::span<const Key> groups();
std::span<const Key> transactions();
std::span<const Key> security();
std::span<const Key> quotas();
std::span<const Key> kraft();
std::span<const Key> remote();
std::span<const Key> weir();

std::span<const Key> topic();
std::span<const Key> group();
std::span<const Key> client_metrics();

}  // namespace weir::config::keys
