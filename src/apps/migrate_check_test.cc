#include "apps/migrate_check.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "apps/migrate_read.h"

namespace weir::apps {
namespace {

using cli::Level;
using testing::HasSubstr;
namespace layout = zkwire::layout;

layout::BrokerRegistration registration(int n, const std::string& protocol = "PLAINTEXT", int version = 5) {
  layout::BrokerRegistration r;
  r.version = version;
  r.endpoints = {{protocol, protocol, "host" + std::to_string(n), 9092}};
  return r;
}

std::vector<BrokerId> ids(std::initializer_list<int> numbers) {
  std::vector<BrokerId> out;
  for (int n : numbers) out.emplace_back(n);
  return out;
}

void add_partition(MigrateEvidence& e, const std::string& topic, std::initializer_list<int> replicas,
                   std::initializer_list<int> isr, int leader) {
  auto& partitions = e.cluster.topics[topic].partitions;
  const PartitionId id{static_cast<std::int32_t>(partitions.size())};
  partitions[id].replicas = ids(replicas);
  auto& state = e.cluster.states[{topic, id}];
  state.leader = BrokerId{leader};
  state.isr = ids(isr);
  const bool mine = std::ranges::find(replicas, 2) != replicas.end();
  if (mine && !e.log_dirs.empty()) e.log_dirs[0].replicas.push_back(fmt::format("{}-{}", topic, id.value));
}

// Three healthy brokers; broker 2 is looked at, with its file and its directory.
MigrateEvidence healthy() {
  MigrateEvidence e;
  e.broker = BrokerId{2};
  e.cluster_id = "abc";
  for (int n : {1, 2, 3}) e.cluster.brokers[BrokerId{n}] = registration(n);
  e.cluster.controller = layout::ControllerRegistration{BrokerId{1}, 0, -1};
  e.brokers_default["min.insync.replicas"] = "2";
  add_partition(e, "orders", {1, 2, 3}, {1, 2, 3}, 1);
  e.file.emplace();
  e.file->config.broker_id = BrokerId{2};
  e.file->config.inter_broker_listener = "PLAINTEXT";
  e.file->config.listeners = {{"PLAINTEXT", config::SecurityProtocol::plaintext, "host2", 9092}};
  e.file->config.values = {{"inter.broker.protocol.version", "3.9"}};
  LogDirEvidence dir;
  dir.path = "/data";
  dir.meta = config::Properties{{"version", "0"}, {"broker.id", "2"}, {"cluster.id", "abc"}};
  dir.clean = true;
  dir.replicas = {"orders-0"};
  e.log_dirs.push_back(dir);
  return e;
}

TEST(MigrateCheck, NothingStandsInTheWayOfAHealthyBroker) {
  const auto findings = judge(healthy());
  for (const auto& f : findings) EXPECT_EQ(f.level, Level::ok) << f.subject << ": " << f.text;
  EXPECT_EQ(cli::exit_code(cli::verdict(findings)), 0);
}

TEST(MigrateCheck, ListenersWithTlsAreServed) {
  auto e = healthy();
  for (auto& [id, broker] : e.cluster.brokers) broker.endpoints.push_back({"C", "SSL", "h", 9094});
  e.file->config.listeners.push_back({"C", config::SecurityProtocol::ssl, "host2", 9094});
  EXPECT_EQ(cli::verdict(judge(e)), Level::ok);
}

TEST(MigrateCheck, BeforeKafka23ADirectoryDoesNotNameItsCluster) {
  auto e = healthy();
  e.log_dirs[0].meta->erase("cluster.id");
  EXPECT_EQ(cli::verdict(judge(e)), Level::ok);
}

struct Case {
  const char* name;
  std::function<void(MigrateEvidence&)> change;
  Level level;
  const char* subject;
  const char* says;
};

class MigrateCheckOf : public testing::TestWithParam<Case> {};

TEST_P(MigrateCheckOf, SaysSo) {
  const Case& c = GetParam();
  auto e = healthy();
  c.change(e);
  const auto findings = judge(e);
  const auto is_it = [&](const cli::Finding& f) {
    return f.level == c.level && f.subject == c.subject && f.text.find(c.says) != std::string::npos;
  };
  EXPECT_EQ(std::ranges::count_if(findings, is_it), 1) << cli::findings_text("", findings);
  EXPECT_EQ(cli::verdict(findings), c.level) << cli::findings_text("", findings);
  for (const auto& f : findings) EXPECT_EQ(f.advice.empty(), f.level == Level::ok) << f.subject << ": " << f.text;
}

using E = MigrateEvidence;
constexpr auto blocks = Level::blocks;
constexpr auto warning = Level::warning;

INSTANTIATE_TEST_SUITE_P(
    All, MigrateCheckOf,
    testing::Values(
        Case{"NoCluster", [](E& e) { e.cluster_id = ""; }, blocks, "cluster", "/cluster/id"},
        Case{"NoController", [](E& e) { e.cluster.controller.reset(); }, blocks, "controller", "no broker"},
        Case{"IsController", [](E& e) { e.cluster.controller->broker = BrokerId{2}; }, warning, "controller", "is the"},
        Case{"KraftController", [](E& e) { e.cluster.controller->kraft_epoch = 3; }, blocks, "controller", "KRaft"},
        Case{"KraftMigration", [](E& e) { e.kraft_migration = true; }, blocks, "controller", "KRaft"},
        Case{"Tls", [](E& e) { e.cluster.brokers[BrokerId{2}].endpoints.push_back({"C", "SASL_SSL", "h", 1}); }, blocks,
             "listeners", "C (SASL_SSL)"},
        Case{"TlsInFile",
             [](E& e) { e.file->config.listeners.push_back({"C", config::SecurityProtocol::sasl_ssl, "h", 1}); },
             blocks, "listeners", "configured: C (SASL_SSL)"},
        Case{"OthersWithTls", [](E& e) { e.cluster.brokers[BrokerId{3}] = registration(3, "SASL_SSL"); }, blocks, "brokers",
             "broker 3"},
        Case{"OthersOnAnotherListener", [](E& e) { e.file->config.inter_broker_listener = "INTERNAL"; }, blocks,
             "brokers", "no listener INTERNAL without SASL for replication at broker 1, broker 3"},
        Case{"Stopped", [](E& e) { e.cluster.brokers.erase(BrokerId{2}); }, warning, "broker", "does not run"},
        Case{"NoSuchBroker",
             [](E& e) {
               e.cluster.brokers.erase(BrokerId{2});
               e.cluster.topics["orders"].partitions[PartitionId{0}].replicas = ids({1, 3});
             },
             blocks, "broker", "not registered"},
        Case{"Old", [](E& e) { e.file->config.values["inter.broker.protocol.version"] = "1.0"; }, blocks, "version",
             "=1.0"},
        Case{"New", [](E& e) { e.file->config.values["inter.broker.protocol.version"] = "4.0"; }, blocks, "version",
             "=4.0"},
        Case{"VersionIsNotWhatRuns", [](E& e) { e.file->config.values["inter.broker.protocol.version"] = "2.2"; },
             blocks, "version", "from 2.7"},
        Case{"OldAndNotWritten",
             [](E& e) {
               e.file->config.values.clear();
               e.cluster.brokers[BrokerId{2}].version = 4;
             },
             blocks, "version", "before 2.7"},
        Case{"VersionNotWritten", [](E& e) { e.file->config.values.clear(); }, warning, "version", "not known"},
        Case{"OldFormat", [](E& e) { e.topic_configs["orders"]["message.format.version"] = "0.10.2"; }, blocks,
             "message format", "0.10.2"},
        Case{"OldFormatOfAll", [](E& e) { e.file->config.values["log.message.format.version"] = "0.10.0"; }, blocks,
             "message format", "0.10.0"},
        Case{"NoFile", [](E& e) { e.file.reset(); }, warning, "configuration", "not looked at"},
        Case{"BadFile", [](E& e) { e.file->errors = {"num.partitions=x"}; }, blocks, "configuration",
             "num.partitions=x"},
        Case{"AnothersFile", [](E& e) { e.file->config.broker_id = BrokerId{3}; }, blocks, "configuration",
             "broker.id=3"},
        Case{"UnknownKey", [](E& e) { e.file->warnings = {"no.such.key"}; }, warning, "configuration", "no.such.key"},
        Case{"NoDirs", [](E& e) { e.log_dirs.clear(); }, warning, "log directories", "not looked at"},
        Case{"DirOfAnother", [](E& e) { e.log_dirs[0].meta->insert_or_assign("broker.id", "3"); }, blocks,
             "log directory /data", "broker 3"},
        Case{"DirOfAnotherCluster", [](E& e) { e.log_dirs[0].meta->insert_or_assign("cluster.id", "x"); }, blocks,
             "log directory /data", "cluster x"},
        Case{"DirOfKraft", [](E& e) { e.log_dirs[0].meta->insert_or_assign("version", "1"); }, blocks,
             "log directory /data", "version 1"},
        Case{"DirWithoutMeta", [](E& e) { e.log_dirs[0].meta.reset(); }, blocks, "log directory /data",
             "no meta.properties"},
        Case{"EmptyDir",
             [](E& e) {
               e.log_dirs[0].meta.reset();
               e.log_dirs[0].replicas = {};
             },
             warning, "log directory /data", "empty"},
        Case{"Moving", [](E& e) { e.log_dirs[0].moving = {"t-0.x-future"}; }, blocks, "log directory /data", "t-0.x"},
        Case{"Unreadable", [](E& e) { e.log_dirs[0].problem = "cannot open /data"; }, blocks, "log directory /data",
             "cannot open"},
        Case{"Offline", [](E& e) { add_partition(e, "t", {1, 3}, {3}, -1); }, blocks, "partitions",
             "without a leader, 1 partition: t-0"},
        Case{"OnlyInSync", [](E& e) { add_partition(e, "t", {1, 2, 3}, {2}, 2); }, blocks, "partitions",
             "only this broker is in sync"},
        Case{"AtMinIsr", [](E& e) { add_partition(e, "t", {1, 2, 3}, {1, 2}, 1); }, blocks, "partitions", "too few"},
        Case{"MinIsrOfTheTopic",
             [](E& e) {
               add_partition(e, "t", {1, 2, 3}, {1, 2}, 1);
               e.topic_configs["t"]["min.insync.replicas"] = "1";
             },
             warning, "partitions", "on other brokers are not in sync"},
        Case{"MinIsrIsAll", [](E& e) { add_partition(e, "t", {1, 2}, {1, 2}, 1); }, warning, "partitions",
             "asks for all replicas"},
        Case{"OnlyReplica", [](E& e) { add_partition(e, "t", {2}, {2}, 2); }, warning, "partitions", "only replica"},
        Case{"OnlyReplicaAndStopped", [](E& e) { add_partition(e, "t", {2}, {2}, -1); }, warning, "partitions",
             "only replica"},
        Case{"Lags", [](E& e) { add_partition(e, "t", {1, 2, 3}, {1, 3}, 1); }, warning, "partitions",
             "this broker is not in sync"},
        Case{"Reassigning", [](E& e) { e.cluster.topics["orders"].partitions[PartitionId{0}].adding = ids({3}); },
             blocks, "reassignments", "orders-0"},
        Case{"ReassigningByNode", [](E& e) { e.reassigning = {"orders-0"}; }, blocks, "reassignments", "orders-0"},
        Case{"Deleting", [](E& e) { e.deleting = {"old"}; }, warning, "topics", "old"},
        Case{"Transactions", [](E& e) { add_partition(e, "__transaction_state", {1, 2, 3}, {1, 2, 3}, 1); }, blocks,
             "transactions", "in use"},
        Case{"Compacted", [](E& e) { e.topic_configs["orders"]["cleanup.policy"] = "compact"; }, warning, "compaction",
             "orders"},
        Case{"Tiered", [](E& e) { e.topic_configs["orders"]["remote.storage.enable"] = "true"; }, blocks,
             "tiered storage", "orders"},
        Case{"UnknownTopicKey", [](E& e) { e.topic_configs["orders"]["no.such"] = "1"; }, warning, "topics",
             "no.such (orders)"},
        Case{"BadTopicValue", [](E& e) { e.topic_configs["orders"]["retention.ms"] = "long"; }, warning, "topics",
             "retention.ms=long"},
        Case{"UnknownDynamicKey", [](E& e) { e.broker_own["no.such"] = "1"; }, warning, "dynamic configuration",
             "no.such"},
        Case{"Acls", [](E& e) { e.acls = 2; }, blocks, "ACLs", "2 resources have ACLs"},
        Case{"Authorizer", [](E& e) { e.file->config.values["authorizer.class.name"] = "a.b.C"; }, blocks, "ACLs",
             "authorizer"},
        Case{"AuthorizerThatNeedNotBe",
             [](E& e) {
               e.file->config.values["authorizer.class.name"] = "a.b.C";
               e.file->config.values["weir.ignore.unsupported"] = "authorizer.class.name";
             },
             warning, "ACLs", "weir.ignore.unsupported"},
        Case{"Quotas", [](E& e) { e.quotas = 1; }, warning, "quotas", "1 user, client or address has a quota"},
        Case{"Scram", [](E& e) { e.scram_users = 1; }, warning, "SCRAM", "1 user has"},
        Case{"Tokens", [](E& e) { e.tokens = 3; }, warning, "delegation tokens", "3 tokens"},
        Case{"NotForUs", [](E& e) { e.unreadable = {"/config/users"}; }, blocks, "ZooKeeper", "/config/users"},
        Case{"LoginIsNotInTheFile", [](E& e) { e.zookeeper_login = true; }, blocks, "ZooKeeper", "credentials"},
        Case{"TlsIsNotInTheFile", [](E& e) { e.zookeeper_tls = true; }, blocks, "ZooKeeper", "by TLS"},
        Case{"AnotherChroot", [](E& e) { e.zookeeper = "a:1,b:2/other"; }, blocks, "ZooKeeper", "a:1,b:2/other"},
        Case{"KraftIsPlanned", [](E& e) { e.file->config.values["zookeeper.metadata.migration.enable"] = "true"; },
             blocks, "controller", "KRaft"},
        Case{"NotTriedBeside",
             [](E& e) {
               e.file->config.values["inter.broker.protocol.version"] = "2.1";
               for (auto& [id, broker] : e.cluster.brokers) broker.version = 4;
             },
             warning, "version", "=2.1"},
        Case{"AnUpgradeIsUnderWay", [](E& e) { e.cluster.brokers[BrokerId{3}].version = 4; }, warning, "version",
             "broker 3 run with an inter.broker.protocol.version before 2.7"},
        Case{"Features",
             [](E& e) {
               e.features.emplace();
               e.features->levels = {{"metadata.version", 7}};
             },
             blocks, "features", "metadata.version=7"},
        Case{"Classes", [](E& e) { e.file->config.values["create.topic.policy.class.name"] = "a.Policy"; }, warning,
             "configuration", "create.topic.policy.class.name=a.Policy"},
        Case{"OtherSelector", [](E& e) { e.brokers_default["replica.selector.class"] = "a.Selector"; }, warning,
             "configuration", "replica.selector.class=a.Selector"},
        Case{"OldRecords", [](E& e) { e.log_dirs[0].old_format = {"orders-0"}; }, blocks, "log directory /data",
             "before Kafka 0.11: orders-0"},
        Case{"ReplicaIsNotThere", [](E& e) { e.log_dirs[0].replicas = {"other-0"}; }, warning, "log directories",
             "1 replica is in none: orders-0"},
        Case{"TieredIsOn", [](E& e) { e.file->config.values["remote.log.storage.system.enable"] = "true"; }, blocks,
             "tiered storage", "remote.log.storage"},
        Case{"BadNode", [](E& e) { e.cluster.problems = {"/brokers/topics/x: not JSON"}; }, warning, "znode",
             "/brokers/topics/x"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(MigrateRead, ALogDirectoryAsItLies) {
  std::string name = std::filesystem::temp_directory_path() / "weir-apps-XXXXXX";
  const std::string path = mkdtemp(name.data());
  for (const char* folder : {"orders-0", "my-topic-12", "t-1.0a1b-future", "t-1.0a1b-stray", "t-2.0a1b-delete", "x-"}) {
    std::filesystem::create_directories(path + "/" + folder);
  }
  const auto log_of_magic = [](char magic) { return std::string(16, '\0') + magic; };
  std::ofstream(path + "/orders-0/00000000000000000000.log") << log_of_magic(1);
  std::ofstream(path + "/orders-0/00000000000000000007.log") << log_of_magic(2);
  std::ofstream(path + "/my-topic-12/00000000000000000000.log").flush();
  std::ofstream(path + "/meta.properties") << "version=0\nbroker.id=7\ncluster.id=abc\n";
  std::ofstream(path + "/.kafka_cleanshutdown").flush();
  const auto dir = read_log_dir(path);
  EXPECT_EQ(dir.problem, "");
  EXPECT_EQ(dir.replicas, (std::vector<std::string>{"my-topic-12", "orders-0"}));
  EXPECT_EQ(dir.old_format, std::vector<std::string>{"orders-0"});
  EXPECT_TRUE(dir.clean);
  EXPECT_EQ(dir.moving, std::vector<std::string>{"t-1.0a1b-future"});
  EXPECT_EQ(dir.stray, std::vector<std::string>{"t-1.0a1b-stray"});
  EXPECT_EQ(dir.meta.value().at("broker.id"), "7");
  std::filesystem::remove_all(path);
  EXPECT_THAT(read_log_dir(path).problem, HasSubstr(path));
}

TEST(MigrateRead, WhatIsLeftOutIsTakenFromTheBrokersFileAndFolders) {
  std::string name = std::filesystem::temp_directory_path() / "weir-apps-XXXXXX";
  const std::string path = mkdtemp(name.data());
  std::filesystem::create_directories(path + "/data");
  std::ofstream(path + "/data/meta.properties") << "version=0\nbroker.id=1001\n";
  const auto with = [&](const std::string& text) {
    std::ofstream(path + "/server.properties") << text;
    cli::MigrateCheckOptions options;
    options.config_path = path + "/server.properties";
    return completed(options);
  };
  // An id that ZooKeeper gave it stands only beside the data; what else is wrong in the file does not matter here.
  auto found = with("zookeeper.connect=a:1,b:2/k\nnum.partitions=x\nlog.dir=" + path + "/data\n");
  ASSERT_TRUE(found) << found.error();
  EXPECT_EQ(found->zookeeper, "a:1,b:2/k");
  EXPECT_EQ(found->broker_id, 1001);
  EXPECT_EQ(found->log_dirs, std::vector<std::string>{path + "/data"});
  EXPECT_EQ(with("zookeeper.connect=a:1\nbroker.id=0\nlog.dirs=" + path + "/data\n")->broker_id, 0);
  EXPECT_THAT(with("broker.id=1\n").error(), HasSubstr("zookeeper.connect"));
  EXPECT_THAT(with("zookeeper.connect=a:1\nbroker.id=-1\n").error(), HasSubstr("broker.id"));
  std::filesystem::remove_all(path);
  EXPECT_THAT(with("").error(), HasSubstr(path));
}

}  // namespace
}  // namespace weir::apps
