// Proof of who a client is: ZooKeeper's auth packets, schemes digest and ip.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "zkserver/tree/acl.h"

namespace weir::zkserver {

// "user:" and base64(SHA-1("user:password")): what a digest ACL names, of the plain "user:password".
std::string digest_id(std::string_view user_and_password);

// The ids that a valid auth packet adds; nullopt: refused. `super_digest` (may be empty) is the administrator's.
std::optional<Ids> authenticate(std::string_view scheme, std::string_view auth, std::string_view address,
                                std::string_view super_digest);

}  // namespace weir::zkserver
