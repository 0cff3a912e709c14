// How an AWS-style API says no: a status, the name of a modeled error, a sentence. REST-JSON services carry it as
// header x-amzn-errortype and body {"message": ..., "invalidParameter": ...}.
#pragma once

#include <string>
#include <utility>

namespace weir::aws {

struct Fault {
  int status = 500;
  std::string type = "InternalServerErrorException";  // "BadRequestException"
  std::string message;
  std::string invalid_parameter;  // the member at fault as the model's locationName: "clusterName"; empty: absent
};

inline Fault fault(int status, std::string type, std::string message, std::string invalid_parameter = {}) {
  Fault made;
  made.status = status;
  made.type = std::move(type);
  made.message = std::move(message);
  made.invalid_parameter = std::move(invalid_parameter);
  return made;
}

}  // namespace weir::aws
