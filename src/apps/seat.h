// Which of several control planes is the active one: who made the ephemeral znode. One shard. Who has no connection for
// as long as its session lives without one takes the seat for lost: another may sit there by then.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/units.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"

namespace weir::apps {

struct SeatHooks {
  // Both are awaited before anything else happens, and come in turn, gained first. False: this one cannot act; the seat
  // is given up again for another to take.
  std::function<runtime::Task<bool>()> gained;
  std::function<runtime::Task<void>()> lost;
  // Somebody else has the seat, with this data. True: that was a dead one of here, and its session was ended.
  std::function<runtime::Task<bool>(std::string data)> occupied;
};

class Seat {
 public:
  // `path` is made with its parents; `data` says who sits. Both references outlive the seat.
  Seat(runtime::Shard& shard, zkclient::Zk& zk, std::string path, std::string data, SeatHooks hooks);
  ~Seat();
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

  void start();
  bool mine() const;
  // Asks ZooKeeper whether it is, right now; false when that cannot be told.
  runtime::Task<bool> confirm();
  // Gives the seat up (lost is called if it was gained), so that another takes it at once.
  runtime::Task<void> stop();

 private:
  struct Events;
  runtime::Task<void> run();
  runtime::Task<void> try_once();
  runtime::Task<void> set_mine(bool mine);
  runtime::Task<void> give_up();

  runtime::Shard& shard_;
  zkclient::Zk& zk_;
  const std::string path_;
  const std::string data_;
  SeatHooks hooks_;
  runtime::Scope scope_;
  std::shared_ptr<Events> events_;
  bool mine_ = false;
  bool stopping_ = false;
  nanoseconds not_before_{0};  // when the seat is wanted again, by the clock that only goes on
  nanoseconds cut_off_{0};     // since when there is no connection, by the same; 0: there is one
};

}  // namespace weir::apps
