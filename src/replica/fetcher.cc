#include "replica/fetcher.h"

#include <algorithm>
#include <list>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "cluster/topic_name.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/offset_for_leader_epoch.h"
#include "replica/fetch_steps.h"
#include "replica/session.h"

namespace weir::replica {

using runtime::Task;
using namespace fetching;

namespace {

// A request that newcomers would wait for is left this long to come back by itself; and so often at most one is given
// up.
constexpr milliseconds give_up_after{5};
constexpr milliseconds give_up_every{50};
// Leader and follower hear of an election at about the same time: the first tries after such an error come soon.
constexpr milliseconds first_backoff{20};
// A log that parts from its leader's in more places than this asks on with the next round.
constexpr int truncation_rounds_max = 100;
// How often a leader is asked where its logs start, while nothing is fetched because the volume is full.
constexpr milliseconds ask_starts_every{3'000};
constexpr std::int16_t diverging_epochs_from = 12;  // of Fetch
constexpr std::int16_t topic_ids_from = 13;

}  // namespace

// One connection to one broker.
class Fetchers::Fetcher : public std::enable_shared_from_this<Fetcher> {
 public:
  Fetcher(Fetchers& owner, BrokerId leader, int index)
      : owner_(owner), leader_(leader), index_(index), bell_(owner.shard_) {}

  // Until it has no partition left.
  static Task<void> run(std::shared_ptr<Fetcher> self) {
    while (!self->owner_.stopping_ && !self->states_.empty()) {
      if (!co_await self->connected()) continue;
      co_await self->enter_all();
      co_await self->truncate_all();
      if (self->owner_.stopping_ || !self->connection_ || self->connection_->closed()) continue;
      co_await self->ask_starts();
      if (self->owner_.stopping_ || !self->connection_ || self->connection_->closed()) continue;
      if (self->entering_.empty()) co_await self->fetch();
    }
    if (!self->owner_.stopping_) self->owner_.all_.erase({self->leader_, self->index_});
    self->disconnect();
  }

  void update(Fetchers::Update& update) {
    const auto it = states_.find(update.partition);
    if (!update.follow) {
      if (it != states_.end()) drop(it);
      return;
    }
    auto& following = *update.follow;
    if (it != states_.end() && it->second->following.epoch == following.epoch && it->second->phase != Phase::failed) {
      // The same word again: perhaps it brings the topic's id.
      count_id(*it->second, -1);
      it->second->following.topic_id = following.topic_id;
      count_id(*it->second, 1);
      enqueue(it->second);
      return;
    }
    auto state = it == states_.end() ? std::make_shared<State>() : it->second;
    if (it != states_.end()) count_id(*state, -1);
    state->id = std::move(update.partition);
    state->following = std::move(following);
    count_id(*state, 1);
    state->version = ++versions_;
    state->phase = Phase::entering;
    state->not_before = nanoseconds(0);
    state->lag = -1;
    state->errors = 0;
    if (it == states_.end()) states_.emplace(state->id, state);
    entering_.push_back(state);
    enqueue(state);
    news_ = true;
  }
  // After updates, and when a broker came back.
  void wake(bool retry) {
    if (retry) news_ = true;
    bell_.wake();
    if (news_ && in_flight_) give_up_soon();
  }
  void stop() {
    bell_.wake();
    dialling_.give_up();
    disconnect();
  }

  void lags(std::vector<Fetchers::Lag>& out) const {
    for (const auto& [id, state] : states_) out.push_back({id, state->lag});
  }
  std::size_t partitions() const { return states_.size(); }
  std::size_t failed() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(states_, [](const auto& each) { return each.second->phase == Phase::failed; }));
  }

 private:
  using States = std::unordered_map<TopicPartition, StatePtr, KeyHash, KeyEqual>;

  runtime::Shard& shard() { return owner_.shard_; }
  const FetchOptions& options() const { return owner_.options_; }
  nanoseconds now() { return shard().clock().mono(); }

  void disconnect() {
    if (connection_) connection_->close();
    connection_.reset();
  }
  void drop(States::iterator it) {
    auto& state = *it->second;
    state.gone = true;
    forget(state);
    count_id(state, -1);
    states_.erase(it);
  }
  void forget(State& state) {
    if (!std::exchange(state.in_session, false)) return;
    --members_;
    if (session_.full()) return;
    const auto [it, fresh] = forgotten_.try_emplace(state.id, state.sent_id);
    if (!fresh && it->second != state.sent_id) session_.renew();  // two ids of one name: said best by beginning anew
  }
  static Uuid topic_id_of(const State& state) { return state.following.topic_id.value_or(Uuid{}); }
  void count_id(const State& state, int by) {
    const auto& id = state.following.topic_id;
    if (!id || id->is_zero()) without_id_ += by;
  }
  void enqueue(const StatePtr& state) {
    if (!std::exchange(state->queued, true)) dirty_.push_back(state);
  }
  void delay(State& state, nanoseconds time) {
    state.not_before = now() + time;
    next_due_ = std::min(next_due_, state.not_before);
    delayed_ = true;
  }

  void delay_shortly(State& state) {
    const auto shift = std::min(state.errors++, 10);
    delay(state, std::min<nanoseconds>(first_backoff * (1 << shift), options().backoff));
  }

  Task<bool> connected();
  void begin_session();
  Task<void> enter_all();
  Task<void> truncate_all();
  Task<bool> truncate_round();
  Task<void> truncate(std::vector<Item> items);
  Task<void> fetch();
  bool wanted(State& state, nanoseconds at);
  void collect_due();
  void give_up_soon();
  Task<bool> settled(std::vector<Item>& items, bool checkpoint);
  void took(Item& item);
  Task<void> process(client::Answer<protocol::FetchResponse> answer, bool by_id);
  void partition_error(const StatePtr& state, ErrorCode error, std::vector<StatePtr>& out_of_range);
  Task<void> ask_range(std::vector<StatePtr> states);
  Task<bool> list_offsets(std::vector<Item>& items, std::int64_t timestamp);
  bool held(const State& state) const;
  Task<void> ask_starts();

  struct Outgoing {
    protocol::FetchRequest request;
    std::list<std::string> names;
    bool by_id = false;
  };
  bool compose(Outgoing& out);
  void add(Outgoing& out, State& state);
  void add_forgotten(Outgoing& out);
  std::map<std::string, std::size_t, std::less<>> topic_slots_;

  Fetchers& owner_;
  const BrokerId leader_;
  const int index_;
  runtime::Waiter bell_;
  States states_;
  std::uint64_t versions_ = 0;
  std::uint64_t turns_ = 0;
  std::vector<StatePtr> entering_;
  std::vector<StatePtr> dirty_;  // to be said in the next request, or taken out of it
  std::map<TopicPartition, Uuid> forgotten_;
  bool delayed_ = false;
  nanoseconds next_due_ = nanoseconds::max();
  bool throttled_some_ = false;
  nanoseconds next_ask_{0};
  std::size_t members_ = 0;      // of the session
  std::int64_t without_id_ = 0;  // partitions whose topic has no id

  std::shared_ptr<client::Connection> connection_;
  fetching::Dialling dialling_;
  std::int16_t fetch_version_ = 0;
  Divergence divergence_ = Divergence::unknown;
  bool session_by_id_ = false;
  FollowerSession session_;
  std::unordered_map<Uuid, std::string> names_;  // of the session's topics

  bool news_ = false;  // since the last request was composed
  bool in_flight_ = false;
  std::uint64_t requests_ = 0;
  bool given_up_ = false;
  nanoseconds last_given_up_ = Follower::never;
};

// ---- the connection

Task<bool> Fetchers::Fetcher::connected() {
  if (connection_ && !connection_->closed()) co_return true;
  disconnect();
  const auto address = options().address ? options().address(leader_) : std::nullopt;
  std::string why = "its address is not known yet";
  if (address) {
    auto to = dialling_.options(options());
    auto opened = co_await client::Connection::open(shard(), owner_.scope_, *options().sockets, *address, to);
    dialling_.shaking_hands = nullptr;
    if (owner_.stopping_) {
      if (opened) (*opened)->close();
      co_return false;
    }
    if (opened) {
      connection_ = std::move(*opened);
      begin_session();
      if (connection_) co_return true;
      why = "no version of Fetch in common";
    } else {
      why = opened.error().message;
    }
  }
  WEIR_LOG_LIMITED(warn, seconds(10), "cannot fetch from broker {}: {}", leader_.value, why);
  news_ = false;
  co_await bell_.wait(options().backoff);
  co_return false;
}

void Fetchers::Fetcher::begin_session() {
  const auto fetch = connection_->version_for(protocol::FetchRequest::api_key, 4, options().fetch_version_max, {});
  if (!fetch) {
    WEIR_LOG_LIMITED(error, seconds(10), "cannot fetch from broker {}: {}", leader_.value, fetch.error().message);
    disconnect();
    return;
  }
  fetch_version_ = *fetch;
  const auto epochs =
      connection_->version_for(protocol::OffsetForLeaderEpochRequest::api_key, 0, options().epoch_version_max, {});
  divergence_ = fetch_version_ >= diverging_epochs_from ? Divergence::in_fetch
                : epochs                                ? Divergence::by_question
                                                        : Divergence::unknown;
  session_.reset();
  forgotten_.clear();
}

// ---- truncation

// What came of `items`: false when nothing of it counts any more. After a cut the checkpoints are written first.
Task<bool> Fetchers::Fetcher::settled(std::vector<Item>& items, bool checkpoint) {
  const bool cut = checkpoint && std::ranges::any_of(items, &Item::cut);
  if (!cut || !owner_.checkpoint_) co_return true;
  auto written = co_await owner_.checkpoint_();
  if (written) co_return true;
  for (auto& item : items) {
    if (item.cut) item.error = written.error();
  }
  co_return true;
}

// An item is done: the state learns of it, unless the controller spoke meanwhile.
void Fetchers::Fetcher::took(Item& item) {
  auto& state = *item.state;
  if (state.gone || state.version != item.version) return;
  state.next = item.next;
  state.log_start = item.log_start;
  state.last_epoch = item.last_epoch;
  enqueue(item.state);
  switch (item.error.code) {
    case ErrorCode::NONE: return;
    case ErrorCode::NOT_LEADER_OR_FOLLOWER:
      // Its owner has heard of another epoch: so shall we.
      delay_shortly(state);
      state.phase = Phase::entering;
      return;
    case ErrorCode::OFFSET_OUT_OF_RANGE: state.phase = Phase::entering; break;
    case ErrorCode::KAFKA_STORAGE_ERROR:
      WEIR_LOG(error, "{}: following broker {} ends: {}", state.id.text(), leader_.value, item.error.message);
      state.phase = Phase::failed;
      return;
    default: break;
  }
  WEIR_LOG_LIMITED(error, seconds(5), "{}: cannot take what broker {} sent for offset {}: {}: {}; trying again",
                   state.id.text(), leader_.value, item.at.value, name(item.error.code), item.error.message);
  delay(state, options().backoff);
}

Task<void> Fetchers::Fetcher::enter_all() {
  collect_due();
  std::vector<Item> items;
  for (auto& state : std::exchange(entering_, {})) {
    if (!state->gone && state->phase == Phase::entering && state->not_before <= now()) items.push_back(item_of(state));
  }
  if (items.empty()) co_return;
  co_await on_owners(items, [divergence = divergence_](Item& item) { enter(item, divergence); });
  co_await settled(items, true);
  for (auto& item : items) {
    took(item);
    auto& state = *item.state;
    if (state.gone || state.version != item.version || item.error.code != ErrorCode::NONE) continue;
    state.phase = item.complete ? Phase::fetching : Phase::truncating;
  }
}

Task<void> Fetchers::Fetcher::truncate_all() {
  for (int i = 0; i < truncation_rounds_max; ++i) {
    if (owner_.stopping_ || !connection_ || connection_->closed()) co_return;
    if (!co_await truncate_round()) co_return;
  }
}

// OffsetForLeaderEpoch for all that need it. False: there was nothing to ask.
Task<bool> Fetchers::Fetcher::truncate_round() {
  if (divergence_ != Divergence::by_question) co_return false;
  std::vector<Item> asked;
  protocol::OffsetForLeaderEpochRequest request;
  request.replica_id = owner_.self_.value;
  std::map<std::string, std::size_t, std::less<>> slots;
  for (const auto& [id, state] : states_) {
    if (state->phase != Phase::truncating || state->not_before > now()) continue;
    asked.push_back(item_of(state));
    auto [slot, fresh] = slots.try_emplace(id.topic, request.topics.size());
    if (fresh) request.topics.emplace_back().topic = slot->first;
    auto& to = request.topics[slot->second].partitions.emplace_back();
    to.partition = id.partition.value;
    to.current_leader_epoch = state->following.epoch.value;
    to.leader_epoch = state->last_epoch.value;
  }
  if (asked.empty()) co_return false;
  auto answer = co_await connection_->call<protocol::OffsetForLeaderEpochResponse>(
      std::move(request), {0, options().epoch_version_max}, options().socket_timeout);
  if (!answer) {
    WEIR_LOG_LIMITED(warn, seconds(5), "broker {} does not say where epochs ended: {}", leader_.value,
                     answer.error().message);
    disconnect();
    co_await bell_.wait(options().backoff);
    co_return false;
  }
  std::vector<Item> items;
  for (const auto& topic : answer->message.topics) {
    for (const auto& end : topic.partitions) {
      const auto found = std::ranges::find_if(asked, [&](const Item& item) {
        return item.state && item.state->id.partition.value == end.partition && item.state->id.topic == topic.topic;
      });
      if (found == asked.end()) continue;
      auto item = std::move(*found);
      found->state.reset();
      if (item.state->gone || item.state->version != item.version) continue;
      if (end.error_code != 0) {
        WEIR_LOG_LIMITED(info, seconds(5), "{}: broker {} does not say where an epoch ended: {}", item.state->id.text(),
                         leader_.value, name(static_cast<ErrorCode>(end.error_code)));
        delay_shortly(*item.state);
        continue;
      }
      item.leader_end = {LeaderEpoch{end.leader_epoch}, Offset{end.end_offset}};
      items.push_back(std::move(item));
    }
  }
  for (auto& item : asked) {
    if (item.state && !item.state->gone) delay(*item.state, options().backoff);  // it was not answered
  }
  co_await truncate(std::move(items));
  co_return true;
}

Task<void> Fetchers::Fetcher::truncate(std::vector<Item> items) {
  if (items.empty()) co_return;
  co_await on_owners(items, part_ways);
  co_await settled(items, true);
  for (auto& item : items) {
    took(item);
    auto& state = *item.state;
    if (state.gone || state.version != item.version || item.error.code != ErrorCode::NONE) continue;
    // A leader that says it in the fetch is asked by the next one.
    state.phase = item.complete || divergence_ == Divergence::in_fetch ? Phase::fetching : Phase::truncating;
  }
}

// ---- the request

// The volume is full: what is left is for the small topics that all depend on.
bool Fetchers::Fetcher::held(const State& state) const {
  return owner_.space_.level() == Space::Level::full && !cluster::internal_topic(state.id.topic);
}

bool Fetchers::Fetcher::wanted(State& state, nanoseconds at) {
  if (state.phase != Phase::fetching || state.not_before > at) return false;
  if (held(state)) {
    throttled_some_ = true;
    return false;
  }
  if (state.in_sync() || !state.following.partition->follower_throttled()) return true;
  if (!owner_.throttle_.exceeded(at)) return true;
  throttled_some_ = true;
  return false;
}

// Those whose back-off is over come again.
void Fetchers::Fetcher::collect_due() {
  const auto at = now();
  if (!delayed_ || next_due_ > at) return;
  delayed_ = false;
  next_due_ = nanoseconds::max();
  for (auto& [id, state] : states_) {
    if (state->not_before == nanoseconds(0)) continue;
    if (state->not_before > at) {
      next_due_ = std::min(next_due_, state->not_before);
      delayed_ = true;
      continue;
    }
    state->not_before = nanoseconds(0);
    if (state->phase == Phase::entering) entering_.push_back(state);
    enqueue(state);
  }
}

void Fetchers::Fetcher::add(Outgoing& out, State& state) {
  auto [slot, fresh] = topic_slots_.try_emplace(state.id.topic, out.request.topics.size());
  if (fresh) {
    auto& topic = out.request.topics.emplace_back();
    out.names.push_back(state.id.topic);
    topic.topic = out.names.back();
    topic.topic_id = state.following.topic_id.value_or(Uuid{});
    if (out.by_id) names_[topic.topic_id] = state.id.topic;
  }
  auto& to = out.request.topics[slot->second].partitions.emplace_back();
  to.partition = state.id.partition.value;
  to.current_leader_epoch = state.following.epoch.value;
  to.fetch_offset = state.next.value;
  to.last_fetched_epoch = divergence_ == Divergence::in_fetch ? state.last_epoch.value : -1;
  to.log_start_offset = state.log_start.value;
  to.partition_max_bytes = options().max_bytes;
  if (!std::exchange(state.in_session, true)) ++members_;
  // A leader forgets after it has added: who left and came back since the last request is not to be forgotten.
  const auto left = forgotten_.find(state.id);
  if (left != forgotten_.end() && (!out.by_id || left->second == topic_id_of(state))) forgotten_.erase(left);
  state.sent_next = state.next;
  state.sent_start = state.log_start;
  state.sent_version = state.version;
  state.sent_id = state.following.topic_id.value_or(Uuid{});
}

void Fetchers::Fetcher::add_forgotten(Outgoing& out) {
  std::map<std::pair<std::string, Uuid>, std::vector<std::int32_t>> by_topic;
  for (auto& [id, topic_id] : forgotten_) by_topic[{id.topic, topic_id}].push_back(id.partition.value);
  forgotten_.clear();
  for (auto& [topic, partitions] : by_topic) {
    auto& to = out.request.forgotten_topics_data.emplace_back();
    out.names.push_back(topic.first);
    to.topic = out.names.back();
    to.topic_id = topic.second;
    to.partitions = std::move(partitions);
  }
}

// False: there is nothing to ask for.
bool Fetchers::Fetcher::compose(Outgoing& out) {
  const auto at = now();
  news_ = false;
  topic_slots_.clear();
  collect_due();
  // Topic ids only when all topics have one: a session speaks one language.
  out.by_id = fetch_version_ >= topic_ids_from && without_id_ == 0;
  if (out.by_id != session_by_id_) session_.renew();
  session_by_id_ = out.by_id;
  // While somebody is throttled each request looks at all of them.
  const bool all =
      session_.full() || std::exchange(throttled_some_, false) || owner_.throttle_.rate() != Throttle::unlimited;
  auto changed = std::exchange(dirty_, {});
  for (auto& state : changed) state->queued = false;
  if (session_.full()) {
    names_.clear();
    forgotten_.clear();
    for (auto& [id, state] : states_) state->in_session = false;
    members_ = 0;
  }
  const auto consider = [&](State& state, bool is_changed) {
    if (state.gone) return;
    if (!wanted(state, at)) {
      forget(state);
      return;
    }
    const bool other_id = state.in_session && state.sent_id != state.following.topic_id.value_or(Uuid{});
    if (other_id) forget(state);
    if (is_changed || !state.in_session) add(out, state);
  };
  if (all) {
    // Those that had records last come last: a leader that keeps no session gives everyone a turn, too.
    std::vector<State*> in_turn;
    in_turn.reserve(states_.size());
    for (auto& [id, state] : states_) in_turn.push_back(state.get());
    std::ranges::sort(in_turn, {}, &State::turn);
    for (auto* state : in_turn) {
      const bool is_changed = state->sent_next != state->next || state->sent_version != state->version ||
                              state->sent_start != state->log_start;
      consider(*state, is_changed);
    }
  } else {
    for (auto& state : changed) consider(*state, true);
  }
  add_forgotten(out);
  auto& request = out.request;
  request.replica_id = owner_.self_.value;
  request.replica_state.replica_id = owner_.self_.value;
  request.replica_state.replica_epoch = options().broker_epoch ? options().broker_epoch().value : -1;
  // Nobody's back-off is longer for the others' having nothing to say.
  auto wait = options().wait_max;
  if (delayed_) {
    wait = std::clamp(std::chrono::duration_cast<milliseconds>(next_due_ - at), milliseconds(1),
                      std::max(wait, milliseconds(1)));
  }
  request.max_wait_ms = static_cast<std::int32_t>(wait.count());
  request.min_bytes = options().min_bytes;
  request.max_bytes = options().response_max_bytes;
  request.session_id = session_.id();
  request.session_epoch = session_.epoch();
  return members_ > 0;
}

void Fetchers::Fetcher::give_up_soon() {
  const auto at = std::max(now() + give_up_after, last_given_up_ + give_up_every);
  auto job = [weak = weak_from_this(), request = requests_] {
    const auto self = weak.lock();
    if (!self || !self->in_flight_ || self->requests_ != request || !self->connection_) return;
    self->given_up_ = true;
    self->last_given_up_ = self->now();
    self->connection_->close("newcomers do not wait");
  };
  shard().schedule(at, std::move(job));
}

Task<void> Fetchers::Fetcher::fetch() {
  Outgoing out;
  if (!compose(out)) {
    // Whoever was in the session is out of it: it begins anew with the next partition.
    session_.renew();
    const auto pause =
        throttled_some_ ? std::min<nanoseconds>(options().backoff, milliseconds(100)) : options().backoff;
    const auto due = delayed_ ? std::max(next_due_ - now(), nanoseconds(milliseconds(1))) : pause;
    co_await bell_.wait(std::min(pause, due));
    co_return;
  }
  const auto connection = connection_;
  ++requests_;
  in_flight_ = true;
  const auto version_max = std::min<std::int16_t>(options().fetch_version_max,
                                                  out.by_id ? fetch_version_ : std::int16_t{topic_ids_from - 1});
  const auto timeout = std::max(options().socket_timeout, options().wait_max + milliseconds(1'000));
  auto answer = co_await connection->call<protocol::FetchResponse>(std::move(out.request), {4, version_max}, timeout);
  in_flight_ = false;
  if (owner_.stopping_) co_return;
  if (!answer) {
    disconnect();
    if (std::exchange(given_up_, false)) co_return;
    WEIR_LOG_LIMITED(warn, seconds(10), "fetching from broker {} failed: {}", leader_.value, answer.error().message);
    if (options().lost && answer.error().code == ErrorCode::NETWORK_EXCEPTION) options().lost(leader_);
    if (!news_) co_await bell_.wait(options().backoff);
    co_return;
  }
  given_up_ = false;
  const auto error = static_cast<ErrorCode>(answer->message.error_code);
  if (error != ErrorCode::NONE) {
    session_.refused(error);
    const bool session_only =
        error == ErrorCode::FETCH_SESSION_ID_NOT_FOUND || error == ErrorCode::INVALID_FETCH_SESSION_EPOCH;
    WEIR_LOG_LIMITED(info, seconds(10), "broker {} refused a fetch: {}", leader_.value, name(error));
    if (!session_only) co_await bell_.wait(options().backoff);
    co_return;
  }
  session_.answered(answer->message.session_id);
  co_await process(std::move(*answer), out.by_id);
}

// ---- the answer

void Fetchers::Fetcher::partition_error(const StatePtr& state, ErrorCode error, std::vector<StatePtr>& out_of_range) {
  if (error == ErrorCode::OFFSET_OUT_OF_RANGE) {
    out_of_range.push_back(state);
    return;
  }
  // Of another epoch than the leader, not led there any more, not made there yet: the controller's word, or the next
  // try, sets it right.
  WEIR_LOG_LIMITED(info, seconds(5), "{}: broker {} answers {} for offset {} (leader epoch {})", state->id.text(),
                   leader_.value, name(error), state->next.value, state->following.epoch.value);
  delay_shortly(*state);
  enqueue(state);
}

Task<void> Fetchers::Fetcher::process(client::Answer<protocol::FetchResponse> answer, bool by_id) {
  std::vector<Item> records;
  std::vector<Item> diverging;
  std::vector<StatePtr> out_of_range;
  for (const auto& topic : answer.message.responses) {
    std::string_view name = topic.topic;
    if (by_id) {
      const auto it = names_.find(topic.topic_id);
      if (it == names_.end()) continue;
      name = it->second;
    }
    for (const auto& data : topic.partitions) {
      const auto it = states_.find(std::pair(name, PartitionId{data.partition_index}));
      if (it == states_.end()) {
        // Of a session that has more than we know of: an error would come again and again.
        if (data.error_code != 0) session_.renew();
        continue;
      }
      const auto& state = it->second;
      // Only the answer to what is asked for now.
      if (!state->in_session || state->sent_version != state->version || state->sent_next != state->next ||
          state->phase != Phase::fetching) {
        continue;
      }
      if (data.error_code != 0) {
        partition_error(state, static_cast<ErrorCode>(data.error_code), out_of_range);
        continue;
      }
      auto item = item_of(state);
      item.at = state->next;
      if (data.diverging_epoch.epoch >= 0 || data.diverging_epoch.end_offset >= 0) {
        item.leader_end = {LeaderEpoch{data.diverging_epoch.epoch}, Offset{data.diverging_epoch.end_offset}};
        diverging.push_back(std::move(item));
        continue;
      }
      item.records = answer.memory.sub(data.records.view);
      item.leader_high_watermark = Offset{data.high_watermark};
      item.leader_start = Offset{data.log_start_offset};
      records.push_back(std::move(item));
    }
  }
  if (!records.empty()) {
    co_await on_owners(records, take_records);
    co_await settled(records, true);
    std::uint64_t throttled = 0;
    for (auto& item : records) {
      const auto lag = std::max<std::int64_t>(0, item.leader_high_watermark - item.next);
      const bool counts = item.appended > 0 && item.following.partition->follower_throttled();
      if (counts) throttled += item.appended;
      auto& state = *item.state;
      const bool moved =
          item.next != state.next || item.log_start != state.log_start || item.error.code != ErrorCode::NONE;
      if (moved) took(item);
      if (state.gone || state.version != item.version) continue;
      state.lag = lag;
      if (item.error.code == ErrorCode::NONE) state.errors = 0;
      if (item.appended > 0) state.turn = ++turns_;
    }
    if (throttled > 0) owner_.throttle_.record(throttled, now());
  }
  co_await truncate(std::move(diverging));
  if (!out_of_range.empty()) co_await ask_range(std::move(out_of_range));
}

// ---- out of range

// The leader's end, or its start, for each item; false: the connection is gone. An item that got none has an error.
Task<bool> Fetchers::Fetcher::list_offsets(std::vector<Item>& items, std::int64_t timestamp) {
  if (!connection_) co_return false;
  const auto connection = connection_;
  auto request = offsets_request(owner_.self_, items, timestamp);
  auto answer =
      co_await connection->call<protocol::ListOffsetsResponse>(std::move(request), {1, 7}, options().socket_timeout);
  if (!answer) {
    disconnect();
    co_return false;
  }
  take_offsets(items, answer->message, timestamp);
  co_return true;
}

// As Kafka's fetchOffsetAndTruncate: beyond the leader's end (an unclean election) the log is cut; before the leader's
// start it begins anew there.
Task<void> Fetchers::Fetcher::ask_range(std::vector<StatePtr> states) {
  std::vector<Item> items;
  for (const auto& state : states) {
    if (!state->gone) items.push_back(item_of(state));
  }
  bool answered = co_await list_offsets(items, log::latest_timestamp);
  if (answered) answered = co_await list_offsets(items, log::earliest_timestamp);
  std::vector<Item> good;
  for (auto& item : items) {
    auto& state = *item.state;
    if (state.gone || state.version != item.version) continue;
    if (answered && item.error.code == ErrorCode::NONE) {
      WEIR_LOG(warn, "{}: offset {} is out of range at broker {}, whose log is [{}, {})", state.id.text(),
               state.next.value, leader_.value, item.leader_start.value, item.leader_end.end.value);
      good.push_back(std::move(item));
    } else {
      delay(state, options().backoff);
      enqueue(item.state);
    }
  }
  if (good.empty()) co_return;
  co_await on_owners(good, move_into_range);
  co_await settled(good, true);
  for (auto& item : good) {
    const auto before = item.state->next;
    took(item);
    auto& state = *item.state;
    if (state.gone || state.version != item.version || item.error.code != ErrorCode::NONE) continue;
    // Within range, and refused all the same: not at once again.
    if (state.next == before) delay(state, options().backoff);
  }
}

// The volume is full and these are not fetched: what their leaders delete is said in no fetch. It is asked for, so that
// it goes here, too, and there may be room again.
Task<void> Fetchers::Fetcher::ask_starts() {
  if (owner_.space_.level() != Space::Level::full || now() < next_ask_) co_return;
  std::vector<Item> items;
  for (const auto& [id, state] : states_) {
    if (state->phase == Phase::fetching && held(*state) && !state->in_session) items.push_back(item_of(state));
  }
  if (items.empty()) co_return;
  next_ask_ = now() + ask_starts_every;
  if (!co_await list_offsets(items, log::earliest_timestamp)) co_return;
  std::erase_if(items, [](const Item& item) { return item.error.code != ErrorCode::NONE; });
  co_await on_owners(items, learn_start);
  co_await settled(items, true);
  for (auto& item : items) took(item);
}

// ---- Fetchers

Fetchers::Fetchers(runtime::Shard& shard, BrokerId self, const FetchOptions& options, Throttle& throttle,
                   const Space& space, Checkpoint checkpoint)
    : shard_(shard),
      self_(self),
      options_(options),
      throttle_(throttle),
      space_(space),
      checkpoint_(std::move(checkpoint)),
      scope_(shard) {}

Fetchers::~Fetchers() = default;

void Fetchers::update(std::vector<Update> updates) {
  if (stopping_) return;
  std::vector<Fetcher*> touched;
  for (auto& update : updates) {
    const auto key = std::pair(update.leader, update.index);
    const auto had = all_.find(key);
    if (had == all_.end() && !update.follow) continue;
    const auto fetcher =
        had != all_.end() ? had->second : std::make_shared<Fetcher>(*this, update.leader, update.index);
    fetcher->update(update);
    if (had == all_.end()) {
      all_[key] = fetcher;
      scope_.spawn(Fetcher::run(fetcher));
    }
    if (std::ranges::find(touched, fetcher.get()) == touched.end()) touched.push_back(fetcher.get());
  }
  for (auto* fetcher : touched) fetcher->wake(false);
}

void Fetchers::retry() {
  for (auto& [key, fetcher] : all_) fetcher->wake(false);
}

Task<void> Fetchers::stop() {
  stopping_ = true;
  for (auto& [key, fetcher] : all_) fetcher->stop();
  co_await scope_.stop();
  all_.clear();
}

void Fetchers::lags(std::vector<Lag>& out) const {
  for (const auto& [key, fetcher] : all_) fetcher->lags(out);
}

std::size_t Fetchers::partitions() const {
  std::size_t n = 0;
  for (const auto& [key, fetcher] : all_) n += fetcher->partitions();
  return n;
}

std::size_t Fetchers::failed() const {
  std::size_t n = 0;
  for (const auto& [key, fetcher] : all_) n += fetcher->failed();
  return n;
}

}  // namespace weir::replica
