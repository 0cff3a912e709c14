// The inside of Controller; not for other rooms. One coroutine (run) takes events from the queue, one at a time; all
// else are its parts, by theme: controller.cc (queue, election), load.cc (taking office), changes.cc (brokers,
// topics, deletions, calls), partitions.cc (leaders).
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controller/decide/batch.h"
#include "controller/decide/elect.h"
#include "controller/drive/controller.h"
#include "controller/drive/senders.h"
#include "controller/drive/store.h"

namespace weir::controller {

struct Event {
  enum class Kind : std::uint8_t {
    look_for_controller,  // /controller changed, or was never looked at
    expired,
    new_session,
    brokers,
    broker,  // `name`: its id
    topics,
    topic,  // `name`
    deletions,
    preferred,
    isr_changes,
    log_dirs,
    led,      // `broker` answered LeaderAndIsr
    stopped,  // `broker` answered StopReplica
    shutdown,
    elect,
    unclean,
    nothing,  // lets an idle() waiter see that all before it was worked off
  };
  // A call that waits for its answer.
  struct Ask {
    explicit Ask(runtime::Shard& shard) : answered(shard) {}
    BrokerId broker = no_broker;
    BrokerEpoch epoch{-1};
    std::vector<PartitionRef> partitions;
    bool unclean = false;
    Result<std::vector<PartitionRef>> left = fail(ErrorCode::NOT_CONTROLLER);
    Result<OrderAnswer> answers = fail(ErrorCode::NOT_CONTROLLER);
    runtime::Waiter answered;
  };
  Kind kind = Kind::nothing;
  std::string name;
  BrokerId broker = no_broker;
  OrderAnswer answers;
  std::shared_ptr<Ask> ask;
};

struct Controller::Impl : zkclient::Watcher, std::enable_shared_from_this<Controller::Impl> {
  Impl(runtime::Shard& shard, zkclient::Zk& zk, BrokerLink& link, ControllerOptions options);

  // --- queue (controller.cc) ---
  void on_watch(const zkclient::WatchEvent& event) override;
  void on_session(zkclient::SessionEvent event) override;
  void push(Event event);
  void push_front(Event event);
  Task<void> run();
  Task<ZkResult<>> process(Event& event);
  Task<void> failed(zkclient::ZkError error, Event::Kind during);
  void wake_idle();
  bool worked_off() const { return queue.empty() && !processing && senders.idle(); }
  Watch self() { return weak_from_this(); }
  bool in_office() const { return active && !expired; }

  // --- election (controller.cc) ---
  Task<ZkResult<>> look_for_controller();
  Task<ZkResult<bool>> take_office();
  void resign();

  // --- taking office (load.cc) ---
  Task<ZkResult<>> load();
  Task<ZkResult<>> set_up_features();
  Task<ZkResult<>> load_partitions();
  Task<ZkResult<>> drop_old_notifications();
  // Adds topics to the image, with an id for those that have none; gives their partitions.
  Task<ZkResult<std::vector<PartitionRef>>> adopt_topics(std::vector<TopicRead> topics);

  // --- changes (changes.cc) ---
  Task<ZkResult<>> brokers_changed();
  Task<ZkResult<>> broker_changed(std::string id);
  Task<ZkResult<>> brokers_gone(std::vector<BrokerId> ids, decide::Batch& batch);
  Task<ZkResult<>> brokers_came(std::vector<BrokerId> ids, decide::Batch& batch);
  Task<ZkResult<>> topics_changed();
  Task<ZkResult<>> topic_changed(std::string name);
  Task<ZkResult<>> deletions_changed();
  Task<ZkResult<>> carry_deletions_on();
  Task<ZkResult<>> preferred_asked();
  Task<ZkResult<>> isr_changed();
  Task<ZkResult<>> log_dirs_failed();
  Task<ZkResult<>> led(BrokerId broker, OrderAnswer answers);
  void stopped(BrokerId broker, OrderAnswer answers);
  Task<ZkResult<>> shut_down(Event::Ask& ask);
  Task<ZkResult<>> elect_asked(Event::Ask& ask);

  // --- leaders (partitions.cc) ---
  using Outcome = std::map<PartitionRef, ErrorCode>;
  // First states for partitions without one, elections for the others.
  Task<ZkResult<>> give_leaders(std::vector<PartitionRef> at, decide::Batch& batch);
  Task<ZkResult<>> create_states(std::vector<PartitionRef> at, decide::Batch& batch);
  Task<ZkResult<>> elect(std::vector<PartitionRef> at, decide::Election how, bool unclean, decide::Batch& batch,
                         Outcome* outcome = nullptr);
  // The replicas of `gone` leave the ISRs they are in.
  Task<ZkResult<>> shrink(std::vector<PartitionRef> at, BrokerId gone, decide::Batch& batch);
  Task<ZkResult<bool>> unclean_allowed(std::string topic);
  void put(const std::map<PartitionRef, cluster::Partition>& changed);
  void send(const decide::Batch& batch);

  runtime::Shard& shard;
  zkclient::Zk& zk;
  ControllerOptions options;
  decide::State state;
  Store store;
  Senders senders;
  runtime::Scope scope;
  runtime::Waiter waiter;
  std::deque<Event> queue;
  std::set<std::pair<Event::Kind, std::string>> queued;  // "look again" events are in the queue once
  std::vector<runtime::Waiter*> idlers;
  std::int64_t session = 0;
  BrokerId controller = no_broker;
  bool processing = false;
  bool active = false;
  bool expired = false;
  bool stopping = false;
};

}  // namespace weir::controller
