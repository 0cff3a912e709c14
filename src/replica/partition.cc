#include "replica/partition.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <utility>

#include "base/log.h"

namespace weir::replica {

using runtime::Task;

namespace {

bool has(const std::vector<BrokerId>& all, BrokerId id) { return std::ranges::find(all, id) != all.end(); }

std::string text(const std::vector<BrokerId>& ids) {
  std::string out;
  for (const auto id : ids) out += (out.empty() ? "" : ",") + std::to_string(id.value);
  return out;
}

}  // namespace

Partition::Partition(runtime::Shard& shard, runtime::Pool& pool, runtime::Scope& scope, BrokerId self,
                     const ReplicationOptions& options, std::unique_ptr<log::Log> log, log::Directory& directory,
                     TopicCounters counters, const Settings& settings)
    : shard_(shard),
      pool_(pool),
      scope_(scope),
      self_(self),
      options_(options),
      id_{log->partition().topic, log->partition().partition},
      log_(std::move(log)),
      directory_(directory),
      counters_(std::move(counters)),
      min_insync_replicas_(settings.min_insync_replicas),
      leader_throttled_(settings.leader_throttled.contains(id_.partition)),
      follower_throttled_(settings.follower_throttled.contains(id_.partition)) {}

void Partition::set(const Settings& settings) {
  log_->set_config(settings.log);
  min_insync_replicas_ = settings.min_insync_replicas;
  leader_throttled_.store(settings.leader_throttled.contains(id_.partition), std::memory_order_relaxed);
  follower_throttled_.store(settings.follower_throttled.contains(id_.partition), std::memory_order_relaxed);
  flush_if_due();
  if (role_ == Role::leader) {
    if (flushes_at_minimum()) want_flush();
    advance();
  }
}

// ---- roles

Result<> Partition::become(const Leadership& to) {
  const bool known = role_ != Role::none;
  if (!has(to.replicas, self_)) {
    return fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                fmt::format("{}: this broker is not among the replicas {}", id_.text(), text(to.replicas)));
  }
  const bool same_epoch = to.leader_epoch == leadership_.leader_epoch;
  if (to.leader_epoch < leadership_.leader_epoch ||
      (known && same_epoch && to.partition_epoch < leadership_.partition_epoch)) {
    return fail(
        ErrorCode::STALE_CONTROLLER_EPOCH,
        fmt::format("{}: leader epoch {} (partition epoch {}) is older than {} ({})", id_.text(), to.leader_epoch.value,
                    to.partition_epoch, leadership_.leader_epoch.value, leadership_.partition_epoch));
  }
  if (log_->failed()) return fail(ErrorCode::KAFKA_STORAGE_ERROR, fmt::format("the log of {} has failed", id_.text()));
  if (known && same_epoch && to.partition_epoch == leadership_.partition_epoch) return {};
  const bool new_epoch = !known || !same_epoch;
  const auto role = to.leader == self_ ? Role::leader : Role::follower;
  if (role == Role::leader && new_epoch) {
    // The epoch begins where the log ends: what followers and consumers check their offsets against (KIP-101).
    if (auto done = log_->assign_epoch(to.leader_epoch, log_->log_end()); !done) {
      tell_failure(done.error());
      return done;
    }
  }
  gone_ = false;  // a replica that was stopped and kept is back
  if (role == Role::leader) {
    lead(to, new_epoch);
    return {};
  }
  leadership_ = to;
  const bool led = std::exchange(role_, role) == Role::leader;
  if (led) stop_leading();
  if (acknowledges_by_flush()) want_flush();
  return {};
}

void Partition::lead(const Leadership& to, bool new_epoch) {
  const bool new_leader = role_ != Role::leader;
  leadership_ = to;
  leadership_.leader_recovery_state = 0;  // what this log holds is what there is (KIP-704)
  role_ = Role::leader;
  pending_.reset();
  set_followers(to);
  if (new_epoch) {
    epoch_start_ = log_->log_end();
    const auto at = shard_.clock().mono();
    for (auto& each : followers_) each.reset(epoch_start_, new_leader, has(to.isr, each.id), at);
  }
  if (new_leader) signal_data();  // who read from a follower looks again
  if (flushes_at_minimum()) want_flush();
  advance();
  wake_commits();
}

void Partition::set_followers(const Leadership& to) {
  std::vector<Follower> next;
  for (const auto id : to.replicas) {
    if (id == self_) continue;
    const auto* known = follower(id);
    next.push_back(known != nullptr ? *known : Follower{.id = id, .epoch = std::nullopt});
  }
  followers_ = std::move(next);
}

void Partition::stop_leading() {
  ++tenure_;
  pending_.reset();
  followers_.clear();
  wake_commits();
  signal_data();
  signal_appends();
}

void Partition::leave() {
  gone_ = true;
  role_ = Role::none;
  agreed_ = no_leader_epoch;
  stop_leading();
}

Follower* Partition::follower(BrokerId id) {
  const auto it = std::ranges::find(followers_, id, &Follower::id);
  return it == followers_.end() ? nullptr : &*it;
}

Result<> Partition::check_reader(std::optional<LeaderEpoch> epoch) const {
  if (role_ == Role::none) return fail(ErrorCode::NOT_LEADER_OR_FOLLOWER);
  if (epoch && epoch->value >= 0) {
    if (*epoch < leadership_.leader_epoch) return fail(ErrorCode::FENCED_LEADER_EPOCH);
    if (*epoch > leadership_.leader_epoch) return fail(ErrorCode::UNKNOWN_LEADER_EPOCH);
  }
  return {};
}

Result<> Partition::check_leader(std::optional<LeaderEpoch> epoch) const {
  // As Kafka: the epoch is looked at first, so that a client that knows more, or less, hears of that.
  if (auto fine = check_reader(epoch); !fine) return fine;
  if (role_ != Role::leader) return fail(ErrorCode::NOT_LEADER_OR_FOLLOWER);
  return {};
}

Result<> Partition::check_follower(BrokerId replica, std::optional<LeaderEpoch> epoch) const {
  if (auto fine = check_leader(epoch); !fine) return fine;
  if (std::ranges::find(followers_, replica, &Follower::id) != followers_.end()) return {};
  const bool given = epoch && epoch->value >= 0;
  return fail(given ? ErrorCode::UNKNOWN_LEADER_EPOCH : ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

Result<std::optional<log::Epochs::End>> Partition::divergence(LeaderEpoch last_fetched, Offset fetch_offset) const {
  if (last_fetched.value < 0) return std::nullopt;
  const auto end = log_->end_of_epoch(last_fetched);
  if (end.end == no_offset || end.epoch == no_leader_epoch) {
    return fail(ErrorCode::OFFSET_OUT_OF_RANGE,
                fmt::format("{}: where epoch {} ended is not known", id_.text(), last_fetched.value));
  }
  if (fetch_offset < log_->log_start()) return fail(ErrorCode::OFFSET_OUT_OF_RANGE);
  if (end.epoch < last_fetched || end.end < fetch_offset) return end;
  return std::nullopt;
}

// ---- appending, and what is committed

std::expected<log::Appended, record::Rejection> Partition::append(bytes::Shared records, const AppendOptions& options) {
  if (role_ != Role::leader) {
    return std::unexpected(record::Rejection{Error{ErrorCode::NOT_LEADER_OR_FOLLOWER, {}}, {}});
  }
  if (options.all_acks && std::cmp_less(leadership_.isr.size(), effective_min_isr())) {
    return std::unexpected(record::Rejection{
        Error{ErrorCode::NOT_ENOUGH_REPLICAS, fmt::format("{} has {} in-sync replicas, min.insync.replicas is {}",
                                                          id_.text(), leadership_.isr.size(), min_insync_replicas_)},
        {}});
  }
  auto appended = log_->append_as_leader(std::move(records), leadership_.leader_epoch, now(), options.origin);
  if (!appended) {
    tell_failure(appended.error().error);
    return appended;
  }
  if (!appended->duplicate) {
    if (options.origin == record::Origin::client) {
      counters_.messages_in->add(static_cast<std::uint64_t>(appended->count));
      counters_.bytes_in->add(appended->size);
    }
    if (log_->unflushed_messages() >= log_->config().flush_messages) hold_until_ = log_->log_end();
    if (flushes_at_minimum()) {
      want_flush();
    } else {
      flush_if_due();
    }
    advance();
    signal_appends();
  }
  return appended;
}

std::size_t Partition::replication_factor() const {
  std::size_t adding = 0;
  for (const auto id : leadership_.replicas) adding += has(leadership_.adding, id) ? 1 : 0;
  return leadership_.replicas.size() - adding;
}

std::int32_t Partition::effective_min_isr() const {
  return std::min(min_insync_replicas_, static_cast<std::int32_t>(leadership_.replicas.size()));
}

bool Partition::flushes_at_minimum() const {
  const auto in_sync = leadership_.isr.size();
  return options_.flush_at_min_isr && leadership_.replicas.size() > 1 && in_sync > 0 &&
         in_sync < replication_factor() && std::cmp_less_equal(in_sync, min_insync_replicas_);
}

// How far the leader counts itself.
Offset Partition::own_end() const {
  if (flushes_at_minimum() || hold_until_ > log_->recovery_point()) return log_->recovery_point();
  return log_->log_end();
}

std::vector<BrokerId> Partition::maximal_isr() const {
  return pending_ && pending_->expands ? pending_->isr : leadership_.isr;
}

void Partition::advance() {
  if (role_ != Role::leader || under_min_isr()) return;
  const auto to = followers_.empty()
                      ? own_end()
                      : high_watermark_of(own_end(), log_->log_end(), followers_, maximal_isr(), shard_.clock().mono(),
                                          options_.lag_time_max, [this](BrokerId id) { return eligible(id); });
  if (log_->advance_high_watermark(to)) {
    wake_commits();
    signal_data();
  }
}

bool Partition::met(const Commit& commit) const {
  switch (commit.goal) {
    case Goal::committed: return log_->high_watermark() > commit.last;
    case Goal::flushed: return hold_until_ <= commit.last || log_->recovery_point() > commit.last;
    case Goal::deleted: return low_watermark() >= commit.last;
  }
  return false;
}

bool Partition::stands(const Commit& commit) const { return role_ == Role::leader && commit.tenure == tenure_; }

void Partition::wake_commits() {
  for (const auto& commit : commits_) {
    if (!stands(commit) || met(commit)) commit.waiter->wake();
  }
}

Task<Result<>> Partition::wait_for(Commit commit, nanoseconds timeout) {
  const auto self = shared_from_this();
  if (stands(commit) && !met(commit) && !log_->failed()) {
    runtime::Waiter waiter(shard_);
    commit.waiter = &waiter;
    commits_.push_back(commit);
    const bool woken = co_await waiter.wait(timeout);
    std::erase_if(commits_, [&](const Commit& c) { return c.waiter == &waiter; });
    if (!woken && stands(commit) && !met(commit)) {
      co_return fail(log_->failed() ? ErrorCode::KAFKA_STORAGE_ERROR : ErrorCode::REQUEST_TIMED_OUT);
    }
  }
  if (!stands(commit)) co_return fail(ErrorCode::NOT_LEADER_OR_FOLLOWER);
  if (!met(commit)) co_return fail(ErrorCode::KAFKA_STORAGE_ERROR, "the disk failed");
  if (commit.goal == Goal::committed && std::cmp_less(maximal_isr().size(), effective_min_isr())) {
    co_return fail(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND);
  }
  co_return Result<>{};
}

Task<Result<>> Partition::committed(Offset last, nanoseconds timeout, std::optional<std::uint64_t> tenure) {
  return wait_for({last, Goal::committed, tenure.value_or(tenure_), nullptr}, timeout);
}

Task<Result<>> Partition::flushed(Offset last, nanoseconds timeout, std::optional<std::uint64_t> tenure) {
  return wait_for({last, Goal::flushed, tenure.value_or(tenure_), nullptr}, timeout);
}

Task<Result<>> Partition::deleted(Offset before, nanoseconds timeout) {
  return wait_for({before, Goal::deleted, tenure_, nullptr}, timeout);
}

// ---- who waits for data

void Partition::signal(std::vector<std::weak_ptr<DataWait>>& waits, std::size_t& prune_at) {
  if (waits.empty()) return;
  auto all = std::exchange(waits, {});
  prune_at = 16;
  for (const auto& weak : all) {
    if (auto wait = weak.lock()) wait->signal();
  }
  all.clear();
  if (waits.empty()) waits = std::move(all);  // keeps the memory
}

void Partition::signal_data() { signal(data_waits_, prune_at_); }
void Partition::signal_appends() { signal(append_waits_, append_prune_at_); }

void Partition::on_data(std::weak_ptr<DataWait> wait, log::Isolation isolation) {
  const bool appends = isolation == log::Isolation::log_end;
  auto& waits = appends ? append_waits_ : data_waits_;
  auto& prune_at = appends ? append_prune_at_ : prune_at_;
  if (waits.size() >= prune_at) {
    // A fetch that is woken by other partitions again and again comes here each time. Who came first is woken first,
    // wherever it lies in memory.
    std::set<std::weak_ptr<DataWait>, std::owner_less<>> met;
    std::erase_if(waits, [&](const auto& weak) { return weak.expired() || !met.insert(weak).second; });
    prune_at = std::max<std::size_t>(16, 2 * waits.size());
  }
  waits.push_back(std::move(wait));
}

// ---- followers

void Partition::follower_fetched(BrokerId replica, Offset fetch_offset, Offset follower_log_start,
                                 std::optional<BrokerEpoch> epoch, nanoseconds at) {
  auto* known = role_ == Role::leader ? follower(replica) : nullptr;
  if (known == nullptr) return;
  // A request of an earlier life of the follower, read late: what that life had the one of now may have lost.
  if (epoch && known->epoch && *epoch < *known->epoch) return;
  const auto low_before = commits_.empty() ? no_offset : low_watermark();
  const auto end_before = known->log_end;
  known->fetched(fetch_offset, follower_log_start, log_->log_end(), epoch, at);
  expand_isr_if_due(*known);
  if (end_before != known->log_end) advance();
  if (!commits_.empty() && low_watermark() > low_before) wake_commits();
}

bool Partition::in_sync(BrokerId replica) const { return has(leadership_.isr, replica); }

std::vector<ReadReplica> Partition::readable_followers() const {
  std::vector<ReadReplica> out;
  if (role_ != Role::leader) return out;
  const auto at = shard_.clock().mono();
  for (const auto& each : followers_) {
    if (!in_sync(each.id) || each.log_end == no_offset) continue;
    out.push_back({each.id, each.log_start, each.log_end, at - each.last_caught_up});
  }
  return out;
}

Result<> Partition::check_offsets_available() const {
  if (role_ == Role::leader && epoch_start_ > log_->high_watermark()) {
    return fail(ErrorCode::OFFSET_NOT_AVAILABLE,
                fmt::format("{}: the high watermark {} is below the start of this leader's epoch, {}", id_.text(),
                            log_->high_watermark().value, epoch_start_.value));
  }
  return {};
}

Result<log::Epochs::End> Partition::end_of_epoch(LeaderEpoch asked, std::optional<LeaderEpoch> current,
                                                 bool leader_only) const {
  if (auto fine = leader_only ? check_leader(current) : check_reader(current); !fine) {
    return std::unexpected(fine.error());
  }
  return log_->end_of_epoch(asked);
}

Offset Partition::low_watermark() const {
  auto out = log_->log_start();
  for (const auto& each : followers_) {
    if (eligible(each.id)) out = std::min(out, each.log_start);
  }
  return out;
}

bool Partition::under_replicated() const {
  return role_ == Role::leader && leadership_.isr.size() < replication_factor();
}
bool Partition::under_min_isr() const {
  return role_ == Role::leader && std::cmp_less(leadership_.isr.size(), effective_min_isr());
}
bool Partition::at_min_isr() const {
  return role_ == Role::leader && std::cmp_equal(leadership_.isr.size(), effective_min_isr());
}

// ---- the in-sync set

void Partition::expand_isr_if_due(const Follower& each) {
  if (pending_ || options_.isr_changer == nullptr || in_sync(each.id) || !eligible(each.id)) return;
  // It has what is committed, and all that earlier leaders left (KIP-279 scenarios need the second).
  if (each.log_end < log_->high_watermark() || each.log_end < epoch_start_) return;
  auto isr = leadership_.isr;
  isr.push_back(each.id);
  WEIR_LOG(debug, "{}: {} has caught up at {}, proposing the ISR {}", id_.text(), each.id.value, each.log_end.value,
           text(isr));
  propose(std::move(isr), true);
}

void Partition::shrink_isr_if_due() {
  if (role_ != Role::leader || pending_ || options_.isr_changer == nullptr || log_->failed()) return;
  const auto at = shard_.clock().mono();
  std::vector<BrokerId> isr;
  for (const auto id : leadership_.isr) {
    const auto* each = id == self_ ? nullptr : follower(id);
    const bool stays = id == self_ || (each != nullptr && each->caught_up(log_->log_end(), at, options_.lag_time_max));
    if (stays) isr.push_back(id);
  }
  if (isr.size() == leadership_.isr.size()) return;
  WEIR_LOG(debug,
           "{}: the ISR {} shrinks to {}: the others have not caught up for {} ms (high watermark {}, log end {})",
           id_.text(), text(leadership_.isr), text(isr), options_.lag_time_max.count(), log_->high_watermark().value,
           log_->log_end().value);
  propose(std::move(isr), false);
}

void Partition::propose(std::vector<BrokerId> isr, bool expands) {
  // The lives that were seen to have caught up: a follower that comes back without its disk is another one, and must
  // not be taken in by a proposal that is tried again (KIP-903).
  std::vector<std::optional<BrokerEpoch>> epochs;
  for (const auto id : isr) {
    const auto* member = follower(id);
    epochs.push_back(member == nullptr ? std::nullopt : member->epoch);
  }
  pending_ = PendingIsr{std::move(isr), std::move(epochs), expands, ++proposals_};
  scope_.spawn(alter(proposals_));
}

Task<void> Partition::alter(std::uint64_t number) {
  const auto self = shared_from_this();
  while (pending_ && pending_->number == number && role_ == Role::leader) {
    auto proposed = leadership_;
    proposed.isr = pending_->isr;
    proposed.isr_epochs = pending_->epochs;
    auto answer = co_await options_.isr_changer->alter(id_, topic_id().value_or(Uuid{}), std::move(proposed));
    // The controller spoke in between: what came of this proposal is in what it said, or will be.
    if (!pending_ || pending_->number != number || role_ != Role::leader) break;
    if (answer) {
      altered(*answer);
      break;
    }
    if (!alter_failed(answer.error())) break;
    co_await runtime::sleep(shard_, options_.alter_retry);
  }
}

void Partition::altered(const Leadership& answer) {
  if (answer.leader_epoch != leadership_.leader_epoch || answer.partition_epoch < leadership_.partition_epoch) {
    // Of another epoch, or overtaken: the controller's word on it is on its way.
    if (options_.isr_failures != nullptr) options_.isr_failures->add();
    return;
  }
  const bool expanded = pending_->expands;
  const auto* counter = expanded ? options_.isr_expands : options_.isr_shrinks;
  if (counter != nullptr) counter->add();
  leadership_.isr = answer.isr;
  leadership_.partition_epoch = answer.partition_epoch;
  leadership_.leader_recovery_state = answer.leader_recovery_state;
  pending_.reset();
  WEIR_LOG(debug, "{}: the ISR is {} (partition epoch {})", id_.text(), text(leadership_.isr),
           leadership_.partition_epoch);
  if (options_.isr_changed) options_.isr_changed(id_, leadership_.isr, expanded);
  if (flushes_at_minimum()) want_flush();
  advance();
  wake_commits();
}

// True: to be tried again.
bool Partition::alter_failed(const Error& error) {
  if (options_.isr_failures != nullptr) options_.isr_failures->add();
  switch (error.code) {
    case ErrorCode::OPERATION_NOT_ATTEMPTED:
    case ErrorCode::INELIGIBLE_REPLICA:
      // It certainly was not done, and will not be: the committed set stands.
      WEIR_LOG_LIMITED(info, seconds(1), "{}: the ISR {} was refused: {}", id_.text(), text(pending_->isr),
                       name(error.code));
      pending_.reset();
      advance();
      return false;
    case ErrorCode::UNKNOWN_TOPIC_OR_PARTITION:
    case ErrorCode::UNKNOWN_TOPIC_ID:
    case ErrorCode::FENCED_LEADER_EPOCH:
    case ErrorCode::INVALID_UPDATE_VERSION:
    case ErrorCode::INVALID_REQUEST:
    case ErrorCode::NEW_LEADER_ELECTED:
      // What we know is out of date: the proposal stays (its set is the stricter one) until the controller speaks.
      WEIR_LOG_LIMITED(info, seconds(1), "{}: the ISR {} was not taken: {}; waiting for the controller", id_.text(),
                       text(pending_->isr), name(error.code));
      return false;
    default:
      WEIR_LOG_LIMITED(warn, seconds(5), "{}: cannot change the ISR to {}: {}: {}; trying again", id_.text(),
                       text(pending_->isr), name(error.code), error.message);
      return true;
  }
}

// ---- following

void Partition::learn_isr(LeaderEpoch leader_epoch, std::int32_t partition_epoch, std::vector<BrokerId> isr) {
  if (role_ != Role::follower || leader_epoch != leadership_.leader_epoch ||
      partition_epoch < leadership_.partition_epoch) {
    return;
  }
  leadership_.isr = std::move(isr);
  leadership_.partition_epoch = partition_epoch;
  if (acknowledges_by_flush()) want_flush();
}

Result<> Partition::check_following(LeaderEpoch epoch) const {
  if (role_ != Role::follower || leadership_.leader_epoch != epoch) return fail(ErrorCode::NOT_LEADER_OR_FOLLOWER);
  if (log_->failed()) return fail(ErrorCode::KAFKA_STORAGE_ERROR);
  return {};
}

bool Partition::acknowledges_by_flush() const {
  if (log_->recovery_point() >= log_->log_end()) return false;
  // Who is about to join counts as a member: its leader takes it in by the very fetch that acknowledges.
  const bool member = in_sync(self_) || log_->log_end() >= leader_high_watermark_;
  return (member && flushes_at_minimum()) || log_->unflushed_messages() >= log_->config().flush_messages;
}

Result<std::uint64_t> Partition::append_fetched(LeaderEpoch epoch, Offset at, bytes::Shared records,
                                                Offset leader_high_watermark, Offset leader_log_start) {
  if (auto fine = check_following(epoch); !fine) return std::unexpected(fine.error());
  if (log_->log_end() != at) {
    return fail(ErrorCode::OFFSET_OUT_OF_RANGE,
                fmt::format("{} ends at {}, fetched was from {}", id_.text(), log_->log_end().value, at.value));
  }
  std::uint64_t appended = 0;
  if (!records.empty()) {
    auto done = log_->append_as_follower(records, now(), epoch);
    if (!done && done.error().code == ErrorCode::OFFSET_OUT_OF_RANGE && log_->log_end() == log_->log_start()) {
      // The leader's log starts in the middle of a batch (DeleteRecords): its whole first batch is taken.
      record::Batches batches(records.view());
      const auto first = batches.next();
      if (first && first->base_offset() < at && first->last_offset() >= at) {
        auto removal = log_->truncate_fully_and_start_at(first->base_offset(), now());
        if (!removal) {
          tell_failure(removal.error());
          return std::unexpected(removal.error());
        }
        discard(std::move(*removal));
        done = log_->append_as_follower(std::move(records), now(), epoch);
      }
    }
    if (!done) {
      tell_failure(done.error());
      return std::unexpected(done.error());
    }
    appended = done->size;
  }
  leader_high_watermark_ = leader_high_watermark;
  // What was committed stays so: a new leader may still have to learn how far.
  if (log_->advance_high_watermark(leader_high_watermark)) signal_data();
  if (leader_log_start > log_->log_start() && leader_log_start <= log_->high_watermark()) {
    if (auto moved = log_->advance_log_start(leader_log_start); !moved) {
      tell_failure(moved.error());
      return std::unexpected(moved.error());
    }
  }
  flush_if_due();
  return appended;
}

Result<bool> Partition::learn_log_start(LeaderEpoch epoch, Offset leader_log_start) {
  if (auto fine = check_following(epoch); !fine) return std::unexpected(fine.error());
  if (leader_log_start > log_->log_end()) {
    auto done = truncate_fully_and_start_at(epoch, leader_log_start);
    if (!done) return std::unexpected(done.error());
    return true;
  }
  // A leader gives away only what was committed.
  if (log_->advance_high_watermark(leader_log_start)) signal_data();
  if (auto moved = log_->advance_log_start(leader_log_start); !moved) {
    tell_failure(moved.error());
    return std::unexpected(moved.error());
  }
  return false;
}

Result<bool> Partition::truncate_to(LeaderEpoch epoch, Offset offset) {
  if (auto fine = check_following(epoch); !fine) return std::unexpected(fine.error());
  if (offset < log_->high_watermark()) {
    WEIR_LOG(warn, "{}: truncating to {}, below the high watermark {}: the new leader lacks what was committed",
             id_.text(), offset.value, log_->high_watermark().value);
  }
  auto cut = log_->truncate_to(offset);
  if (!cut) {
    tell_failure(cut.error());
    return std::unexpected(cut.error());
  }
  hold_until_ = std::min(hold_until_, log_->log_end());
  flush_wanted_ = std::min(flush_wanted_, log_->log_end());
  return *cut;
}

Result<> Partition::truncate_fully_and_start_at(LeaderEpoch epoch, Offset offset) {
  if (auto fine = check_following(epoch); !fine) return fine;
  WEIR_LOG(warn, "{}: the whole log [{}, {}) goes, it starts anew at {}", id_.text(), log_->log_start().value,
           log_->log_end().value, offset.value);
  auto removal = log_->truncate_fully_and_start_at(offset, now());
  if (!removal) {
    tell_failure(removal.error());
    return std::unexpected(removal.error());
  }
  discard(std::move(*removal));
  hold_until_ = flush_wanted_ = Offset{0};
  return {};
}

namespace {

Task<void> remove_files(runtime::Pool& pool, runtime::Files& system, log::Removal files) {
  auto work = [&files, &system] { return files.run(system); };
  auto done = co_await pool.run(std::move(work));
  if (!done) WEIR_LOG(warn, "cannot remove: {}", done.error().message);
}

}  // namespace

// They have other names already: what a crash leaves of them goes with the next start.
void Partition::discard(log::Removal files) {
  if (!files.empty()) scope_.spawn(remove_files(pool_, log_->files(), std::move(files)));
}

// ---- flushing

void Partition::want_flush() {
  if (gone_ || log_->failed()) return;
  flush_wanted_ = std::max(flush_wanted_, log_->log_end());
  if (!flushing_ && flush_wanted_ > log_->recovery_point()) {
    flushing_ = true;
    scope_.spawn(flush_loop());
  }
}

void Partition::flush_if_due() {
  if (gone_ || log_->failed()) return;
  // A segment that is full goes to the disk, as in Kafka: what a power failure can take is then never more than one.
  const bool rolled = log_->active_base_offset() > log_->recovery_point();
  if (!rolled && !log_->flush_due(now())) return;
  // Who waits for flush.messages waits for more than that.
  flush_wanted_ = rolled ? std::max({flush_wanted_, log_->active_base_offset(), hold_until_}) : log_->log_end();
  if (!flushing_) {
    flushing_ = true;
    scope_.spawn(flush_loop());
  }
}

// One flush at a time; batches that come while it runs share the next one (group commit).
Task<void> Partition::flush_loop() {
  const auto self = shared_from_this();
  while (!gone_ && !log_->failed() && flush_wanted_ > log_->recovery_point()) {
    auto work = log_->begin_flush();
    if (!work) {
      WEIR_LOG(error, "{}: cannot flush: {}", id_.text(), work.error().message);
      tell_failure(work.error());
      break;
    }
    auto run = [&work] { return work->run(); };
    auto done = co_await pool_.run(std::move(run));
    if (gone_) break;
    if (!done) {
      // What the system could not write is lost from its cache too: nothing may be acknowledged on its account.
      WEIR_LOG(error, "{}: flush failed: {}; the partition takes no more records until the broker is started again",
               id_.text(), done.error().message);
      log_->flush_failed(done.error());
      break;
    }
    log_->finish_flush(*work, now());
    advance();
    wake_commits();
  }
  flushing_ = false;
  if (log_->failed()) {
    for (const auto& commit : commits_) commit.waiter->wake();
    tell_failure(Error{ErrorCode::KAFKA_STORAGE_ERROR, "a flush failed"});
  }
}

void Partition::tell_failure(const Error& error) const {
  if (error.code == ErrorCode::KAFKA_STORAGE_ERROR && options_.storage_failed) {
    options_.storage_failed(directory_, error.message);
  }
}

void Partition::give_up(const std::string& why) {
  if (!log_->failed()) log_->flush_failed({EIO, why});
  for (const auto& commit : commits_) commit.waiter->wake();
  signal_data();
  signal_appends();
}

Task<Result<>> Partition::flush() {
  const auto self = shared_from_this();
  auto work = log_->begin_flush();
  if (!work) {
    tell_failure(work.error());
    co_return std::unexpected(work.error());
  }
  auto run = [&work] { return work->run(); };
  auto done = co_await pool_.run(std::move(run));
  if (!done) {
    if (!gone_) {
      log_->flush_failed(done.error());
      for (const auto& commit : commits_) commit.waiter->wake();
      tell_failure(Error{ErrorCode::KAFKA_STORAGE_ERROR, done.error().message});
    }
    co_return fail(ErrorCode::KAFKA_STORAGE_ERROR, done.error().message);
  }
  if (!gone_) {
    log_->finish_flush(*work, now());
    advance();
    wake_commits();
  }
  co_return Result<>{};
}

}  // namespace weir::replica
