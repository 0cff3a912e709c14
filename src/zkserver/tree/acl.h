// Who may do what: ACLs as ZooKeeper has them, with the schemes world, auth, digest, ip and super.
//
// A connection holds ids: its address ("ip"), what it authenticated as ("digest": "user:base64"), and ("super": "")
// for the administrator. An ACL entry grants permissions to an id or, for ip, to a network.
#pragma once

#include <expected>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "zkwire/codes.h"
#include "zkwire/messages.h"

namespace weir::zkserver {

using Acls = std::vector<zkwire::Acl>;
using AclRef = std::shared_ptr<const Acls>;
using Ids = std::vector<zkwire::Id>;

// Everything for everybody: what the root has.
const AclRef& open_acl();
// Reading for everybody.
const AclRef& read_acl();

// Whether one of `permissions` (bits) is granted to a holder of `ids`.
bool permitted(const Acls& acls, std::int32_t permissions, const Ids& ids);

// What is stored when a client asks for `wanted`: duplicates gone, "auth" replaced with the client's own ids.
// invalid_acl: nothing is left, a scheme is unknown, or an id is malformed.
std::expected<Acls, zkwire::Code> fix_acls(const Acls& wanted, const Ids& ids);

// "192.168.0.0/16", "10.1.2.3", "::1"; whether `address` lies in it. False for anything malformed.
bool in_network(std::string_view address, std::string_view network);
bool valid_network(std::string_view network);

}  // namespace weir::zkserver
