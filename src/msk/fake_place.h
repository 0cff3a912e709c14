// For tests of this room: a place whose brokers are znodes.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "provision/place.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"
#include "zkwire/layout.h"

namespace weir::msk {

using runtime::Task;

// A broker that runs is a znode below its cluster's /brokers/ids. What a test wants to go wrong it says in `trouble`.
class FakePlace final : public provision::Place {
 public:
  template <class T = void>
  using Outcome = provision::Outcome<T>;
  using Failure = provision::Failure;

  explicit FakePlace(zkclient::Zk& zk) : zk_(zk) {}

  struct Broker {
    provision::BrokerSpec spec;
    provision::BrokerState state = provision::BrokerState::stopped;
    bool stale = false;
    std::string cause;
  };
  std::map<provision::BrokerKey, Broker> all;
  std::vector<std::string> log;  // "start c/1"
  std::vector<provision::BrokerKey> killed;
  std::function<std::optional<Failure>(const std::string& what, const provision::BrokerSpec& spec)> trouble;
  std::function<Task<void>(std::int32_t broker)> at_start;  // before a start is answered
  std::function<Task<void>(std::int32_t broker)> at_stop;   // before a stop is answered
  std::function<void(const std::string& what)> after;       // of each change, for tests that cut off here

  Task<Outcome<std::string>> free_block(std::vector<std::string> taken, std::int32_t,
                                        std::vector<std::uint16_t>) override {
    for (int i = 1; i < 255; ++i) {
      auto block = "127.0." + std::to_string(i);
      if (std::ranges::find(taken, block) == taken.end()) co_return block;
    }
    co_return std::unexpected(Failure{Failure::Kind::system, "no block is left"});
  }
  std::string address_of(const std::string& block, std::int32_t id) const override {
    return block + "." + std::to_string(id);
  }

  Task<Outcome<>> put(provision::BrokerSpec spec) override {
    if (auto bad = note("put", spec)) co_return std::unexpected(*bad);
    auto& broker = all[spec.key];
    if (broker.state == provision::BrokerState::running && !(broker.spec == spec)) broker.stale = true;
    broker.spec = std::move(spec);
    if (after) after("put");
    co_return Outcome<>{};
  }
  Task<Outcome<>> start(provision::BrokerKey key, milliseconds) override {
    const auto found = all.find(key);
    if (found == all.end()) co_return std::unexpected(Failure{Failure::Kind::unknown_broker, "unknown"});
    if (found->second.state == provision::BrokerState::running) co_return Outcome<>{};
    if (auto bad = note("start", found->second.spec)) {
      if (bad->kind == Failure::Kind::closed) co_return std::unexpected(*bad);  // nobody is there to start it
      found->second.state = provision::BrokerState::backing_off;
      found->second.cause = bad->text;
      co_return std::unexpected(*bad);
    }
    (void)co_await zkclient::create_with_parents(zk_, node(found->second.spec), registration(found->second.spec));
    found->second.state = provision::BrokerState::running;
    found->second.stale = false;
    if (at_start) co_await at_start(key.broker);
    if (after) after("start");
    co_return Outcome<>{};
  }
  Task<Outcome<>> stop(provision::BrokerKey key, provision::StopHow) override {
    const auto found = all.find(key);
    if (found == all.end()) co_return std::unexpected(Failure{Failure::Kind::unknown_broker, "unknown"});
    if (found->second.state == provision::BrokerState::stopped) co_return Outcome<>{};
    if (auto bad = note("stop", found->second.spec)) co_return std::unexpected(*bad);
    (void)co_await zk_.remove(node(found->second.spec));
    found->second.state = provision::BrokerState::stopped;
    if (at_stop) co_await at_stop(key.broker);
    if (after) after("stop");
    co_return Outcome<>{};
  }
  // Only asked for, as a signal is: it still runs when this returns, then it waits, and is started by revive().
  Task<Outcome<>> kill(provision::BrokerKey key) override {
    log.push_back("kill " + std::to_string(key.broker));
    killed.push_back(key);
    co_return Outcome<>{};
  }
  void die() {
    for (const auto& key : killed) all.at(key).state = provision::BrokerState::backing_off;
  }
  Task<void> revive() {
    die();
    for (const auto& key : std::exchange(killed, {})) (void)co_await start(key, milliseconds(0));
  }
  Task<Outcome<>> restart(provision::BrokerKey key, provision::StopHow how, milliseconds wait) override {
    if (auto stopped = co_await stop(key, how); !stopped) co_return stopped;
    co_return co_await start(key, wait);
  }
  Task<Outcome<>> remove(provision::BrokerKey key, bool) override {
    const auto found = all.find(key);
    if (found == all.end()) co_return Outcome<>{};
    if (auto bad = note("remove", found->second.spec)) co_return std::unexpected(*bad);
    (void)co_await zk_.remove(node(found->second.spec));
    all.erase(key);
    if (after) after("remove");
    co_return Outcome<>{};
  }
  std::optional<provision::BrokerStatus> status(const provision::BrokerKey& key) const override {
    const auto found = all.find(key);
    if (found == all.end()) return std::nullopt;
    provision::BrokerStatus out;
    out.state = found->second.state;
    out.stale = found->second.stale;
    out.cause = found->second.cause;
    return out;
  }
  std::optional<provision::BrokerSpec> spec(const provision::BrokerKey& key) const override {
    const auto found = all.find(key);
    if (found == all.end()) return std::nullopt;
    return found->second.spec;
  }
  std::vector<provision::BrokerKey> brokers() const override {
    std::vector<provision::BrokerKey> out;
    for (const auto& [key, broker] : all) out.push_back(key);
    return out;
  }
  Task<Outcome<provision::Volume>> volume(provision::BrokerKey) override { co_return provision::Volume{}; }
  void listen(std::function<void(const provision::BrokerEvent&)>) override {}
  Task<void> close() override { co_return; }

  static std::string node(const provision::BrokerSpec& spec) {
    const auto& connect = spec.properties.at("zookeeper.connect");
    return connect.substr(connect.find('/')) + "/brokers/ids/" + std::to_string(spec.key.broker);
  }

 private:
  static std::string registration(const provision::BrokerSpec& spec) {
    zkwire::layout::BrokerRegistration out;
    out.endpoints.push_back({"CLIENT", "PLAINTEXT", spec.address, 9092});
    out.rack = spec.zone;
    return zkwire::layout::encode(out);
  }
  std::optional<Failure> note(const std::string& what, const provision::BrokerSpec& spec) {
    auto bad = trouble ? trouble(what, spec) : std::nullopt;
    // What a process that is dead asks for is not asked for.
    if (!bad || bad->kind != Failure::Kind::closed) log.push_back(what + " " + std::to_string(spec.key.broker));
    return bad;
  }

  zkclient::Zk& zk_;
};

}  // namespace weir::msk
