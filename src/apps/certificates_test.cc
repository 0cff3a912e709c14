#include "apps/certificates.h"

#include <gtest/gtest.h>

namespace weir::apps {
namespace {

constexpr std::int64_t day = 86'400;

TEST(Certificates, AreRenewedWhileAThirdOfTheirTimeIsLeft) {
  const auto due = [](std::int64_t left, std::int64_t authority_left) {
    return renewal_due(1000 * day, (1000 + left) * day, 90 * day, (1000 + authority_left) * day);
  };
  EXPECT_FALSE(due(31, 3000));
  EXPECT_TRUE(due(30, 3000));
  EXPECT_TRUE(due(-5, 3000)) << "it ended while nobody looked";
  EXPECT_TRUE(due(20, 25));
  EXPECT_FALSE(due(20, 20)) << "a new one would end with the authority, as this one does";
}

TEST(Certificates, AnAuthorityThatEndsSoonIsSaid) {
  const auto authority = security::CertificateAuthority::create("x", {1'700'000'000, 100});
  ASSERT_TRUE(authority);
  const auto said = [&](std::int64_t after_days) {
    return authority_warning(authority->certificate_pem(), 1'700'000'000 + after_days * day, 60 * day);
  };
  EXPECT_EQ(said(39), "");
  EXPECT_NE(said(50).find("ends on 2024-02-22"), std::string::npos) << said(50);
  EXPECT_NE(said(101).find("ended on 2024-02-22"), std::string::npos);
}

}  // namespace
}  // namespace weir::apps
