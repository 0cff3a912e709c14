#include "aws/endpoint.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <stdexcept>

#include "aws/client.h"
#include "net/http_client.h"
#include "runtime/sim.h"

namespace weir::aws {
namespace {

namespace json = boost::json;

using runtime::Task;
using testing::HasSubstr;

// Says what it was asked.
class Echo final : public Service {
 public:
  Echo(std::string name, std::vector<Route> routes) : name_(std::move(name)), router_(std::move(routes)) {}
  std::string_view name() const override { return name_; }
  const Router& router() const override { return router_; }
  Task<Reply> handle(Request request) override {
    last_caller = request.caller.access_key_id;
    last_id = request.request_id;
    if (request.operation == "Throw") throw std::runtime_error("a bug");
    if (request.operation == "Refuse") {
      co_return std::unexpected(fault(409, "ConflictException", "No \xff, \"thank\" you.", "clusterName"));
    }
    json::object out;
    out["service"] = name_;
    out["operation"] = request.operation;
    out["arn"] = std::string(request.label("arn"));
    out["maxResults"] = std::string(request.parameter("maxResults"));
    out["nothing"] = std::string(request.parameter("nothing"));
    out["body"] = *request.body;
    co_return reply(out, request.operation == "Make" ? 201 : 200);
  }

  std::string last_caller;
  std::string last_id;

 private:
  const std::string name_;
  const Router router_;
};

class EndpointTest : public testing::Test {
 protected:
  explicit EndpointTest(EndpointOptions options = {})
      : kafka_("kafka", {{"GET", "/v1/clusters/{arn}", "Describe"},
                         {"POST", "/v1/clusters", "Make"},
                         {"PUT", "/v1/clusters", "Change"},
                         {"GET", "/v1/throw", "Throw"},
                         {"GET", "/v1/refuse", "Refuse"}}),
        streams_("kinesis", {{"GET", "/v1/clusters/{arn}", "Streams"}}),
        endpoint_(world_.all(), world_.sockets(), world_.pool(), *random_, *credentials_, {&kafka_, &streams_},
                  std::move(options)) {
    EXPECT_TRUE(credentials_->add(key_));
    on_shard([this]() -> Task<void> {
      auto bound = co_await endpoint_.start({"127.0.0.1", 0});
      EXPECT_TRUE(bound);
      at_ = *bound;
    });
  }
  ~EndpointTest() override {
    on_shard([this]() -> Task<void> { co_await endpoint_.stop(); });
  }
  void on_shard(std::move_only_function<Task<void>()> work) { runtime::block_on(world_.shard(), std::move(work)); }

  Signer signer() const {
    Signer out;
    out.access_key_id = key_.id;
    out.secret = key_.secret;
    out.region = "us-east-1";
    out.service = "kafka";
    return out;
  }
  std::expected<Answer, Fault> call(std::string method, std::string target, std::string body = {}) {
    return call_as(signer(), std::move(method), std::move(target), std::move(body));
  }
  std::expected<Answer, Fault> call_as(Signer as, std::string method, std::string target, std::string body = {}) {
    ClientOptions options;
    options.endpoint = "http://" + at_.text();
    options.signer = std::move(as);
    auto client = Client::make(options, world_.sockets());
    std::expected<Answer, Fault> out;
    on_shard([&]() -> Task<void> { out = co_await client->call(method, target, body); });
    return out;
  }
  // As it is, unsigned.
  net::HttpResponse raw(std::string method, std::string target, std::string body = {}) {
    net::HttpCall made;
    made.to = at_;
    made.request.method = std::move(method);
    made.request.target = std::move(target);
    made.request.headers.emplace_back("Host", "h");
    made.request.body = std::move(body);
    net::HttpResponse out;
    on_shard([&]() -> Task<void> {
      auto got = co_await net::http_call(world_.shard(), world_.sockets(), std::move(made));
      EXPECT_TRUE(got);
      if (got) out = std::move(*got);
    });
    return out;
  }

  runtime::SimWorld world_;
  runtime::SimFiles files_;
  std::unique_ptr<runtime::Random> random_ = runtime::seeded_random(5);
  AccessKey key_ = generate_key(*random_, milliseconds(0), "test");
  std::unique_ptr<FileCredentials> credentials_ = FileCredentials::open("/credentials.json", files_).value();
  Echo kafka_;
  Echo streams_;
  Endpoint endpoint_;
  runtime::Address at_;
};

TEST_F(EndpointTest, a_signed_call_reaches_its_operation) {
  const auto got = call("GET", "/v1/clusters/" + uri_encode("arn:aws:kafka:r:1:cluster/n/u-1") + "?maxResults=7");
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body,
            R"({"service":"kafka","operation":"Describe","arn":"arn:aws:kafka:r:1:cluster/n/u-1","maxResults":"7",)"
            R"("nothing":"","body":{}})");
  EXPECT_EQ(kafka_.last_caller, key_.id);
  EXPECT_EQ(got->request_id, kafka_.last_id);
  EXPECT_THAT(got->request_id, testing::MatchesRegex("[0-9a-f]+-[0-9a-f]+-4[0-9a-f]+-[89ab][0-9a-f]+-[0-9a-f]+"));

  const auto made = call("POST", "/v1/clusters", R"({"clusterName":"x","n":[1.5,null]})");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->status, 201);
  EXPECT_THAT(made->body, HasSubstr(R"("body":{"clusterName":"x","n":[1.5E0,null]})"));
}

TEST_F(EndpointTest, the_service_of_the_signature_answers) {
  auto as = signer();
  as.service = "kinesis";
  EXPECT_THAT(call_as(as, "GET", "/v1/clusters/a").value().body, HasSubstr(R"("operation":"Streams")"));
  as.service = "s3";
  const auto got = call_as(as, "GET", "/v1/clusters/a");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().type, "InvalidSignatureException");
  EXPECT_EQ(got.error().message, "Credential should be scoped to correct service: 'kafka'. ");
}

TEST_F(EndpointTest, faults_look_as_sdks_want_them) {
  const auto got = call("GET", "/v1/refuse");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().status, 409);
  EXPECT_EQ(got.error().type, "ConflictException");
  EXPECT_EQ(got.error().message, "No ?, \"thank\" you.");
  EXPECT_EQ(got.error().invalid_parameter, "clusterName");

  const auto thrown = call("GET", "/v1/throw");
  ASSERT_FALSE(thrown);
  EXPECT_EQ(thrown.error().status, 500);
  EXPECT_EQ(thrown.error().type, "InternalServerErrorException");
  EXPECT_THAT(thrown.error().message, testing::Not(HasSubstr("bug"))) << "what a bug says stays in the log";

  EXPECT_EQ(call("GET", "/v1/nobody").error().status, 404);
  EXPECT_EQ(call("DELETE", "/v1/clusters").error().status, 405);
}

TEST_F(EndpointTest, unsigned_calls_reach_nobody) {
  for (const auto* target : {"/v1/clusters/a", "/", "/nobody", "/healthy"}) {
    const auto got = raw("GET", target);
    EXPECT_EQ(got.status, 403) << target;
    EXPECT_EQ(got.header("x-amzn-errortype"), "MissingAuthenticationTokenException");
    EXPECT_EQ(got.body, R"({"message":"Missing Authentication Token"})");
    EXPECT_EQ(got.content_type, "application/json");
    EXPECT_FALSE(got.header("x-amzn-requestid").empty());
  }
  EXPECT_EQ(kafka_.last_id, "");
}

TEST_F(EndpointTest, health_needs_no_signature) {
  EXPECT_EQ(raw("GET", "/health").status, 200);
  EXPECT_EQ(raw("GET", "/health?x").body, R"({"status":"ok"})");
  EXPECT_EQ(raw("HEAD", "/health").status, 200);
  EXPECT_EQ(raw("POST", "/health").status, 403);
}

TEST_F(EndpointTest, a_call_replayed_late_is_refused) {
  net::HttpCall made;
  made.to = at_;
  made.request.method = "GET";
  made.request.target = "/v1/clusters/a";
  made.request.headers.emplace_back("Host", "h");
  sign(made.request, signer(), world_.clock().wall());
  const auto status = [&] {
    net::HttpResponse out;
    on_shard([&]() -> Task<void> {
      auto again = made;
      out = (co_await net::http_call(world_.shard(), world_.sockets(), std::move(again))).value();
    });
    return out;
  };
  EXPECT_EQ(status().status, 200);
  world_.run_for(seconds(299));
  EXPECT_EQ(status().status, 200) << "within the window a signature is good, as at AWS";
  world_.run_for(seconds(5));
  const auto late = status();
  EXPECT_EQ(late.status, 403);
  EXPECT_EQ(late.header("x-amzn-errortype"), "InvalidSignatureException");
  EXPECT_THAT(late.body, HasSubstr("Signature expired: "));
}

TEST_F(EndpointTest, keys_that_another_process_adds_and_revokes) {
  auto other = FileCredentials::open("/credentials.json", files_).value();
  ASSERT_TRUE(call("GET", "/v1/clusters/a"));
  const auto added = generate_key(*random_, milliseconds(0), "another");
  ASSERT_TRUE(other->add(added));
  world_.run_for(milliseconds(200));
  auto as = signer();
  as.access_key_id = added.id;
  as.secret = added.secret;
  EXPECT_TRUE(call_as(as, "GET", "/v1/clusters/a")) << "a new key serves at once";
  ASSERT_TRUE(other->revoke(added.id));
  world_.run_for(seconds(2));
  const auto got = call_as(as, "GET", "/v1/clusters/a");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().type, "UnrecognizedClientException");
  EXPECT_EQ(got.error().message, "The security token included in the request is invalid.");
}

TEST_F(EndpointTest, an_unreadable_file_of_keys_locks_nobody_out) {
  ASSERT_TRUE(files_.write_whole("/credentials.json", "{"));
  world_.run_for(seconds(2));
  EXPECT_TRUE(call("GET", "/v1/clusters/a"));
}

TEST_F(EndpointTest, bodies_that_are_no_json_object) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += R"({"a":)";
  for (const auto& body : {std::string("{"), std::string("[]"), std::string("\"x\""), std::string("{\"a\":\"\xff\"}"),
                           std::string("{} {}"), deep + "1" + std::string(100, '}'), std::string(500'000, '[')}) {
    const auto got = call("POST", "/v1/clusters", body);
    ASSERT_FALSE(got) << body.substr(0, 50);
    EXPECT_EQ(got.error().status, 400);
    EXPECT_EQ(got.error().type, "BadRequestException");
    EXPECT_THAT(got.error().message, testing::StartsWith("Invalid request body: "));
  }
  EXPECT_TRUE(call("POST", "/v1/clusters", " \r\n"));
}

TEST_F(EndpointTest, a_body_over_the_bound) {
  const auto fits = call("POST", "/v1/clusters", R"({"a":")" + std::string(1'000'000, 'x') + R"("})");
  EXPECT_TRUE(fits);
  const auto got = call("POST", "/v1/clusters", std::string(1'100'000, ' '));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().status, 413);
  EXPECT_EQ(got.error().type, "RequestEntityTooLargeException");
  EXPECT_EQ(got.error().message, "The request body is too large.");
}

TEST_F(EndpointTest, off_loopback_only_with_tls) {
  Endpoint other(world_.all(), world_.sockets(), world_.pool(), *random_, *credentials_, {&kafka_});
  for (const auto* host :
       {"0.0.0.0", "", "10.0.0.1", "::", "example.com", "localhost.example.com", "127.example.com"}) {
    on_shard([&]() -> Task<void> {
      const auto bound = co_await other.start({host, 4566});
      EXPECT_FALSE(bound) << host;
      if (!bound) EXPECT_THAT(bound.error().message, HasSubstr("only with TLS"));
    });
  }
}

// A peer that sends bytes as they are.
class Peer {
 public:
  Peer(runtime::SimWorld& world, std::unique_ptr<runtime::Socket> socket) : world_(world), socket_(std::move(socket)) {}

  void send(std::string bytes) {
    runtime::block_on(world_.shard(), [this, &bytes]() -> Task<void> { return write(std::move(bytes)); });
  }
  // What has come by the end of the stream.
  std::string rest() {
    std::string out;
    runtime::block_on(world_.shard(), [this, &out]() -> Task<void> { return read(out); });
    return out;
  }

 private:
  Task<void> write(std::string bytes) {
    std::vector<runtime::Chunk> chunks(1);
    chunks[0].memory = bytes::Shared::copy(bytes);
    (void)co_await socket_->write(std::move(chunks));
  }
  Task<void> read(std::string& out) {
    std::vector<std::byte> part(4096);
    for (;;) {
      const auto n = co_await socket_->read_some(part);
      if (!n || *n == 0) co_return;
      out += bytes::as_text(bytes::Bytes(part).first(*n));
    }
  }

  runtime::SimWorld& world_;
  std::unique_ptr<runtime::Socket> socket_;
};

class CrowdTest : public EndpointTest {
 protected:
  CrowdTest() : EndpointTest(few()) {}
  static EndpointOptions few() {
    EndpointOptions out;
    out.connections_max = 8;
    out.request_max = seconds(10);
    return out;
  }
  std::unique_ptr<Peer> peer() {
    std::unique_ptr<runtime::Socket> socket;
    on_shard([this, &socket]() -> Task<void> { return connect(socket); });
    return std::make_unique<Peer>(world_, std::move(socket));
  }
  Task<void> connect(std::unique_ptr<runtime::Socket>& out) {
    auto socket = co_await world_.sockets().connect(world_.shard(), at_, {});
    EXPECT_TRUE(socket.has_value());
    out = std::move(*socket);
  }
};

TEST_F(CrowdTest, who_takes_all_places_and_says_nothing_keeps_nobody_out) {
  std::vector<std::unique_ptr<Peer>> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(peer());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(call("GET", "/v1/clusters/x"));
  EXPECT_LT(world_.clock().mono(), nanoseconds(seconds(1000 + 5)));  // nobody's time had to be over first
  EXPECT_EQ(silent.front()->rest(), "");
}

TEST_F(CrowdTest, who_takes_too_long_to_say_it_is_closed) {
  auto slow = peer();
  const auto began = world_.clock().mono();
  for (const char c : std::string_view("GET /v1/clus")) {
    slow->send(std::string(1, c));
    world_.run_for(milliseconds(500));
  }
  EXPECT_TRUE(call("GET", "/v1/clusters/x"));
  EXPECT_EQ(slow->rest(), "");
  EXPECT_EQ(world_.clock().mono() - began, nanoseconds(seconds(10)));
}

TEST_F(CrowdTest, a_coding_that_nobody_knows_ends_the_connection) {
  // Were its end guessed, what is in the body would be taken for a request.
  auto odd = peer();
  odd->send(
      "POST /v1/clusters HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\nGET /health HTTP/1.1\r\nHost: "
      "h\r\n\r\n");
  const auto said = odd->rest();
  EXPECT_THAT(said, testing::StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(said, testing::Not(HasSubstr("HTTP/1.1 200")));
}

class RegionTest : public EndpointTest {
 protected:
  static EndpointOptions options() {
    EndpointOptions out;
    out.region = "eu-central-1";
    out.healthy = [] { return false; };
    return out;
  }
  RegionTest() : EndpointTest(options()) {}
};

TEST_F(RegionTest, another_region_is_refused) {
  const auto got = call("GET", "/v1/clusters/a");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().message, "Credential should be scoped to a valid region, not 'us-east-1'. ");
  auto as = signer();
  as.region = "eu-central-1";
  EXPECT_TRUE(call_as(as, "GET", "/v1/clusters/a"));
  EXPECT_EQ(raw("GET", "/health").status, 503);
}

// ---- the client ----

TEST(Client, endpoints) {
  runtime::SimWorld world;
  for (const auto* bad : {"", "127.0.0.1:4566", "ftp://h", "http://", "http://:80", "http://h:0", "http://h:99999",
                          "http://h:1/path", "http://u@h:1", "http://[::1", "https://h:1"}) {
    ClientOptions options;
    options.endpoint = bad;
    const auto made = Client::make(options, world.sockets());
    ASSERT_FALSE(made) << bad;
    EXPECT_EQ(made.error().code, ErrorCode::INVALID_CONFIG);
  }
  for (const auto* good : {"http://h", "http://h:1/", "http://127.0.0.1:4566", "http://[::1]:4566"}) {
    ClientOptions options;
    options.endpoint = good;
    EXPECT_TRUE(Client::make(options, world.sockets())) << good;
  }
}

TEST_F(EndpointTest, nobody_there) {
  ClientOptions options;
  options.endpoint = "http://127.0.0.1:1";
  options.timeout = seconds(5);
  auto client = Client::make(options, world_.sockets());
  on_shard([&]() -> Task<void> {
    const auto got = co_await client->call("GET", "/");
    EXPECT_FALSE(got);
    if (got) co_return;
    EXPECT_EQ(got.error().status, 0);
    EXPECT_EQ(got.error().type, "EndpointConnectionError");
    EXPECT_THAT(got.error().message, HasSubstr("127.0.0.1:1"));
  });
}

// Takes the connection and says `answer`, or nothing.
class Odd final : public net::Service {
 public:
  Task<void> serve(std::shared_ptr<net::Connection> connection) override {
    if (!answer.empty()) {
      std::vector<runtime::Chunk> chunks(1);
      chunks[0].memory = bytes::Shared::copy(answer);
      co_await connection->write(std::move(chunks));
      if (hang_up) co_return;
    }
    std::vector<std::byte> waste(1000);
    for (;;) {
      const auto n = co_await connection->read_some(waste);
      if (!n || *n == 0) co_return;
    }
  }
  std::string answer;
  bool hang_up = true;
};

TEST(Client, servers_that_are_odd) {
  runtime::SimWorld world;
  Odd odd;
  net::Server server(world.all(), world.sockets(), odd, {});
  runtime::Address at;
  runtime::block_on(world.shard(), [&]() -> Task<void> {
    net::ListenerOptions listener;
    listener.endpoint.listener = "ODD";
    listener.endpoint.address = {"127.0.0.1", 0};
    std::vector<net::ListenerOptions> all = {listener};
    at = (co_await server.start(std::move(all))).value().front().address;
  });
  const auto call = [&](std::string answer, bool hang_up) {
    odd.answer = std::move(answer);
    odd.hang_up = hang_up;
    ClientOptions options;
    options.endpoint = "http://" + at.text();
    options.timeout = seconds(3);
    auto client = Client::make(options, world.sockets()).value();
    std::expected<Answer, Fault> out;
    runtime::block_on(world.shard(), [&]() -> Task<void> { out = co_await client.call("POST", "/x", "{}"); });
    return out;
  };
  EXPECT_EQ(call("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", false).value().body, "{}");
  EXPECT_EQ(call("HTTP/1.0 200 OK\r\n\r\nuntil the end", true).value().body, "until the end");
  EXPECT_EQ(call("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\noops", true).error().status, 503);
  EXPECT_EQ(call("HTTP/1.1 400 B\r\nx-amzn-errortype: FooException:http://x/\r\nContent-Length: 15\r\n\r\n"
                 R"({"Message":"m"})",
                 true)
                .error()
                .type,
            "FooException");
  for (const auto* bad : {"SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"}) {
    const auto got = call(bad, true);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().type, "EndpointConnectionError") << bad;
  }
  const auto start = world.clock().mono();
  const auto silent = call("", false);
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.error().type, "RequestTimeout");
  EXPECT_EQ(world.clock().mono() - start, seconds(3));
  runtime::block_on(world.shard(), [&]() -> Task<void> { co_await server.stop(); });
}

}  // namespace
}  // namespace weir::aws
