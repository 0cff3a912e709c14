#include "config/jaas.h"

#include <gtest/gtest.h>

namespace weir::config {
namespace {

TEST(Jaas, ReadsTheFileThatKafkasUsersHave) {
  const auto login = parse_jaas(R"(
// of the broker itself
KafkaServer {
  org.apache.kafka.common.security.plain.PlainLoginModule required
  username="admin" user_admin="x";
};
/* of ZooKeeper */
Client {
  org.apache.zookeeper.server.auth.DigestLoginModule required
  username="kafka"
  password="se\"cr et;}=";
};
)",
                                "Client");
  ASSERT_TRUE(login && *login);
  EXPECT_EQ((*login)->module, "org.apache.zookeeper.server.auth.DigestLoginModule");
  EXPECT_EQ((*login)->control, "required");
  EXPECT_EQ((*login)->options.at("username"), "kafka");
  EXPECT_EQ((*login)->options.at("password"), "se\"cr et;}=");
}

TEST(Jaas, ASectionThatIsNotThereIsNothing) {
  const auto login = parse_jaas("Server { a.B required x=1; };", "Client");
  ASSERT_TRUE(login);
  EXPECT_FALSE(login->has_value());
}

TEST(Jaas, WhatIsNoSuchFileIsNamedByLineAndShowsNoSecret) {
  for (const char* text : {"Client", "Client {", "Client { a.B", "Client { a.B required", "Client { a.B required p",
                           "Client {\n a.B required\n password=\"s3cret;\n};", "Client { a.B required p=; };",
                           "Client { a.B required p=1; }", "/* x", "};", "Client { ; };"}) {
    const auto login = parse_jaas(text, "Client");
    ASSERT_FALSE(login) << text;
    EXPECT_NE(login.error().message.find("line "), std::string::npos);
    EXPECT_EQ(login.error().message.find("s3cret"), std::string::npos);
  }
  EXPECT_NE(parse_jaas("Client {\n a.B required\n password=\"s3cret;\n};", "Client").error().message.find("line 3"),
            std::string::npos);
}

}  // namespace
}  // namespace weir::config
