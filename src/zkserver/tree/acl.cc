#include "zkserver/tree/acl.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

namespace weir::zkserver {
namespace {

using zkwire::Acl;
using zkwire::Code;
using zkwire::Id;

struct Network {
  std::array<unsigned char, 16> address{};
  int family = 0;
  int bits = 0;
};

bool parse_address(std::string_view text, Network& out) {
  const std::string copy(text);
  out.family = copy.find(':') == copy.npos ? AF_INET : AF_INET6;
  out.bits = out.family == AF_INET ? 32 : 128;
  return inet_pton(out.family, copy.c_str(), out.address.data()) == 1;
}

std::optional<Network> parse_network(std::string_view text) {
  Network out;
  const auto slash = text.find('/');
  if (!parse_address(text.substr(0, slash), out)) return std::nullopt;
  if (slash == text.npos) return out;
  const auto bits = text.substr(slash + 1);
  int n = -1;
  const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), n);
  if (error != std::errc() || end != bits.data() + bits.size() || n < 0 || n > out.bits) return std::nullopt;
  out.bits = n;
  return out;
}

bool world(const Id& id) { return id.scheme == "world" && id.id == "anyone"; }

// "user:hash": two parts, as Java's split counts them (empty parts at the end do not count).
bool valid_digest(std::string_view id) {
  const auto last = id.find_last_not_of(':');
  if (last == id.npos) return false;
  const auto kept = id.substr(0, last + 1);
  return std::count(kept.begin(), kept.end(), ':') == 1;
}

bool grants(const Id& granted, const Ids& ids) {
  if (world(granted)) return true;
  return std::any_of(ids.begin(), ids.end(), [&](const Id& own) {
    if (own.scheme != granted.scheme) return false;
    return own.scheme == "ip" ? in_network(own.id, granted.id) : own.scheme == "digest" && own.id == granted.id;
  });
}

}  // namespace

const AclRef& open_acl() {
  static const AclRef acl = std::make_shared<const Acls>(Acls{Acl{zkwire::perm::all, Id{"world", "anyone"}}});
  return acl;
}

const AclRef& read_acl() {
  static const AclRef acl = std::make_shared<const Acls>(Acls{Acl{zkwire::perm::read, Id{"world", "anyone"}}});
  return acl;
}

bool permitted(const Acls& acls, std::int32_t permissions, const Ids& ids) {
  if (acls.empty()) return true;
  if (std::any_of(ids.begin(), ids.end(), [](const Id& id) { return id.scheme == "super"; })) return true;
  return std::any_of(acls.begin(), acls.end(),
                     [&](const Acl& acl) { return (acl.perms & permissions) != 0 && grants(acl.id, ids); });
}

std::expected<Acls, Code> fix_acls(const Acls& wanted, const Ids& ids) {
  Acls out;
  const auto add = [&](Acl acl) {
    if (std::find(out.begin(), out.end(), acl) == out.end()) out.push_back(std::move(acl));
  };
  for (const auto& acl : wanted) {
    if (world(acl.id)) {
      add(acl);
    } else if (acl.id.scheme == "auth") {
      bool known = false;
      for (const auto& own : ids) {
        if (own.scheme != "digest") continue;  // the one scheme here that proves who somebody is
        known = true;
        add(Acl{acl.perms, own});
      }
      if (!known) return std::unexpected(Code::invalid_acl);
    } else if ((acl.id.scheme == "digest" && valid_digest(acl.id.id)) ||
               (acl.id.scheme == "ip" && valid_network(acl.id.id))) {
      add(acl);
    } else {
      return std::unexpected(Code::invalid_acl);
    }
  }
  if (out.empty()) return std::unexpected(Code::invalid_acl);
  return out;
}

bool valid_network(std::string_view network) { return parse_network(network).has_value(); }

bool in_network(std::string_view address, std::string_view network) {
  const auto net = parse_network(network);
  Network own;
  if (!net || !parse_address(address, own) || own.family != net->family) return false;
  for (int bit = 0; bit < net->bits; ++bit) {
    const auto index = static_cast<std::size_t>(bit / 8);
    const unsigned mask = 0x80U >> (bit % 8);
    if ((own.address[index] & mask) != (net->address[index] & mask)) return false;
  }
  return true;
}

}  // namespace weir::zkserver
