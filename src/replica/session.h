// A fetch session as the one who fetches keeps it (KIP-227): pure.
#pragma once

#include <cstdint>
#include <limits>

#include "base/error.h"

namespace weir::replica {

class FollowerSession {
 public:
  std::int32_t id() const { return id_; }
  std::int32_t epoch() const { return epoch_; }
  // The next request names every partition: there is no session, or it begins.
  bool full() const { return epoch_ <= 0; }

  // The answer to a request. `answered` is the id that it carries.
  void answered(std::int32_t answered) {
    if (answered == 0) {
      reset();  // the leader keeps none
    } else {
      const bool begins = full();
      id_ = answered;
      epoch_ = begins || epoch_ == std::numeric_limits<std::int32_t>::max() ? 1 : epoch_ + 1;
    }
  }
  // The request was refused as a whole: the next one begins anew, and ends the old session where it may live on.
  void refused(ErrorCode error) {
    if (error == ErrorCode::FETCH_SESSION_ID_NOT_FOUND) id_ = 0;
    epoch_ = 0;
  }
  // What is asked for cannot be said in this session (other kind of topic names): as above.
  void renew() { epoch_ = 0; }
  // On a new connection.
  void reset() { id_ = epoch_ = 0; }

 private:
  std::int32_t id_ = 0;
  std::int32_t epoch_ = 0;
};

}  // namespace weir::replica
