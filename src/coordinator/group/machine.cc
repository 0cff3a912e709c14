#include "coordinator/group/machine.h"

#include <iterator>

#include "coordinator/group/machine_impl.h"

namespace weir::coordinator::group {

void Effects::add(Effects more) {
  std::move(more.appends.begin(), more.appends.end(), std::back_inserter(appends));
  std::move(more.replies.begin(), more.replies.end(), std::back_inserter(replies));
}

JoinResponse refuse_join(std::string member_id, ErrorCode error) {
  JoinResponse response;
  response.error = error;
  response.member_id = std::move(member_id);
  return response;
}

SyncResponse refuse_sync(ErrorCode error) {
  SyncResponse response;
  response.error = error;
  return response;
}

ErrorCode group_store_error(ErrorCode log_error) {
  switch (log_error) {
    case ErrorCode::UNKNOWN_TOPIC_OR_PARTITION:
    case ErrorCode::NOT_ENOUGH_REPLICAS:
    case ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND: return ErrorCode::COORDINATOR_NOT_AVAILABLE;
    case ErrorCode::NOT_LEADER_OR_FOLLOWER:
    case ErrorCode::KAFKA_STORAGE_ERROR: return ErrorCode::NOT_COORDINATOR;
    case ErrorCode::REQUEST_TIMED_OUT: return ErrorCode::REBALANCE_IN_PROGRESS;
    case ErrorCode::MESSAGE_TOO_LARGE:
    case ErrorCode::RECORD_LIST_TOO_LARGE:
    case ErrorCode::INVALID_FETCH_SIZE: return ErrorCode::UNKNOWN_SERVER_ERROR;
    default: return log_error;  // as it is, as Kafka does: a code of the log is never invented here
  }
}

ErrorCode offset_store_error(ErrorCode log_error) {
  switch (log_error) {
    case ErrorCode::NETWORK_EXCEPTION: return ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    case ErrorCode::UNKNOWN_TOPIC_OR_PARTITION:
    case ErrorCode::NOT_ENOUGH_REPLICAS:
    case ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND: return ErrorCode::COORDINATOR_NOT_AVAILABLE;
    case ErrorCode::NOT_LEADER_OR_FOLLOWER:
    case ErrorCode::KAFKA_STORAGE_ERROR: return ErrorCode::NOT_COORDINATOR;
    case ErrorCode::MESSAGE_TOO_LARGE:
    case ErrorCode::RECORD_LIST_TOO_LARGE:
    case ErrorCode::INVALID_FETCH_SIZE: return ErrorCode::INVALID_COMMIT_OFFSET_SIZE;
    default: return log_error;  // as above
  }
}

// ---- of all files

AppendId Machine::Impl::append(std::vector<Record> records) {
  Append made;
  made.id = ++last_append;
  made.timestamp = now.wall;
  made.records = std::move(records);
  out.appends.push_back(std::move(made));
  return last_append;
}

std::shared_ptr<Group> Machine::Impl::find(const std::string& group) const {
  const auto it = groups.find(group);
  return it == groups.end() ? nullptr : it->second;
}

std::shared_ptr<Group> Machine::Impl::find_or_make(const std::string& group) {
  auto& slot = groups[group];
  if (!slot) {
    slot = std::make_shared<Group>(group);
    slot->state_since = now.wall;
  }
  return slot;
}

void Machine::Impl::transition(Group& group, State to) {
  group.state = to;
  group.state_since = now.wall;
}

void Machine::Impl::run_deadlines() {
  deadlines.fire(now.mono, [this](const Deadline& deadline) {
    switch (deadline.kind) {
      case Deadline::Kind::session: session_expired(*deadline.group, *deadline.member); break;
      case Deadline::Kind::pending_member: {
        const std::string id = *deadline.pending;
        remove_pending(*deadline.group, id);
        break;
      }
      case Deadline::Kind::join: join_wait_over(*deadline.group); break;
      case Deadline::Kind::sync: sync_wait_over(*deadline.group); break;
      case Deadline::Kind::cleanup: clean_up(); break;
    }
  });
}

// ---- the front

Machine::Machine(const Config& config, AppendId appends_before) : impl_(std::make_unique<Impl>(config)) {
  impl_->last_append = appends_before;
}
Machine::~Machine() = default;

bool Machine::replay(const LoadedRecord& record) { return impl_->replay(record); }

Effects Machine::activate(Now now) {
  impl_->begin(now);
  impl_->activate();
  return impl_->end();
}

Effects Machine::join(Token token, JoinRequest request, Now now) {
  impl_->begin(now);
  impl_->join(token, std::move(request));
  return impl_->end();
}

Effects Machine::sync(Token token, SyncRequest request, Now now) {
  impl_->begin(now);
  impl_->sync(token, std::move(request));
  return impl_->end();
}

ErrorCode Machine::heartbeat(const HeartbeatRequest& request, Now now) {
  impl_->begin(now);
  return impl_->heartbeat(request);
}

Effects Machine::leave(Token token, LeaveRequest request, Now now) {
  impl_->begin(now);
  impl_->leave(token, std::move(request));
  return impl_->end();
}

Effects Machine::commit(Token token, CommitRequest request, Now now) {
  impl_->begin(now);
  impl_->commit(token, std::move(request));
  return impl_->end();
}

FetchOffsetsResponse Machine::fetch_offsets(const FetchOffsetsRequest& request) const { return impl_->fetch(request); }

Effects Machine::delete_offsets(Token token, DeleteOffsetsRequest request, Now now) {
  impl_->begin(now);
  impl_->delete_offsets(token, std::move(request));
  return impl_->end();
}

DescribeResponse Machine::describe(const std::string& group) const { return impl_->describe(group); }

void Machine::list(const ListRequest& request, ListResponse& into) const { impl_->list(request, into); }

Effects Machine::delete_group(Token token, const std::string& group, Now now) {
  impl_->begin(now);
  impl_->delete_group(token, group);
  return impl_->end();
}

Effects Machine::topics_deleted(const std::vector<std::string>& topics, Now now) {
  impl_->begin(now);
  impl_->topics_deleted(topics);
  return impl_->end();
}

Effects Machine::transaction_ended(std::int64_t producer_id, bool commit, Now now) {
  impl_->begin(now);
  impl_->complete_transaction(producer_id, commit);
  return impl_->end();
}

namespace {

template <class... Fn>
struct Each : Fn... {
  using Fn::operator()...;
};

}  // namespace

Effects Machine::committed(AppendId id, Now now) { return append_ended(id, ErrorCode::NONE, now); }

Effects Machine::append_failed(AppendId id, ErrorCode error, Now now) {
  return append_ended(id, error == ErrorCode::NONE ? ErrorCode::UNKNOWN_SERVER_ERROR : error, now);
}

Effects Machine::append_ended(AppendId id, ErrorCode error, Now now) {
  impl_->begin(now);
  const auto it = impl_->under_way.find(id);
  if (it != impl_->under_way.end()) {
    auto stored = std::move(it->second);
    impl_->under_way.erase(it);
    std::visit(Each{
                   [&](StoreAssignments& s) { impl_->assignments_stored(std::move(s), error); },
                   [&](StoreEmpty&) {},  // nobody is in the group; the generation before comes back if we fall
                   [&](StoreStatic& s) { impl_->static_stored(std::move(s), error); },
                   [&](StoreOffsets& s) { impl_->offsets_stored(std::move(s), id, error); },
                   [&](StoreDeletion& s) { impl_->deletion_stored(std::move(s), error); },
               },
               stored);
  }
  return impl_->end();
}

std::optional<nanoseconds> Machine::next_deadline() const { return impl_->deadlines.next(); }

Effects Machine::tick(Now now) {
  impl_->begin(now);
  return impl_->end();
}

Effects Machine::resign() { return impl_->resign(); }

std::size_t Machine::groups() const { return impl_->groups.size(); }

std::size_t Machine::offsets() const {
  std::size_t n = 0;
  for (const auto& [id, group] : impl_->groups) {
    for (const auto& [topic, partitions] : group->offsets) n += partitions.size();
  }
  return n;
}

std::size_t Machine::waiting() const {
  std::size_t n = 0;
  for (const auto& [id, stored] : impl_->under_way) {
    n += std::holds_alternative<StoreOffsets>(stored) || std::holds_alternative<StoreDeletion>(stored) ? 1 : 0;
  }
  for (const auto& [id, group] : impl_->groups) {
    for (const auto& m : group->members) n += (m.waits_join ? 1 : 0) + (m.waits_sync ? 1 : 0);
  }
  return n;
}

std::string Machine::dump() const { return impl_->dump(); }

}  // namespace weir::coordinator::group
