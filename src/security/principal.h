// From a certificate to the principal that Kafka's ACLs name.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

struct x509_st;
struct X509_name_st;

namespace weir::security {

inline constexpr std::string_view anonymous = "ANONYMOUS";

// The subject as Java writes it (RFC 2253, last part first): "CN=alice,OU=data,O=Example". Parts that RFC 2253 has no
// name for are written by number, with the value in hexadecimal. Empty for none.
std::string distinguished_name(const x509_st* certificate);
std::string distinguished_name(const X509_name_st* name);

// ssl.principal.mapping.rules (KIP-371): DEFAULT, or RULE:pattern/replacement/ with L or U behind it, separated by
// commas; the first whose pattern matches the whole name counts. Patterns are Perl's, which Java's are but for corners.
class PrincipalMapper {
 public:
  // INVALID_CONFIG with a sentence that shows the rule that is none. An empty text is DEFAULT.
  static Result<PrincipalMapper> parse(std::string_view rules);
  PrincipalMapper();  // DEFAULT

  // INVALID_REQUEST where no rule matches: such a client is not let in, as by Kafka. From any thread.
  Result<std::string> map(const std::string& distinguished_name) const;

 private:
  struct Rules;
  std::shared_ptr<const Rules> rules_;
};

}  // namespace weir::security
