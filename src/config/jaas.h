// The login files of Java (java.security.auth.login.config, sasl.jaas.config), so far as Kafka's users have them:
//
//   Client {
//     org.apache.zookeeper.server.auth.DigestLoginModule required
//     username="kafka"
//     password="secret";
//   };
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace weir::config {

struct JaasLogin {
  std::string module;   // "org.apache.zookeeper.server.auth.DigestLoginModule"
  std::string control;  // "required"
  std::map<std::string, std::string, std::less<>> options;
};

// The first login of section `section`; nothing when the file has no such section. INVALID_CONFIG, with the line, for
// what is no such file; values are not shown.
Result<std::optional<JaasLogin>> parse_jaas(std::string_view text, std::string_view section);

}  // namespace weir::config
