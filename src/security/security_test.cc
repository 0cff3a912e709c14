#include "security/store.h"

#include <gtest/gtest.h>

#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>

#include "security/ca.h"
#include "security/openssl.h"
#include "security/principal.h"

namespace weir::security {
namespace {

// Made by keytool 17, store password "storesecret". A JKS store whose key has the password "keysecret", with a subject
// of CN=broker,OU=data\\, more,O=Weir; and a PKCS#12 store as Java 8 writes them, its certificates under RC2.
constexpr std::string_view jks_of_java =
    "/u3+7QAAAAIAAAABAAAAAQAGYnJva2VyAAABogocZqQAAAB/MH0wDgYKKwYBBAEqAhEBAQUABGt54NTHMmuWsndEJguyhbCaLo2t"
    "GcziuLP7o9hJ5H4mfzJgPtmPs2pJEK33IdGdxOEiY4m2ijZgO0ggDcr9pZTa+7VOpPWU6b7FkW1rK0PLs4nuWBRD7IgcTTNjqfO4"
    "mYTkaFv45Hy0xYJDQQAAAAEABVguNTA5AAABhzCCAYMwggEpoAMCAQICCEMqE2TtIjhjMAoGCCqGSM49BAMCMDUxDTALBgNVBAoT"
    "BFdlaXIxEzARBgNVBAsTCmRhdGEsIG1vcmUxDzANBgNVBAMTBmJyb2tlcjAgFw0yNjExMjMyMDMyNDNaGA8yMTI2MTAzMDIwMzI0"
    "M1owNTENMAsGA1UEChMEV2VpcjETMBEGA1UECxMKZGF0YSwgbW9yZTEPMA0GA1UEAxMGYnJva2VyMFkwEwYHKoZIzj0CAQYIKoZI"
    "zj0DAQcDQgAEApGlQQw1PiOZPB/GMxFpWXCcF4NmFk2eo/569R6SXFKaPs+RJD6dWEOQk/D1rzoVmhTBS9qw+KEhhmEYGaz1uKMh"
    "MB8wHQYDVR0OBBYEFJUqVss6mevvnKTXWiYUyq1hgJ5QMAoGCCqGSM49BAMCA0gAMEUCIQDvogl1BqWD/g/Y6V3M3McMTHjqJmwj"
    "hwT1/+JAnVrpGgIgYggzl6MYw2mdr/jZ7c/tS/iTHLi4SqCaSaFo7PgN1b2zD1ROcPJVl3x90SlW4/DBaNSMrw==";
constexpr std::string_view pkcs12_of_java_8 =
    "MIIDaAIBAzCCAyEGCSqGSIb3DQEHAaCCAxIEggMOMIIDCjCB3wYJKoZIhvcNAQcBoIHRBIHOMIHLMIHIBgsqhkiG9w0BDAoBAqB3"
    "MHUwKQYKKoZIhvcNAQwBAzAbBBTqCzFijZ05Xc+1eLiXMf6LO6JoSQIDAMNQBEgPW7ZXtXj+ssn6rfjFvGfqKkcdnmeAgPEEBK0q"
    "e5wml/kcQKpqI4aZsQwY9zxuPFtZNJFUrNfCmE+T++jW6ZPyU53nRD7fbo4xQDAbBgkqhkiG9w0BCRQxDh4MAGIAcgBvAGsAZQBy"
    "MCEGCSqGSIb3DQEJFTEUBBJUaW1lIDE3OTU0NjU5NjM4MTgwggIkBgkqhkiG9w0BBwagggIVMIICEQIBADCCAgoGCSqGSIb3DQEH"
    "ATApBgoqhkiG9w0BDAEGMBsEFM28sb22QTaNF5b67DvliF12ij+bAgMAw1CAggHQ18xm1YNBTCMixOg+QXTBmYWQiWReNviU3xnJ"
    "lyIfX1vXbRmOco0IiuW2YZLRbvJZtOg5kXEybkxxOGqdtYbAE0Z2B9/rhhBd/AlFIM3VHjl+1j4ScYZ5TVV3mIKJ1U8O9hMS/JjH"
    "UmK4O5UsplNbjbzrVwj9mFOsDDGTY7Fcj2b34UhmLCSOmN0GzBm93H/C9JfAQuG2/RqYfh7DO+K5f17dxTPvBkPO+k8CTiRX3f7S"
    "DzQ4AMVyHKwMWhmkEGqJx1H2JUOOnoZXItqMWDDqnIjbo4GeU9DzWf++CqE+qv/6pRAWtwBWJphuEdYHktQDgCgV2ZABdNfR5aHl"
    "XTkQInEhiVuwS6BI0+bnhLB0B0xRQY3lEzZZuZkKjr0ZIll5cGrZbhkEnyfXy16NmAeIkZz9tePMrFsrNZ4HSN3aus5yoffbtCNG"
    "NaSuSxwv8AcIjVYelHiQZxlGK1B3QQ5jLK+g54M4nCqVkLcrElcQhmjA9W4XkvUikSB0PB7DcCTLZON2LgNYE4cNajFNbanfh92D"
    "9zlnHECa3xtpuPkgEMunM4pNR/umv8PhgWqE6sx00h2kPjGDVRW/OXJmX3gG1dvV+CBoVAswtnMGGTC3hzcwPjAhMAkGBSsOAwIa"
    "BQAEFG63PkY28yOO4eviRlyQhw+7JsToBBQPr+pxeve54k3WVOhv5KtA6oY//AIDAYag";

std::string decoded(std::string_view text) {
  std::string out(text.size(), '\0');
  const int n =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes_of(text), static_cast<int>(text.size()));
  const auto padding = static_cast<std::size_t>(std::ranges::count(text, '='));
  out.resize(static_cast<std::size_t>(n) - padding);
  return out;
}

std::string subject_of(const std::string& der) {
  const auto* at = bytes_of(der);
  const Owned<X509> certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  return distinguished_name(certificate.get());
}

constexpr Validity validity{1'700'000'000, 30};

CertificateAuthority authority() { return std::move(*CertificateAuthority::create("", {1'700'000'000, 3650})); }

std::string complaint(const Result<StoreContents>& result) { return result ? "" : result.error().message; }

TEST(Store, AKeyStoreOfJavaGivesKeyAndCertificate) {
  const auto store = decoded(jks_of_java);
  const auto found = read_store(store, {"storesecret", "keysecret"}, "k.jks");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(found->key.empty());
  ASSERT_EQ(found->certificates.size(), 1U);
  EXPECT_EQ(subject_of(found->certificates[0]), "CN=broker,OU=data\\, more,O=Weir");
  // Without the store's password it opens; the key does not.
  EXPECT_TRUE(read_store(store, {"", "keysecret"}, "k.jks"));
  EXPECT_NE(complaint(read_store(store, {"storesecret", ""}, "k.jks")).find("ssl.key.password"), std::string::npos);
  EXPECT_NE(complaint(read_store(store, {"other", "keysecret"}, "k.jks")).find("its password is another"),
            std::string::npos);
  auto changed = store;
  changed[store.size() / 2] ^= 1;
  EXPECT_FALSE(read_store(changed, {"storesecret", "keysecret"}, "k.jks"));
  for (std::size_t n = 4; n < store.size(); ++n) {
    EXPECT_FALSE(read_store(store.substr(0, n), {"", "keysecret"}, "k.jks")) << n;
  }
}

TEST(Store, AStoreOfJava8Opens) {
  const auto found = read_store(decoded(pkcs12_of_java_8), {"storesecret", ""}, "leg.p12");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(found->key.empty());
  EXPECT_EQ(subject_of(found->certificates.at(0)), "CN=broker,O=Weir");
  EXPECT_FALSE(read_store(decoded(pkcs12_of_java_8), {"wrong", ""}, "leg.p12"));
}

TEST(Store, TrustStoresHoldWhatWasPutIn) {
  const auto one = authority();
  const auto other = authority();
  const auto pem = one.certificate_pem() + other.certificate_pem();
  for (const bool java : {true, false}) {
    const auto store = java ? trust_store_jks(pem, "weir", "changeit", 1) : trust_store_pkcs12(pem, "weir", "changeit");
    ASSERT_TRUE(store);
    const auto found = read_store(*store, {"changeit", ""}, "store");
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_TRUE(found->key.empty());
    EXPECT_EQ(found->certificates.size(), 2U);
    EXPECT_EQ(subject_of(found->certificates[0]), "CN=Weir CA");
    EXPECT_FALSE(read_store(*store, {"other", ""}, "store"));
  }
  EXPECT_FALSE(trust_store_jks("nothing", "weir", "changeit", 1));
}

TEST(Store, PemKeepsItsMeaningWithoutItsLines) {
  const auto made = authority().issue_server({{"b"}, {}}, validity);
  auto pem = made->key_pem + made->chain_pem;
  std::ranges::replace(pem, '\n', ' ');
  EXPECT_EQ(refolded_pem(pem), made->key_pem + made->chain_pem);
  EXPECT_EQ(refolded_pem("-----BEGIN X-----"), "");
}

TEST(Authority, IssuesWhatClientsOfABrokerAccept) {
  const auto ca = authority();
  const auto made = ca.issue_server({{"b1.example", "*.weir"}, {"127.0.0.2", "::1"}}, validity);
  ASSERT_TRUE(made) << made.error().message;
  const auto read = read_store(made->chain_pem + made->key_pem, {}, "pem");
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->certificates.size(), 2U);
  const auto said = describe_certificate(made->chain_pem);
  EXPECT_EQ(said->subject, "CN=b1.example");
  EXPECT_EQ(said->issuer, "CN=Weir CA");
  EXPECT_EQ(said->names.names, (std::vector<std::string>{"b1.example", "*.weir"}));
  EXPECT_EQ(said->names.addresses, (std::vector<std::string>{"127.0.0.2", "::1"}));
  EXPECT_LT(said->not_before_s, validity.now_s);
  EXPECT_EQ(said->not_after_s, validity.now_s + 30 * 24 * 3600);
  EXPECT_NE(said->serial, describe_certificate(ca.issue_server({{"b"}, {}}, validity)->chain_pem)->serial);

  const auto* at = bytes_of(read->certificates[0]);
  const Owned<X509> certificate(d2i_X509(nullptr, &at, static_cast<long>(read->certificates[0].size())));
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "127.0.0.2", 0), 1);
  EXPECT_EQ(X509_check_host(certificate.get(), "b1.example", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_purpose(certificate.get(), X509_PURPOSE_SSL_SERVER, 0), 1);
  EXPECT_EQ(X509_check_purpose(certificate.get(), X509_PURPOSE_SSL_CLIENT, 0), 1);
  EXPECT_EQ(X509_check_ca(certificate.get()), 0);
}

TEST(Authority, OutlivesWhatItIssuesAndIsReadAgain) {
  const auto ca = authority();
  const auto again = CertificateAuthority::load(ca.certificate_pem(), ca.key_pem());
  ASSERT_TRUE(again);
  const auto made = again->issue_client("CN=alice\\, the first,O=Example", {1'700'000'000 + 3649LL * 86400, 400});
  const auto said = describe_certificate(made->chain_pem);
  EXPECT_EQ(said->subject, "CN=alice\\, the first,O=Example");
  EXPECT_EQ(said->not_after_s, describe_certificate(ca.certificate_pem())->not_after_s);
  EXPECT_FALSE(again->issue_client("CN=alice", {1'700'000'000 + 3650LL * 86400, 1}));
  EXPECT_FALSE(CertificateAuthority::load(ca.certificate_pem(), authority().key_pem()));
  EXPECT_FALSE(CertificateAuthority::load(made->chain_pem, made->key_pem));
  EXPECT_FALSE(CertificateAuthority::load("", ""));
}

TEST(Authority, RefusesWhatItCannotVouchFor) {
  const auto ca = authority();
  EXPECT_FALSE(ca.issue_server({}, validity));
  EXPECT_FALSE(ca.issue_server({{"a b"}, {}}, validity));
  EXPECT_FALSE(ca.issue_server({{}, {"300.1.1.1"}}, validity));
  EXPECT_FALSE(ca.issue_server({{"b"}, {}}, {1'700'000'000, 0}));
  for (const auto* subject : {"", "alice", "CN=", "NOSUCH=1", "CN=a,"})
    EXPECT_FALSE(ca.issue_client(subject, validity));
}

std::string request_of(EVP_PKEY* key, EVP_PKEY* signer, const char* name) {
  const Owned<X509_REQ> request(X509_REQ_new());
  if (name != nullptr) {
    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request.get()), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  }
  X509_REQ_set_pubkey(request.get(), key);
  X509_REQ_sign(request.get(), signer, EVP_sha256());
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(out.get(), request.get());
  return written(out.get());
}

TEST(Authority, SignsAClientsRequest) {
  const auto ca = authority();
  const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  const Owned<EVP_PKEY> other(EVP_EC_gen("P-256"));
  const auto chain = ca.sign_client(request_of(key.get(), key.get(), "alice"), validity);
  ASSERT_TRUE(chain) << chain.error().message;
  EXPECT_EQ(describe_certificate(*chain)->subject, "CN=alice");
  const auto refused = [&](const std::string& request) {
    const auto made = ca.sign_client(request, validity);
    return made ? "" : made.error().message;
  };
  EXPECT_NE(refused(request_of(key.get(), other.get(), "alice")).find("its own key"), std::string::npos);
  EXPECT_NE(refused(request_of(key.get(), key.get(), nullptr)).find("no subject"), std::string::npos);
  const Owned<EVP_PKEY> weak(EVP_RSA_gen(1024));
  EXPECT_NE(refused(request_of(weak.get(), weak.get(), "alice")).find("too weak"), std::string::npos);
  EXPECT_NE(refused("nonsense"), "");
  EXPECT_NE(refused(std::string(100'000, 'x')), "");
}

std::string mapped(std::string_view rules, const std::string& name) {
  const auto mapper = PrincipalMapper::parse(rules);
  if (!mapper) return "error: " + mapper.error().message;
  const auto out = mapper->map(name);
  return out ? *out : "none";
}

TEST(PrincipalMapper, TheFirstRuleThatMatchesCounts) {
  const std::string dn = "CN=kafka-server1, OU=KafkaUnit, O=Org1, C=IN";
  EXPECT_EQ(mapped("", dn), dn);
  EXPECT_EQ(mapped("DEFAULT", dn), dn);
  EXPECT_EQ(mapped("RULE:^CN=(.*?), OU=Nobody.*$/$1/, RULE:^CN=(.*?), OU=.*$/$1/U , DEFAULT", dn), "KAFKA-SERVER1");
  EXPECT_EQ(mapped("RULE:^CN=([^, ]+).*$/user-$1@$2/L", "CN=Alice"), "user-alice@$2");
  EXPECT_EQ(mapped(R"(RULE:^CN=(.*)\/(.*)$/$2\/\$1/)", "CN=a/b"), "b/$1");
  EXPECT_EQ(mapped("RULE:^CN=(?<who>.*)$/${who}/", "CN=a"), "a");
  EXPECT_EQ(mapped("RULE:^OU=.*$/x/", dn), "none");
  EXPECT_EQ(mapped("RULE:.*/x/", dn), "xx");  // as Java's replaceAll: once for all of it, once for the end
}

TEST(PrincipalMapper, WhatIsNoRuleIsNamed) {
  for (const auto* rules :
       {"DEFAUL", "RULE:^CN=(.*)$", "RULE:^CN=(.*)$/$1", "RULE:^CN=(.*)$/$1/X", "RULE:(/x/", "DEFAULT;"}) {
    EXPECT_TRUE(mapped(rules, "CN=a").starts_with("error: ssl.principal.mapping.rules")) << rules;
  }
}

TEST(PrincipalMapper, APatternThatWouldTryForEverMatchesNothing) {
  EXPECT_EQ(mapped("RULE:^CN=(a+)+b$/$1/", "CN=" + std::string(500, 'a')), "none");
}

}  // namespace
}  // namespace weir::security
