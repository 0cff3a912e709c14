#include "zkwire/messages.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace weir::zkwire {
namespace {

std::string hex(const bytes::Shared& from) {
  std::string out;
  for (const auto b : from.view()) {
    constexpr char digits[] = "0123456789abcdef";
    out += digits[static_cast<unsigned>(b) >> 4];
    out += digits[static_cast<unsigned>(b) & 15];
  }
  return out;
}

// Bytes as a Java client of 3.8 sends them.
TEST(Messages, CreateRequestHasTheBytesOfTheWire) {
  CreateRequest request;
  request.path = "/a";
  request.data = bytes::as_bytes("xy");
  request.acl = {Acl{perm::all, Id{"world", "anyone"}}};
  request.flags = 1;
  const auto out = encode(RequestHeader{7, OpCode::create}, request);
  EXPECT_EQ(hex(out),
            "0000000700000001"
            "000000022f61"
            "000000027879"
            "000000010000001f00000005776f726c6400000006616e796f6e65"
            "00000001");
  bytes::Reader in(out.view());
  const auto header = decode<RequestHeader>(in);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->xid, 7);
  EXPECT_EQ(header->type, OpCode::create);
  const auto back = decode<CreateRequest>(in);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->path, "/a");
  EXPECT_EQ(bytes::as_text(*back->data), "xy");
  EXPECT_EQ(back->acl, request.acl);
  EXPECT_EQ(back->flags, 1);
  EXPECT_TRUE(in.done());
}

TEST(Messages, NullAndEmptyBuffersAreToldApart) {
  SetDataRequest request;
  request.path = "/";
  auto out = encode(request);
  EXPECT_EQ(hex(out), "000000012fffffffff00000000");
  EXPECT_FALSE(decode<SetDataRequest>(out.view())->data);
  request.data = bytes::Bytes();
  out = encode(request);
  ASSERT_TRUE(decode<SetDataRequest>(out.view())->data);
  EXPECT_TRUE(decode<SetDataRequest>(out.view())->data->empty());
}

TEST(Messages, FrameLengthCountsTheBody) {
  EXPECT_EQ(hex(encode_frame(ReplyHeader{-2, 5, Code::ok})), "00000010fffffffe000000000000000500000000");
}

TEST(Messages, StatKeepsEveryField) {
  const Stat stat{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const auto out = encode(StatResponse{stat});
  EXPECT_EQ(out.size(), 68U);
  EXPECT_EQ(decode<StatResponse>(out.view())->stat, stat);
}

TEST(Messages, LyingLengthsAreRefusedBeforeAnyAllocation) {
  const char huge_string[] = "\x7f\xff\xff\xff/a";
  EXPECT_FALSE(decode<PathOnly>(bytes::as_bytes({huge_string, 6})));
  const char negative[] = "\xff\xff\xff\xfe/a";
  EXPECT_FALSE(decode<PathOnly>(bytes::as_bytes({negative, 6})));
  std::string vector(12, '\0');
  vector[8] = '\x7f';  // two billion watches
  EXPECT_FALSE(decode<SetWatches>(bytes::as_bytes(vector)));
}

std::string sample_multi() {
  CreateRequest create;
  create.path = "/a";
  SetDataRequest set;
  set.path = "/b";
  set.version = -1;
  const auto out = encode(MultiHeader{OpCode::create, false, -1}, create, MultiHeader{OpCode::remove, false, -1},
                          PathVersion{"/c", 3}, MultiHeader{OpCode::set_data, false, -1}, set, multi_end);
  return std::string(out.text());
}

TEST(Messages, MultiIsReadToItsEnd) {
  const auto wire = sample_multi();
  const auto ops = decode_multi(bytes::as_bytes(wire));
  ASSERT_TRUE(ops);
  ASSERT_EQ(ops->size(), 3U);
  EXPECT_EQ((*ops)[1].type, OpCode::remove);
  EXPECT_EQ(std::get<PathVersion>((*ops)[1].request).version, 3);
  EXPECT_FALSE(decode_multi(bytes::as_bytes(wire).first(wire.size() - 1)));
}

TEST(Messages, MultiRefusesOperationsThatAreNone) {
  const auto out = encode(MultiHeader{OpCode::multi, false, -1}, multi_end);
  EXPECT_FALSE(decode_multi(out.view()));
}

TEST(Messages, MultiAnswerCarriesErrorsInHeaderAndBody) {
  std::vector<MultiResult> results(2);
  results[0].type = OpCode::remove;
  results[1].response = ErrorResponse{Code::no_node};
  EXPECT_EQ(hex(encode_multi(results)),
            "000000020000000000"
            "ffffffff00ffffff9bffffff9b"
            "ffffffff01ffffffff");
}

// Any bytes: an answer, never a crash (under the sanitizers), and nothing read past the end.
TEST(Messages, AnyBytesAreDecodedOrRefused) {
  std::mt19937 random(1);
  const auto multi = sample_multi();
  for (int round = 0; round < 20000; ++round) {
    std::string wire = round % 2 == 0 ? multi : std::string(random() % 64, '\0');
    for (auto& c : wire) {
      if (round % 2 != 0 || random() % 16 == 0) c = static_cast<char>(random() % 4 == 0 ? random() : random() % 4);
    }
    const auto in = bytes::as_bytes(wire);
    decode_multi(in);
    decode<ConnectRequest>(in);
    decode<CreateTtlRequest>(in);
    decode<SetAclRequest>(in);
    decode<SetWatches2>(in);
    decode<AuthPacket>(in);
  }
}

}  // namespace
}  // namespace weir::zkwire
