// One consumer group: members, protocols, leader, offsets. Keeps its own counts right; who is answered what, and
// when the state changes, is decided in machine.cc.
//
// Owner: the Machine. A member has a place in the order of joining, which also decides who leads when the leader
// goes; Kafka takes any.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "coordinator/group/messages.h"
#include "coordinator/group/records.h"
#include "coordinator/group/timers.h"
#include "coordinator/types.h"

namespace weir::coordinator::group {

enum class State : std::uint8_t { empty, preparing_rebalance, completing_rebalance, stable, dead };

// "PreparingRebalance": as DescribeGroups and ListGroups show it.
std::string_view name(State state);

struct Group;
struct Member;

// What a deadline is about.
struct Deadline {
  enum class Kind : std::uint8_t { session, pending_member, join, sync, cleanup };
  Kind kind = Kind::cleanup;
  Group* group = nullptr;
  Member* member = nullptr;              // session
  const std::string* pending = nullptr;  // pending_member: its id
};
using Deadlines = Timers<Deadline>;

struct Member {
  std::string id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  std::int32_t rebalance_timeout_ms = 0;
  std::int32_t session_timeout_ms = 0;
  std::vector<Protocol> protocols;  // by preference, no name twice
  bytes::Shared assignment;
  std::optional<Token> waits_join;
  std::optional<Token> waits_sync;
  bool is_new = false;        // has not got its first JoinGroup answer: cannot heartbeat yet
  bool pending_sync = false;  // got its JoinGroup answer, its SyncGroup has not come
  Deadlines::Handle session;
  std::list<Member>::iterator self;  // where it stands in its group

  bool supports(std::string_view protocol) const;
  // Empty for a protocol that it does not support.
  bytes::Shared metadata(std::string_view protocol) const;
  bool same_protocols(const std::vector<Protocol>& other) const;
};

struct OffsetSlot {
  std::optional<OffsetValue> committed;
  AppendId committed_at = 0;  // 0: loaded
  AppendId pending = 0;       // the last append under way for it; 0: none
  AppendId since = 0;         // appends before it were made before the offset was deleted
};

struct Group {
  explicit Group(std::string group_id) : id(std::move(group_id)) {}

  std::string id;
  State state = State::empty;
  TimestampMs state_since = no_timestamp;  // no_timestamp: loaded from a record that did not say
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol_name;
  std::int32_t generation = 0;
  std::optional<std::string> leader;

  std::list<Member> members;
  std::unordered_map<std::string, Member*> by_id;
  std::unordered_map<std::string, Member*> by_instance;
  std::map<std::string, Deadlines::Handle> pending_members;  // got an id, have not joined with it (KIP-394)
  std::unordered_map<std::string, std::size_t> support;      // protocol -> how many members
  std::size_t awaiting_join = 0;
  std::size_t pending_syncs = 0;

  // The wait for members to join: an initial one may be prolonged (KIP-134).
  struct JoinWait {
    Deadlines::Handle timer;
    bool initial = false;
    milliseconds delay{};
    milliseconds remaining{};
  } join_wait;
  bool new_member_added = false;
  Deadlines::Handle sync_wait;

  std::optional<std::set<std::string, std::less<>>> subscribed_topics;  // none: not known
  std::map<std::string, std::map<std::int32_t, OffsetSlot>, std::less<>> offsets;

  bool is(State s) const { return state == s; }
  bool is_leader(const Member& member) const { return leader && *leader == member.id; }
  bool is_consumer_group() const { return protocol_type && *protocol_type == "consumer"; }
  Member* find(const std::string& member_id) const;
  Member* find_instance(const std::string& instance_id) const;
  // The longest of its members.
  milliseconds rebalance_timeout() const;
  bool all_joined() const { return awaiting_join == members.size() && pending_members.empty(); }
  bool can_rebalance() const {
    return state == State::stable || state == State::completing_rebalance || state == State::empty;
  }

  // A group without members takes any protocol; otherwise one of `protocols` must be supported by all members.
  bool supports(const std::string& type, const std::vector<Protocol>& protocols) const;
  // The protocol that most members prefer among those that all support.
  std::string select_protocol() const;
  // By the subscriptions of the chosen protocol; for consumer groups only.
  void compute_subscribed_topics();
  bool subscribed(std::string_view topic) const { return !subscribed_topics || subscribed_topics->contains(topic); }

  // Its id and instance id must be free. The first one leads.
  Member& add(std::string member_id, std::optional<std::string> instance_id, const std::string& type,
              std::vector<Protocol> protocols);
  // Must not wait for anything. The next in order leads if it led.
  void remove(Member& member);
  void set_protocols(Member& member, std::vector<Protocol> protocols);
  // A static member comes back under another id.
  void rename(Member& member, std::string new_id);
  void wait_join(Member& member, Token token);
  std::optional<Token> end_join(Member& member);
  void set_pending_sync(Member& member, bool pending);
  // If the leader did not rejoin, the first who did leads. False: nobody did.
  bool elect_joined_leader();

  OffsetSlot* find_offset(std::string_view topic, std::int32_t partition);
  const OffsetSlot* find_offset(std::string_view topic, std::int32_t partition) const;
  // Drops a slot in which nothing is left.
  void tidy_offset(std::string_view topic, std::int32_t partition);
};

}  // namespace weir::coordinator::group
