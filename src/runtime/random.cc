#include "runtime/random.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace weir::runtime {
namespace {

class SystemRandom final : public Random {
 public:
  void fill(bytes::MutableBytes out) override {
    while (!out.empty()) {
      const auto n = ::getrandom(out.data(), out.size(), 0);
      if (n < 0 && errno == EINTR) continue;
      WEIR_CHECK(n > 0, "the kernel gives random bytes");
      out = out.subspan(static_cast<std::size_t>(n));
    }
  }
};

// SplitMix64: any seed is a good seed, and the sequence is the same everywhere.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  void fill(bytes::MutableBytes out) override {
    while (!out.empty()) {
      const auto word = step();
      const auto n = std::min(out.size(), sizeof word);
      std::memcpy(out.data(), &word, n);
      out = out.subspan(n);
    }
  }

 private:
  std::uint64_t step() {
    state_ += 0x9e3779b97f4a7c15ULL;
    auto z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint64_t state_;
};

}  // namespace

std::uint64_t Random::next() {
  std::uint64_t v = 0;
  fill(std::as_writable_bytes(std::span(&v, 1)));
  return v;
}

std::uint64_t Random::below(std::uint64_t bound) {
  WEIR_CHECK(bound >= 1, "a range has at least one value");
  // Numbers of the last, incomplete run of `bound` are thrown away, so that all are equally likely.
  const auto skip = (0 - bound) % bound;
  for (;;) {
    const auto v = next();
    if (v >= skip) return v % bound;
  }
}

Uuid Random::uuid() {
  Uuid id;
  for (;;) {
    fill(std::as_writable_bytes(std::span(id.bytes)));
    id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0f) | 0x40);
    id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);
    // Kafka leaves out ids whose text begins with '-': command lines would take it for an option.
    if (id.text().front() != '-') return id;
  }
}

Random& system_random() {
  static SystemRandom random;
  return random;
}

std::unique_ptr<Random> seeded_random(std::uint64_t seed) { return std::make_unique<SeededRandom>(seed); }

}  // namespace weir::runtime
