// A place where brokers run, as the control plane sees it.
//
// A broker is put (its directory and files are written), started, stopped, removed. What is started stays up: the
// place starts a broker that dies again, on its storage, with back-off, until it is told to stop it. Brokers outlive
// the process that speaks to the place: the next one to open the place finds them running, and starts no second ones.
//
// Everything is idempotent, so that a workflow that does not know whether a step was carried out repeats it: put with
// the same spec, start of what runs, stop of what is stopped and remove of what is gone succeed and change nothing.
// One change of a broker at a time; those of different brokers run side by side. All calls are made on the place's
// shard and resume there. Failures are sentences for people (describe-cluster's stateInfo).
#pragma once

#include <compare>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "runtime/task.h"

namespace weir::provision {

using runtime::Task;

struct Failure {
  enum class Kind : std::uint8_t {
    unknown_broker,  // it was never put, or was removed
    invalid_spec,    // the spec contradicts itself or the place's rules: repeating does not help
    busy,            // another change of this broker is under way
    not_ready,       // it does not serve (yet): it ended, or is late. It is tried again by the place
    late,            // it did not end in time (it is killed then)
    closed,          // the place is being closed
    system,          // the machine refuses: a full disk, a port that is taken, no such address
  };
  Kind kind = Kind::system;
  std::string text;
};
template <class T = void>
using Outcome = std::expected<T, Failure>;

struct BrokerKey {
  std::string cluster;      // [a-zA-Z0-9-]{1,128}: a directory is called so. The control plane takes NAME-UUID
  std::int32_t broker = 0;  // broker.id, from 1 on
  friend auto operator<=>(const BrokerKey&, const BrokerKey&) = default;
  std::string text() const { return cluster + "/" + std::to_string(broker); }
};

// What a broker may use of its machine. instance_type.h has it for MSK's names.
struct Limits {
  std::int32_t shards = 0;         // weir.shards; 0: as many as there are cores
  std::int64_t memory_bytes = 0;   // the budget of requests follows from it; 0: the broker's own default
  std::int64_t storage_bytes = 0;  // the volume's size; 0: no limit
  friend bool operator==(const Limits&, const Limits&) = default;
};

struct BrokerSpec {
  BrokerKey key;
  std::string address;  // where it listens, of this place's own (Block): 127.0.7.1
  std::string zone;     // broker.rack comes of it
  Limits limits;
  // server.properties without what is the place's: broker.id, broker.rack, log.dirs and the limits' keys are written
  // by the place, and refused here. "@DIR@" in a value becomes the broker's directory, for files below.
  std::map<std::string, std::string> properties;
  // Further files in its directory, such as certificates, by name ([a-z0-9._-]+); with mode 0600. A file that a later
  // put leaves out stays. A broker that runs looks at them itself: a put that changes nothing else is in force at once.
  std::map<std::string, std::string> files;
  friend bool operator==(const BrokerSpec&, const BrokerSpec&) = default;
};

enum class BrokerState : std::uint8_t {
  stopped,      // by order, or never started
  starting,     // its process runs and does not serve yet
  running,      // it serves
  stopping,     // by order
  backing_off,  // it ended by itself and is started again at `again_at`
};
std::string_view name(BrokerState state);

struct BrokerStatus {
  BrokerState state = BrokerState::stopped;
  std::int32_t pid = 0;        // while there is a process
  milliseconds since{0};       // wall clock: when it came into this state
  milliseconds again_at{0};    // wall clock: backing_off
  std::uint32_t restarts = 0;  // by itself, since it was last started by order
  std::string cause;           // why it last ended by itself, or does not start: a sentence with its own last words
  bool stale = false;          // it runs with an older spec than the one that was put: a restart brings the new
  bool data_lost = false;      // it had data, and began without any at the last start: it was gone, or of no use
};

struct BrokerEvent {
  enum class Type : std::uint8_t {
    starting,  // a process was made
    serving,   // it answers clients
    ended,     // by itself; `text` says how. Its ZooKeeper session is over by the time this is told, or was tried to
    stopped,   // by order
    removed,
  };
  Type type;
  BrokerKey key;
  std::string text;  // a sentence for people
};

struct StopHow {
  milliseconds deadline{60'000};  // to hand leadership over, flush and close; then it is killed
  bool with_cluster = false;      // all brokers of its cluster stop: it hands leadership to nobody, and is quick
};

// What lies on a broker's volume now.
struct Volume {
  std::int64_t used_bytes = 0;   // of its log directory
  std::int64_t quota_bytes = 0;  // 0: none
  std::int64_t free_bytes = 0;   // of the file system below it
};

class Place {
 public:
  virtual ~Place() = default;

  // --- Where a cluster's brokers can be reached. The control plane records what it took, and asks for the next.

  // A block of addresses, one for each of up to `brokers` brokers, that is not in `taken` and on which all `ports` are
  // free right now: "127.0.7".
  virtual Task<Outcome<std::string>> free_block(std::vector<std::string> taken, std::int32_t brokers,
                                                std::vector<std::uint16_t> ports) = 0;
  // The address of broker `id` in a block. Pure: the same for ever.
  virtual std::string address_of(const std::string& block, std::int32_t id) const = 0;

  // --- A broker.

  // Makes its directory where there is none and writes its files. A broker that runs takes them at its next start.
  virtual Task<Outcome<>> put(BrokerSpec spec) = 0;
  // Comes back when it serves; with not_ready when it ended before, or when `wait` is over. It is wanted up from now on
  // in each case.
  virtual Task<Outcome<>> start(BrokerKey key, milliseconds wait) = 0;
  // Comes back when it has ended. Late: it was killed at the deadline; it is stopped all the same.
  virtual Task<Outcome<>> stop(BrokerKey key, StopHow how) = 0;
  // SIGKILL. What is wanted up comes back by itself, with back-off.
  virtual Task<Outcome<>> kill(BrokerKey key) = 0;
  // stop, start: a rolling step. The broker's files as they were last put.
  virtual Task<Outcome<>> restart(BrokerKey key, StopHow how, milliseconds wait) = 0;
  // Kills what runs and forgets the broker. `with_data`: its directory goes too; else it is put aside and stays.
  virtual Task<Outcome<>> remove(BrokerKey key, bool with_data) = 0;

  // --- What is.

  // As the place knows it now. Nothing: it was never put.
  virtual std::optional<BrokerStatus> status(const BrokerKey& key) const = 0;
  virtual std::optional<BrokerSpec> spec(const BrokerKey& key) const = 0;
  // Every broker that is put, in order; also those that the control plane has forgotten.
  virtual std::vector<BrokerKey> brokers() const = 0;
  virtual Task<Outcome<Volume>> volume(BrokerKey key) = 0;

  // Told of each event, on the place's shard, outside of the calls above; what it may do is call the place again from
  // a task of its own. One listener; empty: none.
  virtual void listen(std::function<void(const BrokerEvent&)> listener) = 0;

  // Ends what is under way (closed) and lets go of the brokers, which run on. Before destruction.
  virtual Task<void> close() = 0;
};

}  // namespace weir::provision
