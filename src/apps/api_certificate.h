// By which name others reach the API, and the certificate it shows them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/options.h"
#include "net/tls.h"
#include "security/ca.h"

namespace weir::apps {

// This machine's addresses, numeric, without loopback and link-local ones: IPv4 first.
std::vector<std::string> machine_addresses();

// The host of the API's URL: --advertise, or where it listens; an address of this machine when that is everywhere.
std::string api_host(const cli::ControlOptions& options, const std::vector<std::string>& machine);
// By which processes of this machine reach it, whatever its name is.
std::string local_host(const cli::ControlOptions& options);
// What its certificate is for: that host, and all by which it can be reached else.
security::ServerNames api_names(const cli::ControlOptions& options, const std::vector<std::string>& machine);

// Made anew before it ends.
class ApiCertificate {
 public:
  // `authority` outlives this.
  ApiCertificate(const security::CertificateAuthority& authority, security::ServerNames names)
      : authority_(authority), names_(std::move(names)) {}

  // With its files in `folder`. Null when none can be made; the log says why.
  std::shared_ptr<const net::TlsContext> context(const std::string& folder, std::int64_t now_s);

 private:
  const security::CertificateAuthority& authority_;
  const security::ServerNames names_;
  std::shared_ptr<const net::TlsContext> context_;
  std::int64_t made_s_ = 0;
};

}  // namespace weir::apps
