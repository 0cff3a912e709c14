#include "replica/isr.h"

#include <algorithm>

namespace weir::replica {

void Follower::fetched(Offset offset, Offset start, Offset leader_end, std::optional<BrokerEpoch> broker_epoch,
                       nanoseconds now) {
  if (offset >= leader_end) {
    last_caught_up = std::max(last_caught_up, now);
  } else if (offset >= leader_end_at_fetch) {
    // It has by now what the leader had when it asked last: then it was caught up.
    last_caught_up = std::max(last_caught_up, last_fetch);
  }
  log_start = start;
  log_end = offset;
  leader_end_at_fetch = std::max(leader_end, leader_end_at_fetch);
  last_fetch = now;
  epoch = broker_epoch;
}

void Follower::reset(Offset leader_end, bool new_leader, bool in_isr, nanoseconds now) {
  // A member of the set gets the time of one lag to come; who is none must not hold the high watermark back.
  last_caught_up = in_isr ? now : never;
  if (new_leader) {
    log_end = log_start = leader_end_at_fetch = no_offset;
    last_fetch = never;
    epoch.reset();
  } else {
    leader_end_at_fetch = leader_end;
    last_fetch = in_isr ? now : never;
  }
}

}  // namespace weir::replica
