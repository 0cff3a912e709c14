#include "cluster/flag.h"

#include "config/key.h"

namespace weir::cluster {

bool is_on(std::string_view value) { return config::parse_bool(value).value_or(false); }

}  // namespace weir::cluster
