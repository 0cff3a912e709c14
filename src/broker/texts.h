// Text that answers point to: messages hold views, and what they view must live until they are encoded.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>

namespace weir::broker {

class Texts {
 public:
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }

 private:
  std::deque<std::string> kept_;  // its elements do not move
};

}  // namespace weir::broker
