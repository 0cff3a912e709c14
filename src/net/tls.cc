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
#include <cstring>
#include <string_view>
#include <utility>

#include "net/tls_context.h"
#include "runtime/shard.h"
#include "security/principal.h"

namespace weir::net {
namespace {

using runtime::Io;
using runtime::Task;

// What is encrypted before it is sent: bounds the memory of a connection.
constexpr std::size_t piece_bytes = 64 * 1024;
// What encryption adds to a piece at most: four records of 16 KiB, each with its header, nonce, padding and tag.
constexpr std::size_t piece_overhead = 8 * 128;
// So much is encrypted before others on the shard have their turn: a quarter of a millisecond or so.
constexpr std::uint64_t turn_bytes_max = 512 * 1024;
// What is read at once: little while little comes, so that a connection at rest costs little.
constexpr std::size_t input_bytes_min = 1024;
constexpr std::size_t input_bytes_max = 64 * 1024;
constexpr std::size_t output_bytes_min = 4096;
constexpr std::size_t record_bytes_max = 17 * 1024;

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

// Bytes from the peer that OpenSSL has not taken yet.
struct Input {
  std::vector<std::byte> bytes;
  std::size_t begin = 0;
  std::size_t end = 0;
};

// Encrypted bytes on their way: OpenSSL writes them where they are sent from.
class Output {
 public:
  bool empty() const { return used_ == 0 && full_.empty(); }
  // So much is to come.
  void expect(std::size_t size) { expected_ = size; }
  void put(const char* data, std::size_t size) {
    if (open_.size() - used_ < size) {
      close();
      open_ = bytes::Shared::allocate(std::max({size, expected_, output_bytes_min}));
    }
    std::memcpy(open_.mutable_view().data() + used_, data, size);
    used_ += size;
  }
  std::vector<runtime::Chunk> take() {
    close();
    open_ = {};
    return std::exchange(full_, {});
  }

 private:
  void close() {
    if (used_ == 0) return;
    auto& chunk = full_.emplace_back();
    chunk.memory = open_.sub(0, used_);
    used_ = 0;
  }
  std::vector<runtime::Chunk> full_;
  bytes::Shared open_;
  std::size_t used_ = 0;
  std::size_t expected_ = 0;
};

int bio_read(BIO* bio, char* to, std::size_t size, std::size_t* taken) {
  auto& input = *static_cast<Input*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *taken = std::min(size, input.end - input.begin);
  if (*taken == 0) {  // no bytes yet is "come again", not the end
    BIO_set_retry_read(bio);
    return 0;
  }
  std::memcpy(to, input.bytes.data() + input.begin, *taken);
  input.begin += *taken;
  return 1;
}

int bio_write(BIO* bio, const char* data, std::size_t size, std::size_t* written) {
  static_cast<Output*>(BIO_get_data(bio))->put(data, size);
  *written = size;
  return 1;
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO* bio_over(void* data) {
  static BIO_METHOD* const method = [] {
    auto* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir");
    BIO_meth_set_read_ex(made, bio_read);
    BIO_meth_set_write_ex(made, bio_write);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  BIO* bio = BIO_new(method);
  WEIR_CHECK(bio != nullptr, "OpenSSL has memory for a connection");
  BIO_set_data(bio, data);
  BIO_set_init(bio, 1);
  return bio;
}

// What the first byte of a TLS stream is: the type of a handshake record. Nothing else that comes to our ports begins
// so: a Kafka request begins with the upper byte of its length.
constexpr std::byte handshake_record{0x16};

// Of a name in a peer's certificate, what is shown.
constexpr std::size_t shown_bytes_max = 200;

// A peer that nobody believes chose this name: what is not printable ASCII is written as RFC 2253 allows, by number.
std::string shown(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, shown_bytes_max)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte > 0x7e ? fmt::format("\\{:02X}", byte) : std::string(1, c);
  }
  if (name.size() > shown_bytes_max) out += "...";
  return out;
}

// A handshake failed: in one word, of what OpenSSL says of it.
std::string_view kind_of(long verdict, unsigned long error) {
  switch (verdict) {
    case X509_V_OK: break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID: return "certificate out of its time";
    default: return "certificate not trusted";
  }
  const int reason = ERR_GET_REASON(error);
  if (reason >= SSL_AD_REASON_OFFSET) return "refused by the peer";
  switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return "no certificate";
    case SSL_R_NO_SHARED_CIPHER: return "no shared cipher";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_VERSION_NUMBER: return "version";
    default: return "broken";
  }
}

std::string_view what_it_speaks(bytes::Bytes first) {
  const auto text = bytes::as_text(first);
  for (const std::string_view method : {"GET ", "POST", "HEAD", "PUT ", "CONN", "OPTI"}) {
    if (text.starts_with(method)) return "it speaks HTTP, not TLS";
  }
  if (first.size() >= 2 && first[0] == std::byte{0}) {
    return "it does not speak TLS; by its first bytes it is a Kafka client without it: it needs security.protocol=SSL";
  }
  return "it does not speak TLS";
}

class Tls final : public Transport {
 public:
  Tls(std::unique_ptr<Transport> below, std::shared_ptr<const TlsContext> context, bool server, std::string host)
      : below_(std::move(below)), context_(std::move(context)), server_(server), host_(std::move(host)) {}

  Task<Io<>> open() override {
    auto below_opened = co_await below_->open();
    if (!below_opened) co_return below_opened;
    if (server_) {
      // Who says nothing costs nothing: all else is made when the first bytes are there.
      auto first = co_await feed();
      if (!first) co_return std::unexpected(first.error());
      if (*first == 0) {
        trouble_ = "closed";
        co_return io_fail(ECONNRESET, fmt::format("{} closed it before it said a word", peer().text()));
      }
      const bytes::Bytes said(input_.bytes.data(), *first);
      if (said[0] != handshake_record) {
        trouble_ = what_it_speaks(said);
        co_return io_fail(EPROTO, std::string(trouble_));
      }
    }
    begin();
    auto done = co_await shake_hands();
    if (!done) co_return done;
    auto* certificate = SSL_get1_peer_certificate(ssl_.get());
    principal_ = security::distinguished_name(certificate);
    X509_free(certificate);
    protection_ = fmt::format("{} {}", SSL_get_version(ssl_.get()), SSL_get_cipher_name(ssl_.get()));
    co_return Io<>{};
  }

  Task<Io<std::size_t>> read_some(bytes::MutableBytes out) override {
    auto expected = std::exchange(expected_, 0);  // for this read only
    for (;;) {
      ERR_clear_error();
      std::size_t n = 0;
      int why = SSL_ERROR_NONE;
      while (n < out.size()) {  // records that are there already, in one go
        std::size_t one = 0;
        const int ok = SSL_read_ex(ssl_.get(), out.data() + n, out.size() - n, &one);
        why = ok == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), ok);
        if (ok != 1) break;
        n += one;
      }
      const bool fine = n > 0 || why == SSL_ERROR_WANT_READ || why == SSL_ERROR_ZERO_RETURN;
      const std::string failure = fine ? "" : openssl_error("broken");
      // What reading gave rise to (new keys) goes out with the next write, if one is under way.
      if (!sending_ && !output_.empty()) {
        auto sent = co_await flush();
        if (!sent) co_return std::unexpected(sent.error());
      }
      if (n > 0) {
        fed_ = 0;
        co_return n;
      }
      if (why == SSL_ERROR_ZERO_RETURN) co_return std::size_t{0};
      if (!fine) co_return io_fail(EPROTO, fmt::format("TLS with {}: {}", peer().text(), failure));
      auto more = co_await feed(std::exchange(expected, 0));
      if (!more || *more == 0) co_return more;
    }
  }

  void expect(std::size_t size) override { expected_ = size; }
  std::size_t unread() const override { return fed_ + below_->unread(); }

  Task<Io<>> write(std::vector<runtime::Chunk> chunks, std::uint64_t* progress) override {
    std::vector<std::byte> from_file;
    std::uint64_t in_turn = 0;
    for (const auto& chunk : chunks) {
      for (std::uint64_t at = 0; at < chunk.size();) {
        const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(piece_bytes, chunk.size() - at));
        bytes::Bytes piece;
        if (chunk.file) {
          from_file.resize(piece_bytes);
          auto read = chunk.file->read_at(chunk.position + at, bytes::MutableBytes(from_file).first(n));
          if (!read) co_return std::unexpected(read.error());
          if (*read != n) co_return io_fail(EIO, "a file ended before what was to be sent of it");
          piece = bytes::Bytes(from_file).first(n);
        } else {
          piece = chunk.memory.view().subspan(static_cast<std::size_t>(at), n);
        }
        if (auto encrypted = encrypt(piece); !encrypted) co_return encrypted;
        // Small chunks (the heads of many answers) leave together.
        gathered_ += n;
        at += n;
        if (gathered_ >= piece_bytes || (&chunk == &chunks.back() && at == chunk.size())) {
          const auto leaving = std::exchange(gathered_, 0);
          auto sent = co_await flush();
          if (!sent) co_return sent;
          if (progress != nullptr) *progress += leaving;
          in_turn += leaving;
          if (in_turn >= turn_bytes_max) {
            in_turn = 0;
            co_await runtime::sleep(*runtime::Shard::current(), nanoseconds(0));
          }
        }
      }
    }
    if (gathered_ > 0 || !output_.empty()) {  // the last chunk was empty
      const auto leaving = std::exchange(gathered_, 0);
      auto sent = co_await flush();
      if (!sent) co_return sent;
      if (progress != nullptr) *progress += leaving;
    }
    co_return Io<>{};
  }

  void close() override { below_->close(); }
  const runtime::Address& local() const override { return below_->local(); }
  const runtime::Address& peer() const override { return below_->peer(); }
  const std::string& peer_principal() const override { return principal_; }
  const std::string& protection() const override { return protection_; }
  std::string_view trouble() const override { return trouble_; }

 private:
  const OpenSslContext& context() const { return static_cast<const OpenSslContext&>(*context_); }

  void begin() {
    ssl_.reset(SSL_new(context().get()));
    WEIR_CHECK(ssl_ != nullptr, "OpenSSL has memory for a connection");
    SSL_set_bio(ssl_.get(), bio_over(&input_), bio_over(&output_));
    SSL_set_app_data(ssl_.get(), &refused_);
    if (server_) {
      SSL_set_accept_state(ssl_.get());
    } else {
      SSL_set_connect_state(ssl_.get());
      dial(context().verify_hostname());
    }
  }

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

  Task<Io<>> shake_hands() {
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
      if (done == 1) co_return Io<>{};
      auto more = co_await feed();
      if (!more) co_return std::unexpected(more.error());
      if (*more == 0) {
        trouble_ = "closed";
        co_return io_fail(ECONNRESET,
                          fmt::format("TLS handshake with {}: the peer closed the connection{}", peer().text(),
                                      server_ ? "" : " (does it speak TLS here, and does it ask for a certificate?)"));
      }
    }
  }

  std::string handshake_failure() {
    const auto verdict = SSL_get_verify_result(ssl_.get());
    trouble_ = kind_of(verdict, ERR_peek_error());
    auto why = openssl_error("it broke off");
    if (verdict != X509_V_OK) why = fmt::format("{} ({})", why, X509_verify_cert_error_string(verdict));
    if (!refused_.empty()) why += fmt::format(": certificate {}", refused_);
    return fmt::format("TLS handshake with {}{}: {}", peer().text(),
                       host_.empty() ? std::string() : fmt::format(" (as {})", host_), why);
  }

  // Some bytes from the peer, when all before them are taken; 0 at the end.
  Task<Io<std::size_t>> feed(std::size_t expected = 0) {
    WEIR_CHECK(input_.begin == input_.end, "OpenSSL takes what is there before it asks for more");
    input_.begin = input_.end = 0;
    // What is still coming as plaintext is still coming encrypted, but for the part of a record that OpenSSL holds
    // already: to wait for that would be to wait for ever.
    if (expected > record_bytes_max) below_->expect(std::min(expected - record_bytes_max, input_bytes_max));
    const auto wanted = std::clamp(std::max(expected, wanted_), input_bytes_min, input_bytes_max);
    if (input_.bytes.size() < wanted || input_.bytes.size() > 4 * wanted) {
      input_.bytes.resize(wanted);
      input_.bytes.shrink_to_fit();
    }
    auto got = co_await below_->read_some(bytes::MutableBytes(input_.bytes));
    if (!got) co_return got;
    input_.end = *got;
    fed_ += *got;
    if (*got == input_.bytes.size()) {
      wanted_ = std::min(input_.bytes.size() * 4, input_bytes_max);
    } else if (*got < input_.bytes.size() / 8) {
      wanted_ = input_bytes_min;
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
    while (result && !output_.empty()) {
      auto chunks = output_.take();
      result = co_await below_->write(std::move(chunks), nullptr);
    }
    sending_ = false;
    if (turn_ != nullptr) std::exchange(turn_, nullptr)->wake();
    co_return result;
  }

  Io<> encrypt(bytes::Bytes piece) {
    output_.expect(piece.size() + piece_overhead);
    for (std::size_t at = 0; at < piece.size();) {
      ERR_clear_error();
      std::size_t n = 0;
      if (SSL_write_ex(ssl_.get(), piece.data() + at, piece.size() - at, &n) != 1) {
        return io_fail(EPIPE, fmt::format("TLS with {}: {}", peer().text(), openssl_error("closed")));
      }
      at += n;
    }
    output_.expect(0);
    return {};
  }

  const std::unique_ptr<Transport> below_;
  const std::shared_ptr<const TlsContext> context_;
  const bool server_;
  const std::string host_;
  Input input_;
  Output output_;
  std::unique_ptr<SSL, SslFree> ssl_;  // goes before what its BIOs point to
  std::string principal_;
  std::string protection_;
  std::string_view trouble_ = "broken";
  std::string refused_;  // the certificate that was not accepted
  std::size_t expected_ = 0;
  std::size_t fed_ = 0;  // encrypted bytes that came since something was given out: of a record that is not whole
  std::size_t wanted_ = input_bytes_min;
  std::uint64_t gathered_ = 0;  // encrypted and not yet sent
  bool sending_ = false;
  runtime::Waiter* turn_ = nullptr;
};

}  // namespace

int note_refused(int ok, X509_STORE_CTX* store) {
  if (ok == 1) return ok;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* refused = ssl == nullptr ? nullptr : static_cast<std::string*>(SSL_get_app_data(ssl));
  const auto* certificate = X509_STORE_CTX_get0_cert(store);  // the peer's own, whichever of its chain failed
  if (refused == nullptr || certificate == nullptr) return ok;
  *refused = fmt::format("'{}' of issuer '{}'", shown(security::distinguished_name(certificate)),
                         shown(security::distinguished_name(X509_get_issuer_name(certificate))));
  return ok;
}

std::unique_ptr<Transport> tls_client(std::unique_ptr<Transport> below, std::shared_ptr<const TlsContext> context,
                                      std::string host) {
  return std::make_unique<Tls>(std::move(below), std::move(context), false, std::move(host));
}
std::unique_ptr<Transport> tls_server(std::unique_ptr<Transport> below, std::shared_ptr<const TlsContext> context) {
  return std::make_unique<Tls>(std::move(below), std::move(context), true, std::string());
}

}  // namespace weir::net
