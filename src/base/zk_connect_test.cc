#include "base/zk_connect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ZkConnect, IsServersAndAChroot) {
  const auto good = parse_zk_connect("zk1, zk2:2182 ,[::1]:3,[fd00::2],127.0.0.1/x/y/");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->chroot, "/x/y");
  EXPECT_THAT(good->servers, ElementsAre(ZkServer{"zk1", 2181}, ZkServer{"zk2", 2182}, ZkServer{"::1", 3},
                                         ZkServer{"fd00::2", 2181}, ZkServer{"127.0.0.1", 2181}));
}

TEST(ZkConnect, TakesWhatZooKeepersClientTakes) {
  EXPECT_THAT(parse_zk_connect("a:1,,b")->servers, ElementsAre(ZkServer{"a", 1}, ZkServer{"b", 2181}));
  EXPECT_THAT(parse_zk_connect("::1:2182")->servers, ElementsAre(ZkServer{"::1", 2182}));
  EXPECT_EQ(parse_zk_connect("a/")->chroot, "");
}

TEST(ZkConnect, SaysWhatIsWrong) {
  for (std::string_view bad :
       {"",      ",",      "/x",    "a:0",       "a:",       "a:x",  "a:2177x", "a:70000", "a:99999", "a:65536",
        ":2181", ":1",     "a b:1", "[::1:2181", "[::1]x",   "[]:1", "[a]:1",   "::1",     "a:-1",    "a:+1",
        "a//b",  "a/../b", "a/./b", "a:1,b:y",   "[::1]]:1", "]:1",  "[:1",     "["}) {
    const auto parsed = parse_zk_connect(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_THAT(parsed.error(), HasSubstr("must be HOST[:PORT]")) << bad;
  }
  EXPECT_THAT(parse_zk_connect("a:1,b:99999,c").error(), HasSubstr("'b:99999' is not"));
}

}  // namespace
}  // namespace weir
