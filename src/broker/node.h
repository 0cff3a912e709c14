// What a broker is made of, as its requests see it. The parts are owned by Broker (broker.h) and outlive every
// request. Parts that live on one shard say so; ask them by runtime::call.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/id.h"
#include "broker/fetch_session.h"
#include "broker/image_board.h"
#include "broker/metrics.h"
#include "config/broker_config.h"
#include "config/topic_config.h"
#include "controller/admin.h"
#include "controller/drive/controller.h"
#include "replica/manager.h"
#include "runtime/clock.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"

namespace weir::broker {

class BrokerTls;
class ControllerChannel;
class Groups;
class Orders;
class ProducerIdSource;

// The configuration in force, and the layers it came from (for DescribeConfigs). Replaced whole when it changes.
struct LiveConfig {
  config::BrokerConfig config;
  config::BrokerLayers layers;
};
using LiveConfigPtr = std::shared_ptr<const LiveConfig>;

// The listeners as they are known to clients.
struct Advertised {
  std::string listener;
  std::string host;
  std::int32_t port = 0;
};

class Node {
 public:
  BrokerId id = no_broker;
  std::string cluster_id;
  std::vector<runtime::Shard*> shards;
  runtime::Shard* control = nullptr;  // where zk, controller, admin and the image's owner live
  runtime::Pool* pool = nullptr;
  runtime::Clock* clock = nullptr;
  runtime::Random* random = nullptr;
  BrokerMetrics* metrics = nullptr;
  ImageBoard* images = nullptr;
  const BrokerTls* tls = nullptr;
  replica::ReplicaManager* replicas = nullptr;
  Groups* groups = nullptr;
  ProducerIdSource* producer_ids = nullptr;         // control shard
  Orders* orders = nullptr;                         // control shard
  ControllerChannel* controller_channel = nullptr;  // control shard
  zkclient::Zk* zk = nullptr;
  controller::Admin* admin = nullptr;                          // control shard
  controller::Controller* controller = nullptr;                // control shard
  std::vector<std::unique_ptr<FetchSessions>> fetch_sessions;  // by shard
  // Configs that requests change at this moment, and those who wait for their turn; control shard.
  std::set<cluster::ConfigKey> configs_in_edit;
  std::vector<runtime::Waiter*> config_turns;

  // Of the registration of now (KIP-380); -1 before the first. From any thread.
  BrokerEpoch epoch() const { return BrokerEpoch{epoch_.load(std::memory_order_acquire)}; }
  void set_epoch(BrokerEpoch epoch) { epoch_.store(epoch.value, std::memory_order_release); }

  // Another broker's connection broke just now: it may have died, and clients that lost theirs ask who leads instead.
  // From any thread.
  void note_lost(BrokerId broker) {
    lost_.store(broker.value, std::memory_order_relaxed);
    lost_at_.store(clock->mono().count(), std::memory_order_release);
  }
  // Before who leads is told. When a broker was lost a moment ago, or is gone since, this waits a moment for the
  // controller's word on who leads instead: until `led` says that no partition asked about is led by a broker that is
  // not there. A client that is told of the dead leader, or of none, comes back a second later only (librdkafka). Who
  // has been connected for a while and asks may have lost its leader just before this broker hears of it: that is given
  // a moment, too. On any shard.
  using Led = std::function<bool(const cluster::Image&)>;
  runtime::Task<void> news_of_lost(Led led, bool connected_for_long);
  static constexpr milliseconds lost_wait_max{400};      // for word that it is gone
  static constexpr milliseconds gone_wait_max{500};      // for the next leaders, since it is
  static constexpr milliseconds suspicion_wait_max{20};  // for our own connection to break, too

  // Brokers that went without a goodbye a moment ago. A client that has records under way to one of them, and is told
  // in one answer that it is no broker any more and who leads instead, may lose the thread: librdkafka 2.10 to 2.16
  // then asks again a second later. So a broker that is gone is named in answers about topics for a little longer. From
  // any thread.
  struct Gone {
    std::shared_ptr<const cluster::Broker> broker;
    nanoseconds at{};  // of the clock's mono()
  };
  static constexpr seconds gone_named{3};
  using AllGone = std::vector<Gone>;
  std::shared_ptr<const AllGone> gone() const { return std::atomic_load_explicit(&gone_, std::memory_order_acquire); }
  void set_gone(std::shared_ptr<const AllGone> next) {
    std::atomic_store_explicit(&gone_, std::move(next), std::memory_order_release);
  }

  // Topics that LeaderAndIsr named and UpdateMetadata has not yet: followers fetch them by id at once. From any thread.
  using TopicNames = std::map<Uuid, std::string>;
  std::shared_ptr<const TopicNames> fresh_topics() const {
    return std::atomic_load_explicit(&fresh_topics_, std::memory_order_acquire);
  }
  void set_fresh_topics(std::shared_ptr<const TopicNames> next) {
    std::atomic_store_explicit(&fresh_topics_, std::move(next), std::memory_order_release);
  }

  const cluster::ImagePtr& image() const { return images->current(); }
  LiveConfigPtr config() const { return std::atomic_load_explicit(&config_, std::memory_order_acquire); }
  void set_config(LiveConfigPtr next) {
    std::atomic_store_explicit(&config_, std::move(next), std::memory_order_release);
  }
  FetchSessions& sessions_here() { return *fetch_sessions.at(runtime::Shard::current()->index()); }

  // A topic's configuration from the image given and the broker's own.
  config::TopicConfig topic_config(const cluster::Image& image, std::string_view topic) const;

 private:
  nanoseconds since_lost() const;
  nanoseconds since_gone() const;

  LiveConfigPtr config_;
  std::atomic<std::int64_t> epoch_{-1};
  std::shared_ptr<const AllGone> gone_ = std::make_shared<const AllGone>();
  std::atomic<std::int32_t> lost_{no_broker.value};
  std::atomic<std::int64_t> lost_at_{std::numeric_limits<std::int64_t>::min() / 2};
  std::shared_ptr<const TopicNames> fresh_topics_ = std::make_shared<const TopicNames>();
};

// What the log room takes of a topic's configuration.
replica::Settings settings_of(const config::TopicConfig& topic, const config::BrokerConfig& broker, BrokerId self);

}  // namespace weir::broker
