// A Zk that fails by rule: before the operation (it did not happen) or after it (it did, and the answer is lost).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "zkclient/zk.h"

namespace weir::zkclient {

enum class FaultAt : std::uint8_t { none, before, after };
struct FaultyCall {
  std::string_view kind;  // "create", "get", "set", "remove", "children", "exists", "multi", "sync"
  std::string_view path;  // of a multi: of its first part that is no check
  std::uint64_t number;   // 0 for the first call
};
using FaultRule = std::move_only_function<FaultAt(const FaultyCall&)>;

// Fails with connection_loss where `rule` says so. On one shard. `inner` outlives it.
std::unique_ptr<Zk> make_faulty(Zk& inner, FaultRule rule);

// The n-th call (from 0) fails, once.
FaultRule fail_nth(std::uint64_t n, FaultAt at);
// Each call fails with `per_mille` in 1000, before or after; the same for the same seed.
FaultRule fail_by_seed(std::uint64_t seed, unsigned per_mille);

}  // namespace weir::zkclient
