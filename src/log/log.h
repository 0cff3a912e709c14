// The log of one partition: a row of segments, the epochs, the producers (Kafka's UnifiedLog).
//
// Owner: one shard. All calls are made there, one at a time, and block at most on the page cache, but for those that
// say "blocks". What waits for a disk is taken out as a piece of work that touches nothing of the log: a Cold
// (fault.h), a FlushWork, a Removal. The caller runs it in the pool and brings the result back.
//
// A write that fails (disk full, I/O error) leaves the log as it was before: the torn tail is cut. When even that
// fails the log is failed: every later call gives KAFKA_STORAGE_ERROR, until it is loaded again.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/units.h"
#include "base/uuid.h"
#include "bytes/shared.h"
#include "log/config.h"
#include "log/epochs.h"
#include "log/fault.h"
#include "log/file_cache.h"
#include "log/names.h"
#include "log/producer_state.h"
#include "log/segment.h"
#include "record/validate.h"

namespace weir::log {

struct Appended {
  Offset first_offset;
  Offset last_offset;
  TimestampMs log_append_time = no_timestamp;  // with LogAppendTime, else -1
  Offset log_start;
  std::int32_t count = 0;
  std::uint32_t size = 0;  // bytes written
  bool duplicate = false;  // nothing was written; the offsets are those of the first time
};

// Up to where a read may go.
enum class Isolation : std::uint8_t {
  log_end,         // replicas
  high_watermark,  // consumers
  read_committed,  // consumers with isolation.level=read_committed: the last stable offset
};

// A part of a segment file, to be sent as it is. Keeps the file open even when the segment is deleted.
struct FileSlice {
  std::shared_ptr<const runtime::File> file;  // null when length is 0
  std::uint64_t position = 0;
  std::uint64_t length = 0;            // ends where max_bytes or the isolation's bound does: maybe inside a batch
  Offset first_batch_offset;           // base offset of the first batch: at or before what was asked for
  std::uint32_t first_batch_size = 0;  // > length when the first batch does not fit max_bytes
  std::int8_t first_batch_magic = 2;
  // For incremental decisions of the caller:
  Offset high_watermark;
  Offset last_stable_offset;
  Offset log_start;
  Offset log_end;
};

struct TimestampOffset {
  Offset offset = no_offset;  // -1: there is none
  TimestampMs timestamp = no_timestamp;
  LeaderEpoch epoch = no_leader_epoch;
};

// ListOffsets' special timestamps.
inline constexpr TimestampMs earliest_timestamp = -2;
inline constexpr TimestampMs latest_timestamp = -1;
inline constexpr TimestampMs largest_timestamp = -3;         // KIP-734
inline constexpr TimestampMs earliest_local_timestamp = -4;  // KIP-405: here the same as earliest

// An aborted transaction in a range that was read: what a read_committed consumer filters by.
struct AbortedTransaction {
  ProducerId producer;
  Offset first;
  friend bool operator==(const AbortedTransaction&, const AbortedTransaction&) = default;
};

// A flush taken out of the log: files to sync.
class FlushWork {
 public:
  // Blocks; from any thread.
  runtime::Io<> run();
  Offset up_to() const { return up_to_; }
  bool empty() const { return files_.empty() && paths_.empty() && directories_.empty(); }

 private:
  friend class Log;
  runtime::Files* system_ = nullptr;
  std::vector<std::shared_ptr<runtime::File>> files_;
  std::vector<std::string> paths_;        // small files; gone ones are fine
  std::vector<std::string> directories_;  // when files were made or renamed in them
  Offset up_to_;
  Offset active_base_;
  std::uint64_t generation_ = 0;
  std::uint64_t changes_ = 0;
};

// Files that are to go after file.delete.delay.ms.
class Removal {
 public:
  TimestampMs not_before() const { return not_before_; }
  bool empty() const { return paths_.empty(); }
  const std::vector<std::string>& paths() const { return paths_; }
  // Blocks; from any thread. Files that are gone already are fine.
  runtime::Io<> run(runtime::Files& files) const;

 private:
  friend class Log;
  friend class Directory;
  std::vector<std::string> paths_;
  TimestampMs not_before_ = 0;
};

class Log {
 public:
  struct Start {
    TopicPartition partition;
    std::string directory;  // of this partition; made when missing
    LogConfig config;
    Offset log_start{0};       // from the checkpoint
    Offset recovery_point{0};  // from the checkpoint
    bool clean = false;        // the last stop was: no scan
    std::optional<Uuid> topic_id;
    TimestampMs now = 0;
    std::uint64_t jitter_seed = 0;  // spreads segment.jitter.ms
  };
  // Blocks. Makes an empty log when there is none. INCONSISTENT_TOPIC_ID when partition.metadata names another topic.
  static Result<std::unique_ptr<Log>> load(FileCache& cache, Start start);
  ~Log();
  Log(const Log&) = delete;

  // One batch of a client (or of a coordinator), validated and given the next offsets; one write. Batches that were
  // appended before (same producer, epoch, sequences) are not written again. Errors: those of record::validate and
  // ProducerState::check, RECORD_LIST_TOO_LARGE (over segment.bytes), KAFKA_STORAGE_ERROR.
  // The buffer is patched in place and must be the caller's alone.
  std::expected<Appended, record::Rejection> append_as_leader(bytes::Shared records, LeaderEpoch epoch, TimestampMs now,
                                                              record::Origin origin = record::Origin::client);
  // Whole batches with the offsets a leader gave; a cut-off batch at the end is left out. The first may not begin
  // before the log's end (OFFSET_OUT_OF_RANGE). Epochs are learned from the batches; what follows a batch of a later
  // epoch than `epoch_max` (that of the leader who was asked), with it, is left out. More than a segment holds is
  // written in several pieces: after an error the first ones may be there.
  Result<Appended> append_as_follower(bytes::Shared records, TimestampMs now,
                                      std::optional<LeaderEpoch> epoch_max = std::nullopt);

  // From the batch that holds `from`. An empty slice at the bound. OFFSET_OUT_OF_RANGE below the log's start and
  // above its end. With `min_one` the first batch is given whole even when larger than `max_bytes`.
  Read<FileSlice> read(Offset from, std::uint64_t max_bytes, Isolation isolation, bool min_one,
                       ReadMode mode = ReadMode::cached_only);
  // Transactions aborted within [from, to): for read_committed answers.
  Read<std::vector<AbortedTransaction>> aborted(Offset from, Offset to, ReadMode mode = ReadMode::cached_only);

  // The first record at or after `timestamp`, or one of the special ones. `latest` answers with the bound that
  // `isolation` names.
  Read<TimestampOffset> offset_for_timestamp(TimestampMs timestamp, Isolation isolation = Isolation::high_watermark,
                                             ReadMode mode = ReadMode::cached_only);

  Offset log_start() const { return log_start_; }
  Offset log_end() const { return log_end_; }
  Offset high_watermark() const { return high_watermark_; }
  // The start of the oldest open transaction, at most the high watermark.
  Offset last_stable_offset() const;
  // Moves only forward, within [log start, log end]; true when it moved.
  bool advance_high_watermark(Offset to);
  // To anywhere within [log start, log end] (a new follower, after a load from the checkpoint).
  void set_high_watermark(Offset to);

  const Epochs& epochs() const { return epochs_; }
  std::optional<LeaderEpoch> latest_epoch() const { return epochs_.latest(); }
  // What OffsetForLeaderEpoch answers.
  Epochs::End end_of_epoch(LeaderEpoch epoch) const { return epochs_.end_of(epoch, log_end_); }
  // This broker leads with `epoch` from the log's end on (becoming leader).
  Result<> assign_epoch(LeaderEpoch epoch, Offset start);

  // Drops everything at `offset` and after; true when there were records. An epoch that began there goes also when
  // there were none. Blocks.
  Result<bool> truncate_to(Offset offset);
  // Empties the log; the next record gets `offset`. Blocks.
  Result<Removal> truncate_fully_and_start_at(Offset offset, TimestampMs now);
  // DeleteRecords, and what a leader tells: records before `to` are no more. OFFSET_OUT_OF_RANGE above the high
  // watermark. True when it moved. Segments go with the next retention pass.
  Result<bool> advance_log_start(Offset to);

  // Closed segments whose time or size is over, or that end before the log's start, leave the log: their files are
  // renamed to .deleted now and removed by running the result.
  Result<Removal> retain(TimestampMs now);
  // Rolls the active segment when segment.ms has passed for it, so that retention can take it. Called before retain.
  Result<bool> roll_if_due(TimestampMs now);
  Result<> roll(TimestampMs now);

  // What is to be synced so that everything appended till now survives a crash of the machine.
  Result<FlushWork> begin_flush();
  // `work.run()` succeeded: the recovery point moves.
  void finish_flush(const FlushWork& work, TimestampMs now);
  // `work.run()` failed: what was written may be lost, so the log is failed.
  void flush_failed(const runtime::IoError& error);
  // The three in one. Blocks.
  Result<> flush(TimestampMs now);
  Offset recovery_point() const { return recovery_point_; }
  std::int64_t unflushed_messages() const { return log_end_ - recovery_point_; }
  // Whether flush.messages or flush.ms asks for one now, or a roll left closed segments behind (as Kafka flushes them).
  bool flush_due(TimestampMs now) const;

  // Flushes, writes the producers' snapshot, trims. The log is closed for appends after it. Blocks.
  Result<> close(TimestampMs now);
  // No more disk work: the directory was renamed away, or failed.
  void abandon();

  void set_config(const LogConfig& config);
  const LogConfig& config() const { return config_; }
  const TopicPartition& partition() const { return partition_; }
  const std::string& directory() const { return directory_; }
  std::optional<Uuid> topic_id() const { return topic_id_; }
  // Writes partition.metadata; INCONSISTENT_TOPIC_ID when it has another. The zero id is none and changes nothing.
  Result<> set_topic_id(const Uuid& id);

  // Of all segments, bytes. Costs the same whatever their number.
  std::uint64_t size() const { return closed_bytes_ + active().size(); }
  std::size_t segment_count() const { return segments_.size(); }
  Offset active_base_offset() const { return segments_.back()->base_offset(); }
  const ProducerState& producers() const { return producers_; }
  void remove_expired_producers(TimestampMs now) { producers_.remove_expired(now); }
  bool failed() const { return failed_; }
  runtime::Files& files() { return cache_.files(); }

 private:
  struct Loader;
  friend struct Loader;
  friend class Directory;

  Log(FileCache& cache, Start start);

  Segment& active() { return *segments_.back(); }
  const Segment& active() const { return *segments_.back(); }
  // The last segment with a base at or before `offset`; 0 when there is none.
  std::size_t segment_index(Offset offset) const;
  Offset bound(Isolation isolation) const;
  Result<> usable() const;
  void fail_with(std::string why);
  std::unexpected<Error> write_failed(const runtime::IoError& error);

  Result<> write(bytes::Bytes records, Offset first, Offset last, TimestampMs max_timestamp, TimestampMs now);
  Result<> write_in_pieces(bytes::Bytes records, TimestampMs now);
  bool roll_needed(std::size_t size, Offset last, TimestampMs max_timestamp, TimestampMs now) const;
  Result<> roll_to(Offset base, TimestampMs now);
  // The batches were written from `position` of the active segment on: everything in memory that follows.
  void took(bytes::Bytes records, std::uint64_t position, bool learn_epochs);

  // Small files are written without a sync; the next flush does it.
  Result<> put_file(std::string_view name, std::string_view content);
  Result<> write_epochs();
  Result<> write_snapshot(Offset at);
  void append_aborted(const CompletedTransaction& done);
  // Snapshots beyond (first, last] go; the latest is loaded and what follows it is replayed up to the log's end.
  Result<> reload_producers(Offset snapshot_max, bool replay_without_snapshot, TimestampMs now);
  Result<std::vector<std::string>> drop_segment(std::size_t index);

  struct Spot {  // where a batch of the tail stands
    Offset base;
    Offset last;
    std::uint64_t position = 0;
    std::uint32_t size = 0;
    std::int8_t magic = 2;
  };
  static constexpr std::size_t recent_max = 32;
  const Spot* recent(Offset offset) const;
  // The first batch that ends at or after `offset`, in the segment `index` or a later one.
  struct Place {
    std::size_t segment = 0;
    BatchInfo batch;
  };
  Read<std::optional<Place>> locate(Offset offset, ReadMode mode) const;
  Read<TimestampOffset> first_record_at(std::size_t segment, const BatchInfo& batch, TimestampMs timestamp, Offset from,
                                        ReadMode mode) const;

  FileCache& cache_;
  TopicPartition partition_;
  std::string directory_;
  LogConfig config_;
  std::optional<Uuid> topic_id_;
  std::vector<std::unique_ptr<Segment>> segments_;  // by base offset; never empty once loaded
  std::uint64_t closed_bytes_ = 0;                  // of all but the active one
  Offset log_start_{0};
  Offset log_end_{0};
  Offset high_watermark_{0};
  Offset recovery_point_{0};
  Epochs epochs_;
  bool epochs_unwritten_ = false;
  ProducerState producers_;
  Offset last_snapshot_{0};
  std::vector<Spot> recent_;  // ring of the active segment's last batches
  std::size_t recent_next_ = 0;
  Offset indexes_synced_{0};   // indexes of segments before this one are on the disk
  std::uint64_t changes_ = 1;  // grows with each file made or renamed
  std::uint64_t changes_synced_ = 0;
  std::map<std::string, std::uint64_t> unsynced_files_;  // small ones, by the change that wrote them
  std::uint64_t generation_ = 0;  // grows with each truncation: a flush begun before counts no more
  TimestampMs last_flush_ms_ = 0;
  std::uint64_t jitter_seed_ = 0;
  bool failed_ = false;
  bool closed_ = false;
  std::string failed_why_;
};

}  // namespace weir::log
