// Holds the generated codec against bytes that Kafka's own classes wrote (Differential.java):
//
//   conformance_replay FILE...
//
// Each message must be decoded whole and come out as the same bytes when encoded again. Then it is broken: each
// beginning of it must be refused, and with bytes changed at random it must be refused or read as something that
// can be written and read again.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>

#include "bytes/cursor.h"
#include "protocol/api.h"
#include "protocol/messages/all.h"

namespace {

using namespace weir;

// What a message of some kind does with bytes. `out` gets it encoded again.
enum class Outcome { refused, left_over, good, size_wrong };
using Replay = Outcome (*)(bytes::Bytes data, std::int16_t version, std::string& out);

template <class M>
Outcome replay(bytes::Bytes data, std::int16_t version, std::string& out) {
  M message;
  bytes::Reader in(data);
  if (!decode(in, version, message)) return Outcome::refused;
  const auto size = encoded_size(message, version);
  out.resize(size.buffer);
  bytes::Writer to(std::as_writable_bytes(std::span(out)));
  encode(to, version, message);
  if (to.left() != 0 || size.outside != 0) return Outcome::size_wrong;
  return in.done() ? Outcome::good : Outcome::left_over;
}

const std::map<std::string_view, Replay>& replays() {
  static const std::map<std::string_view, Replay> all = {
#define WEIR_X(Message) {#Message, &replay<protocol::Message>},
      WEIR_PROTOCOL_MESSAGES(WEIR_X)
#undef WEIR_X
  };
  return all;
}

std::string_view our_name(std::string_view name) {
  static const std::map<std::string_view, std::string_view> renamed = {
      {"ListClientMetricsResourcesRequest", "ListConfigResourcesRequest"},
      {"ListClientMetricsResourcesResponse", "ListConfigResourcesResponse"},
      {"LegacyOffsetCommitKey", "OffsetCommitKey"},
      {"LegacyOffsetCommitValue", "OffsetCommitValue"},
  };
  const auto found = renamed.find(name);
  return found == renamed.end() ? name : found->second;
}

class Noise {
 public:
  std::uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  std::size_t below(std::size_t n) { return n == 0 ? 0 : next() % n; }

 private:
  std::uint64_t state_ = 88172645463325252ULL;
};

class Run {
 public:
  void message(std::string_view name, std::int16_t version, bytes::Bytes data) {
    const auto found = replays().find(our_name(name));
    if (found == replays().end()) return result(name, version, "is not in the schemas", {});
    const Replay it = found->second;
    std::string out;
    switch (it(data, version, out)) {
      case Outcome::refused: return result(name, version, "was refused", data);
      case Outcome::left_over: return result(name, version, "was not read to its end", data);
      case Outcome::size_wrong: return result(name, version, "was not as long as its size said", data);
      case Outcome::good: break;
    }
    if (out != bytes::as_text(data)) return result(name, version, "came out differently", data);
    if (const char* why = broken(it, version, data)) return result(name, version, why, data);
    ++seen_[std::string(our_name(name)) + " " + std::to_string(version)];
    ++passed_;
  }

  void header(bytes::Bytes data) {
    bytes::Reader in(data);
    const auto key = in.i16();
    const auto version = in.i16();
    const bool same = protocol::request_header_version(key, version) == in.i16() &&
                      protocol::response_header_version(key, version) == in.i16();
    if (!same) return result("header of API " + std::to_string(key), version, "has another version", data);
    ++passed_;
  }

  void unreadable(const char* path) { result(path, 0, "cannot be read", {}); }

  // Each version of each message must have been there.
  int finish() {
#define WEIR_X(Message)                                                                    \
  for (int v = protocol::Message::version_min; v <= protocol::Message::version_max; ++v) { \
    if (!seen_.contains(#Message " " + std::to_string(v))) {                               \
      result(#Message, static_cast<std::int16_t>(v), "was not in the files", {});          \
    }                                                                                      \
  }
    WEIR_PROTOCOL_MESSAGES(WEIR_X)
#undef WEIR_X
    std::printf("%zu passed, %zu failed\n", passed_, failed_);
    return failed_ == 0 && passed_ > 0 ? 0 : 1;
  }

 private:
  const char* broken(Replay it, std::int16_t version, bytes::Bytes data) {
    std::string out;
    std::string again;
    // Long messages: not every beginning, but some near both ends and between.
    for (std::size_t n = 0; n < data.size(); n += data.size() <= 400 ? 1 : 1 + noise_.below(data.size() / 100)) {
      if (it(data.first(n), version, out) != Outcome::refused) return "was not refused when cut short";
    }
    std::string changed(bytes::as_text(data.first(std::min<std::size_t>(data.size(), 4096))));
    for (int round = 0; round < 20 && !changed.empty(); ++round) {
      const auto at = noise_.below(changed.size());
      const char before = changed[at];
      changed[at] = static_cast<char>(round % 2 == 0 ? noise_.next() : noise_.next() % 3 - 1);
      const auto outcome = it(bytes::as_bytes(changed), version, out);
      if (outcome == Outcome::size_wrong) return "when changed, was not as long as its size said";
      if (outcome != Outcome::refused && it(bytes::as_bytes(out), version, again) != Outcome::good) {
        return "when changed, could not be read again";
      }
      if (round % 4 != 3) changed[at] = before;
    }
    return nullptr;
  }

  void result(std::string_view name, std::int16_t version, const char* why, bytes::Bytes data) {
    ++failed_;
    if (failed_ > 100) return;
    std::printf("FAILED %.*s version %d %s", static_cast<int>(name.size()), name.data(), version, why);
    for (std::size_t i = 0; i < std::min<std::size_t>(data.size(), 200); ++i) {
      std::printf("%s%02x", i == 0 ? ": " : "", static_cast<unsigned>(data[i]));
    }
    std::printf("\n");
  }

  Noise noise_;
  std::map<std::string, int> seen_;
  std::size_t passed_ = 0;
  std::size_t failed_ = 0;
};

}  // namespace

int main(int count, char** arguments) {
  Run run;
  for (int i = 1; i < count; ++i) {
    std::ifstream file(arguments[i], std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    if (text.empty()) run.unreadable(arguments[i]);
    bytes::Reader in(bytes::as_bytes(text));
    while (in.left() > 0) {
      const auto name = in.text(in.u16());
      const auto version = in.i16();
      const auto data = in.take(in.u32());
      if (!in.ok()) {
        run.unreadable(arguments[i]);
      } else if (name == "@header") {
        run.header(data);
      } else {
        run.message(name, version, data);
      }
    }
  }
  return run.finish();
}
