#include "apps/local_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "apps/data_dir.h"
#include "apps/up.h"
#include "apps/up_brokers.h"

namespace weir::apps {
namespace {

using testing::HasSubstr;

struct Folder {
  Folder() {
    std::string name = testing::TempDir() + "local_XXXXXX";
    path = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path;
};

LocalSpec tls_spec() {
  LocalSpec spec;
  spec.address = "127.0.0.2";
  spec.properties = {{"listeners", "@LISTENERS@,CLIENT_SECURE://@TLS@"},
                     {"advertised.listeners", "@ADVERTISED@,CLIENT_SECURE://@TLS_ADVERTISED@"},
                     {"ssl.keystore.location", "@DIR@/broker.pem"},
                     {"num.partitions", "4"}};
  return spec;
}

TEST(LocalSpec, GoesOverTheFileAndMarksAreFilledIn) {
  config::Properties base{{"listeners", "PLAINTEXT://0.0.0.0:9102"},
                          {"advertised.listeners", "PLAINTEXT://kafka.lan:9102"},
                          {"num.partitions", "1"},
                          {"weir.metrics.listener", "0.0.0.0:11001"}};
  cli::Place place;
  place.listen_host = "0.0.0.0";
  place.advertise_host = "kafka.lan";
  place.port = 9102;
  auto spec = tls_spec();
  spec.properties["weir.metrics.listener"] = "@METRICS@";
  const auto over = put_over(base, spec, place, "/data/broker-2");
  EXPECT_EQ(over,
            (config::Properties{{"listeners", "PLAINTEXT://0.0.0.0:9102,CLIENT_SECURE://0.0.0.0:9104"},
                                {"advertised.listeners", "PLAINTEXT://kafka.lan:9102,CLIENT_SECURE://kafka.lan:9104"},
                                {"ssl.keystore.location", "/data/broker-2/broker.pem"},
                                {"num.partitions", "4"},
                                {"weir.metrics.listener", "0.0.0.0:11001"}}));
  spec.properties = {{"weir.metrics.listener", "@ABSENT@"}};
  EXPECT_FALSE(put_over(base, spec, place, "").contains("weir.metrics.listener"));
}

TEST(LocalSpec, IsReadAsItWasWrittenAndGarbageIsAnError) {
  Folder folder;
  const auto path = folder.path + "/api.json";
  auto none = read_local_spec(path);
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
  std::ofstream(path) << to_json(tls_spec());
  auto read = read_local_spec(path);
  ASSERT_TRUE(read && *read);
  EXPECT_EQ(**read, tls_spec());
  for (const char* bad :
       {"", "{", "[]", "{\"address\":1,\"properties\":{}}", "{\"address\":\"a\",\"properties\":{\"k\":1}}"}) {
    std::ofstream(path) << bad;
    EXPECT_FALSE(read_local_spec(path)) << bad;
  }
}

TEST(LocalSpec, HasANumberThatTellsWhatABrokerRunsWith) {
  auto spec = tls_spec();
  const auto number = spec.number();
  spec.address = "127.0.0.3";
  EXPECT_EQ(spec.number(), number) << "a broker need not restart for it";
  spec.properties["num.partitions"] = "5";
  EXPECT_NE(spec.number(), number);
  EXPECT_EQ(LocalSpec().number(), 0u);
}

cli::UpOptions options() {
  cli::UpOptions o;
  o.listen_host = o.advertise_host = "127.77.1.1";
  return o;
}

TEST(UpBrokers, WriteWhatTheApiAskedForAtEachStart) {
  Folder folder;
  const auto dir = DataDir::find(folder.path);
  ASSERT_TRUE(dir && dir->make(2));
  UpBrokers brokers(options(), *dir, "weir", "3.9", 1);
  std::vector<std::string> warnings;
  auto child = brokers.child(1, warnings);
  ASSERT_TRUE(child) << child.error();
  EXPECT_EQ(child->state.given, 0u);
  EXPECT_EQ(child->state.rack, "") << "one broker has no zone";

  auto spec = tls_spec();
  spec.properties = {{"num.partitions", "4"}, {"inter.broker.protocol.version", "3.5"}};
  std::ofstream(dir->broker_asked(1)) << to_json(spec);
  auto state = child->state;
  ASSERT_TRUE(child->renew(state));
  EXPECT_EQ(state.given, 0u) << "the first start is of what was just written";
  ASSERT_TRUE(child->renew(state));
  EXPECT_EQ(state.given, spec.number());
  EXPECT_EQ(brokers.level(), "3.5");

  // Another broker changes what all are to say.
  EXPECT_FALSE(brokers.add(3)) << "not the next one";
  ASSERT_TRUE(brokers.add(2));
  ASSERT_TRUE(child->renew(state));
  EXPECT_EQ(state.rack, "use1-az1");
  std::ifstream file(dir->broker(1) + "/server.properties");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_THAT(text, HasSubstr("num.partitions=4"));
  EXPECT_THAT(text, HasSubstr("default.replication.factor=2"));
}

// Each has one of its own, and the first one's is what the second would get.
TEST(UpBrokers, ABrokerThatWouldHaveTheDirectoryOfAnotherIsNotAdded) {
  Folder folder;
  const auto dir = DataDir::find(folder.path);
  ASSERT_TRUE(dir && dir->make(1));
  auto said = options();
  said.overrides.emplace_back("log.dirs", folder.path + "/big");
  UpBrokers brokers(said, *dir, "weir", "3.9", 1);
  const auto added = brokers.add(2);
  ASSERT_FALSE(added);
  EXPECT_THAT(added.error(), HasSubstr("--override log.dirs="));
  EXPECT_EQ(brokers.count(), 1);
  EXPECT_FALSE(std::filesystem::exists(dir->broker(2))) << "nothing is left of it";
}

TEST(UpBrokers, AWrongWordOfTheApiIsSaidByTheBrokerItself) {
  Folder folder;
  const auto dir = DataDir::find(folder.path);
  ASSERT_TRUE(dir && dir->make(1));
  UpBrokers brokers(options(), *dir, "weir", "3.9", 1);
  std::vector<std::string> warnings;
  auto child = brokers.child(1, warnings);
  ASSERT_TRUE(child) << child.error();
  auto state = child->state;
  ASSERT_TRUE(child->renew(state));
  auto spec = tls_spec();
  spec.properties = {{"num.partitions", "0"}};
  std::ofstream(dir->broker_asked(1)) << to_json(spec);
  ASSERT_TRUE(child->renew(state));
  EXPECT_EQ(state.addresses, child->state.addresses) << "as they were";
  std::ofstream(dir->broker_asked(1)) << "nonsense";
  EXPECT_FALSE(child->renew(state));
}

TEST(Up, ALevelThatIsAskedForGoesBeforeTheOneOfTheApi) {
  Folder folder;
  const auto dir = DataDir::find(folder.path);
  ASSERT_TRUE(dir && dir->make(1));
  auto spec = tls_spec();
  spec.properties = {{"inter.broker.protocol.version", "3.5"}, {"num.partitions", "4"}};
  std::ofstream(dir->broker_asked(1)) << to_json(spec);
  EXPECT_EQ(dir->brokers(), 1) << "the API made it";
  ASSERT_TRUE(UpBrokers::forget_level(*dir, 1));
  const auto left = read_local_spec(dir->broker_asked(1));
  ASSERT_TRUE(left && *left);
  EXPECT_EQ((*left)->properties, (config::Properties{{"num.partitions", "4"}}));
}

}  // namespace
}  // namespace weir::apps
