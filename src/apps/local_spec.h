// What the control plane asks of a broker of `weir up`, in DIR/broker-N/api.json: it goes over what `weir up` says by
// its own options, and under its --override. The control plane writes it; `weir up` reads it at each start of the
// broker.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "cli/place.h"
#include "config/properties.h"

namespace weir::apps {

struct LocalSpec {
  std::string address;            // the host that its certificate is for
  config::Properties properties;  // with the marks of msk/local.h
  friend bool operator==(const LocalSpec&, const LocalSpec&) = default;

  // Tells one from another; 0: there are no properties.
  std::uint32_t number() const;
};

std::string to_json(const LocalSpec& spec);
// Nothing: there is none. The error is a sentence.
std::expected<std::optional<LocalSpec>, std::string> read_local_spec(const std::string& path);

// `base` is what `weir up` says of the broker at `place`, whose folder is `folder`.
config::Properties put_over(config::Properties base, const LocalSpec& spec, const cli::Place& place,
                            const std::string& folder);

}  // namespace weir::apps
