// The inside of Controller; not for other rooms. One coroutine (run) takes events from the queue, one at a time; all
// else are its parts, by theme: controller.cc (queue, the outside), office.cc (election), load.cc (taking office),
// brokers.cc, topics.cc, notices.cc (what others write for us), calls.cc (what people ask), reassign.cc, alter.cc
// (AlterPartition), partitions.cc (leaders), stats.cc.
#pragma once

#include <array>
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
    reassign,     // /admin/reassign_partitions
    isr_changes,  // /isr_change_notification
    isr_written,  // `name`: path of the state of a partition under reassignment
    log_dirs,
    led,        // `broker` answered LeaderAndIsr
    stopped,    // `broker` answered StopReplica about replicas to remove
    resend,     // `broker` was too slow: its orders were dropped, it is told everything again
    settle,     // a reassignment may have caught up
    waited,     // long enough for members of ISRs that are away
    rebalance,  // time to look for partitions away from their preferred leader
    shutdown,
    elect,
    alter,
    move,  // alter_reassignments
    list_moves,
    unclean,
    nothing,  // lets an idle() waiter see that all before it was worked off
  };
  static constexpr std::size_t kinds = static_cast<std::size_t>(Kind::nothing) + 1;
  // A call that waits for its answer.
  struct Ask {
    explicit Ask(runtime::Shard& shard) : answered(shard) {}
    BrokerId broker = no_broker;
    BrokerEpoch epoch{-1};
    std::vector<PartitionRef> partitions;
    bool unclean = false;
    std::vector<AlterPartitionItem> proposals;
    Reassignments moves;
    std::optional<std::vector<PartitionRef>> among;
    Result<std::vector<PartitionRef>> left = fail(ErrorCode::NOT_CONTROLLER);
    Result<OrderAnswer> answers = fail(ErrorCode::NOT_CONTROLLER);
    Result<std::vector<AlteredPartition>> altered = fail(ErrorCode::NOT_CONTROLLER);
    Result<std::vector<ReassignmentAnswer>> moved = fail(ErrorCode::NOT_CONTROLLER);
    Result<std::vector<OngoingReassignment>> moving = fail(ErrorCode::NOT_CONTROLLER);
    runtime::Waiter answered;
  };
  Kind kind = Kind::nothing;
  std::string name;
  BrokerId broker = no_broker;
  OrderAnswer answers;
  std::shared_ptr<Ask> ask;
  nanoseconds queued_at{0};
};

struct Controller::Impl : zkclient::Watcher, std::enable_shared_from_this<Controller::Impl> {
  Impl(runtime::Shard& shard, zkclient::Zk& zk, BrokerLink& link, runtime::Random& random, ControllerOptions options);

  // --- queue (controller.cc) ---
  void on_watch(const zkclient::WatchEvent& event) override;
  void on_session(zkclient::SessionEvent event) override;
  void push(Event event);
  void push_front(Event event);
  Task<void> ask(Event::Kind kind, std::shared_ptr<Event::Ask> ask);
  Task<void> run();
  Task<ZkResult<>> process(Event& event);
  Task<ZkResult<>> process_in_office(Event& event);
  Task<void> rebalance_timer();
  Task<void> doubt_timer();
  void wake_idle();
  bool worked_off() const { return queue.empty() && !processing && senders.idle(); }
  Watch self() { return weak_from_this(); }
  bool in_office() const { return active && !expired; }

  // --- election (office.cc) ---
  Task<void> failed(zkclient::ZkError error, Event::Kind during);
  Task<ZkResult<>> look_for_controller();
  Task<ZkResult<zkclient::Data>> controller_epoch();
  Task<ZkResult<>> give_up_controller();
  Task<ZkResult<bool>> take_office();
  // Others are to be controller meanwhile; afterwards it is looked who is. The queue is worked off all the same.
  void no_candidate_for(milliseconds pause);
  Task<void> candidacy_timer();
  void resign();

  // --- taking office (load.cc) ---
  Task<ZkResult<>> load();
  Task<ZkResult<>> set_up_features();
  // The zxid that each state was written with.
  Task<ZkResult<std::map<PartitionRef, std::int64_t>>> load_partitions();
  Task<ZkResult<>> drop_old_notifications();
  // Adds topics to the image, with an id for those that have none; gives their partitions.
  Task<ZkResult<std::vector<PartitionRef>>> adopt_topics(std::vector<TopicRead> topics);

  // --- brokers (brokers.cc) ---
  Task<ZkResult<>> brokers_changed();
  Task<ZkResult<>> brokers_gone(std::vector<BrokerId> ids, decide::Batch& batch);
  Task<ZkResult<>> brokers_came(std::vector<BrokerId> ids, const std::set<BrokerId>& reborn, decide::Batch& batch);
  // Doubts are over whose time is.
  Task<ZkResult<>> waited_for_members();
  // Its replicas' roles and the metadata of everything.
  std::map<PartitionRef, cluster::Partition> tell_all(BrokerId id, decide::Batch& batch);
  Task<ZkResult<>> resend(BrokerId broker);
  Task<ZkResult<>> shut_down(Event::Ask& ask);
  void know_brokers();

  // --- topics (topics.cc) ---
  Task<ZkResult<>> topics_changed();
  Task<ZkResult<>> topic_changed(std::string name);
  Task<ZkResult<>> deletions_changed();
  Task<ZkResult<>> carry_deletions_on();

  // --- notifications (notices.cc) ---
  Task<ZkResult<>> isr_changed();
  Task<ZkResult<>> isr_written(std::string path);
  Task<ZkResult<>> log_dirs_failed();
  Task<ZkResult<>> led(BrokerId broker, OrderAnswer answers);
  void stopped(BrokerId broker, OrderAnswer answers);

  // --- leaders on demand (calls.cc) ---
  Task<ZkResult<>> preferred_asked();
  Task<ZkResult<>> rebalance();
  Task<ZkResult<>> elect_asked(Event::Ask& ask);
  Task<ZkResult<>> unclean_enabled(std::string topic);

  // --- AlterPartition (alter.cc) ---
  Task<ZkResult<>> alter(Event::Ask& ask);

  // --- reassignment (reassign.cc) ---
  using Outcome = std::map<PartitionRef, ErrorCode>;
  using Moves = std::map<PartitionRef, cluster::Partition>;  // with the lists of replicas that are wanted
  // Writes what is wanted and carries each a step on: settled when it has caught up, else under way. `outcome`: those
  // that failed.
  Task<ZkResult<>> reassign(Moves wanted, Outcome& outcome);
  Task<ZkResult<>> stop_unneeded(const Moves& wanted, const std::map<PartitionRef, std::vector<BrokerId>>& unneeded);
  Task<ZkResult<>> settle();
  Task<ZkResult<>> moves_asked(Event::Ask& ask);
  void list_moves(Event::Ask& ask);
  // What /admin/reassign_partitions asks for; `resume`: also what is under way already (a new controller).
  Task<ZkResult<>> legacy_moves(bool resume);
  // Removes entries from that node, and the node with the last one.
  using Entry = std::pair<const zkwire::layout::TopicPartition, std::vector<BrokerId>>;
  Task<ZkResult<>> drop_legacy_moves(std::function<bool(const Entry&)> which);

  // --- leaders (partitions.cc) ---
  // First states for partitions without one, elections for the others.
  Task<ZkResult<>> give_leaders(std::vector<PartitionRef> at, decide::Batch& batch);
  Task<ZkResult<>> create_states(std::vector<PartitionRef> at, decide::Batch& batch);
  Task<ZkResult<>> elect(std::vector<PartitionRef> at, decide::Election how, bool unclean, decide::Batch& batch,
                         Outcome* outcome = nullptr, bool or_shrink = false);
  // What lost brokers make necessary: leaders for those without, and the lost leave the ISRs; one write a partition
  // (`or_shrink`: where no election is needed or possible, the lost leave all the same).
  Task<ZkResult<>> make_up_for_losses(decide::Batch& batch);
  // Those replicas leave the ISRs they are in.
  using Lost = std::map<PartitionRef, std::set<BrokerId>>;
  Task<ZkResult<>> shrink(Lost lost, decide::Batch& batch);
  // Those of an ISR that started after it was written, where others of it did not. Who only registered again, because
  // its session ended, has been there all the time. Where no other is there, but some are away, there are doubts.
  Lost came_back(const std::map<PartitionRef, std::int64_t>& written);
  // `reborn` (no_broker: nobody yet) is there; the wait for the others begins with the first.
  void doubt(const PartitionRef& at, BrokerId reborn, std::int64_t written);
  // Who of the image is not in ZooKeeper any more, or in another life: state.vanished.
  Task<ZkResult<>> look_for_vanished();
  Task<ZkResult<bool>> unclean_allowed(std::string topic);
  // Writes states one after the other over the versions they were made from. `make` gives the next state of one, or
  // nothing to leave it; it is called again with what is in ZooKeeper after somebody else wrote. What was written is
  // put into the image and into `written`, also when an error ends it; those that are gone are left out.
  using Make =
      std::function<Task<ZkResult<std::optional<cluster::Partition>>>(const PartitionRef&, cluster::Partition)>;
  // `make` sees who has vanished by then: written as a member after it came back, it would look to the next controller
  // like one that stayed.
  Task<ZkResult<>> rewrite(std::vector<PartitionRef> at, Make make,
                           std::map<PartitionRef, cluster::Partition>& written);
  using Work = std::vector<std::pair<PartitionRef, cluster::Partition>>;
  // Those whose state cannot be followed by a next one are left out, by name, or to be looked at again: written in an
  // epoch of controllers that there has not been, or with the last leader epoch that there is. An error where a later
  // office than ours wrote one: ours is lost.
  Task<ZkResult<>> leave_out_spoilt(Work& work, std::vector<PartitionRef>* look_again);
  void put(const std::map<PartitionRef, cluster::Partition>& changed);
  void send(const decide::Batch& batch);

  // --- stats.cc ---
  void count(Event::Kind kind, nanoseconds took);
  ControllerStats stats() const;

  runtime::Shard& shard;
  zkclient::Zk& zk;
  BrokerLink& link;
  runtime::Random& random;
  ControllerOptions options;
  decide::State state;
  Store store;
  Senders senders;
  runtime::Scope scope;
  runtime::Waiter waiter;
  runtime::Waiter tick;  // of the rebalance timer
  runtime::Waiter doubted;
  runtime::Waiter candidacy;
  std::optional<nanoseconds> candidate_from;  // in a pause
  milliseconds candidacy_pause{0};            // the last one; 0 once an office has lasted
  nanoseconds office_taken{0};
  nanoseconds rebalance_at{0};
  std::deque<Event> queue;
  std::set<std::pair<Event::Kind, std::string>> queued;  // "look again" events are in the queue once
  std::vector<runtime::Waiter*> idlers;
  // StopReplica, to remove, that the broker refused as such: told again whenever it is told everything.
  std::map<BrokerId, std::set<PartitionRef>> refused_removals;
  std::set<PartitionRef> unsettled;  // under reassignment, and changed since it was last looked whether they caught up
  std::int64_t session = 0;
  BrokerId controller = no_broker;
  bool processing = false;
  bool active = false;
  bool expired = false;
  bool started = false;
  bool stopping = false;
  bool told_link = false;
  // since the start
  std::array<ControllerStats::Times, Event::kinds> times{};
  std::uint64_t events = 0;
  std::uint64_t elections = 0;
  std::uint64_t unclean_elections = 0;
  nanoseconds last_queue_time{0};
};

}  // namespace weir::controller
