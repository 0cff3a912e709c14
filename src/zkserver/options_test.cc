#include "zkserver/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::zkserver {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ZooCfg, ReadsWhatApacheReads) {
  const auto parsed = parse_zoo_cfg(
      "# a comment\r\n"
      "tickTime=2000\n"
      "dataDir = /var/lib/zookeeper \n"
      "clientPort=2182\n"
      "clientPortAddress=127.0.0.1\n"
      "maxClientCnxns=0\n"
      "initLimit=5\n"
      "zookeeper.DigestAuthenticationProvider.superDigest=super:abc=\n"
      "4lw.commands.whitelist=ruok, srvr\n"
      "snapCount=5\n"
      "strange=1");
  ASSERT_TRUE(parsed) << parsed.error().message;
  const auto& o = parsed->options;
  EXPECT_EQ(o.data_dir, "/var/lib/zookeeper");
  EXPECT_EQ(o.listen, (runtime::Address{"127.0.0.1", 2182}));
  EXPECT_EQ(o.tick, milliseconds(2000));
  EXPECT_EQ(o.min_timeout(), milliseconds(4000));
  EXPECT_EQ(o.max_timeout(), milliseconds(40'000));
  EXPECT_EQ(o.connections_per_ip_max, 0U);
  EXPECT_EQ(o.super_digest, "super:abc=");
  EXPECT_THAT(o.four_letter_words, ElementsAre("ruok", "srvr"));
  EXPECT_THAT(parsed->warnings, ElementsAre(HasSubstr("strange")));
}

TEST(ZooCfg, AnErrorNamesKeyValueAndRange) {
  const auto error = [](std::string_view text) {
    const auto parsed = parse_zoo_cfg(text);
    return parsed ? std::string("accepted") : parsed.error().message;
  };
  EXPECT_EQ(error("clientPort=70000\ndataDir=/d"), "clientPort=70000: must be a number from 0 to 65535");
  EXPECT_THAT(error("tickTime=soon\ndataDir=/d"), HasSubstr("tickTime=soon"));
  EXPECT_THAT(error("clientPort=2181"), HasSubstr("dataDir"));
  EXPECT_THAT(error("dataDir=/d\nserver.1=a:2888:3888"), HasSubstr("one node"));
  EXPECT_THAT(error("dataDir=/d\nminSessionTimeout=9000\nmaxSessionTimeout=100"), HasSubstr("minSessionTimeout=9000"));
  EXPECT_THAT(error("nonsense"), HasSubstr("KEY=VALUE"));
}

}  // namespace
}  // namespace weir::zkserver
