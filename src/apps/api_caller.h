// The commands' way to the API: signed calls, one after another, to the control plane of a folder.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "apps/control_files.h"
#include "aws/fault.h"

namespace boost::json {
class value;
}  // namespace boost::json

namespace weir::apps {

class ApiCaller {
 public:
  // Finds address and key in the folder. The error is a sentence.
  static std::expected<std::unique_ptr<ApiCaller>, std::string> open(const std::string& data_dir);
  ~ApiCaller();
  ApiCaller(const ApiCaller&) = delete;
  ApiCaller& operator=(const ApiCaller&) = delete;

  // Blocks. `body` is JSON or empty. The answer is an object.
  std::expected<boost::json::value, aws::Fault> call(const std::string& method, const std::string& target,
                                                     const std::string& body = {});
  const ControlFiles& files() const;

 private:
  struct Impl;
  explicit ApiCaller(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::apps
