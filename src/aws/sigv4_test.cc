#include "aws/sigv4.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aws/sign.h"
#include "runtime/random.h"

namespace weir::aws {
namespace {

using testing::HasSubstr;

// The keys, date and scope of the published test suite.
const std::string key_id = "AKIDEXAMPLE";
const std::string key_secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const milliseconds now = *parse_date("20150830T123600Z");

std::optional<std::string> secret_of(std::string_view id) {
  if (id == key_id) return key_secret;
  return std::nullopt;
}

net::HttpRequest request_of(std::string method, std::string target,
                            std::vector<std::pair<std::string, std::string>> headers = {}, std::string body = {}) {
  net::HttpRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers = std::move(headers);
  request.body = std::move(body);
  return request;
}

Signer signer() {
  Signer out;
  out.access_key_id = key_id;
  out.secret = key_secret;
  out.region = "us-east-1";
  out.service = "kafka";
  return out;
}

net::HttpRequest signed_request(std::string method = "GET", std::string target = "/v1/clusters",
                                std::string body = {}) {
  auto request = request_of(std::move(method), std::move(target), {{"Host", "example.amazonaws.com"}}, std::move(body));
  sign(request, signer(), now);
  return request;
}

std::string& header(net::HttpRequest& request, std::string_view name) {
  for (auto& [key, value] : request.headers) {
    if (key == name) return value;
  }
  throw std::runtime_error("no such header");
}

void replace(std::string& text, std::string_view what, std::string_view with) {
  const auto at = text.find(what);
  ASSERT_NE(at, std::string::npos) << text;
  text.replace(at, what.size(), with);
}

Fault refused(const net::HttpRequest& request, VerifyOptions options = {}, milliseconds at = now) {
  auto got = verify(request, at, secret_of, options);
  EXPECT_FALSE(got) << request.target;
  return got ? Fault() : got.error();
}

TEST(SigV4, published_vectors) {
  struct Vector {
    const char* name;
    const char* method;
    const char* target;
    std::vector<std::pair<std::string, std::string>> headers;
    const char* body;
    const char* signature;
  };
  const Vector vectors[] = {
      {"get-vanilla", "GET", "/", {}, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
      {"get-slash", "GET", "//", {}, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
      {"get-relative",
       "GET",
       "/example/..",
       {},
       "",
       "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
      {"get-slash-dot-slash", "GET", "/./", {}, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
      {"get-slashes", "GET", "//example//", {}, "", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
      {"get-unreserved",
       "GET",
       "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
       {},
       "",
       "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
      {"get-utf8", "GET", "/\xe1\x88\xb4", {}, "", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
      {"get-space",
       "GET",
       "/example space/",
       {},
       "",
       "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
      {"get-vanilla-query-order-key-case",
       "GET",
       "/?Param2=value2&Param1=value1",
       {},
       "",
       "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
      {"get-vanilla-utf8-query",
       "GET",
       "/?\xe1\x88\xb4=bar",
       {},
       "",
       "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
      {"get-header-key-duplicate",
       "GET",
       "/",
       {{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}},
       "",
       "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
      {"get-header-value-trim",
       "GET",
       "/",
       {{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}},
       "",
       "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
      {"post-vanilla", "POST", "/", {}, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
      {"post-x-www-form-urlencoded",
       "POST",
       "/",
       {{"Content-Type", "application/x-www-form-urlencoded"}},
       "Param1=value1",
       "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
  };
  for (const auto& v : vectors) {
    auto request = request_of(v.method, v.target, {{"Host", "example.amazonaws.com"}}, v.body);
    request.headers.insert(request.headers.end(), v.headers.begin(), v.headers.end());
    auto as = signer();
    as.service = "service";
    sign(request, as, now);
    EXPECT_THAT(header(request, "Authorization"), HasSubstr(fmt::format("Signature={}", v.signature))) << v.name;
    const auto caller = verify(request, now, secret_of, {});
    ASSERT_TRUE(caller) << v.name << ": " << caller.error().message;
    EXPECT_EQ(caller->access_key_id, key_id);
    EXPECT_EQ(caller->region, "us-east-1");
    EXPECT_EQ(caller->service, "service");
  }
}

TEST(SigV4, a_path_is_encoded_once_more) {
  const auto arn = uri_encode("arn:aws:kafka:us-east-1:1:cluster/n/u-1");
  EXPECT_EQ(arn, "arn%3Aaws%3Akafka%3Aus-east-1%3A1%3Acluster%2Fn%2Fu-1");
  EXPECT_THAT(canonical_request(request_of("GET", "/v1/clusters/" + arn), {}),
              HasSubstr("\n/v1/clusters/arn%253Aaws%253Akafka%253Aus-east-1%253A1%253Acluster%252Fn%252Fu-1\n"));
}

TEST(SigV4, query_pairs_are_sorted_and_encoded_one_way) {
  EXPECT_THAT(canonical_request(request_of("GET", "/?b=2&a=%7e&a&b=1&A=x%3ay&=v&&c=+"), {}),
              HasSubstr("\n=v&A=x%3Ay&a=&a=~&b=1&b=2&c=%2B\n"));
}

TEST(SigV4, nothing_signed_may_change) {
  const auto good = [] {
    auto request = request_of("POST", "/v1/clusters?a=1&b=2", {{"Host", "h"}, {"Content-Type", "application/json"}},
                              R"({"clusterName":"x"})");
    sign(request, signer(), now);
    return request;
  };
  ASSERT_TRUE(verify(good(), now, secret_of, {}));
  const std::function<void(net::HttpRequest&)> changes[] = {
      [](auto& r) { r.method = "PUT"; },
      [](auto& r) { r.target = "/v1/cluster?a=1&b=2"; },
      [](auto& r) { r.target = "/v1/clusters?a=1&b=3"; },
      [](auto& r) { r.target = "/v1/clusters?a=1"; },
      [](auto& r) { r.target = "/v1/clusters?a=1&b=2&b=2"; },
      [](auto& r) { r.body = R"({"clusterName":"y"})"; },
      [](auto& r) { r.body.clear(); },
      [](auto& r) { header(r, "Host") = "g"; },
      [](auto& r) { header(r, "Content-Type") = "text/plain"; },
      [](auto& r) { r.headers.emplace_back("content-type", "application/json"); },
      [](auto& r) { header(r, "X-Amz-Date") = "20150830T123601Z"; },
      [](auto& r) { replace(header(r, "Authorization"), "us-east-1", "us-east-2"); },
      [](auto& r) { replace(header(r, "Authorization"), "/kafka/", "/other/"); },
      [](auto& r) { replace(header(r, "Authorization"), "content-type;host", "host"); },
      [](auto& r) {
        auto& text = header(r, "Authorization");
        text.back() = text.back() == '0' ? '1' : '0';
      },
      [](auto& r) { header(r, "Authorization").pop_back(); },
      [](auto& r) { header(r, "Authorization") += "0"; },
  };
  int number = 0;
  for (const auto& change : changes) {
    auto request = good();
    change(request);
    const auto fault = refused(request);
    EXPECT_EQ(fault.status, 403) << number;
    EXPECT_EQ(fault.type, "InvalidSignatureException") << number;
    EXPECT_THAT(fault.message, testing::StartsWith("The request signature we calculated does not match")) << number;
    ++number;
  }
  auto sorted_otherwise = good();
  sorted_otherwise.target = "/v1/clusters?b=2&a=1";
  EXPECT_TRUE(verify(sorted_otherwise, now, secret_of, {})) << "which means the same";
}

TEST(SigV4, a_declared_body_hash_is_checked) {
  auto request = request_of("POST", "/", {{"Host", "h"}, {"x-amz-content-sha256", "UNSIGNED-PAYLOAD"}}, "body");
  sign(request, signer(), now);
  EXPECT_THAT(refused(request).message, HasSubstr("'x-amz-content-sha256' header does not match"));
}

TEST(SigV4, a_call_is_good_for_five_minutes_around_its_date) {
  const auto request = signed_request();
  const VerifyOptions options;
  EXPECT_TRUE(verify(request, now + seconds(300), secret_of, options));
  EXPECT_TRUE(verify(request, now - seconds(300), secret_of, options));
  const auto late = refused(request, options, now + seconds(301));
  EXPECT_EQ(late.type, "InvalidSignatureException");
  EXPECT_EQ(late.message,
            "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)");
  const auto early = refused(request, options, now - seconds(301));
  EXPECT_EQ(early.type, "InvalidSignatureException");
  EXPECT_EQ(early.message,
            "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T123059Z + 5 "
            "min.)");
}

TEST(SigV4, scope) {
  VerifyOptions options;
  options.region = "eu-west-1";
  EXPECT_EQ(refused(signed_request(), options).message,
            "Credential should be scoped to a valid region, not 'us-east-1'. ");
  options.region = "us-east-1";
  options.services = {"kinesis"};
  EXPECT_EQ(refused(signed_request(), options).message, "Credential should be scoped to correct service: 'kinesis'. ");
  options.services = {"kinesis", "kafka"};
  EXPECT_TRUE(verify(signed_request(), now, secret_of, options));

  auto other_day = signed_request();
  replace(header(other_day, "Authorization"), "20150830", "20150829");
  EXPECT_EQ(refused(other_day).message,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150829' != "
            "'20150830', from '20150830T123600Z'.");
  auto terminator = signed_request();
  replace(header(terminator, "Authorization"), "aws4_request", "aws5_request");
  EXPECT_EQ(refused(terminator).message,
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. ");
}

TEST(SigV4, who_is_not_known) {
  auto request = signed_request();
  replace(header(request, "Authorization"), key_id, "AKIDSOMEBODY");
  auto fault = refused(request);
  EXPECT_EQ(fault.type, "UnrecognizedClientException");
  EXPECT_EQ(fault.message, "The security token included in the request is invalid.");

  auto token = request_of("GET", "/", {{"Host", "h"}, {"X-Amz-Security-Token", "FwoGZXIvYXdzE"}});
  sign(token, signer(), now);
  EXPECT_EQ(refused(token).type, "UnrecognizedClientException");
}

TEST(SigV4, what_is_missing_is_named) {
  const auto with = [](std::string authorization, bool date = true) {
    auto request = request_of("GET", "/", {{"Host", "h"}, {"Authorization", std::move(authorization)}});
    if (date) request.headers.emplace_back("X-Amz-Date", "20150830T123600Z");
    return refused(request);
  };
  EXPECT_EQ(refused(request_of("GET", "/")).type, "MissingAuthenticationTokenException");
  EXPECT_EQ(refused(request_of("GET", "/")).message, "Missing Authentication Token");
  EXPECT_EQ(with("   ").type, "MissingAuthenticationTokenException");

  const auto presigned = refused(request_of("GET", "/v1/clusters?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"));
  EXPECT_EQ(presigned.type, "IncompleteSignatureException");
  EXPECT_THAT(presigned.message, HasSubstr("presigned"));

  const auto nothing = with("AWS4-HMAC-SHA256", false);
  EXPECT_EQ(nothing.type, "IncompleteSignatureException");
  EXPECT_EQ(nothing.message,
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' "
            "parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires "
            "existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256");
  EXPECT_EQ(with("Bearer abc").type, "IncompleteSignatureException");
  EXPECT_EQ(with("AWS4-HMAC-SHA512 Credential=a").type, "IncompleteSignatureException");
  EXPECT_THAT(with("AWS4-HMAC-SHA256 Credential").message, HasSubstr("'Credential' not a valid key=value pair"));
  EXPECT_EQ(
      with("AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=0").message,
      "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c'");
  EXPECT_EQ(with("AWS4-HMAC-SHA256 Credential=a/20150830/r/s/aws4_request, SignedHeaders=date, Signature=0").message,
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");
  std::string many = "host";
  for (int i = 0; i < 200; ++i) many += ";a";
  EXPECT_EQ(
      with("AWS4-HMAC-SHA256 Credential=a/20150830/r/s/aws4_request, SignedHeaders=" + many + ", Signature=0").type,
      "IncompleteSignatureException");
  // No commas between, or no space after them, is how some clients write it.
  auto compact = signed_request();
  auto& text = header(compact, "Authorization");
  replace(text, ", S", ",S");
  replace(text, ", S", ",S");
  EXPECT_TRUE(verify(compact, now, secret_of, {}));
}

TEST(SigV4, dates) {
  EXPECT_EQ(basic_date(milliseconds(0)), "19700101T000000Z");
  EXPECT_EQ(basic_date(milliseconds(1'440'938'160'999)), "20150830T123600Z");
  EXPECT_EQ(parse_date("Sun, 30 Aug 2015 12:36:00 GMT"), now);
  for (const auto* bad : {"", "20150830", "20150830T123600", "2015-08-30T12:36:00Z", "20151330T123600Z",
                          "20150230T123600Z", "20150830T243600Z", "20150830T123660Z", "2015083xT123600Z",
                          "Sun, 30 Foo 2015 12:36:00 GMT", "Sun, 30 Aug 2015 12:36:00 CET", "99999999999999999999"}) {
    EXPECT_FALSE(parse_date(bad)) << bad;
    auto request = signed_request();
    if (*bad == '\0') continue;
    header(request, "X-Amz-Date") = bad;
    EXPECT_THAT(refused(request).message, testing::StartsWith("Date must be in ISO-8601 'basic format'. Got")) << bad;
  }
  // The Date header serves where X-Amz-Date is not sent.
  auto request = signed_request();
  CredentialScope scope;
  scope.access_key_id = key_id;
  scope.date = "20150830";
  scope.region = "us-east-1";
  scope.service = "kafka";
  request.headers = {{"Host", "h"}, {"Date", "Sun, 30 Aug 2015 12:36:00 GMT"}};
  const std::vector<std::string> names = {"date", "host"};
  const auto made =
      signature(key_secret, scope, string_to_sign("20150830T123600Z", scope, canonical_request(request, names)));
  request.headers.emplace_back(
      "Authorization", fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders=date;host, Signature={}", key_id,
                                   scope.text(), made));
  EXPECT_TRUE(verify(request, now, secret_of, {}));
}

// Whatever is signed verifies, and with any byte of it changed it does not.
TEST(SigV4, random_requests_and_one_byte) {
  auto random = runtime::seeded_random(7);
  const auto text = [&](std::size_t max, std::string_view alphabet) {
    std::string out;
    for (auto n = random->below(max); n > 0; --n) out += alphabet[random->below(alphabet.size())];
    return out;
  };
  std::string any_byte;
  for (int c = 0; c < 256; ++c) any_byte += static_cast<char>(c);
  for (int i = 0; i < 300; ++i) {
    auto request = request_of(random->below(2) == 0 ? "GET" : "POST", "/" + text(40, "ab%:/.~+ \xc3\xa9-_2F"),
                              {{"Host", "h" + text(9, "abc")}}, text(100, any_byte));
    if (random->below(2) == 0) request.target += "?" + text(40, "ab=&&=%2Fcd+.~");
    for (auto n = random->below(4); n > 0; --n)
      request.headers.emplace_back("X-" + text(3, "aB"), text(20, "a  ,\"b\t"));
    sign(request, signer(), now);
    ASSERT_TRUE(verify(request, now, secret_of, {})) << request.target;
    auto body = request;
    body.body += 'x';
    EXPECT_FALSE(verify(body, now, secret_of, {}));
    auto target = request;
    target.target += 'x';
    EXPECT_FALSE(verify(target, now, secret_of, {})) << request.target;
    auto method = request;
    method.method += 'X';
    EXPECT_FALSE(verify(method, now, secret_of, {}));
  }
}

// Bytes of strangers end in an answer, and in one of our few.
TEST(SigV4, junk) {
  auto random = runtime::seeded_random(11);
  const auto base = signed_request("POST", "/v1/a?b=c", "{}");
  for (int i = 0; i < 3000; ++i) {
    auto request = base;
    auto& text = request.headers[random->below(request.headers.size())].second;
    for (auto n = random->below(4) + 1; n > 0 && !text.empty(); --n) {
      switch (const auto at = random->below(text.size()); random->below(3)) {
        case 0: text[at] = static_cast<char>(random->below(256)); break;
        case 1: text.erase(at, random->below(20) + 1); break;
        default: text.insert(at, text.substr(random->below(text.size()))); break;
      }
    }
    const auto got = verify(request, now, secret_of, {});
    if (got) continue;
    EXPECT_EQ(got.error().status, 403);
    EXPECT_LT(got.error().message.size(), 8192U);
  }
}

TEST(SigV4, percent_encoding) {
  EXPECT_EQ(uri_encode("a/b c~\xc3\xa9"), "a%2Fb%20c~%C3%A9");
  EXPECT_EQ(uri_encode("a/b", true), "a/b");
  EXPECT_EQ(uri_decode("a%2Fb%c3%A9+"), "a/b\xc3\xa9+");
  for (const auto* bad : {"%", "%2", "a%zz", "%%41", "%2 "}) EXPECT_FALSE(uri_decode(bad)) << bad;
}

}  // namespace
}  // namespace weir::aws
