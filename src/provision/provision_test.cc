#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/units.h"
#include "provision/address.h"
#include "provision/disk.h"
#include "provision/instance_type.h"
#include "provision/process.h"

namespace weir::provision {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Address, PoolsAndBlocksAreInTheLoopbackNet) {
  EXPECT_TRUE(valid_pool("127.0"));
  EXPECT_TRUE(valid_pool("127.255"));
  for (const char* bad : {"127", "127.", "127.256", "127.0.1", "10.0", "127.01", "127.-1", ""}) {
    EXPECT_FALSE(valid_pool(bad)) << bad;
  }
  EXPECT_TRUE(valid_block("127.0", "127.0.7"));
  for (const char* bad : {"127.0.0", "127.0.255", "127.1.7", "127.0.7.1", "127.0"}) {
    EXPECT_FALSE(valid_block("127.0", bad)) << bad;
  }
}

TEST(Address, EachBrokerOfABlockHasItsOwn) {
  EXPECT_EQ(block_address("127.0.7", 1), "127.0.7.1");
  EXPECT_EQ(block_address("127.0.7", 254), "127.0.7.254");
  EXPECT_FALSE(block_address("127.0.7", 0));
  EXPECT_FALSE(block_address("127.0.7", 255));
}

TEST(Address, TakenBlocksAreNotOffered) {
  const auto blocks = free_blocks("127.0", {"127.0.1", "127.0.3"});
  ASSERT_EQ(blocks.size(), 252U);
  EXPECT_EQ(blocks[0], "127.0.2");
  EXPECT_EQ(blocks[1], "127.0.4");
  EXPECT_EQ(blocks.back(), "127.0.254");
}

TEST(LastWords, AreReadFromTextAndFromJson) {
  const auto path = testing::TempDir() + "last-words-" + std::to_string(::getpid());
  std::ofstream(path) << "2026-11-23T10:00:00.000 I [apps] weir is here\n"
                      << "weir broker: the first\n"
                      << R"({"time":"t","level":"error","pid":1,"room":"apps","message":"weir broker: say \"a\""})"
                      << "\n"
                      << R"({"time":"t","level":"info","pid":1,"room":"apps","message":"something: else"})" << "\n";
  EXPECT_EQ(last_words(path, 0), R"(say "a")");
  std::ofstream(path) << "weir broker: the last\n";
  EXPECT_EQ(last_words(path, 0), "the last");
  std::filesystem::remove(path);
}

TEST(InstanceType, NamesAreMsks) {
  const auto large = find_instance_type("kafka.m5.large");
  ASSERT_TRUE(large);
  EXPECT_EQ(large->vcpus, 2);
  EXPECT_EQ(large->memory_bytes, static_cast<std::int64_t>(8 * GiB));
  EXPECT_TRUE(find_instance_type("kafka.t3.small"));
  EXPECT_FALSE(find_instance_type("kafka.m5.huge"));
  EXPECT_EQ(limits_of(*large, 100).storage_bytes, static_cast<std::int64_t>(100 * GiB));
}

TEST(Properties, LimitsBecomeKeysWithinTheMachine) {
  BrokerSpec spec;
  spec.key = {"demo", 2};
  spec.limits = {.shards = 8, .memory_bytes = 8'000'000'000, .storage_bytes = 0};
  const auto text = properties_text(spec, "/d", 4);
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, HasSubstr("\nweir.shards=4\n"));
  EXPECT_THAT(*text, HasSubstr("\nqueued.max.request.bytes=2000000000\n"));
  EXPECT_THAT(*text, Not(HasSubstr("broker.rack")));
  spec.properties["queued.max.request.bytes"] = "5";
  EXPECT_THAT(*properties_text(spec, "/d", 4), HasSubstr("\nqueued.max.request.bytes=5\n"));
}

}  // namespace
}  // namespace weir::provision
