// An operation that fails is taken back: in which steps, and what is said of that which could not be. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "msk/model.h"
#include "msk/workflow.h"

namespace weir::msk {

// The way back of an update that failed: what it changed gets the files of `from` again, the latest first; partitions
// that it moved go where they were; brokers that it added are drained and removed. The operation then ends as failed,
// with the cluster as it was.
std::vector<Step> plan_back(const Operation& operation, const Cluster& cluster);

// What is left of a way back when its step `failed` cannot be done: all that needs it falls away, too. A broker of
// which a step fails stays as it is; so do partitions when they cannot be moved.
std::vector<Step> go_on_without(std::vector<Step> steps, std::size_t failed);

// How the cluster differs from what it was before the operation, in sentences, each with a space before it; empty: it
// does not. At the end of a way back.
std::string what_is_left(const Operation& operation, const Cluster& cluster, const Facts& facts);

// The replicas of a partition before this operation moved it; null: it did not, or not a partition of so many replicas.
const std::vector<std::int32_t>* replicas_before(const Operation& operation, const PartitionFact& partition);

}  // namespace weir::msk
