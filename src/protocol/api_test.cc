#include "protocol/api.h"

#include <gtest/gtest.h>

#include <string>

#include "bytes/cursor.h"
#include "protocol/frame.h"
#include "protocol/messages/api_versions.h"
#include "protocol/messages/controlled_shutdown.h"
#include "protocol/messages/sasl_handshake.h"

namespace weir::protocol {
namespace {

using bytes::Reader;

TEST(Apis, TableIsSortedAndFound) {
  std::int16_t last = -1;
  for (const auto& api : apis()) {
    EXPECT_GT(api.key, last);
    last = api.key;
    EXPECT_EQ(find_api(api.key), &api);
    EXPECT_LE(api.version_min, api.version_max);
  }
  const Api* produce = find_api(static_cast<std::int16_t>(ApiKey::produce));
  ASSERT_NE(produce, nullptr);
  EXPECT_EQ(produce->name, "Produce");
  EXPECT_EQ(produce->version_min, 0);
  EXPECT_EQ(produce->version_max, 13);
  EXPECT_EQ(produce->flexible_from, 9);
  EXPECT_EQ(find_api(static_cast<std::int16_t>(ApiKey::init_producer_id))->unstable_from, 6);
  for (const std::int16_t key : {-1, 52, 93, 32767, -32768}) EXPECT_EQ(find_api(key), nullptr) << key;
}

TEST(Headers, Versions) {
  EXPECT_EQ(request_header_version(0, 8), 1);
  EXPECT_EQ(request_header_version(0, 9), 2);
  EXPECT_EQ(response_header_version(0, 8), 0);
  EXPECT_EQ(response_header_version(0, 9), 1);
  // ControlledShutdown 0 has no client id.
  EXPECT_EQ(request_header_version(7, 0), 0);
  EXPECT_EQ(request_header_version(7, 1), 1);
  EXPECT_EQ(request_header_version(7, 3), 2);
  // The answer to ApiVersions is read by clients that do not know yet what the broker can do.
  EXPECT_EQ(request_header_version(18, 3), 2);
  EXPECT_EQ(response_header_version(18, 3), 0);
  EXPECT_EQ(request_header_version(18, 99), 2);
  EXPECT_EQ(response_header_version(18, 99), 0);
  // SaslHandshake never became flexible.
  EXPECT_EQ(request_header_version(17, 1), 1);
}

TEST(Headers, RequestFrame) {
  RequestHeader header;
  header.request_api_key = 18;
  header.request_api_version = 3;
  header.correlation_id = 0x01020304;
  header.client_id = "me";
  ApiVersionsRequest request;
  request.client_software_name = "weir";
  request.client_software_version = "1";
  const Frame frame = encode_request(header, request);
  // Length, key, version, correlation, client id in the old encoding, no tags; then the message.
  EXPECT_EQ(frame.memory.text(), std::string("\0\0\0\x15\0\x12\0\x03\1\2\3\4\0\2me\0\5weir\2"
                                             "1\0",
                                             25));
  Reader in(frame.memory.view().subspan(4));
  RequestHeader back;
  ASSERT_TRUE(decode_request_header(in, back));
  EXPECT_EQ(back.correlation_id, 0x01020304);
  EXPECT_EQ(back.client_id, "me");
  ApiVersionsRequest message;
  ASSERT_TRUE(decode(in, back.request_api_version, message));
  EXPECT_TRUE(in.done());
  EXPECT_EQ(message.client_software_name, "weir");
}

TEST(Headers, ControlledShutdownZeroHasNoClientId) {
  RequestHeader header;
  header.request_api_key = 7;
  header.client_id = "me";
  ControlledShutdownRequest request;
  request.broker_id = 3;
  const Frame frame = encode_request(header, request);
  EXPECT_EQ(frame.memory.size(), 4U + 8U + 4U);
  Reader in(frame.memory.view().subspan(4));
  RequestHeader back;
  ASSERT_TRUE(decode_request_header(in, back));
  EXPECT_EQ(in.left(), 4U);
}

TEST(Headers, ApiVersionsAnswersWithoutTagsInTheHeader) {
  ApiVersionsResponse response;
  EXPECT_EQ(encode_response(5, 3, response).memory.text().substr(4, 6), std::string_view("\0\0\0\5\0\0", 6));
}

TEST(Headers, BrokenOnes) {
  for (const auto& wire :
       {std::string("\0", 1), std::string("\0\1\0\1\0\0\0", 7), std::string("\0\1\0\1\0\0\0\1\0\5ab", 12),
        std::string("\x7f\1\0\1\0\0\0\1\0\0", 10), std::string("\0\1\0\1\0\0\0\1\xff\xfe", 10)}) {
    Reader in(bytes::as_bytes(wire));
    RequestHeader header;
    EXPECT_FALSE(decode_request_header(in, header));
  }
}

}  // namespace
}  // namespace weir::protocol
