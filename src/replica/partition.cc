#include "replica/partition.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace weir::replica {

using runtime::Task;

Partition::Partition(runtime::Shard& shard, runtime::Pool& pool, runtime::Scope& scope, BrokerId self,
                     std::unique_ptr<log::Log> log, log::Directory& directory, TopicCounters counters,
                     std::int32_t min_insync_replicas)
    : shard_(shard),
      pool_(pool),
      scope_(scope),
      self_(self),
      id_{log->partition().topic, log->partition().partition},
      log_(std::move(log)),
      directory_(directory),
      counters_(std::move(counters)),
      min_insync_replicas_(min_insync_replicas) {}

void Partition::set(const Settings& settings) {
  log_->set_config(settings.log);
  min_insync_replicas_ = settings.min_insync_replicas;
  flush_if_due();
}

Result<> Partition::become(const Leadership& to) {
  if (to.leader_epoch < leadership_.leader_epoch) {
    return fail(ErrorCode::FENCED_LEADER_EPOCH, fmt::format("{}: epoch {} is older than {}", id_.text(),
                                                            to.leader_epoch.value, leadership_.leader_epoch.value));
  }
  const bool new_epoch = to.leader_epoch != leadership_.leader_epoch || role_ == Role::none;
  const auto before = role_;
  const auto role = to.leader == self_ ? Role::leader : Role::follower;
  if (role == Role::leader && new_epoch) {
    // The epoch begins where the log ends: what followers and consumers check their offsets against (KIP-101).
    if (auto done = log_->assign_epoch(to.leader_epoch, log_->log_end()); !done) return done;
  }
  leadership_ = to;
  role_ = role;
  gone_ = false;  // a replica that was stopped and kept is back
  if (before == Role::leader && role != Role::leader) {
    wake_commits();
    signal_data();
  }
  if (role == Role::leader) advance();
  return {};
}

void Partition::leave() {
  gone_ = true;
  role_ = Role::none;
  wake_commits();
  signal_data();
}

Result<> Partition::check_leader(std::optional<LeaderEpoch> epoch) const {
  if (role_ != Role::leader) return fail(ErrorCode::NOT_LEADER_OR_FOLLOWER);
  if (epoch && epoch->value >= 0) {
    if (*epoch < leadership_.leader_epoch) return fail(ErrorCode::FENCED_LEADER_EPOCH);
    if (*epoch > leadership_.leader_epoch) return fail(ErrorCode::UNKNOWN_LEADER_EPOCH);
  }
  return {};
}

std::expected<log::Appended, record::Rejection> Partition::append(bytes::Shared records, const AppendOptions& options) {
  if (role_ != Role::leader) {
    return std::unexpected(record::Rejection{Error{ErrorCode::NOT_LEADER_OR_FOLLOWER, {}}, {}});
  }
  if (options.all_acks && std::cmp_less(leadership_.isr.size(), min_insync_replicas_)) {
    return std::unexpected(record::Rejection{
        Error{ErrorCode::NOT_ENOUGH_REPLICAS, fmt::format("{} has {} in-sync replicas, min.insync.replicas is {}",
                                                          id_.text(), leadership_.isr.size(), min_insync_replicas_)},
        {}});
  }
  auto appended = log_->append_as_leader(std::move(records), leadership_.leader_epoch, now(), options.origin);
  if (!appended) return appended;
  if (!appended->duplicate) {
    if (options.origin == record::Origin::client) {
      counters_.messages_in->add(static_cast<std::uint64_t>(appended->count));
      counters_.bytes_in->add(appended->size);
    }
    if (log_->unflushed_messages() >= log_->config().flush_messages) hold_until_ = log_->log_end();
    flush_if_due();
    advance();
  }
  return appended;
}

void Partition::advance() {
  if (role_ != Role::leader) return;
  // Only this broker in sync: what is in the log is committed, unless flush.messages asks for a flush first.
  if (leadership_.isr.size() != 1 || leadership_.isr.front() != self_) return;
  Offset to = log_->log_end();
  if (hold_until_ > log_->recovery_point()) to = std::max(log_->high_watermark(), log_->recovery_point());
  if (log_->advance_high_watermark(to)) {
    wake_commits();
    signal_data();
  }
}

bool Partition::met(const Commit& commit) const {
  if (!commit.flush_only) return log_->high_watermark() > commit.last;
  return hold_until_ <= commit.last || log_->recovery_point() > commit.last;
}

void Partition::wake_commits() {
  for (const auto& commit : commits_) {
    if (role_ != Role::leader || met(commit)) commit.waiter->wake();
  }
}

void Partition::signal_data() {
  if (data_waits_.empty()) return;
  auto waits = std::exchange(data_waits_, {});
  prune_at_ = 16;
  for (const auto& weak : waits) {
    if (auto wait = weak.lock()) wait->signal();
  }
  waits.clear();
  if (data_waits_.empty()) data_waits_ = std::move(waits);  // keeps the memory
}

void Partition::on_data(std::weak_ptr<DataWait> wait) {
  if (data_waits_.size() >= prune_at_) {
    std::erase_if(data_waits_, [](const auto& weak) { return weak.expired(); });
    // A fetch that is woken by other partitions again and again comes here each time.
    std::ranges::sort(data_waits_, std::owner_less<>());
    const auto twice = std::ranges::unique(
        data_waits_, [](const auto& a, const auto& b) { return !a.owner_before(b) && !b.owner_before(a); });
    data_waits_.erase(twice.begin(), twice.end());
    prune_at_ = std::max<std::size_t>(16, 2 * data_waits_.size());
  }
  data_waits_.push_back(std::move(wait));
}

Task<Result<>> Partition::wait_for(Commit commit, nanoseconds timeout) {
  if (role_ == Role::leader && !met(commit) && !log_->failed()) {
    const auto self = shared_from_this();
    runtime::Waiter waiter(shard_);
    commit.waiter = &waiter;
    commits_.push_back(commit);
    const bool woken = co_await waiter.wait(timeout);
    std::erase_if(commits_, [&](const Commit& c) { return c.waiter == &waiter; });
    if (!woken && role_ == Role::leader && !met(commit)) {
      co_return fail(log_->failed() ? ErrorCode::KAFKA_STORAGE_ERROR : ErrorCode::REQUEST_TIMED_OUT);
    }
  }
  if (role_ != Role::leader) co_return fail(ErrorCode::NOT_LEADER_OR_FOLLOWER);
  if (!met(commit)) co_return fail(ErrorCode::KAFKA_STORAGE_ERROR, "the disk failed");
  co_return Result<>{};
}

Task<Result<>> Partition::committed(Offset last, nanoseconds timeout) {
  return wait_for({last, false, nullptr}, timeout);
}

Task<Result<>> Partition::flushed(Offset last, nanoseconds timeout) { return wait_for({last, true, nullptr}, timeout); }

void Partition::flush_if_due() {
  if (gone_ || log_->failed() || !log_->flush_due(now())) return;
  flush_wanted_ = log_->log_end();
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
  }
}

Task<Result<>> Partition::flush() {
  const auto self = shared_from_this();
  auto work = log_->begin_flush();
  if (!work) co_return std::unexpected(work.error());
  auto run = [&work] { return work->run(); };
  auto done = co_await pool_.run(std::move(run));
  if (!done) {
    if (!gone_) {
      log_->flush_failed(done.error());
      for (const auto& commit : commits_) commit.waiter->wake();
    }
    co_return fail(ErrorCode::KAFKA_STORAGE_ERROR, done.error().message);
  }
  if (!gone_) {
    log_->finish_flush(*work, now());
    advance();
  }
  co_return Result<>{};
}

}  // namespace weir::replica
