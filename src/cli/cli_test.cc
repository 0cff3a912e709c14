#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/command_line.h"
#include "cli/findings.h"
#include "cli/text.h"
#include "config/broker_config.h"

namespace weir::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

template <class T>
T good(const std::vector<std::string>& arguments) {
  auto parsed = parse_command_line(arguments);
  if (!parsed) {
    ADD_FAILURE() << parsed.error().text;
    return {};
  }
  if (!std::holds_alternative<T>(*parsed)) {
    ADD_FAILURE() << "another command";
    return {};
  }
  return std::get<T>(*parsed);
}

Answer answer(const std::vector<std::string>& arguments) {
  auto parsed = parse_command_line(arguments);
  if (parsed) {
    ADD_FAILURE() << "was taken";
    return {};
  }
  return parsed.error();
}

TEST(CommandLine, Broker) {
  auto o = good<BrokerOptions>({"broker", "--config", "server.properties", "--override", "broker.id=3", "--override",
                                "listeners=PLAINTEXT://:1,SSL://:2", "--override", "x=", "--log-format", "json",
                                "--log-level", "debug", "--ready-fd", "3"});
  EXPECT_EQ(o.config_path, "server.properties");
  EXPECT_THAT(o.overrides,
              ElementsAre(Pair("broker.id", "3"), Pair("listeners", "PLAINTEXT://:1,SSL://:2"), Pair("x", "")));
  EXPECT_EQ(o.log.format, logging::Format::json);
  EXPECT_EQ(o.log.level, logging::Level::debug);
  EXPECT_EQ(o.ready_fd, 3);
  EXPECT_EQ(good<BrokerOptions>({"broker", "server.properties"}).config_path, "server.properties");
  EXPECT_EQ(good<BrokerOptions>({"broker", "server.properties"}).ready_fd, -1);
}

TEST(CommandLine, Zookeeper) {
  auto o = good<ZookeeperOptions>({"zookeeper", "--data", "/d", "--listen", "[::1]:2182"});
  EXPECT_EQ(o.data_dir, "/d");
  EXPECT_EQ(o.listen, (config::HostPort{"::1", 2182}));
  EXPECT_EQ(good<ZookeeperOptions>({"zookeeper", "--config", "zoo.cfg"}).config_path, "zoo.cfg");
}

TEST(CommandLine, Up) {
  auto o = good<UpOptions>({"up"});
  EXPECT_EQ(o.port, 9092);
  EXPECT_EQ(o.zookeeper_port, 2181);
  EXPECT_EQ(o.advertise_host, "127.0.0.1");
  EXPECT_FALSE(o.detach);
  EXPECT_EQ(o.brokers, 0);  // as many as there are
  EXPECT_EQ(good<UpOptions>({"up", "--brokers", "15"}).brokers, 15);
  o = good<UpOptions>({"up", "--brokers", "1", "--data", "/tmp/w", "--kafka-version", "2.2.1", "--listen", "0.0.0.0",
                       "--advertise", "kafka.lan", "--port", "19092", "--metrics-port", "0", "--detach", "--override",
                       "num.partitions=6"});
  EXPECT_EQ(o.kafka_version, "2.2");
  EXPECT_EQ(o.port, 19092);
  EXPECT_EQ(o.metrics_port, 0);
  EXPECT_TRUE(o.detach);
  EXPECT_THAT(o.overrides, ElementsAre(Pair("num.partitions", "6")));
}

TEST(CommandLine, StatusDownEnvVersion) {
  EXPECT_TRUE(good<StatusOptions>({"status", "--json", "--data", "/d"}).json);
  EXPECT_EQ(good<DownOptions>({"down", "--data", "/d"}).data_dir, "/d");
  EXPECT_EQ(good<DownOptions>({"down"}).broker, std::nullopt);
  EXPECT_EQ(good<DownOptions>({"down", "--broker", "2"}).broker, 2);
  EXPECT_EQ(good<RestartOptions>({"restart", "--broker", "15"}).broker, 15);
  EXPECT_EQ(good<RestartOptions>({"restart", "--data", "/d"}).broker, std::nullopt);
  EXPECT_EQ(good<EnvOptions>({"env"}).data_dir, "");
  (void)good<VersionOptions>({"version"});
}

TEST(CommandLine, MigrateCheck) {
  auto o = good<MigrateCheckOptions>({"migrate", "check", "--zookeeper", "a:1,b:2/k", "--broker-id", "0", "--config",
                                      "f", "--log-dirs", "/a,/b", "--json"});
  EXPECT_EQ(o.zookeeper, "a:1,b:2/k");
  EXPECT_EQ(o.broker_id, 0);
  EXPECT_EQ(o.config_path, "f");
  EXPECT_THAT(o.log_dirs, ElementsAre("/a", "/b"));
  EXPECT_TRUE(o.json);
  EXPECT_THAT(answer({"migrate", "check", "--help"}).text, HasSubstr("Examples:\n  weir migrate check"));
  o = good<MigrateCheckOptions>(
      {"migrate", "check", "--config", "f", "--zk-tls-config-file", "t", "--zk-jaas-config-file", "j"});
  EXPECT_EQ(o.broker_id, -1);
  EXPECT_EQ(o.zookeeper, "");
  EXPECT_EQ(o.zk_tls_config_path, "t");
  EXPECT_EQ(o.zk_jaas_path, "j");
}

TEST(CommandLine, WrongUseSaysWhatAndExitsWithTwo) {
  struct Case {
    std::vector<std::string> arguments;
    const char* says;
  };
  for (const Case& c : std::vector<Case>{
           {{"up", "--brokers", "0"}, "in range 1 to 15"},
           {{"up", "--brokers", "16"}, "in range 1 to 15"},
           {{"restart", "--broker", "0"}, "--broker"},
           {{"up", "--kafka-version", "4.0"}, "1.1 to 3.9"},
           {{"up", "--kafka-version", "new"}, "1.1 to 3.9"},
           {{"up", "--listen", "0.0.0.0"}, "--advertise"},
           {{"up", "--port", "0"}, "--port"},
           {{"up", "--port", "70000"}, "--port"},
           {{"up", "--override", "novalue"}, "KEY=VALUE"},
           {{"up", "--nonsense"}, "--nonsense"},
           {{"broker"}, "--config"},
           {{"broker", "f", "--log-level", "loud"}, "--log-level"},
           {{"zookeeper"}, "--data DIR or --config FILE"},
           {{"zookeeper", "--data", "d", "--listen", "2181"}, "HOST:PORT"},
           {{"zookeeper", "--data", "d", "--config", "zoo.cfg"}, "--config"},
           {{"migrate"}, "subcommand"},
           {{"migrate", "check", "--zookeeper", "a:1"}, "--broker-id"},
           {{"migrate", "check", "--broker-id", "1"}, "--zookeeper"},
           {{"down", "--timeout", "0"}, "--timeout"},
           {{"frobnicate"}, "frobnicate"},
       }) {
    Answer a = answer(c.arguments);
    EXPECT_EQ(a.exit_code, exit_usage) << a.text;
    EXPECT_THAT(a.text, HasSubstr(c.says));
    EXPECT_THAT(a.text, HasSubstr("--help"));
  }
  EXPECT_EQ(answer({}).exit_code, exit_usage);
  EXPECT_THAT(answer({"up", "--nonsense"}).text, HasSubstr("`weir up --help`"));
}

TEST(CommandLine, EveryHelpHasExamples) {
  EXPECT_THAT(answer({"--help"}).text, HasSubstr("Examples:"));
  for (const char* command : {"up", "status", "down", "restart", "env", "migrate", "broker", "zookeeper", "version"}) {
    Answer a = answer({command, "--help"});
    EXPECT_EQ(a.exit_code, exit_ok);
    EXPECT_THAT(a.text, HasSubstr("Examples:\n  ")) << command;
    EXPECT_THAT(a.text, HasSubstr(std::string("weir ") + command)) << command;
  }
  EXPECT_THAT(answer({"--version"}).text, HasSubstr(std::string(version())));
}

TEST(Findings, AreToldForPeopleAndScripts) {
  std::vector<Finding> findings{{Level::ok, "controller", "broker 1", ""}};
  EXPECT_EQ(exit_code(verdict(findings)), 0);
  EXPECT_THAT(findings_text("broker 2", findings), HasSubstr("Nothing stands in the way"));
  findings.push_back({Level::blocks, "listeners", "SASL", "wait"});
  findings.push_back({Level::warning, "quotas", "2", ""});
  EXPECT_EQ(exit_code(verdict(findings)), 2);
  EXPECT_EQ(findings_text("broker 2", findings),
            "broker 2\n  ok       controller: broker 1\n  blocks   listeners: SASL\n           -> wait\n"
            "  warning  quotas: 2\nNot yet: what blocks (1) has to be done away with first.\n");
  EXPECT_THAT(findings_json("broker 2", findings),
              HasSubstr(R"("verdict":"blocks","findings":[{"level":"ok","subject":"controller","text":"broker 1")"));
  EXPECT_EQ(some_of({"a", "b"}), "a, b");
  EXPECT_EQ(some_of({"a", "b", "c", "d", "e", "f", "g"}), "a, b, c, d, e and 2 more");
}

State example() {
  State s{"0.1.0", "3.9", "/data/w", "boot", {}};
  s.processes.push_back({"supervisor", std::nullopt, {10, 1000}, "running", {}, 0, {}});
  s.processes.push_back({"zookeeper", std::nullopt, {11, 1001}, "running", {{"client", "127.0.0.1:2181"}}, 0, {}});
  s.processes.push_back({"broker",
                         1,
                         {12, 18446744073709551615ULL},
                         "running",
                         {{"PLAINTEXT", "127.0.0.1:9092"}, {"metrics", "127.0.0.1:11001"}},
                         2,
                         {}});
  return s;
}

State three() {
  State s = example();
  for (int id : {2, 3}) {
    auto next = s.processes[2];
    next.id = id;
    next.process.pid += id;
    next.restarts = 0;
    next.rack = "use1-az" + std::to_string(id);
    next.addresses = {{"PLAINTEXT", "127.0.0." + std::to_string(id) + ":9092"}};
    s.processes.push_back(next);
  }
  return s;
}

TEST(StateFile, ReadsBackAsItWasWritten) {
  auto read = parse_state(to_json(example()));
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(*read, example());
  EXPECT_TRUE(parse_state(status_json(example(), true)));
}

TEST(StateFile, DamageIsASentenceAndNotACrash) {
  std::string whole = to_json(example());
  for (std::size_t n = 0; n + 2 < whole.size(); ++n) EXPECT_FALSE(parse_state(whole.substr(0, n))) << n;
  for (const char* bad : {"", "[]", "{}", "null", "{\"processes\":3}", "{\"processes\":[3]}"}) {
    EXPECT_FALSE(parse_state(bad)) << bad;
  }
  auto odd = parse_state(R"({"processes":[{"pid":"x","role":7,"addresses":[1]}],"version":null,"new":1})");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->processes.at(0).process.pid, 0);
}

TEST(StateFile, ManyBrokersAreFoundByTheirId) {
  auto read = parse_state(to_json(three()));
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(*read, three());
  EXPECT_EQ(read->find("broker")->id, 1);
  EXPECT_EQ(read->find("broker", 3)->rack, "use1-az3");
  EXPECT_EQ(read->find("broker", 4), nullptr);
}

TEST(Text, ManyBrokersAreAllNamed) {
  EXPECT_EQ(bootstrap(three()), "127.0.0.1:9092,127.0.0.2:9092,127.0.0.3:9092");
  EXPECT_THAT(env_text(three()), HasSubstr("BOOTSTRAP=127.0.0.1:9092,127.0.0.2:9092,127.0.0.3:9092\n"));
  EXPECT_THAT(status_text(three(), true), HasSubstr("  broker 3   running   pid 15      PLAINTEXT 127.0.0.3:9092, "
                                                    "zone use1-az3\n"));
  EXPECT_THAT(status_json(three(), true), HasSubstr("\"rack\":\"use1-az2\""));
  auto state = three();
  state.processes[2].state = "waiting";
  const auto text = up_text(state, milliseconds(1), false);
  EXPECT_THAT(text, HasSubstr("  broker 1   127.0.0.1:9092         not up: waiting\n"));
  EXPECT_THAT(text, HasSubstr("  broker 3   127.0.0.3:9092         pid 15, zone use1-az3\n"));
  EXPECT_THAT(text, HasSubstr("kcat -b 127.0.0.2:9092"));  // one that can be asked
}

TEST(Places, OnLoopbackEachBrokerHasAnAddress) {
  UpOptions o;
  o.advertise_host = o.listen_host;
  EXPECT_EQ(place_of(o, 1)->listen_host, "127.0.0.1");
  EXPECT_EQ(place_of(o, 15)->listen_host, "127.0.0.15");
  EXPECT_EQ(place_of(o, 15)->port, 9092);
  EXPECT_EQ(place_of(o, 15)->metrics_port, 11001);
  EXPECT_EQ(place_of(o, 5)->rack, "use1-az2");
  EXPECT_EQ(zookeeper_host(o), "127.0.0.1");
  o.listen_host = o.advertise_host = "127.0.7.250";
  EXPECT_EQ(place_of(o, 5)->advertise_host, "127.0.7.254");
  EXPECT_THAT(place_of(o, 6).error(), HasSubstr("--listen 127.0.7.250"));
  EXPECT_EQ(zookeeper_host(o), "127.0.7.250");
}

TEST(Places, ElsewhereEachBrokerHasPorts) {
  UpOptions o;
  for (const char* host : {"0.0.0.0", "10.1.2.3", "::1", "127.0.0.1.example", "kafka.lan"}) {
    o.listen_host = host;
    o.advertise_host = "kafka.lan";
    EXPECT_EQ(place_of(o, 3)->listen_host, host);
    EXPECT_EQ(place_of(o, 3)->advertise_host, "kafka.lan");
    EXPECT_EQ(place_of(o, 3)->port, 9112);
    EXPECT_EQ(place_of(o, 3)->metrics_port, 11021);
    EXPECT_EQ(zookeeper_host(o), "127.0.0.1");
  }
  o.metrics_port = 0;
  EXPECT_EQ(place_of(o, 3)->metrics_port, 0);
  o.port = 65500;
  EXPECT_THAT(place_of(o, 15).error(), HasSubstr("--port 65500"));
}

TEST(Text, StatusJsonHasWhatScriptsNeed) {
  std::string text = status_json(example(), true);
  EXPECT_THAT(text, HasSubstr("\"running\":true"));
  EXPECT_THAT(text, HasSubstr("\"role\":\"broker\",\"id\":1,\"pid\":12"));
  EXPECT_THAT(text, HasSubstr("\"addresses\":{\"PLAINTEXT\":\"127.0.0.1:9092\""));
}

TEST(Text, StatusForPeople) {
  EXPECT_EQ(status_text(example(), true),
            "weir 0.1.0 runs on /data/w, compatible with Kafka 3.9\n"
            "  supervisor running   pid 10\n"
            "  zookeeper  running   pid 11      client 127.0.0.1:2181\n"
            "  broker 1   running   pid 12      PLAINTEXT 127.0.0.1:9092, metrics 127.0.0.1:11001 (started again 2 "
            "times)\n");
}

TEST(Text, UpSaysWhereAndWhatNext) {
  std::string text = up_text(example(), milliseconds(87), false);
  EXPECT_THAT(text, HasSubstr("ready in 87 ms"));
  EXPECT_THAT(text, HasSubstr("kcat -b 127.0.0.1:9092"));
  EXPECT_THAT(text, HasSubstr("http://127.0.0.1:11001/metrics"));
  EXPECT_THAT(text, HasSubstr("Ctrl-C"));
  EXPECT_THAT(up_text(example(), milliseconds(87), true), HasSubstr("`weir down --data /data/w`"));
}

TEST(Text, EnvIsSafeForEval) {
  EXPECT_EQ(env_text(example()), "export BOOTSTRAP=127.0.0.1:9092\nexport ZOOKEEPER=127.0.0.1:2181\n");
  State odd = example();
  odd.processes[2].addresses["PLAINTEXT"] = "a'; rm -rf b";
  EXPECT_THAT(env_text(odd), HasSubstr("BOOTSTRAP='a'\\''; rm -rf b'\n"));
}

config::BrokerConfig loaded(const Place& place, int brokers, unsigned cores = 8) {
  auto file =
      config::parse_properties(server_properties(place, brokers, "127.0.0.1:2181", "2.8", "/data/a b\\c", cores));
  if (!file) return {};
  auto config = config::load_broker_config({{}, {}, *file});
  EXPECT_TRUE(config) << testing::PrintToString(config.error());
  if (!config) return {};
  EXPECT_THAT(config->warnings, ElementsAre());
  return config->config;
}

TEST(Text, TheWrittenServerPropertiesLoad) {
  Place place{1, "0.0.0.0", "kafka.lan", 9092, 11001, "use1-az1"};
  auto c = loaded(place, 1);
  EXPECT_EQ(c.broker_id, BrokerId{1});
  EXPECT_EQ(c.listeners[0].text(), "PLAINTEXT://0.0.0.0:9092");
  EXPECT_EQ(c.advertised[0].text(), "PLAINTEXT://kafka.lan:9092");
  EXPECT_THAT(c.log_dirs, ElementsAre("/data/a b\\c"));
  EXPECT_EQ(c.offsets_topic_replication_factor, 1);
  EXPECT_EQ(c.inter_broker_protocol, (config::KafkaVersion{2, 8}));
  EXPECT_EQ(c.weir_metrics_listener, (config::HostPort{"0.0.0.0", 11001}));
  EXPECT_EQ(c.rack, "");
  EXPECT_EQ(c.weir_shards, 0);
  place.metrics_port = 0;
  EXPECT_EQ(loaded(place, 1).weir_metrics_listener, std::nullopt);
}

TEST(Text, WithMoreBrokersThereAreMoreReplicasAsInMsk) {
  Place place{2, "127.0.0.2", "127.0.0.2", 9092, 11001, "use1-az2"};
  struct Case {
    int brokers, factor, in_sync;
  };
  for (const Case& c : {Case{1, 1, 1}, Case{2, 2, 1}, Case{3, 3, 2}, Case{15, 3, 2}}) {
    const auto config = loaded(place, c.brokers);
    EXPECT_EQ(config.default_replication_factor, c.factor) << c.brokers;
    EXPECT_EQ(config.min_insync_replicas, c.in_sync) << c.brokers;
    EXPECT_EQ(config.offsets_topic_replication_factor, c.factor) << c.brokers;
    EXPECT_EQ(config.transaction_state_log_replication_factor, c.factor) << c.brokers;
    EXPECT_EQ(config.transaction_state_log_min_isr, c.in_sync) << c.brokers;
  }
  const auto config = loaded(place, 15);
  EXPECT_EQ(config.rack, "use1-az2");
  EXPECT_EQ(config.weir_shards, 2);                // of eight cores
  EXPECT_EQ(loaded(place, 15, 2).weir_shards, 1);  // of two
  EXPECT_EQ(loaded(place, 2, 2).weir_shards, 0);   // one a core
}

}  // namespace
}  // namespace weir::cli
