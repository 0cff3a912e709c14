// The file of `weir control --zookeeper-config`: how the control plane and the brokers of its clusters come to
// ZooKeeper, by TLS, by SASL or by both, in the keys that a broker's own file has for it.
#pragma once

#include <expected>
#include <string>

#include "config/properties.h"
#include "zkclient/real.h"

namespace weir::apps {

// Keys zookeeper.ssl.*, zookeeper.clientCnxnSocket and weir.zookeeper.*, nothing else; none for an empty path. Files
// that they name have absolute paths: brokers run elsewhere. The error is a sentence.
std::expected<config::Properties, std::string> read_zookeeper_file(const std::string& path);

// A session with these. Reads stores (blocks). The error is a sentence.
std::expected<zkclient::RealOptions, std::string> session_options(const std::string& connect,
                                                                  const config::Properties& keys);

}  // namespace weir::apps
