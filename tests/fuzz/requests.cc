// Requests, and answers of other brokers, of every API and version: the header's first four bytes choose.
//
// An int16 of API key and one of version as in a request; with the bit 0x4000 in the key what follows is an answer.
// What decodes must be as long as its encoded size says, and come back as the same bytes once it was written by us.
#include <map>
#include <string_view>

#include "fuzz/fuzz.h"
#include "protocol/api.h"
#include "protocol/frame.h"
#include "protocol/messages/all.h"

namespace weir::fuzz {
namespace {

constexpr std::int16_t answer_bit = 0x4000;
constexpr bool is_request(std::string_view name) { return name.ends_with("Request"); }

template <class M>
std::string written(const M& message, std::int16_t version) {
  const auto size = encoded_size(message, version);
  WEIR_CHECK(size.outside == 0, "decoded records lie in memory");
  std::string out(size.buffer, '\0');
  bytes::Writer to(std::as_writable_bytes(std::span(out)));
  encode(to, version, message);
  WEIR_CHECK(to.left() == 0, "a message is as long as its size says");
  return out;
}

template <class M>
void read(bytes::Reader& in, std::int16_t version) {
  M message;
  if (!decode(in, version, message)) return;
  const auto once = written(message, version);
  M again;
  bytes::Reader from(bytes::as_bytes(once));
  WEIR_CHECK(decode(from, version, again) && from.done(), "what was written is read again");
  WEIR_CHECK(written(again, version) == once, "and is the same");
}

using Read = void (*)(bytes::Reader&, std::int16_t);
using Reads = std::map<std::int16_t, Read>;

template <class M>
void add(std::string_view name, Reads& requests, Reads& answers) {
  if constexpr (requires { M::api_key; }) (is_request(name) ? requests : answers)[M::api_key] = &read<M>;
}

struct All {
  All(){
#define WEIR_X(Message) add<protocol::Message>(#Message, requests, answers);
      WEIR_PROTOCOL_MESSAGES(WEIR_X)
#undef WEIR_X
  } Reads requests;
  Reads answers;
};
const All& all() {
  static const All it;
  return it;
}

template <class M>
void add_seeds(std::string_view name, std::vector<std::string>& out) {
  if constexpr (requires { M::api_key; }) {
    const auto* api = protocol::find_api(M::api_key);
    for (auto v = api->version_min; v <= api->version_max; ++v) {
      std::string text;
      if (is_request(name)) {
        protocol::RequestHeader header;
        header.request_api_key = M::api_key;
        header.request_api_version = v;
        header.client_id = "a";
        text.resize(protocol::request_header_size(header).buffer);
        bytes::Writer to(std::as_writable_bytes(std::span(text)));
        protocol::encode_request_header(to, header);
      } else {
        text.resize(4);
        bytes::Writer to(std::as_writable_bytes(std::span(text)));
        to.i16(static_cast<std::int16_t>(M::api_key | answer_bit));
        to.i16(v);
      }
      out.push_back(text + written(M{}, v) + std::string(16, '\1'));
    }
  }
}

}  // namespace

void run(bytes::Bytes input) {
  bytes::Reader in(input);
  if (input.size() >= 4) {
    const auto key = bytes::load_big<std::int16_t>(input.data());
    const auto version = bytes::load_big<std::int16_t>(input.data() + 2);
    const auto it = all().answers.find(static_cast<std::int16_t>(key & ~answer_bit));
    if (key >= answer_bit && it != all().answers.end()) {
      const auto* api = protocol::find_api(it->first);
      if (!api->has(version)) return;
      bytes::Reader answer(input.subspan(4));
      return it->second(answer, version);
    }
  }
  protocol::RequestHeader header;
  if (!protocol::decode_request_header(in, header)) return;
  const auto it = all().requests.find(header.request_api_key);
  WEIR_CHECK(it != all().requests.end(), "a header that decodes is of an API there is");
  if (protocol::find_api(header.request_api_key)->has(header.request_api_version)) {
    it->second(in, header.request_api_version);
  }
}

std::vector<std::string> seeds() {
  std::vector<std::string> out;
#define WEIR_X(Message) add_seeds<protocol::Message>(#Message, out);
  WEIR_PROTOCOL_MESSAGES(WEIR_X)
#undef WEIR_X
  return out;
}

}  // namespace weir::fuzz
