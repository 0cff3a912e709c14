#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <expected>
#include <string>
#include <utility>

#include "apps/data_dir.h"
#include "apps/run.h"
#include "cli/command_line.h"
#include "net/authority.h"
#include "runtime/clock.h"
#include "runtime/files.h"
#include "security/ca.h"
#include "security/store.h"

namespace weir::apps {
namespace {

using Action = cli::CaOptions::Action;

constexpr std::size_t password_chars_min = 6;  // keytool opens no store with fewer

Result<std::string> content_of(const std::string& path) {
  if (path != "-") {
    auto read = runtime::system_files().read_whole(path, security::request_bytes_max);
    if (!read) return fail(ErrorCode::INVALID_REQUEST, read.error().message);
    return std::move(*read);
  }
  std::string out;
  std::array<char, 4096> part{};
  while (out.size() <= security::request_bytes_max) {
    const auto n = std::fread(part.data(), 1, part.size(), stdin);
    if (n == 0) break;
    out.append(part.data(), n);
  }
  return out;
}

// Everything that is no address is a name.
security::ServerNames names_of(const std::vector<std::string>& given) {
  security::ServerNames names;
  for (const auto& one : given) {
    std::array<unsigned char, 16> address{};
    const bool numeric =
        inet_pton(AF_INET, one.c_str(), address.data()) == 1 || inet_pton(AF_INET6, one.c_str(), address.data()) == 1;
    (numeric ? names.addresses : names.names).push_back(one);
  }
  return names;
}

struct Output {
  std::string content;
  bool secret = false;
};

Result<Output> export_trust(const cli::CaOptions& options, const security::CertificateAuthority& ca,
                            std::int64_t now_ms) {
  if (options.format == "pem") return Output{ca.certificate_pem()};
  if (options.out.empty()) return fail(ErrorCode::INVALID_REQUEST, "a trust store is binary: say --out FILE");
  if (options.password.size() < password_chars_min) {
    return fail(ErrorCode::INVALID_REQUEST, "the password of a trust store has at least six characters");
  }
  auto store = options.format == "jks"
                   ? security::trust_store_jks(ca.certificate_pem(), "weir-ca", options.password, now_ms)
                   : security::trust_store_pkcs12(ca.certificate_pem(), "weir-ca", options.password);
  if (!store) return std::unexpected(store.error());
  return Output{std::move(*store)};
}

Result<Output> issue(const cli::CaOptions& options, const security::CertificateAuthority& ca,
                     security::Validity validity) {
  if (options.names.empty() && options.subject.empty()) {
    return fail(ErrorCode::INVALID_REQUEST, "say --name for a broker, or --subject for a client");
  }
  auto made = options.subject.empty() ? ca.issue_server(names_of(options.names), validity)
                                      : ca.issue_client(options.subject, validity);
  if (!made) return std::unexpected(made.error());
  return Output{made->key_pem + made->chain_pem, true};
}

Result<Output> make(const cli::CaOptions& options, const std::string& folder) {
  const auto now_ms = std::chrono::duration_cast<milliseconds>(runtime::system_clock().wall()).count();
  const security::Validity validity{now_ms / 1000, options.days};
  auto ca = net::open_authority(runtime::system_files(), folder, validity.now_s);
  if (!ca) return std::unexpected(ca.error());
  switch (options.action) {
    case Action::export_trust: return export_trust(options, *ca, now_ms);
    case Action::issue: return issue(options, *ca, validity);
    case Action::sign: break;
  }
  auto request = content_of(options.request);
  if (!request) return std::unexpected(request.error());
  auto chain = ca->sign_client(*request, validity);
  if (!chain) return std::unexpected(chain.error());
  return Output{std::move(*chain)};
}

int failed(const std::string& why) {
  std::fprintf(stderr, "weir ca: %s\n", why.c_str());
  return cli::exit_failure;
}

}  // namespace

int run_ca(const cli::CaOptions& options) {
  const auto folder = DataDir::find(options.data_dir);
  if (!folder) return failed(folder.error());
  const auto made = make(options, folder->path() + "/ca");
  if (!made) return failed(made.error().message);
  if (options.out.empty()) {
    std::fwrite(made->content.data(), 1, made->content.size(), stdout);
    return cli::exit_ok;
  }
  auto& files = runtime::system_files();
  const auto done =
      made->secret ? files.write_private(options.out, made->content) : files.write_whole(options.out, made->content);
  return done ? cli::exit_ok : failed(done.error().message);
}

}  // namespace weir::apps
