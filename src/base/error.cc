#include "base/error.h"

namespace weir {

std::string_view name(ErrorCode code) {
  switch (code) {
#define WEIR_X(name, number, retriable) \
  case ErrorCode::name: return #name;
    WEIR_KAFKA_ERRORS(WEIR_X)
#undef WEIR_X
  }
  return "UNKNOWN_SERVER_ERROR";
}

bool retriable(ErrorCode code) {
  switch (code) {
#define WEIR_X(name, number, retriable) \
  case ErrorCode::name: return retriable;
    WEIR_KAFKA_ERRORS(WEIR_X)
#undef WEIR_X
  }
  return false;
}

}  // namespace weir
