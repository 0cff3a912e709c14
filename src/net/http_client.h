// One HTTP/1.1 call: connect, ask, read the answer, close. For our own commands and tests, not for a hot path.
#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
#include "base/units.h"
#include "net/http.h"
#include "net/tls.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::net {

struct HttpCall {
  runtime::Address to;
  // Method, target, headers with Host, body. Content-Length and Connection are added.
  HttpRequest request;
  std::shared_ptr<const TlsContext> tls;  // null: plain; otherwise the certificate must be for to.host
  milliseconds timeout{30'000};           // from the first packet to the answer's last byte
  std::uint32_t head_bytes_max = 64 * 1024;
  std::uint64_t body_bytes_max = 64 * 1024 * 1024;
};

// On `shard`. REQUEST_TIMED_OUT; NETWORK_EXCEPTION with a sentence that names the address when there is no answer, or
// none that is HTTP.
runtime::Task<Result<HttpResponse>> http_call(runtime::Shard& shard, runtime::Sockets& sockets, HttpCall call);

}  // namespace weir::net
