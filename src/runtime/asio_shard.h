// The real shard, as the bodies in this room see it: a thread that runs an Asio io_context. Not for other rooms.
#pragma once

#include <memory>

#include "runtime/shard.h"

namespace boost::asio {
class io_context;
}

namespace weir::runtime {

class AsioShard : public Shard {
 public:
  virtual boost::asio::io_context& context() = 0;
};

}  // namespace weir::runtime
