// The endpoint alone, for the tests of this folder: aws_serve CREDENTIALS ROUTES [PEM]. ROUTES has lines
// "METHOD URI OPERATION"; the services kafka and other answer all of them with what they were asked, as the body and
// percent-encoded in header x-echo. PEM is certificate and key, for TLS. It prints "listening PORT" when it does, and
// ends on SIGTERM or SIGINT.
#include <signal.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "aws/endpoint.h"
#include "base/log.h"
#include "runtime/files.h"

using namespace weir;
namespace json = boost::json;

namespace {

class Echo final : public aws::Service {
 public:
  Echo(std::string name, std::vector<aws::Route> routes) : name_(std::move(name)), router_(std::move(routes)) {}
  std::string_view name() const override { return name_; }
  const aws::Router& router() const override { return router_; }
  runtime::Task<aws::Reply> handle(aws::Request request) override {
    json::object labels;
    for (const auto& [name, value] : request.labels) labels[name] = value;
    json::array query;
    for (const auto& [name, value] : request.query) {
      json::array pair;
      pair.emplace_back(name);
      pair.emplace_back(value);
      query.push_back(std::move(pair));
    }
    json::object out;
    out["service"] = name_;
    out["operation"] = request.operation;
    out["caller"] = request.caller.access_key_id;
    out["region"] = request.caller.region;
    out["labels"] = std::move(labels);
    out["query"] = std::move(query);
    out["body"] = *request.body;
    auto answer = aws::reply(out);
    if (answer.body.size() < 8000) answer.headers.emplace_back("x-echo", aws::uri_encode(answer.body));
    co_return answer;
  }

 private:
  const std::string name_;
  const aws::Router router_;
};

std::vector<aws::Route> routes_of(const char* path) {
  std::vector<aws::Route> out;
  std::ifstream in(path);
  aws::Route route;
  while (in >> route.method >> route.uri >> route.operation) out.push_back(route);
  return out;
}

int refuse(const Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::fprintf(stderr, "usage: aws_serve CREDENTIALS ROUTES [PEM]\n");
    return 2;
  }
  logging::init({});
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  auto credentials = aws::FileCredentials::open(argv[1], runtime::system_files());
  if (!credentials) return refuse(credentials.error());
  aws::EndpointOptions options;
  if (argc == 4) {
    net::TlsOptions tls;
    tls.keystore.location = argv[3];
    tls.keystore.type = "PEM";
    auto context = net::TlsContext::for_server(tls, runtime::system_files());
    if (!context) return refuse(context.error());
    options.tls = [made = *context] { return made; };
  }
  Echo kafka("kafka", routes_of(argv[2]));
  Echo other("other", routes_of(argv[2]));
  runtime::Shards shards(2);
  auto pool = runtime::make_pool(1);
  int status = 0;
  {
    aws::Endpoint endpoint(shards.all(), runtime::system_sockets(), *pool, runtime::system_random(), **credentials,
                           {&kafka, &other}, options);
    runtime::block_on(shards[0], [&]() -> runtime::Task<void> {
      auto bound = co_await endpoint.start({"127.0.0.1", 0});
      if (!bound) {
        status = refuse(bound.error());
        co_return;
      }
      std::printf("listening %d\n", bound->port);
      std::fflush(stdout);
    });
    if (status == 0) {
      int got = 0;
      sigwait(&ends, &got);
      runtime::block_on(shards[0], [&] { return endpoint.stop(); });
    }
  }
  shards.stop();
  return status;
}
