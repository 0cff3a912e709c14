#include "apps/last_words.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/log.h"

namespace weir::apps {

void tell_failure(const cli::LogOptions& log, std::string_view command, std::string_view why) {
  if (log.format == logging::Format::json) {
    WEIR_LOG(error, "weir {}: {}", command, why);
  } else {
    fmt::print(stderr, "weir {}: {}\n", command, why);
  }
}

}  // namespace weir::apps
