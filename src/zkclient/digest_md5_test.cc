#include "zkclient/digest_md5.h"

#include <gtest/gtest.h>

namespace weir::zkclient {
namespace {

constexpr std::string_view challenge =
    R"(realm="zk-sasl-md5",nonce="VdYzqyYtGLXL1TtqGhC/nsR8HHKSgVjdWeKIiTvY",charset=utf-8,algorithm=md5-sess)";

std::string value_of(const std::string& message, const std::string& name) {
  const auto at = message.find(name + "=");
  return at == std::string::npos ? ""
                                 : message.substr(at + name.size() + 1, message.find(',', at) - at - name.size() - 1);
}

// The numbers were computed apart from this code; tests/zookeeper has a real server.
TEST(DigestMd5, AnswersAsTheRfcSays) {
  DigestMd5 machine("kafka", "secret", "OA6MHXh6VqTrRk");
  const auto answer = machine.respond(challenge);
  ASSERT_TRUE(answer);
  EXPECT_EQ(value_of(*answer, "username"), "\"kafka\"");
  EXPECT_EQ(value_of(*answer, "realm"), "\"zk-sasl-md5\"");
  EXPECT_EQ(value_of(*answer, "digest-uri"), "\"zookeeper/zk-sasl-md5\"");
  EXPECT_EQ(value_of(*answer, "response"), "ef1ba47ff3830cea5125887ed693d8e0");
  EXPECT_TRUE(machine.server_knows("rspauth=d5c2e77e612d120483420049ea5eaeda"));
  EXPECT_FALSE(machine.server_knows("rspauth=00000000000000000000000000000000"));
  EXPECT_FALSE(machine.server_knows(""));
}

TEST(DigestMd5, AChallengeThatIsNoneIsRefused) {
  for (std::string_view text : {"", "nonsense", "realm=\"x", "realm=\"x\",algorithm=md5-sess", "nonce=\"n\"",
                                "nonce=\"n\",algorithm=sha", "nonce=\"n\",algorithm=md5-sess,qop=\"auth-conf\""}) {
    EXPECT_FALSE(DigestMd5("u", "p", "c").respond(text)) << text;
  }
  EXPECT_FALSE(DigestMd5("u", "p", "c").respond(std::string(100'000, 'a')));
  EXPECT_FALSE(DigestMd5("u", "p", "c").server_knows("rspauth=x"));
}

}  // namespace
}  // namespace weir::zkclient
