#include "apps/api_certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::apps {
namespace {

using testing::Contains;
using testing::Each;
using testing::Not;

const std::vector<std::string> machine{"192.0.2.2", "fd00::2"};

cli::ControlOptions at(const std::string& host, const std::string& advertised = {}) {
  cli::ControlOptions out;
  out.api.host = host;
  out.advertise_host = advertised;
  return out;
}

TEST(ApiHost, IsOneThatOthersCanUse) {
  EXPECT_EQ(api_host(at("127.0.0.1"), machine), "127.0.0.1");
  EXPECT_EQ(api_host(at("192.0.2.9"), machine), "192.0.2.9");
  EXPECT_EQ(api_host(at("0.0.0.0"), machine), "192.0.2.2");
  EXPECT_EQ(api_host(at("::"), machine), "fd00::2");
  EXPECT_EQ(api_host(at("::"), {"192.0.2.2"}), "192.0.2.2");
  EXPECT_EQ(api_host(at("0.0.0.0"), {}), "localhost");
  EXPECT_EQ(api_host(at("0.0.0.0", "kafka.lan"), machine), "kafka.lan");
}

TEST(ApiHost, IsAnotherForThisMachine) {
  EXPECT_EQ(local_host(at("0.0.0.0", "kafka.lan")), "127.0.0.1");
  EXPECT_EQ(local_host(at("::")), "::1");
  EXPECT_EQ(local_host(at("192.0.2.9", "kafka.lan")), "192.0.2.9");
}

TEST(ApiNames, AreAllByWhichItCanBeReached) {
  const auto everywhere = api_names(at("0.0.0.0", "kafka.lan"), machine);
  for (const char* name : {"kafka.lan", "localhost"}) EXPECT_THAT(everywhere.names, Contains(name));
  for (const char* address : {"192.0.2.2", "fd00::2", "127.0.0.1", "::1"}) {
    EXPECT_THAT(everywhere.addresses, Contains(address));
  }
  const auto one = api_names(at("192.0.2.9"), machine);
  EXPECT_THAT(one.addresses, Contains("192.0.2.9"));
  EXPECT_THAT(one.addresses, Not(Contains("192.0.2.2")));  // nobody listens there
  EXPECT_THAT(api_names(at("0.0.0.0", "no name, really"), machine).names, Not(Contains("no name, really")));
}

TEST(ApiNames, OfThisMachineAreNeitherLoopbackNorLinkLocal) {
  EXPECT_THAT(machine_addresses(), Each(Not(testing::AnyOf(testing::StartsWith("127."), testing::StartsWith("fe80"),
                                                           testing::Eq("::1"), testing::Eq("0.0.0.0")))));
}

}  // namespace
}  // namespace weir::apps
