#include "zkwire/messages.h"

#include <utility>

namespace weir::zkwire {
namespace {

template <class T>
bool take(bytes::Reader& in, MultiOp& op) {
  auto request = decode<T>(in);
  if (!request) return false;
  op.request = std::move(*request);
  return true;
}

bool decode_op(bytes::Reader& in, MultiOp& op) {
  switch (op.type) {
    case OpCode::create:
    case OpCode::create2:
    case OpCode::create_container: return take<CreateRequest>(in, op);
    case OpCode::create_ttl: return take<CreateTtlRequest>(in, op);
    case OpCode::remove:
    case OpCode::check: return take<PathVersion>(in, op);
    case OpCode::set_data: return take<SetDataRequest>(in, op);
    case OpCode::get_data:
    case OpCode::get_children: return take<PathWatch>(in, op);
    default: return false;  // whatever else a client writes here is malformed
  }
}

MultiHeader header_of(const MultiResult& result) {
  const auto* error = std::get_if<ErrorResponse>(&result.response);
  return {result.type, false, error != nullptr ? static_cast<std::int32_t>(error->err) : 0};
}

}  // namespace

std::optional<std::vector<MultiOp>> decode_multi(bytes::Bytes from) {
  bytes::Reader in(from);
  std::vector<MultiOp> ops;
  while (true) {
    const auto header = decode<MultiHeader>(in);
    if (!header) return std::nullopt;
    if (header->done) return ops;
    auto& op = ops.emplace_back();
    op.type = header->type;
    if (!decode_op(in, op)) return std::nullopt;
  }
}

bytes::Shared encode_multi(const std::vector<MultiResult>& results) {
  std::size_t total = jute::size_of(multi_end);
  for (const auto& result : results) {
    total += jute::size_of(multi_end);
    std::visit(
        [&]<class T>(const T& response) {
          if constexpr (!std::is_same_v<T, std::monostate>) total += jute::size_of(response);
        },
        result.response);
  }
  auto out = bytes::Shared::allocate(total);
  bytes::Writer w(out.mutable_view());
  for (const auto& result : results) {
    jute::write_field(w, header_of(result));
    std::visit(
        [&]<class T>(const T& response) {
          if constexpr (!std::is_same_v<T, std::monostate>) jute::write_field(w, response);
        },
        result.response);
  }
  jute::write_field(w, multi_end);
  return out;
}

}  // namespace weir::zkwire
