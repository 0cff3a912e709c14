#include "broker/notices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::broker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

cluster::ImagePtr image_of(std::initializer_list<std::pair<const char*, const char*>> topics) {
  cluster::ImageBuilder building(cluster::empty_image());
  for (const auto& [name, policy] : topics) {
    building.put_topic(name, Uuid{});
    if (*policy != '\0') building.set_config({cluster::ConfigType::topic, name}, {{"cleanup.policy", policy}});
  }
  return building.build();
}

struct Notices : testing::Test {
  void configure(config::Properties file) {
    file.emplace("zookeeper.connect", "z");
    auto loaded = config::load_broker_config({{}, {}, file});
    ASSERT_TRUE(loaded);
    node.set_config(std::make_shared<const LiveConfig>(LiveConfig{std::move(loaded->config), {{}, {}, file}}));
  }
  Node node;
};

TEST_F(Notices, TopicsThatWantToBeCompactedAreNamed) {
  configure({});
  EXPECT_EQ(compaction_notice(node, *image_of({{"a", ""}, {"b", "delete"}, {"__consumer_offsets", "compact"}})), "");
  EXPECT_THAT(compaction_notice(node, *image_of({{"a", ""}, {"c", "compact,delete"}, {"b", "compact"}})),
              HasSubstr("cleanup.policy=compact: b, c: Weir does not compact"));
  configure({{"log.cleanup.policy", "compact"}});
  EXPECT_THAT(compaction_notice(node, *image_of({{"a", ""}, {"b", "delete"}})), AllOf(HasSubstr(": a: ")));
}

TEST_F(Notices, AWarningOfTheFileIsNotToldAgain) {
  const config::Properties file{{"zookeeper.connect", "z"}, {"num.partition", "3"}};
  const auto loaded = config::load_broker_config({{{"no.such.key", "1"}}, {}, file});
  ASSERT_TRUE(loaded);
  EXPECT_THAT(new_warnings(*loaded, file),
              ElementsAre(AllOf(HasSubstr("no.such.key"), Not(HasSubstr("num.partition")))));
}

}  // namespace
}  // namespace weir::broker
