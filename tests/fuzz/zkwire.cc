// The messages of ZooKeeper's protocol, from clients and from servers. The first byte chooses the message.
#include "fuzz/fuzz.h"
#include "zkwire/messages.h"

namespace weir::fuzz {
namespace {

using namespace zkwire;

template <class T>
void read(bytes::Bytes from) {
  bytes::Reader in(from);
  auto message = decode<T>(in);
  if (!message) return;
  const auto written = encode(*message);
  const auto again = decode<T>(written.view());
  WEIR_CHECK(again, "what was written is read again");
  WEIR_CHECK(encode(*again).text() == written.text(), "and is the same");
}
template <class T>
std::string empty() {
  return std::string(encode(T{}).text());
}

struct Kind {
  void (*read)(bytes::Bytes);
  std::string (*empty)();
};
template <class... T>
std::vector<Kind> kinds() {
  return {{&read<T>, &empty<T>}...};
}
const std::vector<Kind>& all() {
  static const auto it =
      kinds<ConnectRequest, ConnectResponse, ReadOnly, RequestHeader, ReplyHeader, WatcherEvent, AuthPacket, SaslToken,
            ErrorResponse, CreateRequest, CreateTtlRequest, CreateResponse, Create2Response, PathVersion,
            SetDataRequest, SetAclRequest, StatResponse, PathWatch, PathOnly, GetDataResponse, PathsResponse,
            GetChildren2Response, GetAclResponse, GetAllChildrenNumberResponse, WhoAmIResponse, SetWatches, SetWatches2,
            AddWatchRequest, WatchesRequest, MultiHeader>();
  return it;
}

}  // namespace

void run(bytes::Bytes input) {
  const auto which = choice(input);
  const auto text = own(input);
  if (which < all().size()) return all()[which].read(bytes::as_bytes(text));
  (void)decode_multi(bytes::as_bytes(text));
}

std::vector<std::string> seeds() {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < all().size(); ++i) out.push_back(seed(static_cast<std::uint8_t>(i), all()[i].empty()));
  // A multi of one create and one check, and its end.
  const auto head = [](OpCode type) {
    MultiHeader header;
    header.type = type;
    return std::string(encode(header).text());
  };
  out.push_back(seed(0xff, head(OpCode::create) + empty<CreateRequest>() + head(OpCode::check) + empty<PathVersion>() +
                               std::string(encode(multi_end).text())));
  return out;
}

}  // namespace weir::fuzz
