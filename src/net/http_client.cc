#include "net/http_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weir::net {
namespace {

namespace http = boost::beast::http;

constexpr std::size_t read_bytes = 16 * 1024;

using Parser = http::response_parser<http::string_body>;

// A value must not begin another header.
std::string one_line(std::string_view text) {
  std::string out(text);
  std::replace_if(out.begin(), out.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  return out;
}

std::string head(const HttpRequest& request) {
  auto out = fmt::format("{} {} HTTP/1.1\r\n", one_line(request.method), one_line(request.target));
  for (const auto& [name, value] : request.headers) out += fmt::format("{}: {}\r\n", one_line(name), one_line(value));
  if (!request.body.empty() || (request.method != "GET" && request.method != "HEAD")) {
    out += fmt::format("Content-Length: {}\r\n", request.body.size());
  }
  return out + "Connection: close\r\n\r\n";
}

// Empty when `parser` has a whole answer; otherwise why not.
runtime::Task<std::string> read_answer(std::shared_ptr<Transport> transport, Parser& parser, std::size_t head_max) {
  std::vector<char> buffer(std::max(read_bytes, head_max + 2));
  std::size_t end = 0;
  while (!parser.is_done()) {
    if (end == buffer.size()) co_return "its head is too long";
    const auto room = std::as_writable_bytes(std::span(buffer).subspan(end));
    const auto n = co_await transport->read_some(room);
    boost::system::error_code error;
    if (!n) co_return n.error().message;
    if (*n == 0) {
      if (!parser.got_some()) co_return "it closed the connection without an answer";
      parser.put_eof(error);
      if (error || !parser.is_done()) co_return "it closed the connection in the middle of its answer";
      break;
    }
    end += *n;
    std::size_t begin = 0;
    while (begin < end && !parser.is_done()) {
      const auto used = parser.put(boost::asio::buffer(buffer.data() + begin, end - begin), error);
      begin += used;
      if (error && error != http::error::need_more) co_return error.message();
      if (error || used == 0) break;
    }
    std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(begin), buffer.begin() + static_cast<std::ptrdiff_t>(end),
              buffer.begin());
    end -= begin;
  }
  co_return std::string();
}

HttpResponse response_of(http::response<http::string_body> message) {
  HttpResponse response;
  response.status = static_cast<int>(message.result_int());
  for (const auto& field : message) {
    response.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  const auto type = message[http::field::content_type];
  response.content_type = std::string(type.data(), type.size());
  response.body = std::move(message.body());
  return response;
}

}  // namespace

runtime::Task<Result<HttpResponse>> http_call(runtime::Shard& shard, runtime::Sockets& sockets, HttpCall call) {
  const auto where = call.to.text();
  const auto deadline = shard.clock().mono() + call.timeout;
  runtime::SocketOptions options;
  options.connect_max = call.timeout;
  auto socket = co_await sockets.connect(shard, call.to, options);
  const auto late = [&] { return shard.clock().mono() >= deadline; };
  const auto unanswered = [&](std::string_view why) {
    if (late()) return fail(ErrorCode::REQUEST_TIMED_OUT, fmt::format("no answer from {} in time", where));
    return fail(ErrorCode::NETWORK_EXCEPTION, fmt::format("no answer from {}: {}", where, why));
  };
  if (!socket) co_return unanswered(socket.error().message);
  auto made = plain_transport(std::move(*socket));
  if (call.tls) made = tls_client(std::move(made), call.tls, call.to.host);
  const std::shared_ptr<Transport> transport = std::move(made);
  const auto timer = shard.schedule(deadline, [transport] { transport->close(); });

  Parser parser;
  parser.header_limit(call.head_bytes_max);
  parser.body_limit(call.body_bytes_max);
  if (call.request.method == "HEAD") parser.skip(true);
  std::string why;
  if (const auto opened = co_await transport->open(); !opened) {
    why = opened.error().message;
  } else {
    std::vector<runtime::Chunk> chunks(1);
    chunks[0].memory = bytes::Shared::copy(head(call.request) + call.request.body);
    const auto written = co_await transport->write(std::move(chunks), nullptr);
    // A server may answer and close before it has read all of a request: its answer counts.
    why = co_await read_answer(transport, parser, call.head_bytes_max);
    if (!why.empty() && !written) why = written.error().message;
  }
  shard.cancel(timer);
  transport->close();
  if (!why.empty()) co_return unanswered(why);
  co_return response_of(parser.release());
}

}  // namespace weir::net
