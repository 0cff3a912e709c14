// What the configuration says of TLS, SASL and ACLs to ZooKeeper, as the client takes it.
#pragma once

#include "base/error.h"
#include "config/broker_config.h"
#include "runtime/files.h"
#include "zkclient/real.h"

namespace weir::broker {

// Fills in `security` and `acl_of`; both stay empty where nothing is configured. Reads stores and the JAAS file
// (blocks). INVALID_CONFIG with a sentence that names file and key.
Result<> secure(zkclient::RealOptions& options, const config::BrokerConfig& config, runtime::Files& files);

// The ACL of a node of a cluster with zookeeper.set.acl, as Kafka 3.9 has it: its creator may do all, anyone may read
// but for users, brokers' configs and tokens; old consumers write below /consumers.
zkclient::Acl secure_acl(std::string_view path);

}  // namespace weir::broker
