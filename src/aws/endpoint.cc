#include "aws/endpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <exception>

#include "base/check.h"
#include "base/log.h"

namespace weir::aws {
namespace {

namespace json = boost::json;

constexpr auto log_interval = seconds(10);
constexpr std::uint32_t head_bytes_max = 32 * 1024;
constexpr std::string_view health_path = "/health";
// A key that is not known may have been added a moment ago; so often is the file looked at again because of one.
constexpr auto refresh_for_unknown = milliseconds(100);

// Bytes of a client come back in sentences; what is no ASCII there would make the answer invalid JSON.
std::string sentence(std::string_view text) {
  std::string out(text);
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  return out;
}

// Clients of AWS's JSON protocol (Kinesis, KMS), which name their operation in a header, look for the type in the body.
std::string body_of(const Fault& fault, bool typed) {
  json::object o;
  if (typed) o["__type"] = fault.type;
  if (!fault.invalid_parameter.empty()) o["invalidParameter"] = sentence(fault.invalid_parameter);
  o["message"] = sentence(fault.message);
  return json::serialize(o);
}

net::HttpResponse http_fault(const Fault& fault, bool typed = false) {
  net::HttpResponse out;
  out.status = fault.status;
  out.content_type = "application/json";
  out.headers.emplace_back("x-amzn-errortype", fault.type);
  out.body = body_of(fault, typed);
  return out;
}

// For requests that were refused before they were whole.
Fault fault_of_status(int status) {
  switch (status) {
    case 413: return fault(status, "RequestEntityTooLargeException", "The request body is too large.");
    case 431: return fault(status, "RequestHeaderTooLargeException", "The request's headers are too large.");
    case 505: return fault(status, "BadRequestException", "This endpoint speaks HTTP/1.1.");
    default: return fault(status, "BadRequestException", "The request is not HTTP.");
  }
}

// A version 4 UUID as AWS writes request ids.
std::string request_id(runtime::Random& random) {
  auto bytes = random.uuid().bytes;
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += fmt::format("{:02x}", bytes[i]);
  }
  return out;
}

bool is_loopback(const runtime::Address& at) {
  const bool numeric = at.host.find_first_not_of("0123456789.") == std::string::npos;  // and no name: 127.example.com
  return at.host == "localhost" || at.host == "::1" || (numeric && at.host.starts_with("127."));
}

std::expected<std::shared_ptr<const json::object>, Fault> parse_body(const std::string& body, std::uint32_t depth_max) {
  const auto bad = [](std::string why) {
    return std::unexpected(fault(400, "BadRequestException", "Invalid request body: " + std::move(why)));
  };
  if (body.find_first_not_of(" \t\r\n") == std::string::npos) return std::make_shared<const json::object>();
  json::parse_options options;
  options.max_depth = depth_max;
  boost::system::error_code error;
  auto value = json::parse(body, error, json::storage_ptr(), options);
  if (error) return bad(fmt::format("it is not JSON ({}).", error.message()));
  if (!value.is_object()) return bad("it is not a JSON object.");
  return std::make_shared<const json::object>(std::move(value.get_object()));
}

template <class Map>
std::string_view first_of(const Map& map, std::string_view name) {
  const auto it = map.lower_bound(name);
  return it == map.end() || it->first != name ? std::string_view() : std::string_view(it->second);
}

}  // namespace

std::string_view Request::label(std::string_view name) const { return first_of(labels, name); }
std::string_view Request::parameter(std::string_view name) const { return first_of(query, name); }

Response reply(const json::object& value, int status) {
  Response out;
  out.status = status;
  out.body = json::serialize(value);
  return out;
}
Response reply(const json::value& value, int status) {
  Response out;
  out.status = status;
  out.body = json::serialize(value);
  return out;
}

struct Endpoint::Impl {
  Impl(std::vector<runtime::Shard*> shards_, runtime::Sockets& sockets, runtime::Pool& pool_, runtime::Random& random_,
       Credentials& credentials_, std::vector<Service*> services_, EndpointOptions options_)
      : pool(pool_),
        random(random_),
        credentials(credentials_),
        services(std::move(services_)),
        options(std::move(options_)),
        server(std::move(shards_), sockets, handler(), http_options()) {
    WEIR_CHECK(!services.empty(), "an endpoint has a service");
    verify_options.region = options.region;
    for (const auto* service : services) verify_options.services.push_back(service->name());
  }

  net::HttpHandler handler() {
    return [this](net::HttpRequest request) { return handle(std::move(request)); };
  }

  net::HttpOptions http_options() {
    net::HttpOptions out;
    out.head_bytes_max = head_bytes_max;
    out.body_bytes_max = options.body_bytes_max;
    out.connections_max = options.connections_max;
    out.make_room = true;
    out.request_max = options.request_max;
    out.idle_max = options.idle_max;
    out.refusal = [this](int status) {
      auto response = http_fault(fault_of_status(status));
      response.headers.emplace_back("x-amzn-RequestId", request_id(random));
      return response;
    };
    if (options.tls) {
      out.transports = [this](const net::Endpoint&, std::unique_ptr<runtime::Socket> socket) {
        return net::tls_server(net::plain_transport(std::move(socket)), options.tls());
      };
    }
    return out;
  }

  runtime::Task<net::HttpResponse> handle(net::HttpRequest request) {
    auto id = request_id(random);
    net::HttpResponse response;
    if (request.path() == health_path && (request.method == "GET" || request.method == "HEAD")) {
      const bool good = !options.healthy || options.healthy();
      response.status = good ? 200 : 503;
      response.body = good ? R"({"status":"ok"})" : R"({"status":"unavailable"})";
      response.content_type = "application/json";
    } else {
      response = co_await answer(std::move(request), id);
    }
    response.headers.emplace_back("x-amzn-RequestId", std::move(id));
    co_return response;
  }

  runtime::Task<net::HttpResponse> answer(net::HttpRequest request, std::string id) {
    auto& shard = *runtime::Shard::current();
    const auto started = shard.clock().mono();
    const auto peer = request.peer.text();
    auto caller = co_await verified(request);
    if (!caller) {
      WEIR_LOG_LIMITED(info, log_interval, "refused a request of {}: {}", peer, caller.error().type);
      co_return http_fault(caller.error(), !request.header("x-amz-target").empty());
    }
    auto* service = *std::ranges::find(services, caller->service, &Service::name);
    auto match = service->router().match(request.method, request.target);
    if (!match) co_return http_fault(match.error());
    auto body = parse_body(request.body, options.json_depth_max);
    if (!body) co_return http_fault(body.error());

    Request made;
    made.operation = std::move(match->operation);
    made.labels = std::move(match->labels);
    made.query = std::move(match->query);
    made.body = std::move(*body);
    made.headers = std::move(request.headers);
    made.caller = std::move(*caller);
    made.request_id = id;
    const auto what = fmt::format("{} {} by {}", service->name(), made.operation, made.caller.access_key_id);
    auto reply = co_await call(*service, std::move(made), what);
    WEIR_LOG(debug, "{} from {}: {} after {} ms, request {}", what, peer, reply ? reply->status : reply.error().status,
             std::chrono::duration_cast<milliseconds>(shard.clock().mono() - started).count(), id);
    if (!reply) co_return http_fault(reply.error());
    net::HttpResponse out;
    out.status = reply->status;
    out.content_type = "application/json";
    out.headers = std::move(reply->headers);
    out.body = std::move(reply->body);
    co_return out;
  }

  static runtime::Task<Reply> call(Service& service, Request request, std::string what) {
    try {
      co_return co_await service.handle(std::move(request));
    } catch (const std::exception& e) {
      WEIR_LOG_LIMITED(error, log_interval, "an exception while answering {}: {}", what, e.what());
    }
    co_return std::unexpected(fault(500, "InternalServerErrorException", "An internal error. The log says more."));
  }

  // `request` lives in the awaiting coroutine.
  runtime::Task<std::expected<Caller, Fault>> verified(const net::HttpRequest& request) {
    co_await refresh(options.refresh_interval);
    auto caller = look_at(request);
    if (!caller && caller.error().type == "UnrecognizedClientException" &&
        co_await refresh(std::min(refresh_for_unknown, options.refresh_interval))) {
      caller = look_at(request);
    }
    co_return caller;
  }

  std::expected<Caller, Fault> look_at(const net::HttpRequest& request) const {
    return verify(
        request, runtime::Shard::current()->clock().wall(),
        [this](std::string_view id) { return credentials.secret_of(id); }, verify_options);
  }

  // True: the credentials were read again, because that was longer ago than `age`.
  runtime::Task<bool> refresh(milliseconds age) {
    const auto now = runtime::Shard::current()->clock().mono().count();
    auto last = refreshed.load(std::memory_order_relaxed);
    if (last != 0 && now - last < nanoseconds(age).count()) co_return false;
    if (!refreshed.compare_exchange_strong(last, now)) co_return false;  // another request does it
    auto work = [this] { return credentials.refresh(); };
    const auto done = co_await pool.run(std::move(work));
    if (!done)
      WEIR_LOG_LIMITED(warn, log_interval, "the access keys stay as they were known: {}", done.error().message);
    co_return true;
  }

  runtime::Pool& pool;
  runtime::Random& random;
  Credentials& credentials;
  const std::vector<Service*> services;
  const EndpointOptions options;
  VerifyOptions verify_options;
  std::atomic<std::int64_t> refreshed{0};  // Clock::mono() of the last look at the credentials; 0: never
  net::HttpServer server;
};

Endpoint::Endpoint(std::vector<runtime::Shard*> shards, runtime::Sockets& sockets, runtime::Pool& pool,
                   runtime::Random& random, Credentials& credentials, std::vector<Service*> services,
                   EndpointOptions options)
    : impl_(std::make_unique<Impl>(std::move(shards), sockets, pool, random, credentials, std::move(services),
                                   std::move(options))) {}
Endpoint::~Endpoint() = default;

runtime::Task<Result<runtime::Address>> Endpoint::start(runtime::Address at) {
  if (!impl_->options.tls && !is_loopback(at)) {
    co_return fail(ErrorCode::INVALID_CONFIG,
                   fmt::format("the API listens on {} only with TLS: without it, on loopback", at.text()));
  }
  co_return co_await impl_->server.start(std::move(at));
}

runtime::Task<void> Endpoint::stop() { return impl_->server.stop(); }

}  // namespace weir::aws
