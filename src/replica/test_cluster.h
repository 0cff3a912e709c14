// Brokers of a simulated world for the tests of this room: each has a ReplicaManager, a disk of its own, and a server
// that answers Fetch, ListOffsets and OffsetForLeaderEpoch from its partitions, so that leaders and followers talk
// through real messages. A Board plays the controller.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bytes/cursor.h"
#include "metrics/registry.h"
#include "protocol/api.h"
#include "protocol/frame.h"
#include "protocol/messages/api_versions.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/list_offsets.h"
#include "protocol/messages/offset_for_leader_epoch.h"
#include "record/builder.h"
#include "replica/manager.h"
#include "replica/test_machine.h"
#include "runtime/sim.h"

namespace weir::replica {

// What the controller knows: the state of each partition; ISR changes are checked against it.
class Board : public IsrChanger {
 public:
  Task<Result<Leadership>> alter(TopicPartition partition, Uuid, Leadership proposed) override {
    ++calls;
    asked.push_back(proposed);
    while (hold) co_await runtime::sleep(*runtime::Shard::current(), milliseconds(1));
    if (!errors.empty()) {
      const auto error = errors.front();
      errors.pop_front();
      co_return fail(error, "as the test wants it");
    }
    auto& state = states[partition];
    if (proposed.leader_epoch != state.leader_epoch) co_return fail(ErrorCode::FENCED_LEADER_EPOCH);
    if (proposed.partition_epoch != state.partition_epoch) co_return fail(ErrorCode::INVALID_UPDATE_VERSION);
    state.isr = proposed.isr;
    ++state.partition_epoch;
    co_return state;
  }

  std::map<TopicPartition, Leadership> states;
  std::deque<ErrorCode> errors;  // for the next calls
  bool hold = false;
  int calls = 0;
  std::vector<Leadership> asked;
};

struct Node {
  using Frames = std::list<runtime::Socket*>;

  Node(runtime::SimWorld& w, Board& b, std::map<BrokerId, runtime::Address>& addresses, BrokerId which,
       std::uint64_t seed)
      : world(w),
        board(b),
        all(addresses),
        id(which),
        files(seed * 31 + static_cast<std::uint64_t>(which.value)),
        scope(w.shard(0)) {
    options.log_dirs = {"/data"};
    options.settings = [this](std::string_view topic) {
      const auto found = settings.find(std::string(topic));
      return found == settings.end() ? Settings{} : found->second;
    };
    options.isr_changer = &board;
    options.replica_lag_time_max = milliseconds(10'000);
    options.fetch.sockets = &world.sockets();
    options.fetch.address = [this](BrokerId of) -> std::optional<runtime::Address> {
      const auto it = all.find(of);
      if (it == all.end() || cut) return std::nullopt;
      return it->second;
    };
    options.alive = [this](BrokerId of) { return all.contains(of); };
    options.fetch.backoff = milliseconds(200);
  }
  ~Node() {
    stop();
    run([this]() -> Task<void> { co_await scope.stop(); });
  }

  void run(std::move_only_function<Task<void>()> fn) { runtime::block_on(world.shard(0), std::move(fn)); }

  bool start() {
    registry = std::make_unique<metrics::Registry>();
    manager = std::make_unique<ReplicaManager>(world.all(), world.pool(), files, world.clock(), world.random(),
                                               *registry, options);
    if (!manager->open() || !manager->claim(id, "the-cluster")) return false;
    bool fine = false;
    run([&]() -> Task<void> { fine = (co_await manager->start()).has_value(); });
    auto listening = world.sockets().listen(world.shard(0), {"127.0.0.1", 0}, {});
    if (!fine || !listening) return false;
    listener = std::move(*listening);
    all[id] = listener->local();
    run([&]() -> Task<void> {
      scope.spawn(accept_loop(listener.get()));
      co_return;
    });
    up = true;
    return true;
  }
  void stop() {
    if (!manager) return;
    drop();
    if (std::exchange(up, false)) {
      run([this]() -> Task<void> { co_await manager->stop(); });
    }
    run([this]() -> Task<void> { co_await scope.stop(); });
    listener.reset();
    manager.reset();
  }
  // Nobody reaches it any more.
  void drop() {
    all.erase(id);
    run([this]() -> Task<void> {
      if (listener) listener->close();
      for (auto* socket : open) socket->close();
      co_return;
    });
  }
  // Power fails, or with `lose_nothing` the process dies.
  void crash(bool lose_nothing = false) {
    drop();
    files.crash(lose_nothing);
    files.set_fault([](auto, const auto&) { return EIO; });
    stop();
    files.set_fault(nullptr);
  }
  // It fetches from nobody any more (what is under way ends with the leader's connections): a slow replica.
  void set_cut(bool is) {
    cut = is;
    if (!is) manager->brokers_changed();
  }

  Result<> apply(const TopicPartition& tp, const Leadership& to, Uuid topic_id = {}) {
    Result<> result;
    run([&]() -> Task<void> {
      std::vector<Change> changes{{tp, topic_id, to}};
      result = (co_await manager->apply(std::move(changes))).at(0);
    });
    return result;
  }
  std::shared_ptr<Partition> find(const TopicPartition& tp) {
    std::shared_ptr<Partition> found;
    run([&]() -> Task<void> {
      auto look = [&] { return manager->find(tp.topic, tp.partition); };
      found = co_await runtime::call(manager->shard_of(tp.topic, tp.partition), std::move(look));
    });
    return found;
  }
  std::expected<log::Appended, record::Rejection> append(const TopicPartition& tp, std::string_view value,
                                                         int count = 1, bool all_acks = false) {
    record::Builder builder;
    for (int i = 0; i < count; ++i) {
      builder.append(
          {.timestamp = world.clock().wall().count(), .key = {}, .value = bytes::as_bytes(value), .headers = {}});
    }
    auto batch = *builder.build();
    std::expected<log::Appended, record::Rejection> result;
    run([&]() -> Task<void> {
      auto work = [&] { return manager->find(tp.topic, tp.partition)->append(batch, {.all_acks = all_acks}); };
      result = co_await runtime::call(manager->shard_of(tp.topic, tp.partition), std::move(work));
    });
    return result;
  }
  std::vector<std::string> values(const TopicPartition& tp) {
    std::vector<std::string> out;
    auto partition = find(tp);
    if (!partition) return out;
    run([&]() -> Task<void> {
      auto look = [&] { Machine::read_into(*partition, out); };
      co_await runtime::call(manager->shard_of(tp.topic, tp.partition), std::move(look));
    });
    return out;
  }

  // ---- the server

  struct Asked {
    protocol::RequestHeader header;
    bytes::Shared memory;
    bytes::Reader in{{}};
  };
  struct Session {
    std::int32_t epoch = 1;
    std::map<std::pair<std::string, std::int32_t>, protocol::FetchRequest::FetchPartition> partitions;
    std::map<std::pair<std::string, std::int32_t>, std::pair<std::int64_t, std::int64_t>> told;
  };

  Task<void> accept_loop(runtime::Listener* from) {
    for (;;) {
      auto socket = co_await from->accept(world.shard(0));
      if (!socket) co_return;
      ++accepted;
      scope.spawn(serve(std::move(*socket)));
    }
  }
  static Task<bool> read_exact(runtime::Socket& socket, bytes::MutableBytes out) {
    while (!out.empty()) {
      const auto n = co_await socket.read_some(out);
      if (!n || *n == 0) co_return false;
      out = out.subspan(*n);
    }
    co_return true;
  }
  Task<void> serve(std::unique_ptr<runtime::Socket> socket) {
    const auto at = open.insert(open.end(), socket.get());
    for (;;) {
      auto head = bytes::Shared::allocate(4);
      const auto head_bytes = head.mutable_view();
      if (!co_await read_exact(*socket, head_bytes)) break;
      Asked asked;
      asked.memory = bytes::Shared::allocate(static_cast<std::size_t>(bytes::load_big<std::int32_t>(head.data())));
      const auto body = asked.memory.mutable_view();
      if (!co_await read_exact(*socket, body)) break;
      asked.in = bytes::Reader(asked.memory.view());
      WEIR_CHECK(protocol::decode_request_header(asked.in, asked.header), "a follower's header can be decoded");
      seen.emplace_back(asked.header.request_api_key, asked.header.request_api_version);
      auto answer = co_await handle(asked);
      std::vector<runtime::Chunk> chunks(1);
      chunks[0].memory = std::move(answer);
      if (!co_await socket->write(std::move(chunks))) break;
    }
    open.erase(at);
  }
  template <class M>
  static M decoded(Asked& asked) {
    M message;
    WEIR_CHECK(decode(asked.in, asked.header.request_api_version, message), "a follower's request can be decoded");
    return message;
  }
  template <class M>
  static bytes::Shared encoded(const Asked& asked, const M& message) {
    return protocol::encode_response(asked.header.correlation_id, asked.header.request_api_version, message).memory;
  }
  Task<bytes::Shared> handle(Asked& asked) {
    switch (asked.header.request_api_key) {
      case 18: co_return versions(asked);
      case 1: co_return co_await fetch(asked);
      case 2: co_return co_await list_offsets(asked);
      default: co_return co_await epochs(asked);
    }
  }
  bytes::Shared versions(const Asked& asked) {
    protocol::ApiVersionsResponse out;
    for (const auto& [key, max] : std::vector<std::pair<int, int>>{{1, fetch_max}, {2, 5}, {23, epochs_max}, {18, 3}}) {
      if (max < 0) continue;
      auto& to = out.api_keys.emplace_back();
      to.api_key = static_cast<std::int16_t>(key);
      to.max_version = static_cast<std::int16_t>(max);
    }
    if (asked.header.request_api_version <= 3) return encoded(asked, out);
    out.error_code = 35;
    return protocol::encode_response(asked.header.correlation_id, 0, out).memory;
  }

  struct Found {
    std::pair<std::string, std::int32_t> key;
    protocol::FetchRequest::FetchPartition asked;
    protocol::FetchResponse::PartitionData data;
    bytes::Shared records;
  };
  void read_one(Found& found, BrokerId replica, bool first, const std::shared_ptr<DataWait>& wait,
                std::int16_t version) {
    auto& data = found.data;
    data = {};
    data.partition_index = found.key.second;
    data.records = protocol::Records::in_memory({});
    found.records = {};
    const auto refuse = [&](ErrorCode code) { data.error_code = static_cast<std::int16_t>(code); };
    const auto partition = manager->find(found.key.first, PartitionId{found.key.second});
    if (!partition) return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    const auto epoch = version >= 9 ? std::optional(LeaderEpoch{found.asked.current_leader_epoch}) : std::nullopt;
    if (auto fine = partition->check_follower(replica, epoch); !fine) return refuse(fine.error().code);
    auto& log = partition->log();
    data.high_watermark = log.high_watermark().value;
    data.log_start_offset = log.log_start().value;
    data.last_stable_offset = log.last_stable_offset().value;
    if (wait) partition->on_data(wait, log::Isolation::log_end);
    const Offset from{found.asked.fetch_offset};
    if (version >= 12 && found.asked.last_fetched_epoch >= 0) {
      auto parts = partition->divergence(LeaderEpoch{found.asked.last_fetched_epoch}, from);
      if (!parts) return refuse(parts.error().code);
      if (*parts) {
        data.diverging_epoch.epoch = (*parts)->epoch.value;
        data.diverging_epoch.end_offset = (*parts)->end.value;
        return;
      }
    }
    if (from < log.log_start() || from > log.log_end()) return refuse(ErrorCode::OFFSET_OUT_OF_RANGE);
    if (first) {
      partition->follower_fetched(replica, from, Offset{found.asked.log_start_offset}, std::nullopt,
                                  world.clock().mono());
      data.high_watermark = log.high_watermark().value;
    }
    if (manager->leader_throttles(*partition, replica)) return;
    auto slice = log.read(from, static_cast<std::uint64_t>(found.asked.partition_max_bytes), log::Isolation::log_end,
                          true, log::ReadMode::may_block);
    if (!slice) return refuse(slice.error().error.code);
    if (slice->length == 0) return;
    found.records = bytes::Shared::allocate(slice->length);
    WEIR_CHECK(slice->file->read_at(slice->position, found.records.mutable_view()).has_value(), "a disk that reads");
    if (corrupt_next > 0) {
      --corrupt_next;
      found.records.mutable_view()[found.records.size() - 1] ^= std::byte{1};
    }
    manager->sent_to_follower(*partition, found.records.size());
    data.records = protocol::Records::in_memory(found.records.view());
  }
  Task<void> read_all(std::vector<Found>& found, BrokerId replica, bool first, std::shared_ptr<DataWait> wait,
                      std::int16_t version) {
    for (auto& each : found) {
      auto work = [&] { read_one(each, replica, first, wait, version); };
      co_await runtime::call(manager->shard_of(each.key.first, PartitionId{each.key.second}), std::move(work));
    }
  }
  Task<bytes::Shared> fetch(Asked& asked) {
    const auto version = asked.header.request_api_version;
    auto in = decoded<protocol::FetchRequest>(asked);
    const BrokerId replica{version >= 15 ? in.replica_state.replica_id : in.replica_id};
    const auto name_of = [&](const auto& topic) {
      if (version < 13) return std::string(topic.topic);
      const auto it = topic_names.find(topic.topic_id);
      return it == topic_names.end() ? std::string() : it->second;
    };
    protocol::FetchResponse out;
    std::shared_ptr<Session> session;
    bool incremental = false;
    if (version >= 7 && sessions_on) {
      if (in.session_epoch == 0) {
        sessions.erase(in.session_id);
        session = std::make_shared<Session>();
        out.session_id = ++last_session;
        sessions[out.session_id] = session;
      } else if (in.session_epoch > 0) {
        const auto it = sessions.find(in.session_id);
        if (it == sessions.end() || it->second->epoch != in.session_epoch) {
          out.error_code = static_cast<std::int16_t>(it == sessions.end() ? ErrorCode::FETCH_SESSION_ID_NOT_FOUND
                                                                          : ErrorCode::INVALID_FETCH_SESSION_EPOCH);
          co_return encoded(asked, out);
        }
        session = it->second;
        ++session->epoch;
        out.session_id = in.session_id;
        incremental = true;
        ++incremental_requests;
      }
    }
    if (!session) session = std::make_shared<Session>();
    for (const auto& topic : in.topics) {
      for (const auto& partition : topic.partitions) {
        session->partitions[{name_of(topic), partition.partition}] = partition;
        session->told.erase({name_of(topic), partition.partition});
        ++partitions_asked;
      }
    }
    for (const auto& topic : in.forgotten_topics_data) {
      for (const auto partition : topic.partitions) session->partitions.erase({name_of(topic), partition});
    }
    std::vector<Found> found;
    for (const auto& [key, partition] : session->partitions) found.push_back({key, partition, {}, {}});
    auto wait = std::make_shared<DataWait>(world.shard(0));
    co_await read_all(found, replica, true, wait, version);
    const auto has_news = [&] {
      return std::ranges::any_of(found, [](const Found& f) {
        return f.data.error_code != 0 || f.data.records.size() > 0 || f.data.diverging_epoch.epoch >= 0;
      });
    };
    const auto deadline = world.clock().mono() + milliseconds(in.max_wait_ms);
    while (!has_news() && world.clock().mono() < deadline && up) {
      co_await wait->wait(deadline - world.clock().mono());
      wait->rearm();
      if (!up) break;
      co_await read_all(found, replica, false, wait, version);
    }
    std::map<std::string, std::size_t> slots;
    for (auto& each : found) {
      const auto now_told = std::pair(each.data.high_watermark, each.data.log_start_offset);
      const auto told = session->told.find(each.key);
      const bool news = each.data.error_code != 0 || each.data.records.size() > 0 ||
                        each.data.diverging_epoch.epoch >= 0 || told == session->told.end() || told->second != now_told;
      if (incremental && !news) continue;
      session->told[each.key] = now_told;
      auto [slot, fresh] = slots.try_emplace(each.key.first, out.responses.size());
      if (fresh) {
        auto& topic = out.responses.emplace_back();
        topic.topic = each.key.first;
        for (const auto& [id_of, name] : topic_names) {
          if (name == each.key.first) topic.topic_id = id_of;
        }
      }
      out.responses[slot->second].partitions.push_back(each.data);
    }
    co_return encoded(asked, out);
  }
  Task<bytes::Shared> list_offsets(Asked& asked) {
    auto in = decoded<protocol::ListOffsetsRequest>(asked);
    protocol::ListOffsetsResponse out;
    for (const auto& topic : in.topics) {
      auto& to = out.topics.emplace_back();
      to.name = topic.name;
      for (const auto& each : topic.partitions) {
        auto& data = to.partitions.emplace_back();
        data.partition_index = each.partition_index;
        auto work = [&] {
          const auto partition = manager->find(topic.name, PartitionId{each.partition_index});
          auto fine = partition ? partition->check_leader(LeaderEpoch{each.current_leader_epoch})
                                : Result<>(fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
          if (!fine) {
            data.error_code = static_cast<std::int16_t>(fine.error().code);
            return;
          }
          data.offset = each.timestamp == -1 ? partition->log().log_end().value : partition->log().log_start().value;
        };
        co_await runtime::call(manager->shard_of(topic.name, PartitionId{each.partition_index}), std::move(work));
      }
    }
    co_return encoded(asked, out);
  }
  Task<bytes::Shared> epochs(Asked& asked) {
    auto in = decoded<protocol::OffsetForLeaderEpochRequest>(asked);
    protocol::OffsetForLeaderEpochResponse out;
    for (const auto& topic : in.topics) {
      auto& to = out.topics.emplace_back();
      to.topic = topic.topic;
      for (const auto& each : topic.partitions) {
        auto& data = to.partitions.emplace_back();
        data.partition = each.partition;
        auto work = [&] {
          const auto partition = manager->find(topic.topic, PartitionId{each.partition});
          auto end = partition ? partition->end_of_epoch(LeaderEpoch{each.leader_epoch},
                                                         LeaderEpoch{each.current_leader_epoch}, true)
                               : Result<log::Epochs::End>(fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
          if (end) {
            data.leader_epoch = end->epoch.value;
            data.end_offset = end->end.value;
          } else {
            data.error_code = static_cast<std::int16_t>(end.error().code);
          }
        };
        co_await runtime::call(manager->shard_of(topic.topic, PartitionId{each.partition}), std::move(work));
      }
    }
    co_return encoded(asked, out);
  }

  runtime::SimWorld& world;
  Board& board;
  std::map<BrokerId, runtime::Address>& all;
  const BrokerId id;
  runtime::SimFiles files;
  runtime::Scope scope;
  ManagerOptions options;
  std::map<std::string, Settings> settings;
  std::unique_ptr<metrics::Registry> registry;
  std::unique_ptr<ReplicaManager> manager;
  std::unique_ptr<runtime::Listener> listener;
  Frames open;
  bool up = false;
  bool cut = false;
  int fetch_max = 17;
  int epochs_max = 4;
  bool sessions_on = true;
  int corrupt_next = 0;
  std::map<Uuid, std::string> topic_names;
  std::map<std::int32_t, std::shared_ptr<Session>> sessions;
  std::int32_t last_session = 0;
  int accepted = 0;
  int incremental_requests = 0;
  std::int64_t partitions_asked = 0;
  std::vector<std::pair<std::int16_t, std::int16_t>> seen;
};

struct Cluster {
  explicit Cluster(int brokers, std::uint64_t seed = 1, std::size_t shards = 2) : world(seed, shards) {
    world.sockets().set_latency(microseconds(200));
    for (int i = 1; i <= brokers; ++i) {
      nodes.push_back(std::make_unique<Node>(world, board, addresses, BrokerId{i}, seed));
    }
  }
  Node& operator[](int id) { return *nodes.at(static_cast<std::size_t>(id - 1)); }
  void start() {
    for (auto& node : nodes) ASSERT_TRUE(node->start());
  }
  static std::vector<BrokerId> ids(std::initializer_list<int> all) {
    std::vector<BrokerId> out;
    for (const auto id : all) out.emplace_back(id);
    return out;
  }
  // The partition comes to be: the first replica leads.
  void create(const TopicPartition& tp, std::initializer_list<int> replicas, Uuid topic_id = {}) {
    auto& state = board.states[tp];
    state = {.leader = BrokerId{*replicas.begin()},
             .leader_epoch = LeaderEpoch{0},
             .isr = ids(replicas),
             .replicas = ids(replicas),
             .partition_epoch = 0,
             .adding = {},
             .removing = {}};
    topic_ids[tp.topic] = topic_id;
    if (!topic_id.is_zero()) {
      for (auto& node : nodes) node->topic_names[topic_id] = tp.topic;
    }
    tell(tp);
  }
  // All that are up hear of the state as it is.
  void tell(const TopicPartition& tp) {
    for (auto& node : nodes) tell(tp, *node);
  }
  void tell(const TopicPartition& tp, Node& node) {
    const auto& state = board.states[tp];
    const auto& replicas = state.replicas;
    if (!node.up || std::ranges::find(replicas, node.id) == replicas.end()) return;
    const auto done = node.apply(tp, state, topic_ids[tp.topic]);
    EXPECT_TRUE(done) << name(done.error().code) << " " << done.error().message;
  }
  // Another leader; `isr` as it is, or without those that are down (then with the new leader at least).
  void elect(const TopicPartition& tp, int leader, std::optional<std::vector<BrokerId>> isr = std::nullopt) {
    auto& state = board.states[tp];
    state.leader = BrokerId{leader};
    state.leader_epoch = LeaderEpoch{state.leader_epoch.value + 1};
    ++state.partition_epoch;
    if (isr) {
      state.isr = *isr;
    } else {
      std::erase_if(state.isr, [&](BrokerId id) { return !(*this)[id.value].up; });
      if (state.isr.empty()) state.isr = {BrokerId{leader}};
    }
    tell(tp);
  }
  bool until(const std::function<bool()>& done, nanoseconds limit = seconds(60)) {
    return world.run_until(done, limit);
  }
  Offset end(int node, const TopicPartition& tp) {
    const auto partition = (*this)[node].find(tp);
    return partition ? partition->log().log_end() : no_offset;
  }
  Offset high(int node, const TopicPartition& tp) { return (*this)[node].find(tp)->high_watermark(); }

  runtime::SimWorld world;
  Board board;
  std::map<BrokerId, runtime::Address> addresses;
  std::map<std::string, Uuid> topic_ids;
  std::vector<std::unique_ptr<Node>> nodes;
};

}  // namespace weir::replica
