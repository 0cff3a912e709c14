// The four-letter words: what people and tools ask a ZooKeeper by hand, answered in ZooKeeper's own formats.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "zkserver/engine.h"
#include "zkserver/options.h"

namespace weir::zkserver {

// What the words tell besides the engine's own numbers.
struct WordsContext {
  const Options* options = nullptr;
  std::uint16_t port = 0;         // as bound
  std::uint64_t connections = 0;  // open
  std::uint64_t refused_connections = 0;
};

// Whether the four bytes are a word of ZooKeeper's.
bool is_word(std::string_view four);
// The answer; a sentence for a word that the configuration does not allow. On the engine's shard.
std::string answer_word(std::string_view word, Engine& engine, const WordsContext& context);

}  // namespace weir::zkserver
