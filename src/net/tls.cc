#include "net/tls.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "net/tls_context.h"
#include "runtime/shard.h"

namespace weir::net {
namespace {

using runtime::Io;
using runtime::Task;

// What is encrypted before it is sent: bounds the memory of a connection.
constexpr std::size_t piece_bytes = 64 * 1024;
constexpr std::size_t record_bytes = 16 * 1024 + 512;

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

std::unexpected<runtime::IoError> io_fail(int number, std::string message) {
  return std::unexpected(runtime::IoError{number, std::move(message)});
}

bool numeric(const std::string& host) {
  std::array<unsigned char, 16> address{};
  return inet_pton(AF_INET, host.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, host.c_str(), address.data()) == 1;
}

class Tls final : public Transport {
 public:
  Tls(std::unique_ptr<Transport> below, std::shared_ptr<const TlsContext> context, bool server, std::string host)
      : below_(std::move(below)), context_(std::move(context)), host_(std::move(host)) {
    const auto& of = static_cast<const OpenSslContext&>(*context_);
    ssl_.reset(SSL_new(of.get()));
    from_peer_ = BIO_new(BIO_s_mem());
    to_peer_ = BIO_new(BIO_s_mem());
    WEIR_CHECK(ssl_ && from_peer_ != nullptr && to_peer_ != nullptr, "OpenSSL has memory for a connection");
    // No bytes yet is "come again", not the end.
    BIO_set_mem_eof_return(from_peer_, -1);
    BIO_set_mem_eof_return(to_peer_, -1);
    SSL_set_bio(ssl_.get(), from_peer_, to_peer_);
    if (server) {
      SSL_set_accept_state(ssl_.get());
    } else {
      SSL_set_connect_state(ssl_.get());
      dial(of.verify_hostname());
    }
  }

  Task<Io<>> open() override {
    auto below_opened = co_await below_->open();
    if (!below_opened) co_return below_opened;
    for (;;) {
      ERR_clear_error();
      const int done = SSL_do_handshake(ssl_.get());
      const int why = done == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), done);
      std::string failure;
      if (done != 1 && why != SSL_ERROR_WANT_READ) failure = handshake_failure();
      // An alert goes out too: the peer's log is to say why.
      auto sent = co_await flush();
      if (!failure.empty()) co_return io_fail(EPROTO, std::move(failure));
      if (!sent) co_return sent;
      if (done == 1) break;
      auto more = co_await feed();
      if (!more) co_return std::unexpected(more.error());
      if (*more == 0) {
        co_return io_fail(ECONNRESET, fmt::format("TLS handshake with {}: the peer closed the connection (does it "
                                                  "speak TLS here, and does it ask for a certificate?)",
                                                  peer().text()));
      }
    }
    auto* certificate = SSL_get1_peer_certificate(ssl_.get());
    principal_ = principal_of(certificate);
    X509_free(certificate);
    co_return Io<>{};
  }

  Task<Io<std::size_t>> read_some(bytes::MutableBytes out) override {
    for (;;) {
      ERR_clear_error();
      std::size_t n = 0;
      const int ok = SSL_read_ex(ssl_.get(), out.data(), out.size(), &n);
      const int why = ok == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), ok);
      const std::string failure =
          ok == 1 || why == SSL_ERROR_WANT_READ || why == SSL_ERROR_ZERO_RETURN ? "" : openssl_error("broken");
      // What reading gave rise to (new keys) goes out with the next write, if one is under way.
      if (!sending_ && BIO_ctrl_pending(to_peer_) > 0) {
        auto sent = co_await flush();
        if (!sent) co_return std::unexpected(sent.error());
      }
      if (ok == 1) co_return n;
      if (why == SSL_ERROR_ZERO_RETURN) co_return std::size_t{0};
      if (!failure.empty()) co_return io_fail(EPROTO, fmt::format("TLS with {}: {}", peer().text(), failure));
      auto more = co_await feed();
      if (!more || *more == 0) co_return more;
    }
  }

  Task<Io<>> write(std::vector<runtime::Chunk> chunks, std::uint64_t* progress) override {
    for (auto& chunk : chunks) {
      for (std::uint64_t at = 0; at < chunk.size();) {
        const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(piece_bytes, chunk.size() - at));
        auto piece = piece_of(chunk, at, n);
        if (!piece) co_return std::unexpected(piece.error());
        auto sent = co_await send(std::move(*piece));
        if (!sent) co_return sent;
        if (progress != nullptr) *progress += n;
        at += n;
      }
    }
    co_return Io<>{};
  }

  void close() override { below_->close(); }
  const runtime::Address& local() const override { return below_->local(); }
  const runtime::Address& peer() const override { return below_->peer(); }
  const std::string& peer_principal() const override { return principal_; }

 private:
  void dial(bool verify_hostname) {
    const bool address = numeric(host_);
    if (!address && !host_.empty()) SSL_set_tlsext_host_name(ssl_.get(), host_.c_str());
    if (!verify_hostname) return;
    auto* verify = SSL_get0_param(ssl_.get());
    X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int set = address ? X509_VERIFY_PARAM_set1_ip_asc(verify, host_.c_str())
                            : X509_VERIFY_PARAM_set1_host(verify, host_.c_str(), host_.size());
    WEIR_CHECK(set == 1, "OpenSSL takes a name to verify");
  }

  std::string handshake_failure() {
    const auto verdict = SSL_get_verify_result(ssl_.get());
    auto why = openssl_error("it broke off");
    if (verdict != X509_V_OK) why = fmt::format("{} ({})", why, X509_verify_cert_error_string(verdict));
    return fmt::format("TLS handshake with {}{}: {}", peer().text(),
                       host_.empty() ? std::string() : fmt::format(" (as {})", host_), why);
  }

  // Some bytes from the peer; 0 at the end.
  Task<Io<std::size_t>> feed() {
    if (!input_) input_ = std::make_unique<std::array<std::byte, record_bytes>>();
    auto got = co_await below_->read_some(bytes::MutableBytes(*input_));
    if (got && *got > 0) {
      const int taken = BIO_write(from_peer_, input_->data(), static_cast<int>(*got));
      WEIR_CHECK(taken == static_cast<int>(*got), "a memory BIO takes what it is given");
    }
    co_return got;
  }

  // Sends what is encrypted. Two may want to (a read and a write); the second waits until the first is done.
  Task<Io<>> flush() {
    while (sending_) {
      runtime::Waiter waiter(*runtime::Shard::current());
      turn_ = &waiter;
      co_await waiter.wait();
    }
    sending_ = true;
    Io<> result;
    while (result && BIO_ctrl_pending(to_peer_) > 0) {
      runtime::Chunk chunk;
      chunk.memory = bytes::Shared::allocate(BIO_ctrl_pending(to_peer_));
      const int taken = BIO_read(to_peer_, chunk.memory.mutable_view().data(), static_cast<int>(chunk.memory.size()));
      WEIR_CHECK(taken == static_cast<int>(chunk.memory.size()), "a memory BIO gives what it holds");
      std::vector<runtime::Chunk> chunks;
      chunks.push_back(std::move(chunk));
      result = co_await below_->write(std::move(chunks), nullptr);
    }
    sending_ = false;
    if (turn_ != nullptr) std::exchange(turn_, nullptr)->wake();
    co_return result;
  }

  static Io<bytes::Shared> piece_of(const runtime::Chunk& chunk, std::uint64_t at, std::size_t n) {
    if (!chunk.file) return chunk.memory.sub(static_cast<std::size_t>(at), n);
    auto memory = bytes::Shared::allocate(n);
    auto read = chunk.file->read_at(chunk.position + at, memory.mutable_view());
    if (!read) return std::unexpected(read.error());
    if (*read != n) return io_fail(EIO, "a file ended before what was to be sent of it");
    return memory;
  }

  Task<Io<>> send(bytes::Shared piece) {
    for (std::size_t at = 0; at < piece.size();) {
      ERR_clear_error();
      std::size_t n = 0;
      if (SSL_write_ex(ssl_.get(), piece.data() + at, piece.size() - at, &n) != 1) {
        co_return io_fail(EPIPE, fmt::format("TLS with {}: {}", peer().text(), openssl_error("closed")));
      }
      at += n;
    }
    co_return co_await flush();
  }

  const std::unique_ptr<Transport> below_;
  const std::shared_ptr<const TlsContext> context_;
  const std::string host_;
  std::unique_ptr<SSL, SslFree> ssl_;
  BIO* from_peer_ = nullptr;  // owned by ssl_
  BIO* to_peer_ = nullptr;
  std::string principal_;
  std::unique_ptr<std::array<std::byte, record_bytes>> input_;
  bool sending_ = false;
  runtime::Waiter* turn_ = nullptr;
};

}  // namespace

std::unique_ptr<Transport> tls_client(std::unique_ptr<Transport> below, std::shared_ptr<const TlsContext> context,
                                      std::string host) {
  return std::make_unique<Tls>(std::move(below), std::move(context), false, std::move(host));
}
std::unique_ptr<Transport> tls_server(std::unique_ptr<Transport> below, std::shared_ptr<const TlsContext> context) {
  return std::make_unique<Tls>(std::move(below), std::move(context), true, std::string());
}

}  // namespace weir::net
