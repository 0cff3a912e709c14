#include "net/http.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <ctime>
#include <optional>
#include <utility>

#include "base/log.h"

namespace weir::net {
namespace {

namespace http = boost::beast::http;

constexpr auto log_interval = seconds(10);
constexpr std::size_t read_bytes = 8 * 1024;
// After a refusal, so much of what the peer still sends is read and thrown away: closing with unread bytes would
// break the connection before the peer has seen the answer.
constexpr std::size_t discard_bytes_max = 256 * 1024;
constexpr auto discard_time = seconds(1);

std::string date(milliseconds wall) {
  const auto now = static_cast<std::time_t>(wall.count() / 1000);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[parts.tm_wday], parts.tm_mday, months[parts.tm_mon],
                     parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

// A header value that a handler made from foreign text must not begin another header.
std::string one_line(std::string_view text) {
  std::string out(text);
  std::replace_if(out.begin(), out.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  return out;
}

bool has_no_body(int status) { return status == 204 || status == 304 || status < 200; }

std::string head(const HttpResponse& response, bool keep_alive, milliseconds wall) {
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(response.status)));
  auto out = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status,
                         std::string_view(reason.data(), reason.size()), date(wall));
  if (!has_no_body(response.status)) {
    out += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\n", one_line(response.content_type),
                       response.body.size());
  }
  for (const auto& [name, value] : response.headers) out += fmt::format("{}: {}\r\n", one_line(name), one_line(value));
  out += keep_alive ? "\r\n" : "Connection: close\r\n\r\n";
  return out;
}

int status_of(const boost::system::error_code& error) {
  if (error == http::error::header_limit) return 431;
  if (error == http::error::body_limit) return 413;
  if (error == http::error::bad_version) return 505;
  return 400;
}

HttpResponse refusal(int status, std::string why) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(why) + "\n";
  return response;
}

std::string_view first_header(const std::vector<std::pair<std::string, std::string>>& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (boost::beast::iequals(key, name)) return value;
  }
  return {};
}

using Parser = http::request_parser<http::string_body>;

HttpRequest request_of(http::request<http::string_body> message, runtime::Address peer) {
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  request.body = std::move(message.body());
  request.peer = std::move(peer);
  return request;
}

class HttpService final : public Service {
 public:
  HttpService(HttpHandler handler, HttpOptions options) : handler_(std::move(handler)), options_(std::move(options)) {}

  runtime::Task<void> serve(std::shared_ptr<Connection> connection) override {
    // What was read and not yet parsed: buffer[begin, end).
    std::vector<char> buffer(std::max<std::size_t>(read_bytes, options_.head_bytes_max + 2));
    std::size_t begin = 0;
    std::size_t end = 0;
    for (bool on = true; on;) {
      Parser parser;
      parser.header_limit(options_.head_bytes_max);
      parser.body_limit(options_.body_bytes_max);
      const auto failed = co_await read_request(connection, parser, buffer, begin, end);
      if (failed == ended) co_return;
      if (failed != 0) {
        WEIR_LOG_LIMITED_BY(info, log_interval, std::to_string(failed), "refused a request of {}: {}",
                            connection->peer().text(), failed);
        auto response = refused(failed);
        co_await answer(connection, std::move(response), false, false);
        co_await discard(connection);
        co_return;
      }
      auto message = parser.release();
      on = message.keep_alive();
      const bool head_only = message.method() == http::verb::head;
      auto request = request_of(std::move(message), connection->peer());
      connection->mute();
      auto response = co_await handle(std::move(request));
      connection->unmute();
      on = co_await answer(connection, std::move(response), on, head_only) && on;
    }
  }

 private:
  static constexpr int ended = -1;

  HttpResponse refused(int status) const {
    if (!options_.refusal) return refusal(status, "the request is not one this server takes");
    auto response = options_.refusal(status);
    response.status = status;
    return response;
  }

  // Reads until the parser has a whole request. 0; a status to refuse it with; or `ended`.
  runtime::Task<int> read_request(std::shared_ptr<Connection> connection, Parser& parser, std::vector<char>& buffer,
                                  std::size_t& begin, std::size_t& end) {
    auto& shard = connection->shard();
    runtime::Shard::TimerId timer = 0;
    bool continued = false;
    int result = 0;
    while (!parser.is_done()) {
      if (begin < end) {
        if (timer == 0) {
          timer = shard.schedule(shard.clock().mono() + options_.request_max,
                                 [connection] { connection->close("a request takes too long to arrive"); });
        }
        boost::system::error_code error;
        begin += parser.put(boost::asio::buffer(buffer.data() + begin, end - begin), error);
        if (error && error != http::error::need_more) {
          result = status_of(error);
          break;
        }
        // A coding whose end nobody here knows: what follows would be taken for the next request.
        if (parser.is_header_done() && !parser.get()[http::field::transfer_encoding].empty() && !parser.chunked()) {
          result = 400;
          break;
        }
        if (parser.is_done()) break;
        if (!error && begin < end) continue;
        if (parser.is_header_done() && !continued) {
          continued = true;
          if (boost::beast::iequals(parser.get()[http::field::expect], "100-continue")) {
            std::vector<runtime::Chunk> chunks(1);
            chunks[0].memory = bytes::Shared::copy("HTTP/1.1 100 Continue\r\n\r\n");
            if (!co_await connection->write(std::move(chunks))) {
              result = ended;
              break;
            }
          }
        }
      }
      if (begin > 0) {
        std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(begin),
                  buffer.begin() + static_cast<std::ptrdiff_t>(end), buffer.begin());
        end -= begin;
        begin = 0;
      }
      if (end == buffer.size()) {  // the parser took nothing of a whole buffer: a head over the limit
        result = 431;
        break;
      }
      const auto room = std::as_writable_bytes(std::span(buffer).subspan(end));
      const auto n = co_await connection->read_some(room);
      if (!n || *n == 0) {
        result = ended;
        break;
      }
      end += *n;
    }
    if (timer != 0) shard.cancel(timer);
    co_return result;
  }

  runtime::Task<HttpResponse> handle(HttpRequest request) {
    const auto what = fmt::format("{} {}", request.method, request.target.substr(0, 200));
    try {
      co_return co_await handler_(std::move(request));
    } catch (const std::exception& e) {
      WEIR_LOG_LIMITED(error, log_interval, "an exception while answering {}: {}", what, e.what());
    }
    co_return refusal(500, "internal error");
  }

  runtime::Task<bool> answer(std::shared_ptr<Connection> connection, HttpResponse response, bool keep_alive,
                             bool head_only) {
    std::vector<runtime::Chunk> chunks(1);
    chunks[0].memory = bytes::Shared::copy(head(response, keep_alive, connection->shard().clock().wall()));
    if (!head_only && !has_no_body(response.status) && !response.body.empty()) {
      const auto body = std::make_shared<std::string>(std::move(response.body));
      runtime::Chunk chunk;
      chunk.memory = bytes::Shared::adopt(body, reinterpret_cast<std::byte*>(body->data()), body->size());
      chunks.push_back(std::move(chunk));
    }
    const auto result = co_await connection->write(std::move(chunks));
    co_return result.has_value();
  }

  static runtime::Task<void> discard(std::shared_ptr<Connection> connection) {
    auto& shard = connection->shard();
    const auto timer = shard.schedule(shard.clock().mono() + discard_time, [connection] { connection->close(); });
    std::vector<std::byte> waste(read_bytes);
    for (std::size_t left = discard_bytes_max; left > 0;) {
      const auto n = co_await connection->read_some(waste);
      if (!n || *n == 0) break;
      left -= std::min(left, *n);
    }
    shard.cancel(timer);
  }

  const HttpHandler handler_;
  const HttpOptions options_;
};

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const { return first_header(headers, name); }
std::string_view HttpResponse::header(std::string_view name) const { return first_header(headers, name); }
std::string_view HttpRequest::path() const { return std::string_view(target).substr(0, target.find('?')); }
std::string_view HttpRequest::query() const {
  const auto mark = target.find('?');
  return mark == std::string::npos ? std::string_view() : std::string_view(target).substr(mark + 1);
}

struct HttpServer::Impl {
  Impl(std::vector<runtime::Shard*> shards, runtime::Sockets& sockets, HttpHandler handler, HttpOptions options)
      : service(std::move(handler), options), server(std::move(shards), sockets, service, server_options(options)) {}

  static ServerOptions server_options(const HttpOptions& options) {
    ServerOptions out;
    out.connections_max = options.connections_max;
    out.make_room = options.make_room;
    out.idle_max = options.idle_max;
    out.protocol = "HTTP";
    out.transports = options.transports;
    return out;
  }

  HttpService service;
  Server server;
};

HttpServer::HttpServer(std::vector<runtime::Shard*> shards, runtime::Sockets& sockets, HttpHandler handler,
                       HttpOptions options)
    : impl_(std::make_unique<Impl>(std::move(shards), sockets, std::move(handler), std::move(options))) {}
HttpServer::~HttpServer() = default;

runtime::Task<Result<runtime::Address>> HttpServer::start(runtime::Address at) {
  ListenerOptions listener;
  listener.endpoint.listener = "HTTP";
  listener.endpoint.address = std::move(at);
  std::vector<ListenerOptions> listeners;
  listeners.push_back(std::move(listener));
  auto bound = co_await impl_->server.start(std::move(listeners));
  if (!bound) co_return std::unexpected(bound.error());
  co_return bound->front().address;
}

runtime::Task<void> HttpServer::stop() { return impl_->server.stop(); }

}  // namespace weir::net
