#include "apps/api_certificate.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/log.h"
#include "runtime/files.h"

namespace weir::apps {

namespace {

bool everywhere(const std::string& host) { return host.empty() || host == "0.0.0.0" || host == "::"; }

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

// What a certificate may have as a name; a machine's own name can be anything.
bool is_name(const std::string& host) {
  return !host.empty() && host.size() <= 253 && host.front() != '-' && host.front() != '.' &&
         std::ranges::all_of(host, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.'; });
}

std::string text_of(const sockaddr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.sa_family == AF_INET) {
    const auto& at = reinterpret_cast<const sockaddr_in&>(address).sin_addr;
    const bool link_local = (ntohl(at.s_addr) >> 16U) == 0xa9fe;  // 169.254
    if (link_local || inet_ntop(AF_INET, &at, text.data(), text.size()) == nullptr) return {};
  } else if (address.sa_family == AF_INET6) {
    const auto& at = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&at) || inet_ntop(AF_INET6, &at, text.data(), text.size()) == nullptr) return {};
  }
  return text.data();
}

void add(std::vector<std::string>& list, const std::string& item) {
  if (!item.empty() && std::ranges::find(list, item) == list.end()) list.push_back(item);
}

}  // namespace

std::vector<std::string> machine_addresses() {
  std::vector<std::string> out;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return out;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const auto* each = all; each != nullptr; each = each->ifa_next) {
      const bool usable = (each->ifa_flags & IFF_UP) != 0 && (each->ifa_flags & IFF_LOOPBACK) == 0;
      if (each->ifa_addr == nullptr || !usable || each->ifa_addr->sa_family != family) continue;
      add(out, text_of(*each->ifa_addr));
    }
  }
  freeifaddrs(all);
  return out;
}

std::string api_host(const cli::ControlOptions& options, const std::vector<std::string>& machine) {
  if (!options.advertise_host.empty()) return options.advertise_host;
  if (!everywhere(options.api.host)) return options.api.host;
  if (machine.empty()) return "localhost";
  if (options.api.host != "::") return machine.front();
  const auto six = std::ranges::find_if(machine, [](const std::string& a) { return a.find(':') != std::string::npos; });
  return six == machine.end() ? machine.front() : *six;
}

std::string local_host(const cli::ControlOptions& options) {
  if (!everywhere(options.api.host)) return options.api.host;
  return options.api.host == "::" ? "::1" : "127.0.0.1";
}

security::ServerNames api_names(const cli::ControlOptions& options, const std::vector<std::string>& machine) {
  security::ServerNames out;
  const auto take = [&out](const std::string& host) {
    if (is_address(host)) {
      add(out.addresses, host);
    } else if (is_name(host)) {
      add(out.names, host);
    }
  };
  take(api_host(options, machine));
  if (everywhere(options.api.host)) {
    for (const auto& address : machine) take(address);
    std::array<char, 256> own{};
    if (gethostname(own.data(), own.size() - 1) == 0) take(own.data());
  } else {
    take(options.api.host);
  }
  for (const char* always : {"localhost", "kafka", "127.0.0.1", "::1"}) take(always);
  return out;
}

std::shared_ptr<const net::TlsContext> ApiCertificate::context(const std::string& folder, std::int64_t now_s) {
  constexpr std::int64_t days_used = 300;
  if (context_ && now_s - made_s_ < days_used * 86'400) return context_;
  auto issued = authority_.issue_server(names_, {now_s});
  if (!issued) {
    WEIR_LOG(error, "no certificate for the API: {}", issued.error().message);
    return context_;
  }
  const auto path = folder + "/api.pem";
  auto written = runtime::system_files().write_private(path, issued->chain_pem + issued->key_pem);
  net::TlsOptions options;
  options.keystore.location = path;
  auto made = net::TlsContext::for_server(options, runtime::system_files());
  if (!written || !made) {
    WEIR_LOG(error, "no certificate for the API: {}", written ? made.error().message : written.error().message);
    return context_;
  }
  made_s_ = now_s;
  return context_ = std::move(*made);
}

}  // namespace weir::apps
