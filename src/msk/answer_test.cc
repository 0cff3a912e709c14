#include <gtest/gtest.h>

#include <stdexcept>

#include "msk/plane_fixture.h"
#include "zkclient/faulty.h"

namespace weir::msk {
namespace {

// The endpoint makes a 500 of it, and says in the log what it was.
TEST_F(MskTest, AnErrorOfOursIsNeitherSilenceNorZooKeepers) {
  const auto arn = make_cluster();
  end();
  bool broken = false;
  auto inner = std::exchange(zk, nullptr);
  zk = zkclient::make_faulty(*inner, [&broken](const zkclient::FaultyCall& call) {
    if (broken && call.path.starts_with("/weir/msk/configurations")) throw std::runtime_error("a bug");
    return zkclient::FaultAt::none;
  });
  make();
  broken = true;
  const auto began = world.clock().mono();
  EXPECT_THROW((void)call("ListConfigurations"), std::runtime_error);
  EXPECT_LT(world.clock().mono() - began, std::chrono::seconds(1));
  broken = false;
  EXPECT_EQ(call("ListConfigurations").status, 200) << "the next one is answered";
  end();
  zk = std::move(inner);
}

}  // namespace
}  // namespace weir::msk
