// The files of a private certificate authority (security/ca.h) in one directory: ca.crt and ca.key (mode 0600).
#pragma once

#include <string>

#include "base/error.h"
#include "runtime/files.h"
#include "security/ca.h"

namespace weir::net {

// The authority of `directory`; makes directory and authority where there is none. Where another process makes one at
// this moment, INVALID_CONFIG says so: there is never a second one. Blocks.
Result<security::CertificateAuthority> open_authority(runtime::Files& files, const std::string& directory,
                                                      std::int64_t now_s);
// The same, but none is made: INVALID_CONFIG says where one would be.
Result<security::CertificateAuthority> find_authority(runtime::Files& files, const std::string& directory);

}  // namespace weir::net
