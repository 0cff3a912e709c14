#include "broker/request_memory.h"

#include <gtest/gtest.h>

#include "base/units.h"

namespace weir::broker {
namespace {

TEST(RequestMemory, IsABoundOfTheProcessWhereTheKeySaysNone) {
  config::BrokerConfig config;
  config.queued_max_request_bytes = -1;
  config.socket_request_max_bytes = 100 * MiB;
  EXPECT_EQ(request_memory(config, 8 * GiB).bytes, 2 * GiB) << "a quarter";
  EXPECT_EQ(request_memory(config, 1 * GiB).bytes, 400 * MiB) << "four of the largest";
  EXPECT_EQ(request_memory(config, 0).bytes, 400 * MiB) << "nobody knows how much there is";
  config.socket_request_max_bytes = 1'000'000;
  EXPECT_EQ(request_memory(config, 1 * GiB).bytes, 256 * MiB);
  config.queued_max_request_bytes = 2'000'000;
  EXPECT_EQ(request_memory(config, 8 * GiB).bytes, 2'000'000) << "as it was asked for";
}

TEST(RequestMemory, SmallRequestsAndBrokersHaveTheirOwn) {
  config::BrokerConfig config;
  config.queued_max_request_bytes = 2'000'000;
  EXPECT_EQ(request_memory(config, 0).small_bytes, 1 * MiB);
  EXPECT_EQ(request_memory(config, 0).brokers_bytes, 16 * MiB);
  config.queued_max_request_bytes = 4 * GiB;
  EXPECT_EQ(request_memory(config, 0).small_bytes, 64 * MiB);
  EXPECT_EQ(request_memory(config, 0).brokers_bytes, 512 * MiB);
}

}  // namespace
}  // namespace weir::broker
