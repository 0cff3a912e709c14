// Operations as journals: which steps an operation has, and what is to be done about the next one. Pure.
//
// An operation's record has its steps; the driver asks decide() about the first that is not done, carries out what it
// says, writes the record, and asks again. Everything is idempotent, so that a control plane that dies between doing
// and writing loses nothing: the next one asks decide() with the facts as they are then.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/units.h"
#include "config/properties.h"
#include "msk/model.h"

namespace weir::msk {

struct BrokerFact {
  bool known = false;       // the place has it
  bool starting = false;    // its process runs and does not serve yet
  bool running = false;     // it serves
  bool failed = false;      // it ended by itself and waits to be started again
  bool stale = false;       // it runs with older files
  bool changed = false;     // its files are those of the operation's target; known at the end of a way back
  std::string cause;        // why it failed
  bool registered = false;  // in /brokers/ids
  std::int64_t life = 0;    // of its registration (czxid): another one after each start
  friend bool operator==(const BrokerFact&, const BrokerFact&) = default;
};

struct PartitionFact {
  std::string topic;
  std::int32_t partition = 0;
  std::vector<std::int32_t> replicas;  // the preferred leader first
  std::vector<std::int32_t> isr;
  std::int32_t leader = -1;
  std::int32_t isr_min = 1;          // min.insync.replicas of its topic
  bool moving = false;               // a reassignment is under way
  std::vector<std::int32_t> origin;  // where it was before, in some order; empty: it does not move
  std::vector<std::int32_t> target;  // where it goes; where it is, when it does not move
  bool known = true;                 // false: its state could not be read, or is not written yet
  friend bool operator==(const PartitionFact&, const PartitionFact&) = default;
};

// A cluster as it is now: of the place and of its znodes.
struct Facts {
  std::map<std::int32_t, BrokerFact> brokers;
  std::vector<PartitionFact> partitions;  // of topics that are not being deleted
  bool reassignment_asked = false;        // /admin/reassign_partitions is there
  bool election_asked = false;            // /admin/preferred_replica_election is there
};

using Partition = std::pair<std::string, std::int32_t>;

// What decide() wants done. One of them a time.
struct Action {
  enum class Kind : std::uint8_t {
    none,
    take_block,
    add,         // `brokers` become members
    put,         // `brokers`
    start,       // `brokers`, side by side
    restart,     // the one of `brokers`
    elect,       // preferred leaders of `partitions`
    reassign,    // `assignment`
    unthrottle,  // what was copied for a reassignment went at a rate, which is over
    cancel,      // `assignment` is what replicas were before; empty: what was asked for has not begun yet
    set_live,    // `live` to /config/brokers/<default>: nothing as value removes the key
    stop,        // `brokers`, in order
    remove,      // `brokers`, with their data
    forget,      // chroot and block
  };
  Kind kind = Kind::none;
  std::vector<std::int32_t> brokers;
  std::vector<Partition> partitions;
  std::map<Partition, std::vector<std::int32_t>> assignment;
  std::map<std::string, std::optional<std::string>> live;
  // Of a reassignment: as it is now, for the way back.
  std::map<Partition, std::vector<std::int32_t>> before;
};

struct Decision {
  enum class Kind : std::uint8_t {
    act,     // do `action`, then ask again
    wait,    // for the world: ask again when something may have changed
    done,    // the step is done
    repeat,  // the steps of the drain before it are to be done again: there is more to move away
    fail,    // the operation cannot go on; `text` says why
  };
  Kind kind = Kind::wait;
  Action action;
  std::string note;        // what the step is to remember, written before `action` is done; empty: as it was
  std::string note_after;  // the same, written when it was done, or with what is to be repeated
  std::string text;        // of wait and fail: for people
};

// The steps of an operation from -> to. `members` are the brokers as they are.
std::vector<Step> plan(const Operation& operation, const Cluster& cluster);

// About the first step that is not done. `step.begun` is set by the driver with the first action, `step.note` to "done"
// when an action of put, live_config, add or forget has succeeded.
Decision decide(const Operation& operation, const Step& step, const Cluster& cluster, const Facts& facts);

// --- parts, for tests and for others

// At the end of the note of `leave` while the broker that is to go is stopped and not gone.
inline constexpr std::string_view leave_stopped_mark = " stopped";

Step step_of(StepKind kind, std::int32_t broker = 0);

// Brokers that have this cluster's data but not `broker` would be too few: what would fall below min.insync.replicas
// without it. Empty: `broker` may be stopped. Partitions that could not keep it even with all replicas (replication
// factor at or below min.insync.replicas) do not count: waiting would not help them.
std::string unsafe_without(std::int32_t broker, const std::vector<PartitionFact>& partitions);
// New replicas for partitions so that `targets` share them evenly, zones kept apart, as little moved as can be.
std::map<Partition, std::vector<std::int32_t>> spread(const std::vector<PartitionFact>& partitions,
                                                      const std::map<std::int32_t, std::size_t>& zone_of_target);

}  // namespace weir::msk
