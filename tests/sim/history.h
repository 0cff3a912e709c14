// What clients of a simulated cluster asked, were answered and read, and whether that is what Kafka promises.
//
// Pure: events in, problems out; the same rules as tests/system/checker.py. Every value that is produced is unique.
// Times are the world's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/topic.h"
#include "base/units.h"

namespace weir::sim {

struct Write {
  std::string value;
  int producer = 0;
  bool idempotent = false;
  TopicPartition where;
  nanoseconds asked{};
  enum class Outcome : std::uint8_t { unknown, acknowledged, refused };
  Outcome outcome = Outcome::unknown;
  std::int64_t offset = -1;  // -1: acknowledged by an answer that does not name one
  nanoseconds ended{};
};

// A partition's records by offset.
using Records = std::map<std::int64_t, std::string>;

class History {
 public:
  using Where = std::pair<std::string, int>;

  // The write's number. Of one producer and partition they are asked in the order of its records.
  std::size_t asked(int producer, bool idempotent, const TopicPartition& where, std::string value, nanoseconds now);
  void acknowledged(std::size_t write, std::int64_t offset, nanoseconds now);
  void refused(std::size_t write, nanoseconds now);
  // A consumer's next record.
  void read(int consumer, const TopicPartition& where, std::int64_t offset, std::string value, nanoseconds now);
  // What was read of a partition after all else, from its start to its end; and what a replica has on its disk.
  void at_end(const TopicPartition& where, std::int64_t start, std::int64_t end, Records records);
  void replica(const TopicPartition& where, int broker, std::int64_t start, Records records);
  // The log's start has moved past where this consumer stands; it goes on from there.
  void start_moved(int consumer, const TopicPartition& where);
  // Something that must not happen was seen by who made this history; of a partition, where it is about one.
  void problem(std::string what);
  void problem(const TopicPartition& where, std::string what);
  // Kafka does not promise to keep what this partition had (exposure.h). That its replicas agree is still asked.
  void excuse(const TopicPartition& where) { excused_.insert({where.topic, where.partition.value}); }
  bool excused(const TopicPartition& where) const { return excused_.contains({where.topic, where.partition.value}); }
  std::size_t excused() const { return excused_.size(); }

  // What is wrong; empty when nothing is.
  std::vector<std::string> judge() const;

  std::size_t writes() const { return writes_.size(); }
  std::size_t acks() const { return acks_; }
  std::size_t reads() const { return reads_; }
  std::uint64_t fingerprint() const;

 private:
  struct End {
    std::int64_t start = 0;
    std::int64_t end = 0;
    Records records;
  };
  struct Replica {
    int broker = 0;
    std::int64_t start = 0;
    Records records;
  };
  struct Seen {
    std::string value;
    int consumer;
    nanoseconds at;
  };
  void judge_presence(std::vector<std::string>& out) const;
  void judge_order(std::vector<std::string>& out) const;
  void judge_replicas(std::vector<std::string>& out) const;
  std::string told(const Write& write) const;

  std::vector<Write> writes_;
  std::map<std::string, std::size_t> by_value_;
  std::map<Where, std::map<std::int64_t, Seen>> seen_;
  std::map<std::pair<int, Where>, std::int64_t> last_read_;
  std::map<Where, End> ends_;
  std::map<Where, std::vector<Replica>> replicas_;
  std::vector<std::pair<std::optional<Where>, std::string>> problems_;
  std::set<Where> excused_;
  std::size_t acks_ = 0;
  std::size_t reads_ = 0;
};

}  // namespace weir::sim
