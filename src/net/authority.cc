#include "net/authority.h"

#include <fmt/format.h>

#include <cerrno>
#include <memory>
#include <utility>

namespace weir::net {
namespace {

constexpr std::size_t pem_bytes_max = 64 * 1024;

template <class T>
std::unexpected<Error> file_error(const runtime::Io<T>& failed) {
  return fail(ErrorCode::INVALID_CONFIG, failed.error().message);
}

Result<security::CertificateAuthority> read(runtime::Files& files, const std::string& directory) {
  auto certificate = files.read_whole(directory + "/ca.crt", pem_bytes_max);
  if (!certificate) return file_error(certificate);
  auto key = files.read_whole(directory + "/ca.key", pem_bytes_max);
  if (!key) return file_error(key);
  auto loaded = security::CertificateAuthority::load(*certificate, *key);
  if (!loaded) return fail(loaded.error().code, fmt::format("{}: {}", directory, loaded.error().message));
  return loaded;
}

}  // namespace

Result<security::CertificateAuthority> find_authority(runtime::Files& files, const std::string& directory) {
  // The certificate is written last: where it is, all is.
  const auto there = files.exists(directory + "/ca.crt");
  if (!there) return file_error(there);
  if (!*there)
    return fail(ErrorCode::INVALID_CONFIG, fmt::format("there is no certificate authority in {}", directory));
  return read(files, directory);
}

Result<security::CertificateAuthority> open_authority(runtime::Files& files, const std::string& directory,
                                                      std::int64_t now_s) {
  auto found = files.exists(directory + "/ca.crt");
  if (found && *found) return read(files, directory);
  if (auto made = files.make_directories(directory); !made) return file_error(made);
  const auto lock = files.lock(directory + "/ca.lock");
  if (!lock && lock.error().number == EWOULDBLOCK) {
    return fail(ErrorCode::INVALID_CONFIG,
                fmt::format("another process makes the certificate authority in {} at this moment", directory));
  }
  if (!lock) return file_error(lock);
  found = files.exists(directory + "/ca.crt");
  if (found && *found) return read(files, directory);
  auto made = security::CertificateAuthority::create("Weir CA", {now_s, security::authority_days});
  if (!made) return made;
  if (auto done = files.write_private(directory + "/ca.key", made->key_pem()); !done) return file_error(done);
  if (auto done = files.write_whole(directory + "/ca.crt", made->certificate_pem()); !done) return file_error(done);
  return made;
}

}  // namespace weir::net
