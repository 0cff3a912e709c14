// Leaders: writes the states that decide/elect.h chooses, and collects whom to tell.
#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/log.h"
#include "cluster/flag.h"
#include "controller/drive/impl.h"
#include "zkclient/pipeline.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using zkclient::Op;
using zkclient::ZkCode;
using zkclient::ZkError;

namespace {

constexpr std::size_t writes_together_max = 32;
constexpr int version_conflicts_max = 50;  // a leader that changes its ISR at the same time

// Who may have restarted unseen is written neither as leader nor, where others are there, as a member.
void without_vanished(const decide::State& state, cluster::Partition& wanted) {
  if (state.vanished.empty()) return;
  const auto vanished = [&](BrokerId id) { return state.vanished.contains(id); };
  if (!std::all_of(wanted.isr.begin(), wanted.isr.end(), vanished)) std::erase_if(wanted.isr, vanished);
  if (vanished(wanted.leader)) wanted.leader = no_broker;
}

}  // namespace

void Controller::Impl::put(const std::map<PartitionRef, cluster::Partition>& changed) {
  if (changed.empty()) return;
  cluster::ImageBuilder building(state.image);
  for (const auto& [at, partition] : changed) building.put_partition(at.topic, at.partition, partition);
  state.image = building.build();
  if (state.reassigning.empty()) return;
  for (const auto& [at, partition] : changed) {
    if (state.reassigning.contains(at)) unsettled.insert(at);
  }
}

void Controller::Impl::send(const decide::Batch& batch) {
  if (!batch.empty() && !expired) senders.send(batch.build(state, options.inter_broker_listener));
}

Task<ZkResult<>> Controller::Impl::give_leaders(std::vector<PartitionRef> at, decide::Batch& batch) {
  std::vector<PartitionRef> fresh;
  std::vector<PartitionRef> orphaned;
  for (auto& p : at) {
    const auto* partition = state.image->partition(p.topic, p.partition);
    if (partition != nullptr) (partition->has_state() ? orphaned : fresh).push_back(std::move(p));
  }
  auto created = co_await create_states(std::move(fresh), batch);
  if (!created) co_return created;
  co_return co_await elect(std::move(orphaned), decide::Election::offline, false, batch);
}

Task<ZkResult<>> Controller::Impl::create_states(std::vector<PartitionRef> at, decide::Batch& batch) {
  std::map<PartitionRef, cluster::Partition> first;
  std::vector<std::string> topics;
  for (const auto& p : at) {
    auto wanted = decide::first_state(state, *state.image->partition(p.topic, p.partition));
    if (!wanted) {
      WEIR_LOG_LIMITED(warn, std::chrono::seconds(5), "no replica of the new partition {}-{} is alive", p.topic,
                       p.partition.value);
      continue;
    }
    first.emplace(p, std::move(*wanted));
    if (topics.empty() || topics.back() != p.topic) topics.push_back(p.topic);
  }

  ZkResult<> result;
  auto parent = [&](std::size_t i) -> Task<void> {
    auto made = co_await store.write(Op::create(layout::path_of_partitions(topics[i]), ""));
    if (made) co_return;
    // Another error than that it is there: its partitions' own writes will find that too.
    if (fatal(made.error())) result = std::unexpected(made.error());
  };
  co_await zkclient::pipeline(shard, topics.size(), writes_in_flight_max, parent);
  if (!result) co_return result;

  std::vector<PartitionRef> order;
  for (const auto& [p, partition] : first) order.push_back(p);
  std::map<PartitionRef, cluster::Partition> written;
  std::vector<PartitionRef> there_already;
  auto one = [&](std::size_t i) -> Task<void> {
    if (!result) co_return;
    const auto& p = order[i];
    const auto& wanted = first.at(p);
    const auto content = layout::encode(state_of(wanted));
    const auto state_path = layout::path_of_partition_state(p.topic, p.partition);
    const auto node_path = layout::path_of_partition(p.topic, p.partition);
    std::vector<Op> nodes{Op::create(node_path, ""), Op::create(state_path, content)};
    auto made = co_await store.write_all(std::move(nodes));
    bool both = made.has_value();
    ZkError error = both ? ZkError{} : made.error();
    if (!both && error.code == ZkCode::node_exists && error.path == node_path) {
      // An earlier controller came as far as the partition's node, or further.
      auto alone = co_await store.write(Op::create(state_path, content));
      if (alone) both = true;
      if (!alone) error = alone.error();
    }
    if (both) {
      written.emplace(p, wanted);
    } else if (fatal(error)) {
      result = std::unexpected(error);
    } else if (error.code == ZkCode::node_exists) {
      there_already.push_back(p);
    } else if (error.code != ZkCode::no_node) {
      WEIR_LOG(error, "a new partition gets no leader: {}", error.text());
    }
  };
  co_await zkclient::pipeline(shard, order.size(), writes_in_flight_max, one);
  put(written);
  for (const auto& [p, partition] : written) batch.lead_and_follow(partition.isr, p, true);
  if (!result) co_return result;

  if (!there_already.empty()) {
    auto states = co_await store.states(there_already);
    if (!states) co_return std::unexpected(states.error());
    put(*states);
    std::vector<PartitionRef> orphaned;
    for (const auto& [p, partition] : *states) {
      if (decide::online(state, partition, partition.leader)) {
        batch.lead_and_follow(decide::online_replicas(state, partition), p, false);
      } else {
        orphaned.push_back(p);
      }
    }
    co_return co_await elect(std::move(orphaned), decide::Election::offline, false, batch);
  }
  co_return ZkResult<>();
}

Task<ZkResult<bool>> Controller::Impl::unclean_allowed(std::string topic) {
  const auto path = layout::path_of_config(layout::topics_type, topic);
  auto there = co_await zk.get(path, Watch{});
  if (!there && fatal(there.error())) co_return std::unexpected(there.error());
  if (!there && there.error().code != ZkCode::no_node) {
    WEIR_LOG_LIMITED(error, std::chrono::seconds(5), "no unclean election for {}: {}", topic, there.error().text());
    co_return false;
  }
  const auto config = layout::decode_config(path, there ? there->data : std::string());
  if (!config) {
    WEIR_LOG(error, "no unclean election for {}: {}", topic, config.error().message);
    co_return false;
  }
  const auto own = config->find("unclean.leader.election.enable");
  co_return own == config->end() ? options.unclean_leader_election : cluster::is_on(own->second);
}

Task<ZkResult<>> Controller::Impl::rewrite(std::vector<PartitionRef> at, Make make,
                                           std::map<PartitionRef, cluster::Partition>& written) {
  Work work;
  std::vector<PartitionRef> stale;  // to be read first
  for (auto& p : at) {
    const auto* known = state.image->partition(p.topic, p.partition);
    if (known == nullptr) continue;
    if (known->has_state()) {
      work.emplace_back(std::move(p), *known);
    } else {
      stale.push_back(std::move(p));
    }
  }
  ZkResult<> result;
  struct Planned {
    PartitionRef at;
    cluster::Partition wanted;
    Op op;
  };
  std::vector<Planned> planned;
  auto plan = [&](std::size_t i) -> Task<void> {
    auto& [p, current] = work[i];
    if (!result) co_return;
    const auto version = current.version;
    auto wanted = co_await make(p, std::move(current));
    if (!wanted) {
      result = std::unexpected(wanted.error());
    } else if (*wanted) {
      without_vanished(state, **wanted);
      auto op =
          Op::set(layout::path_of_partition_state(p.topic, p.partition), layout::encode(state_of(**wanted)), version);
      planned.push_back({p, std::move(**wanted), std::move(op)});
    }
  };
  // Many states a multi, for each is a round through the whole service; one by one where that fails.
  auto group = [&](std::size_t number) -> Task<void> {
    const auto from = number * writes_together_max;
    const auto to = std::min(planned.size(), from + writes_together_max);
    if (!result) co_return;
    if (to - from > 1) {
      std::vector<Op> ops;
      for (auto i = from; i < to; ++i) ops.push_back(planned[i].op);
      auto done = co_await store.write_all(std::move(ops));
      if (done) {
        for (auto i = from; i < to; ++i) {
          planned[i].wanted.version = (*done)[i - from].stat.version;
          written.insert_or_assign(planned[i].at, std::move(planned[i].wanted));
        }
        co_return;
      }
      if (fatal(done.error())) {
        result = std::unexpected(done.error());
        co_return;
      }
    }
    for (auto i = from; i < to; ++i) {
      auto& [p, wanted, op] = planned[i];
      auto done = co_await store.write(op);
      if (done) {
        wanted.version = done->stat.version;
        written.insert_or_assign(p, std::move(wanted));
      } else if (fatal(done.error())) {
        result = std::unexpected(done.error());
        co_return;
      } else if (done.error().code == ZkCode::bad_version) {
        stale.push_back(p);  // the leader changed the ISR itself, or this was never read
      } else if (done.error().code != ZkCode::no_node) {
        WEIR_LOG(error, "a partition's state is left as it is: {}", done.error().text());
      }
    }
  };
  for (int round = 0; round < version_conflicts_max && result && work.size() + stale.size() > 0; ++round) {
    auto looked = co_await look_for_vanished();
    if (!looked) {
      result = std::move(looked);
      break;
    }
    planned.clear();
    // What is known may be mended by now: a person has to do that.
    auto sound = co_await leave_out_spoilt(work, round == 0 ? &stale : nullptr);
    if (!sound) {
      result = std::move(sound);
      break;
    }
    co_await zkclient::pipeline(shard, work.size(), reads_in_flight_max, plan);
    const auto groups = (planned.size() + writes_together_max - 1) / writes_together_max;
    co_await zkclient::pipeline(shard, groups, writes_in_flight_max, group);
    if (stale.empty() || !result) break;
    auto now = co_await store.states(std::exchange(stale, {}));
    if (!now) {
      result = std::unexpected(now.error());
      break;
    }
    work.assign(now->begin(), now->end());
  }
  put(written);
  co_return result;
}

Task<ZkResult<>> Controller::Impl::leave_out_spoilt(Work& work, std::vector<PartitionRef>* look_again) {
  const auto later = [this](const auto& entry) { return entry.second.controller_epoch > state.epoch; };
  const auto last = [](const auto& entry) {
    return entry.second.leader_epoch.value == std::numeric_limits<std::int32_t>::max();
  };
  const auto say = [this](const cluster::Partition& is, const std::string& path, bool of_later) {
    if (of_later) {
      WEIR_LOG_LIMITED(error, std::chrono::seconds(5),
                       "a partition's state is left as it is: {} was written in controller epoch {}, but this is {}",
                       path, is.controller_epoch.value, state.epoch.value);
    } else {
      WEIR_LOG_LIMITED(error, std::chrono::seconds(5),
                       "a partition's state is left as it is: {} has leader epoch {}, and there is none after it", path,
                       is.leader_epoch.value);
    }
  };
  if (std::any_of(work.begin(), work.end(), later)) {
    const std::string path(layout::controller_epoch_path);
    auto there = co_await zk.get(path, Watch{});
    if (!there) co_return std::unexpected(there.error());
    if (there->stat.version != state.epoch_version) co_return std::unexpected(ZkError{ZkCode::bad_version, path});
  }
  std::erase_if(work, [&](const auto& entry) {
    if (!later(entry) && !last(entry)) return false;
    const auto& p = entry.first;
    if (look_again != nullptr) {
      look_again->push_back(p);
    } else {
      say(entry.second, layout::path_of_partition_state(p.topic, p.partition), later(entry));
    }
    return true;
  });
  co_return ZkResult<>();
}

Task<ZkResult<>> Controller::Impl::look_for_vanished() {
  std::vector<BrokerId> ids;
  for (const auto& [id, broker] : state.image->brokers()) ids.push_back(id);
  auto now = co_await store.lives(std::move(ids));
  if (!now) co_return std::unexpected(now.error());
  for (const auto& [id, life] : *now) {
    const auto known = state.lives.find(id);
    if (!state.image->alive(id) || known == state.lives.end()) continue;
    if ((!life || life->first != known->second) && state.vanished.insert(id).second) {
      WEIR_LOG(info, "broker {} is gone or in another life: its event is on its way", id.value);
    }
  }
  co_return ZkResult<>();
}

Task<ZkResult<>> Controller::Impl::elect(std::vector<PartitionRef> at, decide::Election how, bool unclean,
                                         decide::Batch& batch, Outcome* outcome, bool or_shrink) {
  struct Elected {
    bool unclean = false;
  };
  std::map<PartitionRef, Elected> elected;
  auto make = [&](const PartitionRef& p,
                  cluster::Partition current) -> Task<ZkResult<std::optional<cluster::Partition>>> {
    elected.erase(p);
    const auto found = state.doubts.find(p);
    const auto* doubt = found == state.doubts.end() ? nullptr : &found->second;
    if (or_shrink && doubt == nullptr && decide::online(state, current, current.leader, true)) {
      const auto lost = decide::lost_replicas(state, current);
      co_return decide::without_replicas(state, std::move(current), lost);
    }
    bool may_be_unclean = unclean;
    if (how == decide::Election::offline && !unclean && !decide::clean_election_possible(state, current)) {
      auto allowed = co_await unclean_allowed(p.topic);
      if (!allowed) co_return std::unexpected(allowed.error());
      may_be_unclean = *allowed;
    }
    auto wanted = decide::elect(state, current, how, may_be_unclean, doubt);
    if (wanted) {
      const auto& isr = current.isr;
      elected[p].unclean = std::find(isr.begin(), isr.end(), wanted->leader) == isr.end();
    } else if (or_shrink && doubt == nullptr) {
      const auto lost = decide::lost_replicas(state, current);
      wanted = decide::without_replicas(state, std::move(current), lost);
    }
    co_return wanted;
  };
  const auto asked = at;
  std::map<PartitionRef, cluster::Partition> written;
  auto done = co_await rewrite(std::move(at), std::move(make), written);
  for (const auto& [p, partition] : written) {
    batch.lead_and_follow(decide::online_replicas(state, partition, true), p, false);
    const auto leads = elected.find(p);
    if (leads == elected.end()) continue;
    state.doubts.erase(p);
    ++(leads->second.unclean ? unclean_elections : elections);
    if (leads->second.unclean) {
      WEIR_LOG(warn, "unclean election: broker {} leads {}-{} from outside its ISR", partition.leader.value, p.topic,
               p.partition.value);
    }
  }
  if (!done) co_return done;
  const auto code = how == decide::Election::preferred ? ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE
                                                       : ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE;
  for (const auto& p : asked) {
    const bool has_one = written.contains(p) && elected.contains(p);
    if (outcome != nullptr) (*outcome)[p] = has_one ? ErrorCode::NONE : code;
    const auto* now = state.image->partition(p.topic, p.partition);
    if (has_one || (or_shrink && now != nullptr && decide::online(state, *now, now->leader, true))) continue;
    WEIR_LOG_LIMITED(info, std::chrono::seconds(5), "no leader was elected for {}-{}: {}{}", p.topic, p.partition.value,
                     name(code), state.doubts.contains(p) ? ": its ISR is waited for" : "");
  }
  co_return ZkResult<>();
}

Task<ZkResult<>> Controller::Impl::make_up_for_losses(decide::Batch& batch) {
  std::vector<PartitionRef> fresh;
  std::set<PartitionRef> at;
  for (auto& p : decide::without_leader(state)) {
    if (state.image->partition(p.topic, p.partition)->has_state()) {
      at.insert(std::move(p));
    } else {
      fresh.push_back(std::move(p));
    }
  }
  state.image->each_topic([&](const cluster::TopicPtr& topic) {
    if (state.image->deleting(topic->name)) return;
    topic->partitions.each([&](PartitionId id, const cluster::Partition& partition) {
      if (partition.has_state() && !decide::lost_replicas(state, partition).empty()) at.insert({topic->name, id});
    });
  });
  auto created = co_await create_states(std::move(fresh), batch);
  if (!created) co_return created;
  std::vector<PartitionRef> list(at.begin(), at.end());
  co_return co_await elect(std::move(list), decide::Election::offline, false, batch, nullptr, true);
}

Task<ZkResult<>> Controller::Impl::shrink(Lost lost, decide::Batch& batch) {
  std::vector<PartitionRef> at;
  for (const auto& [p, gone] : lost) at.push_back(p);
  auto make = [&](const PartitionRef& p,
                  cluster::Partition current) -> Task<ZkResult<std::optional<cluster::Partition>>> {
    co_return decide::without_replicas(state, std::move(current), lost.at(p));
  };
  std::map<PartitionRef, cluster::Partition> written;
  auto done = co_await rewrite(std::move(at), std::move(make), written);
  for (const auto& [p, partition] : written) {
    auto others = decide::online_replicas(state, partition, true);
    std::erase_if(others, [&](BrokerId id) { return lost.at(p).contains(id); });
    batch.lead_and_follow(others, p, false);
  }
  co_return done;
}

Controller::Impl::Lost Controller::Impl::came_back(const std::map<PartitionRef, std::int64_t>& written) {
  Lost out;
  for (const auto& [at, zxid] : written) {
    const auto* partition = state.image->partition(at.topic, at.partition);
    if (partition == nullptr || !partition->has_state() || state.image->deleting(at.topic)) continue;
    std::set<BrokerId> later;
    bool stayed = false;
    bool away = false;
    for (const auto id : partition->isr) {
      const auto life = state.lives.find(id);
      if (!state.image->alive(id) || life == state.lives.end()) {
        away = true;
      } else if (life->second.value > zxid) {
        later.insert(id);
      } else {
        stayed = true;
      }
    }
    if (stayed && !later.empty()) out.emplace(at, std::move(later));
    // Who leads anew leads in a new epoch, also where nobody else could: in its old one it would write what others do
    // not know from what it may have lost.
    if (stayed || partition->replicas.size() < 2 || (away && partition->isr.size() < 2)) continue;
    doubt(at, no_broker, zxid);
    for (const auto id : later) doubt(at, id, zxid);
  }
  return out;
}

void Controller::Impl::doubt(const PartitionRef& at, BrokerId reborn, std::int64_t written) {
  const auto [found, fresh] = state.doubts.try_emplace(at);
  auto& doubt = found->second;
  if (fresh) doubt.written = written;
  if (reborn == no_broker) return;
  doubt.reborn.insert(reborn);
  if (doubt.until != nanoseconds::max()) return;
  doubt.until = shard.clock().mono() + options.doubt_wait;
  doubted.wake();
}

}  // namespace weir::controller
