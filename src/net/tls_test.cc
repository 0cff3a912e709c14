#include "net/tls.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/log.h"
#include "net/server.h"
#include "runtime/shard.h"
#include "runtime/sim.h"
#include "runtime/sockets.h"

namespace weir::net {
namespace {

using runtime::Task;

// Certificates made here, by a CA made here.
struct Identity {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;

  Identity() = default;
  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;
  ~Identity() {
    EVP_PKEY_free(key);
    X509_free(certificate);
  }
  std::string pem(bool with_key) const {
    BIO* out = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(out, certificate);
    if (with_key) PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
    return text_of(out);
  }
  std::string pkcs12(const char* password) const {
    PKCS12* made = PKCS12_create(password, "own", key, certificate, nullptr, 0, 0, 0, 0, 0);
    BIO* out = BIO_new(BIO_s_mem());
    i2d_PKCS12_bio(out, made);
    PKCS12_free(made);
    return text_of(out);
  }
  static std::string text_of(BIO* from) {
    char* data = nullptr;
    const auto size = BIO_get_mem_data(from, &data);
    std::string text(data, static_cast<std::size_t>(size));
    BIO_free(from);
    return text;
  }
};

// `units`: so many more parts of the name.
void make(Identity& to, const char* name, const char* alternative, const Identity* issuer, int units = 0) {
  to.key = EVP_EC_gen("P-256");
  to.certificate = X509_new();
  X509_set_version(to.certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(to.certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(to.certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(to.certificate), 3600);
  X509_set_pubkey(to.certificate, to.key);
  auto* subject = X509_get_subject_name(to.certificate);
  X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>("weir"), -1, -1, 0);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  for (int i = 0; i < units; ++i) {
    X509_NAME_add_entry_by_txt(subject, "OU", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  }
  const auto& by = issuer != nullptr ? *issuer : to;
  X509_set_issuer_name(to.certificate, X509_get_subject_name(by.certificate));
  const auto add = [&](int kind, const char* value) {
    auto* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
    X509_add_ext(to.certificate, extension, -1);
    X509_EXTENSION_free(extension);
  };
  if (issuer == nullptr) add(NID_basic_constraints, "critical,CA:TRUE");
  if (alternative != nullptr) add(NID_subject_alt_name, alternative);
  X509_sign(to.certificate, by.key, EVP_sha256());
}

class TlsTest : public testing::Test {
 protected:
  TlsTest() : world_(1) {
    make(ca_, "ca", nullptr, nullptr);
    make(stranger_, "stranger", nullptr, nullptr);
    make(server_, "server", "DNS:zk1.example,IP:127.0.0.1", &ca_);
    make(client_, "alice", nullptr, &ca_);
    put("/ca.pem", ca_.pem(false));
    put("/stranger.pem", stranger_.pem(false));
    put("/server.p12", server_.pkcs12("secret"));
    put("/client.pem", client_.pem(true));
    server_options_.keystore = {"/server.p12", "", "secret"};
    server_options_.truststore = {"/ca.pem", "", ""};
    client_options_.keystore = {"/client.pem", "", ""};
    client_options_.truststore = {"/ca.pem", "", ""};
  }
  void put(const std::string& path, const std::string& content) {
    ASSERT_TRUE(world_.files().write_whole(path, content));
  }
  std::string complaint(const TlsOptions& options) {
    auto made = TlsContext::for_client(options, world_.files());
    return made ? std::string() : made.error().message;
  }

  // A client dials `host`; both sides do their handshake, then `body` runs. Errors of the handshakes are left behind.
  void meet(const std::string& host, std::function<Task<void>(Transport& client, Transport& server)> body) {
    runtime::block_on(world_.shard(0), [&]() -> Task<void> {
      auto& shard = world_.shard(0);
      auto server_context = TlsContext::for_server(server_options_, world_.files());
      auto client_context = TlsContext::for_client(client_options_, world_.files());
      EXPECT_TRUE(server_context) << server_context.error().message;
      EXPECT_TRUE(client_context) << client_context.error().message;
      runtime::Address any{"127.0.0.1", 0};
      auto listener = world_.sockets().listen(shard, any, {});
      const auto at = (*listener)->local();
      runtime::Scope scope(shard);
      std::unique_ptr<Transport> server;
      runtime::Waiter accepted(shard);
      auto serve = [&]() -> Task<void> {
        auto socket = co_await (*listener)->accept(shard);
        server = tls_server(plain_transport(std::move(*socket)), *server_context);
        auto opened = co_await server->open();
        if (!opened) {
          server_error_ = opened.error().message;
          server->close();
        }
        accepted.wake();
      };
      scope.spawn(serve());
      auto socket = co_await world_.sockets().connect(shard, at, {});
      auto client = tls_client(plain_transport(std::move(*socket)), *client_context, host);
      auto opened = co_await client->open();
      if (!opened) {
        client_error_ = opened.error().message;
        client->close();
      }
      co_await accepted.wait();
      if (client_error_.empty() && server_error_.empty() && body) {
        auto running = body(*client, *server);
        co_await std::move(running);
      }
      client->close();
      server->close();
      co_await scope.stop();
    });
  }
  static runtime::Chunk chunk(const std::string& text) {
    runtime::Chunk out;
    out.memory = bytes::Shared::copy(text);
    return out;
  }
  static Task<std::string> read(Transport& from, std::size_t size) {
    std::string out;
    std::vector<std::byte> part(50'000);
    while (out.size() < size) {
      auto n = co_await from.read_some(part);
      if (!n || *n == 0) break;
      out += bytes::as_text(bytes::Bytes(part.data(), *n));
    }
    co_return out;
  }

  runtime::SimWorld world_;
  Identity ca_;
  Identity stranger_;
  Identity server_;
  Identity client_;
  TlsOptions server_options_;
  TlsOptions client_options_;
  std::string client_error_;
  std::string server_error_;
};

TEST_F(TlsTest, BytesArriveAsTheyWereBothWaysAtOnce) {
  meet("zk1.example", [&](Transport& client, Transport& server) -> Task<void> {
    std::string large;
    for (int i = 0; i < 400'000; ++i) large += static_cast<char>(i * 7 + i / 251);
    auto file = world_.files().open("/file", runtime::Open::create);
    EXPECT_TRUE((*file)->write_at(0, bytes::as_bytes(large)));
    runtime::Scope scope(world_.shard(0));
    std::uint64_t sent = 0;
    auto send = [&]() -> Task<void> {
      std::vector<runtime::Chunk> chunks{chunk("head"), chunk(large)};
      runtime::Chunk piece;
      piece.file = std::move(*file);
      piece.position = 1000;
      piece.length = 200'000;
      chunks.push_back(std::move(piece));
      EXPECT_TRUE(co_await server.write(std::move(chunks), &sent));
    };
    auto ask = [&]() -> Task<void> {
      std::vector<runtime::Chunk> chunks{chunk(large)};
      EXPECT_TRUE(co_await client.write(std::move(chunks), nullptr));
    };
    auto hear = [&]() -> Task<void> { EXPECT_EQ(co_await read(server, large.size()), large); };
    scope.spawn(send());
    scope.spawn(ask());
    scope.spawn(hear());
    EXPECT_EQ(co_await read(client, 4 + large.size() + 200'000), "head" + large + large.substr(1000, 200'000));
    co_await scope.stop();
    EXPECT_EQ(sent, 4 + large.size() + 200'000);
  });
  EXPECT_EQ(client_error_ + server_error_, "");
}

TEST_F(TlsTest, EachSideLearnsWhoTheOtherIs) {
  server_options_.client_auth = ClientAuth::required;
  bool met = false;
  meet("127.0.0.1", [&](Transport& client, Transport& server) -> Task<void> {
    EXPECT_EQ(client.peer_principal(), "CN=server,O=weir");
    EXPECT_EQ(server.peer_principal(), "CN=alice,O=weir");
    met = true;
    co_return;
  });
  EXPECT_TRUE(met) << client_error_ << server_error_;
}

TEST_F(TlsTest, AServerOfAnotherNameIsRefusedUnlessThatIsSwitchedOff) {
  meet("zk2.example", nullptr);
  EXPECT_NE(client_error_.find("certificate verify failed (hostname mismatch)"), std::string::npos) << client_error_;
  client_error_.clear();
  server_error_.clear();
  client_options_.verify_hostname = false;
  meet("zk2.example", nullptr);
  EXPECT_EQ(client_error_ + server_error_, "");
}

TEST_F(TlsTest, WhoNobodyVouchesForIsRefused) {
  client_options_.truststore.location = "/stranger.pem";
  meet("zk1.example", nullptr);
  EXPECT_NE(client_error_.find("certificate verify failed"), std::string::npos) << client_error_;
  EXPECT_NE(server_error_.find("alert"), std::string::npos) << server_error_;
}

// The names in it are the peer's own invention.
TEST_F(TlsTest, OfARefusedCertificateABoundedPrintableNameIsShown) {
  server_options_.client_auth = ClientAuth::required;
  Identity hostile;
  make(hostile, "mallory\r\n\x1b[31m\x7f\xc3\xbc\xe2\x80\xae", nullptr, nullptr, 500);
  put("/hostile.pem", hostile.pem(true));
  client_options_.keystore.location = "/hostile.pem";
  meet("zk1.example", nullptr);
  EXPECT_NE(server_error_.find(R"(OU=mallory\0D\0A\1B[31m\7F\C3\BC\E2\80\AE,)"), std::string::npos) << server_error_;
  EXPECT_LT(server_error_.size(), 2'000U);
  EXPECT_TRUE(std::ranges::all_of(server_error_, [](char c) { return c >= 0x20 && c < 0x7f; })) << server_error_;
}

TEST_F(TlsTest, AClientWithoutACertificateIsRefusedWhereOneIsRequired) {
  server_options_.client_auth = ClientAuth::required;
  client_options_.keystore = {};
  meet("zk1.example", nullptr);
  EXPECT_NE(server_error_.find("did not return a certificate"), std::string::npos) << server_error_;
}

// A client may have any subject it asks the authority for, but not a broker's alternative names.
TEST_F(TlsTest, WhereNamesAreGivenOnlyCertificatesWithOneOfThemAreLetIn) {
  server_options_.client_names = {".c1"};
  const auto refused = [&](const char* subject, const char* alternative) {
    Identity one;
    make(one, subject, alternative, &ca_);
    put("/one.pem", one.pem(true));
    client_options_.keystore.location = "/one.pem";
    client_error_.clear();
    server_error_.clear();
    meet("zk1.example", nullptr);
    return server_error_.find("ostname mismatch") != std::string::npos;
  };
  EXPECT_FALSE(refused("x", "DNS:b-1.c1"));
  EXPECT_EQ(client_error_ + server_error_, "");
  EXPECT_TRUE(refused("b-1.c1", nullptr));
  EXPECT_TRUE(refused("b-1.c1", "DNS:localhost,IP:127.0.0.1"));
  EXPECT_TRUE(refused("x", "DNS:b-1.c2"));
  EXPECT_TRUE(refused("x", "DNS:c1"));
  EXPECT_TRUE(refused("x", "DNS:b-1.c1.c1"));
  client_options_.keystore = {};
  server_error_.clear();
  meet("zk1.example", nullptr);
  EXPECT_NE(server_error_.find("did not return a certificate"), std::string::npos) << server_error_;
}

TEST_F(TlsTest, VersionsAndSuitesAreThoseAskedFor) {
  server_options_.protocols = {"TLSv1.3"};
  client_options_.protocols = {"TLSv1.2"};
  meet("zk1.example", nullptr);
  EXPECT_NE(client_error_, "");
  client_error_.clear();
  server_error_.clear();
  server_options_.protocols = {"TLSv1.2", "TLSv1.3"};
  client_options_.cipher_suites = {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"};
  meet("zk1.example", nullptr);
  EXPECT_EQ(client_error_ + server_error_, "");
  client_options_.cipher_suites = {"TLS_NO_SUCH"};
  EXPECT_NE(complaint(client_options_).find("'TLS_NO_SUCH'"), std::string::npos);
  client_options_.cipher_suites = {};
  client_options_.protocols = {"SSLv2"};
  EXPECT_NE(complaint(client_options_).find("'SSLv2'"), std::string::npos);
}

TEST_F(TlsTest, AStoreThatCannotBeUsedIsNamedWithTheReason) {
  const auto with = [this](const std::string& content, const std::string& password = "") {
    put("/store", content);
    TlsOptions options = client_options_;
    options.keystore = {"/store", "", password};
    return complaint(options);
  };
  EXPECT_EQ(with(client_.pem(true)), "");
  EXPECT_EQ(with(client_.pkcs12("pw"), "pw"), "");
  EXPECT_NE(with(client_.pkcs12("pw"), "other").find("its password is another"), std::string::npos);
  EXPECT_NE(with("\xFE\xED\xFE\xED\0\0\0\2").find("damaged JKS"), std::string::npos);
  EXPECT_NE(with("\xCE\xCE\xCE\xCE\0\0\0\2").find("keytool -importkeystore -srckeystore /store"), std::string::npos);
  EXPECT_NE(with(client_.pem(false)).find("/store holds no private key"), std::string::npos);
  EXPECT_NE(with(client_.pem(true).substr(client_.pem(false).size())).find("no certificate"), std::string::npos);
  EXPECT_NE(with("nonsense").find("neither PEM nor PKCS12"), std::string::npos);
  EXPECT_NE(with("\x30 nonsense").find("neither PEM nor PKCS12"), std::string::npos);
  EXPECT_NE(with("").find("neither PEM nor PKCS12"), std::string::npos);
  TlsOptions options = client_options_;
  options.truststore.location = "/missing";
  EXPECT_NE(complaint(options).find("/missing"), std::string::npos);
}

TEST_F(TlsTest, APeerThatSpeaksSomethingElseIsAnErrorAndNoMore) {
  runtime::block_on(world_.shard(0), [&]() -> Task<void> {
    auto& shard = world_.shard(0);
    auto context = TlsContext::for_client(client_options_, world_.files());
    runtime::Address any{"127.0.0.1", 0};
    auto listener = world_.sockets().listen(shard, any, {});
    const auto at = (*listener)->local();
    runtime::Scope scope(shard);
    auto serve = [&]() -> Task<void> {
      auto socket = co_await (*listener)->accept(shard);
      std::vector<runtime::Chunk> chunks{chunk("HTTP/1.1 400 Bad Request\r\n\r\n")};
      (void)co_await (*socket)->write(std::move(chunks));
      std::vector<std::byte> rest(1000);
      for (;;) {
        auto n = co_await (*socket)->read_some(rest);
        if (!n || *n == 0) break;
      }
    };
    scope.spawn(serve());
    auto socket = co_await world_.sockets().connect(shard, at, {});
    auto client = tls_client(plain_transport(std::move(*socket)), *context, "zk1.example");
    auto opened = co_await client->open();
    EXPECT_FALSE(opened);
    EXPECT_NE(opened.error().message.find("TLS handshake with"), std::string::npos);
    client->close();
    co_await scope.stop();
  });
}

TEST_F(TlsTest, AKafkaClientWithoutTlsIsToldApartByItsFirstBytes) {
  runtime::block_on(world_.shard(0), [&]() -> Task<void> {
    auto& shard = world_.shard(0);
    auto context = TlsContext::for_server(server_options_, world_.files());
    runtime::Address any{"127.0.0.1", 0};
    auto listener = world_.sockets().listen(shard, any, {});
    const auto at = (*listener)->local();
    auto client = co_await world_.sockets().connect(shard, at, {});
    std::vector<runtime::Chunk> chunks{chunk(std::string("\0\0\0\x12\0\x03", 6))};
    EXPECT_TRUE(co_await (*client)->write(std::move(chunks)));
    auto socket = co_await (*listener)->accept(shard);
    auto server = tls_server(plain_transport(std::move(*socket)), *context);
    auto opened = co_await server->open();
    EXPECT_FALSE(opened);
    EXPECT_NE(opened.error().message.find("security.protocol=SSL"), std::string::npos) << opened.error().message;
    server->close();
  });
}

class EchoService : public Service {
 public:
  Task<void> serve(std::shared_ptr<Connection> connection) override {
    for (;;) {
      auto frame = co_await connection->read_frame();
      if (!frame) break;
      runtime::Chunk answer;
      answer.memory = frame->bytes;
      std::vector<runtime::Chunk> chunks;
      chunks.push_back(std::move(answer));
      if (!co_await connection->write(std::move(chunks))) break;
    }
  }
};

// Over TCP a read waits for what its frame still lacks: never for more than comes, whatever the sizes of the records.
TEST_F(TlsTest, FramesOfAllSizesArriveOverTcp) {
  runtime::Shards shards(2);
  auto server_context = TlsContext::for_server(server_options_, world_.files());
  auto client_context = TlsContext::for_client(client_options_, world_.files());
  EchoService echo;
  ServerOptions options;
  options.transports = [&](const Endpoint&, std::unique_ptr<runtime::Socket> socket) {
    return tls_server(plain_transport(std::move(socket)), *server_context);
  };
  Server server(shards.all(), runtime::system_sockets(), echo, options);
  runtime::block_on(shards[0], [&]() -> Task<void> {
    Endpoint endpoint{"SSL", SecurityProtocol::ssl, {"127.0.0.1", 0}};
    std::vector<ListenerOptions> listeners{{endpoint}};
    auto bound = co_await server.start(std::move(listeners));
    EXPECT_TRUE(bound);
    const auto at = bound->front().address;
    auto socket = co_await runtime::system_sockets().connect(shards[0], at, {});
    auto client = tls_client(plain_transport(std::move(*socket)), *client_context, "127.0.0.1");
    auto opened = co_await client->open();
    EXPECT_TRUE(opened) << opened.error().message;
    for (const std::size_t size : {1, 16'383, 16'385, 17'000, 33'000, 65'537, 100'000, 1'000'003}) {
      std::string body(size, '\0');
      for (std::size_t i = 0; i < size; ++i) body[i] = static_cast<char>(i * 31 + i / 253);
      std::string frame(4, '\0');
      for (int i = 0; i < 4; ++i)
        frame[static_cast<std::size_t>(i)] = static_cast<char>(size >> (24U - 8U * static_cast<unsigned>(i)));
      frame += body;
      // In two records that cut the frame anywhere.
      for (const auto& part : {frame.substr(0, size / 3), frame.substr(size / 3)}) {
        std::vector<runtime::Chunk> chunks{chunk(part)};
        EXPECT_TRUE(co_await client->write(std::move(chunks), nullptr));
      }
      EXPECT_EQ(co_await read(*client, size), body);
    }
    client->close();
    co_await server.stop();
  });
  shards.stop();
}

TEST_F(TlsTest, WhoNeverEndsTheHandshakeIsClosed) {
  runtime::Shards shards(2);
  auto server_context = TlsContext::for_server(server_options_, world_.files());
  EchoService echo;
  ServerOptions options;
  options.handshake_max = std::chrono::milliseconds(20);
  options.transports = [&](const Endpoint&, std::unique_ptr<runtime::Socket> socket) {
    return tls_server(plain_transport(std::move(socket)), *server_context);
  };
  Server server(shards.all(), runtime::system_sockets(), echo, options);
  runtime::block_on(shards[0], [&]() -> Task<void> {
    Endpoint endpoint{"SSL", SecurityProtocol::ssl, {"127.0.0.1", 0}};
    std::vector<ListenerOptions> listeners{{endpoint}};
    auto bound = co_await server.start(std::move(listeners));
    EXPECT_TRUE(bound);
    const auto at = bound->front().address;
    // One says nothing, the other begins.
    for (const std::string& said : {std::string(), std::string("\x16\x03\x01\x02\0\x01", 6)}) {
      auto socket = co_await runtime::system_sockets().connect(shards[0], at, {});
      auto client = plain_transport(std::move(*socket));
      if (!said.empty()) {
        std::vector<runtime::Chunk> chunks{chunk(said)};
        EXPECT_TRUE(co_await client->write(std::move(chunks), nullptr));
      }
      std::array<std::byte, 16> answer{};
      const auto end = co_await client->read_some(bytes::MutableBytes(answer));
      EXPECT_TRUE(!end || *end == 0);
      client->close();
    }
    co_await server.stop();
  });
  shards.stop();
}

// However many names a stranger makes up, it is one kind of trouble in the log, and hides no other kind.
TEST_F(TlsTest, RefusalsAreLoggedByTheirKindNotByThePeersNames) {
  const auto path = testing::TempDir() + "weir-tls-test-" + std::to_string(::getpid()) + ".log";
  logging::init({.level = logging::Level::info, .format = logging::Format::text, .file = path});
  runtime::Shards shards(2);
  server_options_.client_auth = ClientAuth::required;
  auto server_context = TlsContext::for_server(server_options_, world_.files());
  EchoService echo;
  ServerOptions options;
  options.transports = [&](const Endpoint&, std::unique_ptr<runtime::Socket> socket) {
    return tls_server(plain_transport(std::move(socket)), *server_context);
  };
  Server server(shards.all(), runtime::system_sockets(), echo, options);
  runtime::block_on(shards[0], [&]() -> Task<void> {
    Endpoint endpoint{"SSL", SecurityProtocol::ssl, {"127.0.0.1", 0}};
    std::vector<ListenerOptions> listeners{{endpoint}};
    auto bound = co_await server.start(std::move(listeners));
    EXPECT_TRUE(bound);
    const auto at = bound->front().address;
    for (int i = 0; i <= 60; ++i) {
      auto mine = client_options_;
      mine.keystore = {};
      if (i < 60) {
        Identity made_up;
        make(made_up, ("mallory" + std::to_string(i)).c_str(), nullptr, nullptr);
        mine.keystore.pem = made_up.pem(true);
      }
      auto context = TlsContext::for_client(mine, world_.files());
      EXPECT_TRUE(context);
      auto socket = co_await runtime::system_sockets().connect(shards[0], at, {});
      auto client = tls_client(plain_transport(std::move(*socket)), *context, "127.0.0.1");
      (void)co_await client->open();  // with TLS 1.3 a client hears of it only when it reads
      std::vector<std::byte> nothing(16);
      EXPECT_FALSE(co_await client->read_some(nothing));
      client->close();
    }
    co_await server.stop();
  });
  shards.stop();
  logging::init({});
  std::ifstream in(path);
  std::size_t named = 0;
  bool other_kind = false;
  for (std::string line; std::getline(in, line);) {
    named += line.find("mallory") != std::string::npos ? 1 : 0;
    other_kind = other_kind || line.find("did not return a certificate") != std::string::npos;
  }
  std::filesystem::remove(path);
  EXPECT_GE(named, 1U);
  EXPECT_LT(named, 20U);
  EXPECT_TRUE(other_kind);
}

}  // namespace
}  // namespace weir::net
