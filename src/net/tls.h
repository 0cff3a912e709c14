// TLS over any other transport, for both sides. OpenSSL works on memory; the transport below carries its bytes, so the
// same code runs over a socket and over the simulation's.
//
// Stores are those that users of Kafka and ZooKeeper have (security/store.h): PEM, PKCS#12 and JKS, told apart by their
// content (a keytool of Java 9 or later writes PKCS#12 whatever the file is called). Names of protocols and cipher
// suites are Java's.
//
// A client that says nothing costs a server its socket only; one that speaks something else is told apart by its first
// byte. Large writes are encrypted in pieces of 64 KiB, and others on the shard have their turn between them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "net/transport.h"
#include "runtime/files.h"

namespace weir::net {

struct TlsStore {
  std::string location;  // a path; empty: none
  std::string type;      // as configured: "PEM", "PKCS12", "JKS", ... or empty; content decides, this only explains
  std::string password;
  std::string pem;  // instead of a file (KIP-651): certificates, and the key of a key store

  bool set() const { return !location.empty() || !pem.empty(); }
};

enum class ClientAuth : std::uint8_t { none, requested, required };  // ssl.client.auth

struct TlsOptions {
  TlsStore keystore;                          // whom we are: certificate, chain, key. A server must have one.
  std::string key_password;                   // ssl.key.password; empty: the store's
  TlsStore truststore;                        // whom we believe; without one, whom the system believes
  std::vector<std::string> protocols;         // "TLSv1.2", ...; empty: 1.2 and 1.3
  std::vector<std::string> cipher_suites;     // IANA names; empty: OpenSSL's choice
  bool verify_hostname = true;                // a client: the server's certificate must be for the name we dialled
  ClientAuth client_auth = ClientAuth::none;  // a server
  // A server, where not empty: it takes no client whose certificate is not one of a server, too, with one of these
  // among its DNS names: "b-1.example", or ".example" for all that lie directly in it.
  std::vector<std::string> client_names;
};

// What all connections of one configuration share. Immutable; from any shard.
class TlsContext {
 public:
  // Reads the stores (blocks). INVALID_CONFIG with a sentence that names the file and what is wrong with it.
  static Result<std::shared_ptr<const TlsContext>> for_client(const TlsOptions& options, runtime::Files& files);
  static Result<std::shared_ptr<const TlsContext>> for_server(const TlsOptions& options, runtime::Files& files);
  virtual ~TlsContext() = default;

 protected:
  TlsContext() = default;
};

// The context that new connections take; it may be replaced while others use the one before. From any thread.
class TlsSlot {
 public:
  std::shared_ptr<const TlsContext> current() const { return std::atomic_load(&context_); }
  void replace(std::shared_ptr<const TlsContext> next) { std::atomic_store(&context_, std::move(next)); }

 private:
  std::shared_ptr<const TlsContext> context_;
};

// open() does the handshake; its error says why it failed. One read and one write may wait at a time, as of a socket.
// close() is at once and says no goodbye: what runs over this has an end of its own.
// peer_principal() is the subject of the peer's certificate as RFC 2253 writes it ("CN=zk1,O=weir").
std::unique_ptr<Transport> tls_client(std::unique_ptr<Transport> below, std::shared_ptr<const TlsContext> context,
                                      std::string host);
std::unique_ptr<Transport> tls_server(std::unique_ptr<Transport> below, std::shared_ptr<const TlsContext> context);

// The distinguished name of the certificate that a side shows; empty: none.
std::string own_principal(const TlsContext& context);
// When it ends, in seconds since 1970; 0: there is none.
std::int64_t own_expiry_s(const TlsContext& context);

}  // namespace weir::net
