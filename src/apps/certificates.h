// The certificates of the brokers of this control plane: issued with an end, and made anew while a third of their time
// is left, or when the authority is another one. A broker that runs sees the new file within seconds (KIP-226):
// connections stay, new ones have the new one.
//
// On the place's shard. Only brokers of the place are looked at: none while another control plane is the active one.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "msk/service.h"
#include "provision/place.h"
#include "runtime/shard.h"
#include "security/ca.h"

namespace weir::apps {

// Whether a certificate that ends at `ends_s` is to be made anew now: a third of `validity_s` is left or less, and a
// new one would last longer, which the authority's own end bounds.
bool renewal_due(std::int64_t now_s, std::int64_t ends_s, std::int64_t validity_s, std::int64_t authority_ends_s);

class Certificates {
 public:
  // `place` and `authority` outlive it.
  Certificates(runtime::Shard& shard, const security::CertificateAuthority& authority, provision::Place& place,
               std::int64_t validity_s);
  std::expected<msk::Certificate, std::string> issue(std::string common_name, std::vector<std::string> names,
                                                     std::vector<std::string> addresses) const;
  void start();
  runtime::Task<void> stop();

 private:
  runtime::Task<void> run();
  runtime::Task<void> look(provision::BrokerKey key);
  void look_at_authority();

  runtime::Shard& shard_;
  const security::CertificateAuthority& authority_;
  provision::Place& place_;
  const std::int64_t validity_s_;
  std::int64_t authority_ends_s_ = 0;
  runtime::Scope scope_;
  runtime::Waiter* waiting_ = nullptr;
  bool stopping_ = false;
};

// "the authority's certificate ends on 2036-11-20: ..." when that is less than `validity_s` away; else empty.
std::string authority_warning(const std::string& certificate_pem, std::int64_t now_s, std::int64_t validity_s);

}  // namespace weir::apps
