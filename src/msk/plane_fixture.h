// For tests: a control plane over a place and a ZooKeeper in memory, in simulated time, and how it is asked.
#pragma once

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "msk/fake_place.h"
#include "msk/params.h"
#include "msk/service.h"
#include "runtime/sim.h"
#include "zkclient/memory.h"

namespace weir::msk {

namespace json = boost::json;

struct Said {
  int status = 0;
  json::object body;
  std::string error;  // type
  std::string message;
  std::string parameter;
};

class MskTest : public testing::Test {
 protected:
  MskTest() { make(); }
  ~MskTest() override {
    end();
    runtime::block_on(shard, [this]() -> Task<void> { return closed(); });
  }

  void make() {
    ServiceOptions options;
    options.realm.account = "123456789012";
    options.zookeeper = "127.0.0.1:2181";
    options.poll = milliseconds(20);
    options.certify = [](std::string, std::vector<std::string>, std::vector<std::string>) {
      return std::expected<Certificate, std::string>(Certificate{"certificate", "authority"});
    };
    if (tune) tune(options);
    service = std::make_unique<Service>(shard, world.random(), *zk, place, options);
    runtime::block_on(shard, [this]() -> Task<void> { return started(); });
  }
  void end() {
    if (!service) return;
    runtime::block_on(shard, [this]() -> Task<void> { return service->stop(); });
    service.reset();
  }
  // The control plane dies where it stands, and another one goes on.
  void again() {
    end();
    make();
  }
  Task<void> started() {
    auto ok = co_await service->start();
    EXPECT_TRUE(ok.has_value()) << ok.error();
    service->set_active(true);
  }
  Task<void> closed() {
    co_await zk->close();
    co_await brokers_zk->close();
  }

  Said call(const std::string& operation, json::object body = {}, aws::Labels labels = {}, aws::Query query = {}) {
    aws::Request request;
    request.operation = operation;
    request.labels = std::move(labels);
    request.query = std::move(query);
    request.body = std::make_shared<const json::object>(std::move(body));
    Said said;
    runtime::block_on(shard, [this, &request, &said]() -> Task<void> { return one(std::move(request), said); });
    return said;
  }
  Task<void> one(aws::Request request, Said& said) {
    auto reply = co_await service->handle(std::move(request));
    if (!reply) {
      said.status = reply.error().status;
      said.error = reply.error().type;
      said.message = reply.error().message;
      said.parameter = reply.error().invalid_parameter;
      co_return;
    }
    said.status = reply->status;
    if (!reply->body.empty()) said.body = json::parse(reply->body).as_object();
  }
  Said on(const std::string& operation, const std::string& arn, json::object body = {}, aws::Query query = {}) {
    return call(operation, std::move(body), {{"clusterArn", arn}}, std::move(query));
  }

  static json::object create_body(std::string name = "c1", int brokers = 3) {
    json::object group{{"clientSubnets", json::array{"subnet-a", "subnet-b", "subnet-c"}},
                       {"instanceType", "kafka.m5.large"}};
    json::object transit{{"clientBroker", "TLS_PLAINTEXT"}, {"inCluster", true}};
    return {{"clusterName", name},
            {"kafkaVersion", "2.2.1"},
            {"numberOfBrokerNodes", brokers},
            {"brokerNodeGroupInfo", group},
            {"encryptionInfo", json::object{{"encryptionInTransit", transit}}}};
  }
  static std::string text(const json::object& object, std::string_view key) {
    const auto* found = object.if_contains(key);
    return found != nullptr && found->is_string() ? std::string(std::string_view(found->as_string())) : "";
  }
  json::object info(const std::string& arn) {
    auto said = on("DescribeCluster", arn);
    return said.status == 200 ? said.body.at("clusterInfo").as_object() : json::object();
  }
  std::string state(const std::string& arn) { return text(info(arn), "state"); }
  std::string version(const std::string& arn) { return text(info(arn), "currentVersion"); }
  bool becomes(const std::string& arn, const std::string& wanted) {
    for (int i = 0; i < 400; ++i) {
      if (state(arn) == wanted) return true;
      world.run_for(milliseconds(50));
    }
    return false;
  }
  std::string make_cluster(json::object body = create_body()) {
    auto said = call("CreateCluster", std::move(body));
    EXPECT_EQ(said.status, 200) << said.message;
    auto arn = text(said.body, "clusterArn");
    EXPECT_TRUE(becomes(arn, "ACTIVE")) << state(arn);
    return arn;
  }
  // The operation of an answer, when it is over: its record.
  json::object over(const Said& said) {
    EXPECT_EQ(said.status, 200) << said.message;
    const auto arn = text(said.body, "clusterOperationArn");
    for (int i = 0; i < 600; ++i) {
      auto answer = call("DescribeClusterOperation", {}, {{"clusterOperationArn", arn}});
      auto record = answer.body.at("clusterOperationInfo").as_object();
      const auto now = text(record, "operationState");
      if (now.ends_with("_COMPLETE") || now.ends_with("_FAILED")) return record;
      world.run_for(milliseconds(50));
    }
    ADD_FAILURE() << "the operation does not end";
    return {};
  }
  void write(const std::string& path, const std::string& data) {
    runtime::block_on(shard, [this, path, data]() -> Task<void> { return put(path, data); });
  }
  Task<void> put(std::string path, std::string data) {
    auto made = co_await zkclient::create_with_parents(*zk, path, data);
    if (!made) (void)co_await zk->set(path, data);
  }
  void erase(const std::string& path) {
    runtime::block_on(shard, [this, path]() -> Task<void> { return take(path); });
  }
  void revive() {
    runtime::block_on(shard, [this]() -> Task<void> { return place.revive(); });
  }
  Task<void> take(std::string path) { (void)co_await zk->remove(path); }
  std::string data(const std::string& path) {
    for (const auto& [at, what] : tree->dump()) {
      if (at == path) return what;
    }
    return "";
  }
  std::string chroot(const std::string& arn) {
    const auto connect = text(info(arn), "zookeeperConnectString");
    const auto slash = connect.find('/');
    return slash == std::string::npos ? "" : connect.substr(slash);
  }

  runtime::SimWorld world{7};
  runtime::Shard& shard{world.shard()};
  std::shared_ptr<zkclient::MemoryTree> tree{zkclient::MemoryTree::make()};
  std::unique_ptr<zkclient::Zk> zk{tree->connect()};
  std::unique_ptr<zkclient::Zk> brokers_zk{tree->connect()};
  FakePlace place{*brokers_zk};
  std::function<void(ServiceOptions&)> tune;  // of control planes made from now on
  std::unique_ptr<Service> service;
};

class MskUpdateTest : public MskTest {
 protected:
  std::string arn = make_cluster();

  std::string configuration(const std::string& name, const std::string& properties) {
    auto made = call("CreateConfiguration", {{"name", name}, {"serverProperties", to_base64(properties)}});
    EXPECT_EQ(made.status, 200) << made.message;
    return text(made.body, "arn");
  }
  Said configure(const std::string& name, const std::string& properties) {
    json::object which{{"arn", configuration(name, properties)}, {"revision", 1}};
    place.log.clear();
    return on("UpdateClusterConfiguration", arn, {{"currentVersion", version(arn)}, {"configurationInfo", which}});
  }
  std::vector<std::string> restarts() const {
    std::vector<std::string> out;
    for (const auto& line : place.log) {
      if (line.starts_with("start")) out.push_back(line);
    }
    return out;
  }
  Task<void> fell_behind(std::int32_t broker, std::string root) {
    if (broker != 1) co_return;
    co_await put(root + "/brokers/topics/t/partitions/0/state",
                 R"({"controller_epoch":1,"leader":2,"version":1,"leader_epoch":1,"isr":[2,3]})");
  }
  void partition(const std::string& isr, int leader = 1) {
    write(chroot(arn) + "/brokers/topics/t",
          R"({"version":2,"partitions":{"0":[1,2,3]},"adding_replicas":{},"removing_replicas":{}})");
    write(chroot(arn) + "/brokers/topics/t/partitions/0/state",
          R"({"controller_epoch":1,"leader":)" + std::to_string(leader) + R"(,"version":1,"leader_epoch":0,"isr":)" +
              isr + "}");
  }
};

}  // namespace weir::msk
