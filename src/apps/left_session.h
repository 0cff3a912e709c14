// The ZooKeeper session that a dead broker left behind.
#pragma once

#include <string>

#include "base/units.h"

namespace weir::apps {

// Ends it, so that the broker's node goes now and not after the session timeout: the controller elects other leaders
// at once. The broker keeps the session's key beside its data (`log_dir`); no key means that it ended properly. Blocks,
// at most `timeout`. Only for a broker that is known to be gone and is not started again meanwhile; where another one
// holds the directory's lock, the session is that one's, and goes on. True: a session was ended.
bool end_left_session(const std::string& log_dir, milliseconds timeout);

}  // namespace weir::apps
