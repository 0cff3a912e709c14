#include "workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "protocol/messages/alter_partition_reassignments.h"
#include "protocol/messages/elect_leaders.h"
#include "protocol/messages/init_producer_id.h"
#include "record/builder.h"

namespace weir::sim {
namespace {

bytes::Shared batch_of(const std::vector<std::string>& values, milliseconds wall, record::BatchOptions options = {}) {
  record::Builder builder(options);
  // Some weight, so that segments fill up.
  const std::string key(values.front().size() * values.size() * 37 % 300, '.');
  for (const auto& value : values) {
    builder.append(
        {.timestamp = wall.count(), .key = bytes::as_bytes(key), .value = bytes::as_bytes(value), .headers = {}});
  }
  return *builder.build();
}

// The records of a buffer by offset, from `from` on. The offset after the last batch, or `from`.
std::int64_t unpack(bytes::Bytes buffer, std::int64_t from, Records& out) {
  auto next = from;
  record::Batches batches(buffer);
  while (auto batch = batches.next()) {
    record::RecordIterator records(*batch);
    while (const auto* record = records.next()) {
      if (record->offset.value < from) continue;
      out[record->offset.value] = std::string(bytes::as_text(record->value.value_or(bytes::Bytes{})));
    }
    next = std::max(next, batch->next_offset().value);
  }
  return next;
}

constexpr seconds refused_max{60};
constexpr seconds metadata_age_max{20};

bool refused_for_good(ErrorCode code) {
  return code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER || code == ErrorCode::UNKNOWN_PRODUCER_ID ||
         code == ErrorCode::INVALID_PRODUCER_EPOCH || code == ErrorCode::CORRUPT_MESSAGE ||
         code == ErrorCode::INVALID_RECORD;
}

}  // namespace

Workload::Workload(Cluster& cluster, WorkloadOptions options)
    : cluster_(cluster),
      options_(std::move(options)),
      random_(cluster.clients().random()),
      shard_(*cluster.clients().shards().front()),
      scope_(shard_) {
  positions_.resize(static_cast<std::size_t>(options_.consumers * options_.partitions));
}

std::unique_ptr<client::Client> Workload::new_client(milliseconds retry) {
  client::Options options;
  options.connection.request_timeout = milliseconds(3000);
  options.connection.socket.connect_max = milliseconds(2000);
  options.backoff_min = milliseconds(20);
  options.backoff_max = milliseconds(500);
  options.retry_timeout = retry;
  return std::make_unique<client::Client>(shard_, cluster_.clients().sockets(), random_, options, cluster_.bootstrap());
}

void Workload::drive(Task<void> task) {
  auto run = [task = std::move(task)]() mutable -> Task<void> { return std::move(task); };
  runtime::block_on(shard_, std::move(run));
}

Task<void> Workload::rest(int ms_max) {
  co_await runtime::sleep(
      shard_, milliseconds(1 + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(ms_max)))));
}

bool Workload::create_topic(nanoseconds limit) {
  looker_ = new_client(milliseconds(2000));
  const auto deadline = now() + limit;
  auto create = [](Workload* self) -> Task<void> {
    client::NewTopic topic;
    topic.name = self->options_.topic;
    topic.partitions = self->options_.partitions;
    topic.replication_factor = static_cast<std::int16_t>(self->options_.replicas);
    if (self->options_.retention_bytes >= 0) {
      topic.configs.emplace_back("retention.bytes", std::to_string(self->options_.retention_bytes));
      topic.configs.emplace_back("file.delete.delay.ms", "1000");
    }
    auto made = co_await self->looker_->create_topic(std::move(topic));
    self->created_ = made || made.error().code == ErrorCode::TOPIC_ALREADY_EXISTS;
    if (!made) self->cluster_.tell(fmt::format("topic: {}", made.error().message));
  };
  while (!created_ && now() < deadline) drive(create(this));
  return created_;
}

void Workload::start() {
  auto begin = [](Workload* self) -> Task<void> {
    for (int i = 0; i < self->options_.producers; ++i) self->scope_.spawn(produce(self, i, i % 2 == 0));
    for (int i = 0; i < self->options_.consumers; ++i) {
      for (int p = 0; p < self->options_.partitions; ++p) self->scope_.spawn(consume(self, i, PartitionId{p}));
    }
    if (self->options_.admin) self->scope_.spawn(administer(self));
    co_return;
  };
  drive(begin(this));
}

void Workload::stop() {
  stopping_ = true;
  producing_ = administering_ = false;
  auto end = [](Workload* self) -> Task<void> {
    for (auto& client : self->clients_) co_await client->stop();
    co_await self->scope_.stop();
    co_await self->looker_->stop();
  };
  drive(end(this));
}

// ---- producers

std::vector<std::string> Workload::values(int producer, int& number) {
  std::vector<std::string> all;
  const auto count = 1 + random_.below(4);
  for (std::uint64_t i = 0; i < count; ++i) {
    all.push_back(fmt::format("p{}-{}", producer, ++number));
  }
  return all;
}

Task<void> Workload::produce(Workload* self, int number, bool idempotent) {
  ++self->producers_running_;
  auto& client = *self->clients_.emplace_back(self->new_client(milliseconds(idempotent ? 4000 : 1)));
  if (idempotent) {
    co_await produce_idempotent(self, &client, number);
  } else {
    co_await produce_plainly(self, &client, number);
  }
  --self->producers_running_;
}

Task<void> Workload::produce_idempotent(Workload* self, client::Client* client, int number) {
  record::BatchOptions batch;
  while (batch.producer_id == no_producer) {
    protocol::InitProducerIdRequest request;
    request.transactional_id.reset();
    auto answer = co_await client->call_any<protocol::InitProducerIdResponse>(std::move(request));
    if (answer && answer->message.error_code == 0) {
      batch.producer_id = ProducerId{answer->message.producer_id};
      batch.producer_epoch = ProducerEpoch{answer->message.producer_epoch};
      break;
    }
    if (!self->producing_ || self->stopping_) co_return;
    co_await self->rest(300);
  }
  std::vector<std::int32_t> sequences(static_cast<std::size_t>(self->options_.partitions));
  int made = 0;
  while (self->producing_) {
    const PartitionId partition{static_cast<std::int32_t>(self->random_.below(sequences.size()))};
    auto& sequence = sequences[static_cast<std::size_t>(partition.value)];
    const auto all = self->values(number, made);
    batch.base_sequence = sequence;
    sequence += static_cast<std::int32_t>(all.size());
    const auto records = batch_of(all, self->cluster_.world().clock().wall(), batch);
    std::vector<std::size_t> writes;
    for (const auto& value : all) {
      writes.push_back(self->history_.asked(number, true, self->where(partition), value, self->now()));
    }
    std::optional<nanoseconds> refused_since;
    // Until there is an answer: it may be written already, and must not be twice.
    for (;;) {
      auto offset = co_await client->produce(self->options_.topic, partition, records);
      if (offset || offset.error().code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER) {
        for (std::size_t i = 0; i < writes.size(); ++i) {
          const auto at = offset && offset->value >= 0 ? offset->value + static_cast<std::int64_t>(i) : -1;
          self->history_.acknowledged(writes[i], at, self->now());
        }
        break;
      }
      self->cluster_.tell(fmt::format("producer {}: {} ({}): {} {}", number, all.front(), partition.value,
                                      name(offset.error().code), offset.error().message));
      if (self->stopping_) co_return;
      // A leader that does not know yet that it is none may have missed what came before; one that is none any more
      // is found out by asking again. What is refused for long is refused for good: the log lacks what was before.
      if (refused_for_good(offset.error().code)) {
        // The log lost what was before, which Kafka does not promise to keep.
        if (self->history_.excused(self->where(partition))) co_return;
        if (!refused_since) refused_since = self->now();
        if (self->now() - *refused_since > refused_max) {
          self->history_.problem(
              self->where(partition),
              fmt::format("SEQUENCE producer {} of {}-{}, sequence {}: {} {}", number, self->options_.topic,
                          partition.value, batch.base_sequence, name(offset.error().code), offset.error().message));
          co_return;
        }
        auto topics = std::optional(std::vector<std::string>{self->options_.topic});
        (void)co_await client->refresh(std::move(topics));
      } else {
        refused_since.reset();
      }
      co_await self->rest(100);
    }
    co_await self->rest(150);
  }
}

Task<void> Workload::produce_plainly(Workload* self, client::Client* client, int number) {
  int made = 0;
  while (self->producing_) {
    const PartitionId partition{
        static_cast<std::int32_t>(self->random_.below(static_cast<std::uint64_t>(self->options_.partitions)))};
    const auto all = self->values(number, made);
    const auto records = batch_of(all, self->cluster_.world().clock().wall());
    std::vector<std::size_t> writes;
    for (const auto& value : all) {
      writes.push_back(self->history_.asked(number, false, self->where(partition), value, self->now()));
    }
    auto offset = co_await client->produce(self->options_.topic, partition, records);
    for (std::size_t i = 0; offset && i < writes.size(); ++i) {
      self->history_.acknowledged(writes[i], offset->value + static_cast<std::int64_t>(i), self->now());
    }
    if (!offset) {
      self->cluster_.tell(fmt::format("producer {}: {} ({}): {} {}", number, all.front(), partition.value,
                                      name(offset.error().code), offset.error().message));
      // The client looks up leaders anew only when it tries again.
      auto topics = std::optional(std::vector<std::string>{self->options_.topic});
      (void)co_await client->refresh(std::move(topics));
    }
    co_await self->rest(offset ? 150 : 400);
  }
}

// ---- consumers

Task<void> Workload::consume(Workload* self, int number, PartitionId partition) {
  auto& client = *self->clients_.emplace_back(self->new_client(milliseconds(1)));
  auto& position = self->positions_.at(static_cast<std::size_t>(number * self->options_.partitions + partition.value));
  auto refreshed = self->now();
  while (!self->stopping_) {
    client::FetchOptions options;
    options.wait_max = milliseconds(300);
    options.partition_bytes_max = 4096;
    auto fetched = co_await client.fetch(self->options_.topic, partition, Offset{position}, options);
    if (self->stopping_) co_return;
    if (!fetched) {
      if (fetched.error().code == ErrorCode::OFFSET_OUT_OF_RANGE) {
        self->cluster_.tell(fmt::format("consumer {}: {} is out of range of {}", number, position, partition.value));
      }
      auto topics = std::optional(std::vector<std::string>{self->options_.topic});
      (void)co_await client.refresh(std::move(topics));
      if (fetched.error().code == ErrorCode::OFFSET_OUT_OF_RANGE) {
        const auto start = co_await client.list_offset(self->options_.topic, partition, client::earliest_offset);
        // Behind the log's start; or beyond the end of a log that lost what Kafka does not promise to keep.
        if (start && (start->value > position || self->history_.excused(self->where(partition)))) {
          self->history_.start_moved(number, self->where(partition));
          position = start->value;
        }
      }
      co_await self->rest(300);
      continue;
    }
    Records records;
    const auto next = unpack(fetched->records.view(), position, records);
    for (auto& [offset, value] : records) {
      if (offset >= fetched->high_watermark.value) {
        self->history_.problem(self->where(partition),
                               fmt::format("WATERMARK {} offset {} was given with a high watermark of {}",
                                           self->where(partition).text(), offset, fetched->high_watermark.value));
      }
      self->history_.read(number, self->where(partition), offset, std::move(value), self->now());
    }
    position = next;
    if (!records.empty()) continue;
    co_await self->rest(20);
    // As metadata.max.age.ms: who is no leader any more may not know it, and answers without an error.
    if (self->now() - refreshed > metadata_age_max) {
      refreshed = self->now();
      auto topics = std::optional(std::vector<std::string>{self->options_.topic});
      (void)co_await client.refresh(std::move(topics));
    }
  }
}

// ---- administration

Task<void> Workload::reassign(Workload* self, client::Client* client) {
  protocol::AlterPartitionReassignmentsRequest request;
  request.timeout_ms = 3000;
  auto& topic = request.topics.emplace_back();
  topic.name = self->options_.topic;
  auto& partition = topic.partitions.emplace_back();
  partition.partition_index =
      static_cast<std::int32_t>(self->random_.below(static_cast<std::uint64_t>(self->options_.partitions)));
  std::vector<std::int32_t> brokers;
  for (auto* node : self->cluster_.nodes()) brokers.push_back(node->id().value);
  for (std::size_t i = brokers.size(); i > 1; --i) std::swap(brokers[i - 1], brokers[self->random_.below(i)]);
  brokers.resize(static_cast<std::size_t>(self->options_.replicas));
  if (self->random_.below(5) > 0) partition.replicas = brokers;  // else a cancellation
  self->cluster_.tell(fmt::format("reassign {} to {}", partition.partition_index,
                                  partition.replicas ? fmt::format("{}", fmt::join(brokers, ",")) : "nothing new"));
  auto answer = co_await client->call_controller<protocol::AlterPartitionReassignmentsResponse>(std::move(request));
  self->cluster_.tell(answer ? fmt::format("reassign: {}", answer->message.error_code)
                             : fmt::format("reassign: {}", answer.error().message));
}

Task<void> Workload::elect(Workload* self, client::Client* client) {
  protocol::ElectLeadersRequest request;
  request.timeout_ms = 3000;
  request.election_type = 0;
  request.topic_partitions.reset();
  self->cluster_.tell("elect the preferred leaders");
  (void)co_await client->call_controller<protocol::ElectLeadersResponse>(std::move(request));
}

Task<void> Workload::come_and_go(Workload* self, client::Client* client, int number) {
  const auto name = fmt::format("short-lived-{}", number % 3);
  if (self->random_.below(2) == 0) {
    self->cluster_.tell(fmt::format("delete {}", name));
    (void)co_await client->delete_topic(name);
  } else {
    self->cluster_.tell(fmt::format("create {}", name));
    client::NewTopic topic;
    topic.name = name;
    topic.partitions = 1 + static_cast<std::int32_t>(self->random_.below(4));
    topic.replication_factor = static_cast<std::int16_t>(self->options_.replicas);
    (void)co_await client->create_topic(std::move(topic));
  }
}

Task<void> Workload::administer(Workload* self) {
  auto& client = *self->clients_.emplace_back(self->new_client(milliseconds(1000)));
  for (int number = 0; self->administering_; ++number) {
    co_await self->rest(6000);
    if (!self->administering_) co_return;
    auto topics = std::optional(std::vector<std::string>{});
    (void)co_await client.refresh(std::move(topics));  // who the controller is
    switch (self->random_.below(4)) {
      case 0:
      case 1: co_await reassign(self, &client); break;
      case 2: co_await elect(self, &client); break;
      default: co_await come_and_go(self, &client, number); break;
    }
  }
}

// ---- the end

Task<void> Workload::look(Workload* self) {
  auto& trouble = self->trouble_;
  trouble.clear();
  auto seen = co_await self->looker_->refresh(std::nullopt);
  if (!seen) {
    trouble = fmt::format("no metadata: {}", seen.error().message);
    co_return;
  }
  self->seen_ = *seen;
  const auto brokers = self->cluster_.nodes().size();
  if (seen->brokers.size() != brokers) {
    trouble = fmt::format("{} of {} brokers are in the metadata", seen->brokers.size(), brokers);
    co_return;
  }
  const auto found = seen->topics.find(self->options_.topic);
  if (found == seen->topics.end() ||
      found->second.partitions.size() != static_cast<std::size_t>(self->options_.partitions)) {
    trouble = "the topic is not whole";
    co_return;
  }
  for (const auto& [name, topic] : seen->topics) {
    for (const auto& [id, partition] : topic.partitions) {
      const auto list = [](const auto& ids) {
        std::string text;
        for (const auto one : ids) text += fmt::format("{}{}", text.empty() ? "" : ",", one.value);
        return text;
      };
      if (partition.leader == no_broker || partition.isr.size() != partition.replicas.size() ||
          partition.replicas.size() != static_cast<std::size_t>(self->options_.replicas)) {
        trouble = fmt::format("{}-{}: leader {}, replicas {}, in sync {}", name, id.value, partition.leader.value,
                              list(partition.replicas), list(partition.isr));
        co_return;
      }
    }
  }
  for (int p = 0; p < self->options_.partitions; ++p) {
    auto end = co_await self->looker_->list_offset(self->options_.topic, PartitionId{p}, client::latest_offset);
    if (!end) {
      trouble = fmt::format("partition {} does not tell its end: {}", p, end.error().message);
      co_return;
    }
    for (int c = 0; c < self->options_.consumers; ++c) {
      const auto position = self->positions_.at(static_cast<std::size_t>(c * self->options_.partitions + p));
      if (position == end->value) continue;
      trouble = fmt::format("consumer {} of partition {} is at {} of {}", c, p, position, end->value);
      co_return;
    }
  }
}

std::string Workload::unhealthy() {
  if (!produced()) {
    cluster_.world().run_for(milliseconds(200));
    return fmt::format("{} producers wait for an answer", producers_running_);
  }
  drive(look(this));
  if (!trouble_.empty()) cluster_.world().run_for(milliseconds(500));
  return trouble_;
}

Task<void> Workload::read_partition(Workload* self, PartitionId partition, Records* out, std::int64_t* start,
                                    std::int64_t* end) {
  const auto& topic = self->options_.topic;
  auto first = co_await self->looker_->list_offset(topic, partition, client::earliest_offset);
  auto last = co_await self->looker_->list_offset(topic, partition, client::latest_offset);
  if (!first || !last) {
    self->history_.problem(fmt::format("UNREAD {} does not tell its offsets", self->where(partition).text()));
    co_return;
  }
  *start = first->value;
  *end = last->value;
  for (auto at = *start; at < *end;) {
    auto fetched = co_await self->looker_->fetch(topic, partition, Offset{at});
    if (!fetched) {
      self->history_.problem(
          fmt::format("UNREAD {} at {}: {}", self->where(partition).text(), at, fetched.error().message));
      co_return;
    }
    const auto next = unpack(fetched->records.view(), at, *out);
    if (next == at) {
      self->history_.problem(
          fmt::format("UNREAD {} gives nothing at {} of {}", self->where(partition).text(), at, *end));
      co_return;
    }
    at = next;
  }
}

// What is in a replica's files, without the broker's help.
void Workload::read_disk(Node& node, PartitionId partition) {
  auto& disk = node.machine().disk();
  std::string directory;
  for (const auto& parent : cluster_.directories()) {
    const auto here = parent + "/" + where(partition).text();
    if (auto there = disk.exists(here); !there || !*there) continue;
    if (!directory.empty())
      history_.problem(fmt::format("TWICE broker {} has {} and {}", node.id().value, directory, here));
    directory = here;
  }
  auto names = disk.list(directory);
  if (!names) {
    history_.problem(fmt::format("UNREAD broker {} has no {}", node.id().value, where(partition).text()));
    return;
  }
  Records records;
  std::int64_t start = -1;
  std::int64_t next = 0;
  for (const auto& name : *names) {
    if (!name.ends_with(".log")) continue;
    const auto content = disk.read_whole(directory + "/" + name);
    if (!content) continue;
    if (start < 0) start = next = std::stoll(name);
    next = unpack(bytes::as_bytes(*content), next, records);
  }
  history_.replica(where(partition), node.id().value, std::max<std::int64_t>(start, 0), std::move(records));
}

void Workload::read_all() {
  for (int p = 0; p < options_.partitions; ++p) {
    const PartitionId partition{p};
    Records records;
    std::int64_t start = 0;
    std::int64_t end = 0;
    drive(read_partition(this, partition, &records, &start, &end));
    history_.at_end(where(partition), start, end, std::move(records));
    for (const auto replica : seen_.topics[options_.topic].partitions[partition].replicas) {
      read_disk(cluster_.node(replica), partition);
    }
  }
}

}  // namespace weir::sim
