#include "apps/zookeeper_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace weir::apps {
namespace {

class ZookeeperFile : public testing::Test {
 protected:
  ZookeeperFile() {
    std::string name = std::filesystem::temp_directory_path() / "weir-zookeeper-file-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~ZookeeperFile() override { std::filesystem::remove_all(folder_); }
  auto read(const std::string& text) {
    std::ofstream(folder_ / "zookeeper.properties") << text;
    return read_zookeeper_file(folder_ / "zookeeper.properties");
  }
  std::string complaint(const std::string& text) {
    const auto keys = read(text);
    return keys ? "" : keys.error();
  }

  std::filesystem::path folder_;
};

TEST_F(ZookeeperFile, LogsInWithTheKeysOfABroker) {
  const auto keys = read("weir.zookeeper.sasl.username=weir\nweir.zookeeper.sasl.password=secret\n");
  ASSERT_TRUE(keys.has_value()) << keys.error();
  const auto options = session_options("zk:2181", *keys);
  ASSERT_TRUE(options.has_value()) << options.error();
  EXPECT_EQ(options->connect, "zk:2181");
  ASSERT_TRUE(options->security);
  EXPECT_EQ(options->security->sasl_username, "weir");
  EXPECT_EQ(options->security->sasl_password, "secret");
  EXPECT_EQ(session_options("zk:2181", *read_zookeeper_file(""))->security, nullptr);
}

TEST_F(ZookeeperFile, SaysWhatIsWrong) {
  EXPECT_NE(complaint("zookeeper.connect=a:1\n").find("zookeeper.connect says nothing of a session"),
            std::string::npos);
  EXPECT_NE(complaint("zookeeper.ssl.truststore.location=ca.pem\n").find("=ca.pem: must be an absolute path"),
            std::string::npos);
  EXPECT_FALSE(read_zookeeper_file(folder_ / "none").has_value());
  const auto keys = read("zookeeper.ssl.client.enable=true\nzookeeper.ssl.truststore.location=/nowhere/ca.pem\n");
  ASSERT_TRUE(keys.has_value()) << keys.error();
  const auto options = session_options("zk:2182", *keys);
  ASSERT_FALSE(options.has_value());
  EXPECT_NE(options.error().find("/nowhere/ca.pem"), std::string::npos) << options.error();
}

}  // namespace
}  // namespace weir::apps
