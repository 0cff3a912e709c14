// Reads that would have to wait for a disk.
//
// The event loop reads only what the page cache holds. Where that is not enough, a read gives a Cold instead of an
// answer: the caller runs `warm()` in the blocking pool and asks again.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>

#include "base/error.h"
#include "runtime/files.h"

namespace weir::log {

enum class ReadMode : std::uint8_t {
  cached_only,  // on a shard
  may_block,    // in the pool, in recovery, after a third cold answer, in tests
};

struct Cold {
  std::shared_ptr<const runtime::File> file;
  std::uint64_t position = 0;
  std::uint64_t length = 0;

  // Blocks until the range is in the page cache. Touches no state of a log: from any thread.
  runtime::Io<> warm() const { return file->warm(position, length); }
};

struct Fault {
  std::optional<Cold> cold;  // warm it and ask again; when absent, `error` says what is wrong
  Error error;
};

template <class T = void>
using Read = std::expected<T, Fault>;

inline std::unexpected<Fault> fault(ErrorCode code, std::string message) {
  return std::unexpected<Fault>(Fault{std::nullopt, Error{code, std::move(message)}});
}

}  // namespace weir::log
