// InitProducerId (KIP-98), versions 0 to 5.
//   2 flexible   3 the producer's own id and epoch (KIP-360)
// Where this differs from Kafka: a transactional id is refused (transactions are not served yet).

#include <utility>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/producer_id_source.h"
#include "protocol/messages/init_producer_id.h"
#include "runtime/shard.h"

namespace weir::broker::api {

Task<Response> init_producer_id(Request& request) {
  protocol::InitProducerIdRequest in;
  if (!request.read(in)) co_return Response::malformed();
  protocol::InitProducerIdResponse out;
  out.producer_id = -1;
  out.producer_epoch = -1;
  if (in.transactional_id) {
    out.error_code = static_cast<std::int16_t>(
        in.transactional_id->empty() ? ErrorCode::INVALID_REQUEST : ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    co_return request.answer(out);
  }
  auto& node = request.node();
  auto work = [&node] { return node.producer_ids->next(); };
  const auto id = co_await runtime::call(*node.control, std::move(work));
  if (id) {
    out.producer_id = id->value;
    out.producer_epoch = 0;
  } else {
    out.error_code = static_cast<std::int16_t>(id.error().code);
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
