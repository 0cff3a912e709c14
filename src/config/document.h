// The reference of all keys for people, as Markdown: docs/configuration.md. A test holds the file against this;
// WEIR_UPDATE_DOCS=1 config_tests writes it.
#pragma once

#include <string>

namespace weir::config {

std::string configuration_document();

}  // namespace weir::config
