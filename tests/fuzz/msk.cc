// The MSK API behind the signature: requests of every operation, tokens, ARNs; and the records it keeps.
#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "base/log.h"
#include "fuzz/fuzz.h"
#include "msk/codec.h"
#include "msk/fake_place.h"
#include "msk/kafka.h"
#include "msk/names.h"
#include "msk/params.h"
#include "msk/service.h"
#include "runtime/sim.h"
#include "zkclient/memory.h"

namespace weir::fuzz {

namespace {

namespace json = boost::json;
using runtime::Task;

constexpr std::array operations{"BatchAssociateScramSecret",
                                "CreateCluster",
                                "CreateClusterV2",
                                "CreateConfiguration",
                                "CreateReplicator",
                                "CreateTopic",
                                "CreateVpcConnection",
                                "DeleteCluster",
                                "DeleteClusterPolicy",
                                "DeleteConfiguration",
                                "DeleteTopic",
                                "DescribeCluster",
                                "DescribeClusterOperation",
                                "DescribeClusterV2",
                                "DescribeConfiguration",
                                "DescribeConfigurationRevision",
                                "DescribeReplicator",
                                "DescribeTopic",
                                "DescribeTopicPartitions",
                                "DescribeVpcConnection",
                                "GetBootstrapBrokers",
                                "GetClusterPolicy",
                                "GetCompatibleKafkaVersions",
                                "ListClientVpcConnections",
                                "ListClusterOperations",
                                "ListClusterOperationsV2",
                                "ListClusters",
                                "ListClustersV2",
                                "ListConfigurationRevisions",
                                "ListConfigurations",
                                "ListKafkaVersions",
                                "ListNodes",
                                "ListReplicators",
                                "ListScramSecrets",
                                "ListTagsForResource",
                                "ListTopics",
                                "ListVpcConnections",
                                "PutClusterPolicy",
                                "RebootBroker",
                                "RejectClientVpcConnection",
                                "TagResource",
                                "UntagResource",
                                "UpdateBrokerCount",
                                "UpdateBrokerStorage",
                                "UpdateBrokerType",
                                "UpdateClusterConfiguration",
                                "UpdateClusterKafkaVersion",
                                "UpdateConfiguration",
                                "UpdateConnectivity",
                                "UpdateMonitoring",
                                "UpdateRebalancing",
                                "UpdateSecurity",
                                "UpdateStorage",
                                "UpdateTopic"};

constexpr std::string_view create =
    R"({"clusterName":"c","kafkaVersion":"3.9.x","numberOfBrokerNodes":2,"brokerNodeGroupInfo":{"clientSubnets":["a","b"],
        "instanceType":"kafka.m5.large"},"encryptionInfo":{"encryptionInTransit":{"clientBroker":"PLAINTEXT","inCluster":false}}})";

// A control plane with one cluster that is up; the same for every input.
struct World {
  World() {
    logging::init({logging::Level::off, logging::Format::text, {}});
    msk::ServiceOptions options;
    options.zookeeper = "127.0.0.1:2181";
    options.poll = milliseconds(20);
    service = std::make_unique<msk::Service>(world.shard(), world.random(), *zk, place, options);
    runtime::block_on(world.shard(), [this]() -> Task<void> { return start(); });
    aws::Request request;
    request.operation = "CreateCluster";
    request.body = std::make_shared<const json::object>(json::parse(json::string_view(create)).as_object());
    arn = std::string(json::parse(say(request).body).at("clusterArn").as_string());
    world.run_for(seconds(1));
    request.operation = "DescribeCluster";
    request.labels = {{"clusterArn", arn}};
    const auto info = json::parse(say(request).body).at("clusterInfo");
    WEIR_CHECK(info.at("state").as_string() == "ACTIVE", "the cluster is up");
    version = std::string(info.at("currentVersion").as_string());
  }
  ~World() {
    runtime::block_on(world.shard(), [this]() -> Task<void> { return stop(); });
  }
  Task<void> start() {
    WEIR_CHECK((co_await service->start()).has_value(), "the service starts");
    service->set_active(true);
  }
  Task<void> stop() {
    co_await service->stop();
    co_await zk->close();
    co_await brokers->close();
  }
  Task<void> one(aws::Request request, aws::Reply& reply) { reply = co_await service->handle(std::move(request)); }
  aws::Response say(aws::Request request) {
    aws::Reply reply;
    runtime::block_on(world.shard(), [&]() -> Task<void> { return one(std::move(request), reply); });
    aws::Response out;
    if (reply) return *reply;
    WEIR_CHECK(!reply.error().message.empty() && !reply.error().type.empty(), "a fault says what it is");
    out.status = reply.error().status;
    return out;
  }

  runtime::SimWorld world{7};
  std::shared_ptr<zkclient::MemoryTree> tree{zkclient::MemoryTree::make()};
  std::unique_ptr<zkclient::Zk> zk{tree->connect()};
  std::unique_ptr<zkclient::Zk> brokers{tree->connect()};
  msk::FakePlace place{*brokers};
  std::unique_ptr<msk::Service> service;
  std::string arn;
  std::string version;
};

std::string part(bytes::Bytes& from) {
  const auto text = bytes::as_text(from);
  const auto end = std::min(text.find('\0'), text.size());
  const auto out = own(take(from, end));
  take(from, 1);
  return out;
}

void request_of(bytes::Bytes input) {
  World world;
  aws::Request request;
  request.operation = operations[choice(input) % operations.size()];
  const auto how = choice(input);
  const auto label = part(input);
  const auto arn = (how & 1U) != 0 ? label : world.arn;
  for (const char* name : {"clusterArn", "arn", "clusterOperationArn", "resourceArn", "replicatorArn"}) {
    request.labels.emplace(name, arn);
  }
  request.labels.emplace("topicName", label);
  request.labels.emplace("revision", label);
  for (const char* name : {"maxResults", "nextToken", "clusterArn", "currentVersion", "tagKeys", "clusterNameFilter"}) {
    if (auto value = part(input); !value.empty()) request.query.emplace(name, std::move(value));
  }
  json::parse_options options;
  options.max_depth = 32;
  boost::system::error_code error;
  auto body = json::parse(bytes::as_text(input), error, json::storage_ptr(), options);
  if (error || !body.is_object()) body = json::object();
  if ((how & 2U) == 0 && request.operation.starts_with("Update")) {
    body.as_object().insert_or_assign("currentVersion", world.version);
  }
  request.body = std::make_shared<const json::object>(std::move(body.as_object()));
  const auto answer = world.say(std::move(request));
  WEIR_CHECK(answer.status >= 200 && answer.status < 500, "no input is an internal error");
  if (answer.status == 200) WEIR_CHECK(json::parse(answer.body).is_object(), "what is answered is a JSON object");
  world.world.run_for(milliseconds(200));  // what was begun goes on for a moment
}

template <class Record>
void record(const std::string& text) {
  Record first;
  if (const auto read = msk::decode(text, first); !read) {
    WEIR_CHECK(!read.error().empty(), "an error is a sentence");
    return;
  }
  Record second;
  WEIR_CHECK(msk::decode(msk::encode(first), second).has_value(), "what was written is read again");
  WEIR_CHECK(first == second, "as what it was");
}

void texts(const std::string& text) {
  const msk::Realm realm;
  if (const auto arn = msk::parse_arn(realm, text); arn && text.starts_with("arn:aws:")) {
    WEIR_CHECK(msk::arn_text(realm, arn->kind, arn->name, arn->id, arn->rest) == text,
               "an ARN is written as it was read");
  }
  if (const auto bytes = msk::from_base64(text))
    WEIR_CHECK(msk::to_base64(*bytes) == text, "one text for the same bytes");
  const std::vector<std::string> keys{"a", "b", text};
  if (const auto page = msk::page_of("1", text, "list", keys)) WEIR_CHECK(page->items.size() <= 1, "a page of one");
  const auto first = msk::page_of("1", "", "list", keys);
  WEIR_CHECK(first && msk::page_of("", first->next, "list", keys).has_value(), "a token that was given is taken");
  (void)msk::parse_server_properties(text);
}

}  // namespace

void run(bytes::Bytes input) {
  switch (choice(input) % 8) {
    case 0: return record<msk::Cluster>(own(input));
    case 1: return record<msk::Operation>(own(input));
    case 2: return record<msk::Configuration>(own(input));
    case 3: return record<msk::VpcConnection>(own(input));
    case 4: return texts(own(input));
    default: return request_of(input);
  }
}

std::vector<std::string> seeds() {
  using std::string_literals::operator""s;
  std::vector<std::string> out;
  msk::Cluster cluster;
  cluster.id = "0-2";
  cluster.members = {{1, milliseconds(5)}};
  cluster.tags = {{"a", "b"}};
  cluster.zones = {"use1-az1"};
  out.push_back(seed(0, msk::encode(cluster)));
  msk::Operation operation;
  operation.steps.emplace_back();
  operation.created_brokers = {4};
  out.push_back(seed(1, msk::encode(operation)));
  msk::Configuration configuration;
  configuration.revisions.emplace_back();
  out.push_back(seed(2, msk::encode(configuration)));
  out.push_back(seed(3, msk::encode(msk::VpcConnection{})));
  out.push_back(seed(4, "arn:aws:kafka:us-east-1:000000000000:cluster/name/0-2"));
  out.push_back(seed(4, "num.partitions=3\nlog.retention.ms = 5\n"));
  const auto call = [&out](std::string_view name, const std::string& body,
                           const std::string& query = std::string(6, '\0')) {
    const auto at = std::ranges::find(operations, name) - operations.begin();
    out.push_back(seed(5, std::string{static_cast<char>(at), '\0'} + "t\0"s + query + body));
  };
  call("CreateCluster", std::string(create));
  call("CreateClusterV2", R"({"clusterName":"d","provisioned":)" + std::string(create) + "}");
  call("CreateConfiguration",
       R"({"name":"n","kafkaVersions":["2.2.1"],"serverProperties":"bnVtLnBhcnRpdGlvbnM9Mg=="})");
  call("CreateTopic", R"({"topicName":"t","partitionCount":3,"replicationFactor":2,"configs":"cmV0ZW50aW9uLm1zPTE="})");
  call("TagResource", R"({"tags":{"a":"b"}})");
  call("PutClusterPolicy", R"({"policy":"{\"Statement\":[]}"})");
  call("RebootBroker", R"({"brokerIds":["1"]})");
  call("UpdateBrokerCount", R"({"targetNumberOfBrokerNodes":4})");
  call("UpdateBrokerStorage", R"({"targetBrokerEBSVolumeInfo":[{"kafkaBrokerNodeId":"All","volumeSizeGB":100,
        "provisionedThroughput":{"enabled":true,"volumeThroughput":250}}]})");
  call("UpdateConnectivity", R"({"connectivityInfo":{"publicAccess":{"type":"DISABLED"},"vpcConnectivity":
        {"clientAuthentication":{"tls":{"enabled":true},"sasl":{"iam":{"enabled":false}}}}},"zookeeperAccess":{"enabled":true}})");
  call("UpdateMonitoring", R"({"enhancedMonitoring":"PER_BROKER","openMonitoring":{"prometheus":{"jmxExporter":
        {"enabledInBroker":true}}},"loggingInfo":{"brokerLogs":{"s3":{"enabled":false}}}})");
  call("UpdateSecurity", R"({"clientAuthentication":{"unauthenticated":{"enabled":true},"tls":{"enabled":false}}})");
  call("UpdateRebalancing", R"({"rebalancing":{"status":"ACTIVE"}})");
  call("CreateVpcConnection", R"({"targetClusterArn":"x","authentication":"TLS","vpcId":"v","clientSubnets":["s"],
        "securityGroups":["g"],"tags":{"a":"b"}})");
  call("ListNodes", "", "1\0\0\0\0\0\0"s);
  call("ListConfigurations", "", "2\0AAAA\0\0\0\0\0"s);
  return out;
}

}  // namespace weir::fuzz
