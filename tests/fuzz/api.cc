// HTTP and signatures, as the endpoint of the AWS-style APIs takes them from strangers.
#include <boost/json.hpp>

#include "aws/endpoint.h"
#include "aws/sign.h"
#include "base/log.h"
#include "fuzz/fuzz.h"
#include "runtime/sim.h"

namespace weir::fuzz {

namespace {

namespace json = boost::json;
using runtime::Task;

constexpr std::string_view key_id = "AKIAFUZZ";
constexpr std::string_view secret = "not a secret";

class OneKey final : public aws::Credentials {
 public:
  std::optional<std::string> secret_of(std::string_view id) const override {
    if (id != key_id) return std::nullopt;
    return std::string(secret);
  }
  std::vector<aws::AccessKey> list() const override { return {}; }
  Result<> add(aws::AccessKey) override { return {}; }
  Result<> set_status(std::string_view, aws::KeyStatus) override { return {}; }
  Result<> revoke(std::string_view) override { return {}; }
  Result<> refresh() override { return {}; }
};

class Echo final : public aws::Service {
 public:
  std::string_view name() const override { return "kafka"; }
  const aws::Router& router() const override { return router_; }
  Task<aws::Reply> handle(aws::Request request) override {
    json::object out;
    for (const auto& [name, value] : request.labels) out[name] = value;
    out["body"] = *request.body;
    co_return aws::reply(out);
  }

 private:
  const aws::Router router_{{{"GET", "/v1/clusters/{clusterArn}", "DescribeCluster"},
                             {"POST", "/v1/clusters", "CreateCluster"},
                             {"PUT", "/v1/clusters/{clusterArn}/topics/{topicName}", "UpdateTopic"},
                             {"DELETE", "/v1/tags/{resourceArn}", "UntagResource"}}};
};

struct World {
  World() {
    logging::init({logging::Level::off, logging::Format::text, {}});
    runtime::block_on(world.shard(), [this]() -> Task<void> { return start(); });
  }
  Task<void> start() {
    auto bound = co_await endpoint.start({"127.0.0.1", 0});
    WEIR_CHECK(bound.has_value(), "the endpoint listens");
    at = *bound;
  }
  // What is answered to these bytes by the time the connection ends.
  Task<void> exchange(std::string bytes, std::string& answer) {
    auto socket = co_await world.sockets().connect(world.shard(), at, {});
    WEIR_CHECK(socket.has_value(), "the endpoint accepts");
    std::vector<runtime::Chunk> chunks(1);
    chunks[0].memory = bytes::Shared::copy(bytes);
    const auto written = co_await (*socket)->write(std::move(chunks));
    std::vector<std::byte> part(16 * 1024);
    while (written) {
      const auto n = co_await (*socket)->read_some(part);
      if (!n || *n == 0) break;
      answer += bytes::as_text(bytes::Bytes(part).first(*n));
    }
  }
  std::string say(std::string bytes) {
    std::string answer;
    runtime::block_on(world.shard(), [&]() -> Task<void> { return exchange(std::move(bytes), answer); });
    return answer;
  }

  runtime::SimWorld world;
  OneKey credentials;
  Echo echo;
  aws::Endpoint endpoint{world.all(), world.sockets(), world.pool(), world.random(), credentials, {&echo}};
  runtime::Address at;
};

std::string head_of(const net::HttpRequest& request) {
  auto out = request.method + " " + request.target + " HTTP/1.1\r\n";
  for (const auto& [name, value] : request.headers) out += name + ": " + value + "\r\n";
  return out + "Content-Length: " + std::to_string(request.body.size()) + "\r\nConnection: close\r\n\r\n";
}

// Up to the next zero byte.
std::string part(bytes::Bytes& from) {
  const auto text = bytes::as_text(from);
  const auto end = std::min(text.find('\0'), text.size());
  const auto out = own(take(from, end));
  take(from, 1);
  return out;
}

void check(const std::string& answer) {
  if (answer.empty()) return;  // it did not say enough, or ended
  WEIR_CHECK(answer.starts_with("HTTP/1.1 "), "what comes back is HTTP");
  WEIR_CHECK(!answer.starts_with("HTTP/1.1 500"), "no input is an internal error");
}

// A request that our own signer signs is accepted, whatever is in it that HTTP can carry.
void signed_request(World& world, bytes::Bytes input) {
  static constexpr std::string_view methods[] = {"GET", "POST", "PUT", "DELETE"};
  net::HttpRequest request;
  request.method = methods[choice(input) % 4];
  request.target = "/" + part(input);
  std::erase_if(request.target, [](char c) { return c <= ' ' || c > '~' || c == '#'; });
  if (request.target.size() > 8000) request.target.resize(8000);
  request.headers.emplace_back("Host", "h");
  auto value = part(input).substr(0, 4000);
  std::erase_if(value, [](char c) { return c < ' ' || c > '~'; });
  request.headers.emplace_back("X-Fuzz", value);
  request.body = own(input);
  aws::Signer signer;
  signer.access_key_id = key_id;
  signer.secret = secret;
  signer.region = "us-east-1";
  signer.service = "kafka";
  aws::sign(request, signer, world.world.clock().wall());
  const auto answer = world.say(head_of(request) + request.body);
  check(answer);
  WEIR_CHECK(!answer.starts_with("HTTP/1.1 403"), "what is signed is accepted");
}

}  // namespace

void run(bytes::Bytes input) {
  static World& world = *new World;  // it has no end: an endpoint is stopped before it goes
  switch (choice(input) % 4) {
    case 0: return check(world.say(own(input)));
    case 1: return signed_request(world, input);
    case 2: {  // headers of a request
      auto headers = own(input);
      return check(world.say("GET /v1/clusters/x HTTP/1.1\r\nHost: h\r\n" + headers + "\r\nConnection: close\r\n\r\n"));
    }
    default: {  // the value that a signature is read from
      auto value = part(input);
      const auto date = part(input);
      return check(world.say("GET /v1/clusters/x HTTP/1.1\r\nHost: h\r\nX-Amz-Date: " + date +
                             "\r\nAuthorization: " + value + "\r\nConnection: close\r\n\r\n"));
    }
  }
}

std::vector<std::string> seeds() {
  using std::string_literals::operator""s;
  const std::string arn = "v1/clusters/arn%3Aaws%3Akafka%3Aus-east-1%3A1%3Acluster%2Fname%2Fu-1";
  const std::string credential = "AKIAFUZZ/20231114/us-east-1/kafka/aws4_request";
  return {
      seed(0, "GET /v1/clusters/x HTTP/1.1\r\nHost: h\r\n\r\n"),
      seed(0,
           "POST /v1/clusters HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nA: "
           "b\r\n\r\n"),
      seed(0, "POST /v1/clusters HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"),
      seed(0, "GET /health HTTP/1.1\r\nHost: h\r\n\r\nHEAD /health HTTP/1.0\r\n\r\n"),
      seed(1, "\0"s + arn + "?maxResults=1&nextToken=%2F\0a  b\0"s),
      seed(1, "\1v1/clusters\0a,b\0{\"clusterName\": \"x\", \"tags\": {\"a\": [1, 2.5e3, null, true]}}"s),
      seed(1, "\2v1//clusters/./x/../" + arn + "/topics/a.b?x&y=&=z&x=%zz\0\0{}"s),
      seed(2, "Content-Length: 2\r\nX-Amz-Content-Sha256: 0\r\nX-Amz-Target: Kinesis.X\r\nX-Amz-Security-Token: t"),
      seed(3, "AWS4-HMAC-SHA256 Credential=" + credential + ", SignedHeaders=host;x-amz-date, Signature=00ff\0"s +
                  "20231114T221320Z"),
      seed(3, "AWS4-HMAC-SHA256 SignedHeaders=host,Credential=" + credential +
                  ",Signature=\0Tue, 14 Nov 2023 22:13:20 GMT"s),
  };
}

}  // namespace weir::fuzz
