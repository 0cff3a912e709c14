#include "aws/client.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "net/http_client.h"

namespace weir::aws {
namespace {

namespace json = boost::json;

std::string member(const json::object& from, json::string_view name) {
  const auto* value = from.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return std::string(value->get_string());
}

Fault fault_of(const net::HttpResponse& response) {
  auto type = response.header("x-amzn-errortype");
  type = type.substr(0, type.find(':'));
  auto out = fault(response.status, type.empty() ? fmt::format("HTTP {}", response.status) : std::string(type), {});
  boost::system::error_code error;
  const auto value = json::parse(response.body, error);
  if (!error && value.is_object()) {
    out.message = member(value.get_object(), "message");
    if (out.message.empty()) out.message = member(value.get_object(), "Message");
    out.invalid_parameter = member(value.get_object(), "invalidParameter");
  }
  if (out.message.empty()) out.message = fmt::format("the service answered with HTTP status {}", response.status);
  return out;
}

struct Url {
  runtime::Address address;
  bool tls = false;
};

Result<Url> parse_url(std::string_view text) {
  const auto bad = [text] {
    return fail(ErrorCode::INVALID_CONFIG, fmt::format("'{}' is not an endpoint such as http://127.0.0.1:4566", text));
  };
  Url out;
  auto rest = text;
  if (rest.starts_with("https://")) {
    out.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return bad();
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  out.address.port = out.tls ? 443 : 80;
  const auto bracket = rest.starts_with('[') ? rest.find(']') : std::string_view::npos;
  const auto colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
  auto host = rest.substr(0, colon);
  if (colon != std::string_view::npos) {
    const auto port = rest.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.address.port);
    if (error != std::errc() || end != port.data() + port.size() || out.address.port == 0) return bad();
  }
  if (bracket != std::string_view::npos) host = host.substr(1, bracket - 1);
  if (host.empty() || host.find_first_of("/?#@ ") != std::string_view::npos) return bad();
  out.address.host = host;
  return out;
}

}  // namespace

Result<Client> Client::make(ClientOptions options, runtime::Sockets& sockets) {
  auto url = parse_url(options.endpoint);
  if (!url) return std::unexpected(url.error());
  if (url->tls && !options.tls) {
    return fail(ErrorCode::INVALID_CONFIG,
                fmt::format("{} needs to know which certificates to believe", options.endpoint));
  }
  return Client(std::move(options), sockets, std::move(url->address), url->tls);
}

runtime::Task<std::expected<Answer, Fault>> Client::call(std::string method, std::string target,
                                                         std::string body) const {
  auto* shard = runtime::Shard::current();
  WEIR_CHECK(shard != nullptr, "a call is made on a shard");
  net::HttpCall made;
  made.to = address_;
  made.timeout = options_.timeout;
  if (tls_) made.tls = options_.tls;
  made.request.method = std::move(method);
  made.request.target = std::move(target);
  made.request.headers.emplace_back("Host", address_.text());
  if (!body.empty()) made.request.headers.emplace_back("Content-Type", "application/json");
  made.request.body = std::move(body);
  sign(made.request, options_.signer, shard->clock().wall());

  auto response = co_await net::http_call(*shard, *sockets_, std::move(made));
  if (!response) {
    const bool late = response.error().code == ErrorCode::REQUEST_TIMED_OUT;
    co_return std::unexpected(fault(0, late ? "RequestTimeout" : "EndpointConnectionError", response.error().message));
  }
  if (response->status >= 300) co_return std::unexpected(fault_of(*response));
  Answer out;
  out.status = response->status;
  out.request_id = response->header("x-amzn-RequestId");
  out.body = std::move(response->body);
  co_return out;
}

}  // namespace weir::aws
