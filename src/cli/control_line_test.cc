#include "cli/control_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/command_line.h"

namespace weir::cli {
namespace {

using testing::HasSubstr;
using Action = ClusterOptions::Action;

template <class T>
T good(const std::vector<std::string>& arguments) {
  auto parsed = parse_command_line(arguments);
  if (parsed && std::holds_alternative<T>(*parsed)) return std::get<T>(*parsed);
  ADD_FAILURE() << (parsed ? "another command" : parsed.error().text);
  return {};
}

std::string wrong(const std::vector<std::string>& arguments) {
  auto parsed = parse_command_line(arguments);
  if (parsed) return "it was taken";
  EXPECT_EQ(parsed.error().exit_code, exit_usage);
  return parsed.error().text;
}

TEST(ControlLine, Control) {
  const auto plain = good<ControlOptions>({"control"});
  EXPECT_EQ(plain.zookeeper, "127.0.0.1:2181");
  EXPECT_EQ(plain.api, (config::HostPort{"127.0.0.1", 4566}));
  const auto o = good<ControlOptions>({"control", "--zookeeper", "a:1,b:2/c", "--api", "0.0.0.0:443", "--data", "/d",
                                       "--addresses", "127.9", "--region", "eu-west-1", "--log-level", "debug",
                                       "--advertise", "kafka.lan", "--zookeeper-config", "/etc/zk.properties"});
  EXPECT_EQ(plain.zookeeper_config, "");
  EXPECT_EQ(o.zookeeper_config, "/etc/zk.properties");
  EXPECT_EQ(plain.advertise_host, "");
  EXPECT_EQ(o.advertise_host, "kafka.lan");
  EXPECT_EQ(o.zookeeper, "a:1,b:2/c");
  EXPECT_EQ(o.api, (config::HostPort{"0.0.0.0", 443}));
  EXPECT_EQ(o.data_dir, "/d");
  EXPECT_EQ(o.addresses, "127.9");
  EXPECT_EQ(o.region, "eu-west-1");
  EXPECT_EQ(o.log.level, logging::Level::debug);
  EXPECT_THAT(wrong({"control", "--api", "nowhere"}), HasSubstr("nowhere is not HOST:PORT"));
  EXPECT_THAT(wrong({"control", "--zookeeper", "a:1,b:99999"}),
              HasSubstr("--zookeeper: a:1,b:99999: must be HOST[:PORT]"));
  EXPECT_THAT(wrong({"migrate", "check", "--zookeeper", ":2181", "--broker-id", "1"}),
              HasSubstr("--zookeeper: :2181: must be HOST[:PORT]"));
}

TEST(ControlLine, UpHasTheApiOrNone) {
  EXPECT_TRUE(good<UpOptions>({"up"}).control);
  EXPECT_FALSE(good<UpOptions>({"up"}).api);
  EXPECT_FALSE(good<UpOptions>({"up", "--api", "none"}).control);
  EXPECT_EQ(good<UpOptions>({"up", "--api", "127.0.0.1:5000"}).api, (config::HostPort{"127.0.0.1", 5000}));
  EXPECT_THAT(wrong({"up", "--api", "5000x"}), HasSubstr("is not HOST:PORT"));
  EXPECT_THAT(parse_command_line({"up", "--help"}).error().text, HasSubstr("port 4566 of --listen"));
}

TEST(ControlLine, ClusterAndOperation) {
  EXPECT_EQ(good<ClusterOptions>({"cluster", "list", "--json"}).action, Action::list);
  const auto made = good<ClusterOptions>({"cluster", "create", "orders", "--brokers", "6", "--kafka-version", "2.2.1",
                                          "--client-broker", "PLAINTEXT", "--no-wait", "--data", "/d"});
  EXPECT_EQ(made.action, Action::create);
  EXPECT_EQ(made.name, "orders");
  EXPECT_EQ(made.brokers, 6);
  EXPECT_EQ(made.kafka_version, "2.2.1");
  EXPECT_EQ(made.client_broker, "PLAINTEXT");
  EXPECT_FALSE(made.wait);
  EXPECT_EQ(made.data_dir, "/d");
  EXPECT_TRUE(good<ClusterOptions>({"cluster", "delete", "orders"}).wait);
  EXPECT_EQ(good<ClusterOptions>({"cluster", "delete", "orders"}).action, Action::remove);
  EXPECT_EQ(good<ClusterOptions>({"cluster", "describe", "orders"}).action, Action::describe);
  EXPECT_EQ(good<ClusterOptions>({"cluster", "watch", "orders"}).action, Action::watch);
  EXPECT_EQ(good<OperationOptions>({"operation", "watch", "arn:x"}).arn, "arn:x");
  EXPECT_THAT(wrong({"cluster", "create"}), HasSubstr("weir cluster create --help"));
  EXPECT_THAT(wrong({"cluster", "create", "x", "--zones", "4"}), HasSubstr("--zones"));
  EXPECT_THAT(wrong({"cluster", "create", "x", "--client-broker", "SSH"}), HasSubstr("SSH"));
  EXPECT_THAT(wrong({"cluster"}), HasSubstr("subcommand"));
}

TEST(ControlLine, EveryHelpHasExamples) {
  const std::vector<std::vector<std::string>> commands{{"control"},
                                                       {"cluster"},
                                                       {"cluster", "list"},
                                                       {"cluster", "create"},
                                                       {"cluster", "describe"},
                                                       {"cluster", "delete"},
                                                       {"cluster", "watch"},
                                                       {"operation", "watch"}};
  for (auto command : commands) {
    command.emplace_back("--help");
    auto parsed = parse_command_line(command);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().exit_code, exit_ok);
    EXPECT_THAT(parsed.error().text, HasSubstr("Examples:")) << command[0];
  }
}

}  // namespace
}  // namespace weir::cli
