// What an embedded coordination service is told at its start, and how ZooKeeper's own configuration file says it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "runtime/sockets.h"

namespace weir::zkserver {

struct Options {
  std::string data_dir;  // made when missing; the state is data_dir/coordination.db
  runtime::Address listen{"127.0.0.1", 2181};
  milliseconds tick{3000};                    // tickTime: the measure of session timeouts
  milliseconds session_timeout_min{-1};       // minSessionTimeout; -1: twice the tick
  milliseconds session_timeout_max{-1};       // maxSessionTimeout; -1: twenty ticks
  std::uint32_t connections_per_ip_max = 60;  // maxClientCnxns; 0: no limit
  std::uint32_t connections_max = 10'000;     // maxCnxns; 0: no limit
  std::string super_digest;                   // "super:" and base64(SHA-1("super:password")); empty: nobody
  std::uint32_t frame_bytes_max = 0xfffff;    // jute.maxbuffer
  // 4lw.commands.whitelist; "*": all.
  std::vector<std::string> four_letter_words{"*"};
  std::uint32_t queued_requests_max = 1000;  // globalOutstandingLimit: beyond it sockets are not read
  std::size_t queued_bytes_max = 64 * MiB;
  std::uint32_t watches_per_connection_max = 200'000;
  std::uint64_t state_bytes_max = 0;  // of the database file; 0: no limit. Beyond it changes get a SystemError
  milliseconds container_check_interval{60'000};   // znode.container.checkIntervalMs
  milliseconds container_never_used_max{300'000};  // znode.container.maxNeverUsedIntervalMs

  // How late a session is seen to be over, at the most: a dead broker's partitions wait for it. Apache ZooKeeper takes
  // a whole tick.
  milliseconds expiry_grain() const { return std::min(tick, milliseconds(200)); }
  milliseconds min_timeout() const { return session_timeout_min.count() < 0 ? tick * 2 : session_timeout_min; }
  milliseconds max_timeout() const { return session_timeout_max.count() < 0 ? tick * 20 : session_timeout_max; }
};

struct ParsedOptions {
  Options options;
  std::vector<std::string> warnings;  // keys that are not known here, one sentence each
};

// Reads the text of a zoo.cfg (key=value lines, '#' comments): clientPort, clientPortAddress, dataDir, tickTime,
// minSessionTimeout, maxSessionTimeout, maxClientCnxns, maxCnxns, jute.maxbuffer, globalOutstandingLimit,
// 4lw.commands.whitelist, superDigest (as a property DigestAuthenticationProvider.superDigest too), the container
// times, and our own stateBytesMax. Keys of
// ensembles (server.N) are refused: this is one node. An error names key, value and range.
Result<ParsedOptions> parse_zoo_cfg(std::string_view text);

}  // namespace weir::zkserver
