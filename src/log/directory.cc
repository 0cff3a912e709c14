#include "log/directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "base/log.h"

namespace weir::log {
namespace {

// What Kafka writes into its mark since KIP-966; the epoch is not ours to say.
constexpr std::string_view clean_shutdown_text = R"({"version":0,"brokerEpoch":-1})";

}  // namespace

Directory::Directory(FileCache& cache, runtime::Clock& clock, DirectoryOptions options)
    : cache_(cache), clock_(clock), options_(std::move(options)) {}

Directory::~Directory() = default;

Result<std::unique_ptr<Directory>> Directory::open(FileCache& cache, runtime::Clock& clock, DirectoryOptions options) {
  auto& files = cache.files();
  if (auto made = files.make_directories(options.path); !made) return storage_error(made.error());
  auto is = files.is_directory(options.path);
  if (!is) return storage_error(is.error());
  if (!*is) return fail(ErrorCode::KAFKA_STORAGE_ERROR, options.path + " is not a directory");
  // Its own name survives a crash, where its parent lets us say so.
  if (const auto slash = options.path.rfind('/'); slash != std::string::npos) {
    (void)files.sync_directory(slash == 0 ? "/" : options.path.substr(0, slash));
  }
  std::unique_ptr<Directory> out(new Directory(cache, clock, std::move(options)));
  const auto lock_path = fmt::format("{}/{}", out->path(), lock_name);
  auto lock = files.lock(lock_path);
  if (!lock) {
    if (lock.error().number == EWOULDBLOCK) {
      return fail(ErrorCode::KAFKA_STORAGE_ERROR,
                  fmt::format("the log directory {} is already in use: another process, a broker most likely, holds "
                              "the lock on {}",
                              out->path(), lock_path));
    }
    return storage_error(lock.error());
  }
  out->lock_ = std::move(*lock);
  auto meta = read_meta_properties(files, out->path());
  if (!meta) return std::unexpected(meta.error());
  out->meta_ = std::move(*meta);
  return out;
}

Result<> Directory::claim(BrokerId broker, const std::string& cluster_id) {
  if (meta_ && !meta_->cluster_id.empty() && meta_->cluster_id != cluster_id) {
    return fail(ErrorCode::INCONSISTENT_CLUSTER_ID,
                fmt::format("the log directory {} belongs to cluster {}, this is cluster {}", path(), meta_->cluster_id,
                            cluster_id));
  }
  if (meta_ && meta_->broker_id != no_broker && meta_->broker_id != broker) {
    return fail(ErrorCode::INCONSISTENT_CLUSTER_ID,
                fmt::format("the log directory {} belongs to broker {}, this is broker {}", path(),
                            meta_->broker_id.value, broker.value));
  }
  if (meta_ && meta_->broker_id == broker && meta_->cluster_id == cluster_id) return {};
  auto meta = meta_.value_or(MetaProperties{});
  meta.broker_id = broker;
  meta.cluster_id = cluster_id;
  if (auto done = write_meta_properties(cache_.files(), path(), meta); !done) return done;
  meta_ = std::move(meta);
  return {};
}

Result<std::vector<std::unique_ptr<Log>>> Directory::load() {
  auto& files = cache_.files();
  const auto mark = fmt::format("{}/{}", path(), clean_shutdown_name);
  auto clean = files.exists(mark);
  if (!clean) return storage_error(clean.error());
  was_clean_ = *clean;
  auto recovery = read_offset_checkpoint(files, fmt::format("{}/{}", path(), recovery_point_name));
  auto starts = read_offset_checkpoint(files, fmt::format("{}/{}", path(), log_start_name));
  auto marks = read_offset_checkpoint(files, fmt::format("{}/{}", path(), replication_name));
  // Without them nothing is lost: all segments are scanned, the logs start where their files do.
  for (auto* checkpoint : {&recovery, &starts, &marks}) {
    if (!*checkpoint) {
      WEIR_LOG(warn, "{}", checkpoint->error().message);
      *checkpoint = OffsetCheckpoint{};
    }
  }
  auto names = files.list(path());
  if (!names) return storage_error(names.error());
  std::vector<TopicPartition> partitions;
  for (const auto& name : *names) {
    const auto full = fmt::format("{}/{}", path(), name);
    if (is_deleted_directory(name)) {
      leftovers_.push_back(full);
      continue;
    }
    auto partition = parse_directory_name(name);
    if (!partition) continue;
    auto is = files.is_directory(full);
    if (is && *is) partitions.push_back(std::move(*partition));
  }

  std::vector<std::unique_ptr<Log>> logs(partitions.size());
  std::atomic<std::size_t> next{0};
  std::mutex failed_mutex;  // the loading threads share `failed`
  std::optional<Error> failed;
  const auto work = [&] {
    for (auto i = next.fetch_add(1); i < partitions.size(); i = next.fetch_add(1)) {
      auto log = load_one(partitions[i], was_clean_, *recovery, *starts, *marks);
      if (log) {
        logs[i] = std::move(*log);
        continue;
      }
      const std::lock_guard lock(failed_mutex);
      if (!failed) failed = log.error();
      next = partitions.size();
    }
  };
  if (options_.recovery_threads <= 1) {
    work();
  } else {
    std::vector<std::jthread> threads;
    for (int i = 0; i < options_.recovery_threads; ++i) threads.emplace_back(work);
  }
  if (failed) return std::unexpected(*failed);
  // From now on a crash is one. Also where there is no mark: a start that failed may have taken it away and not have
  // brought that to the disk, and a power failure would show it again.
  if (was_clean_) {
    if (auto done = files.remove(mark); !done) return storage_error(done.error());
  }
  if (auto done = files.sync_directory(path()); !done) return storage_error(done.error());
  return logs;
}

Result<std::unique_ptr<Log>> Directory::load_one(const TopicPartition& partition, bool clean,
                                                 const OffsetCheckpoint& recovery, const OffsetCheckpoint& starts,
                                                 const OffsetCheckpoint& marks) {
  const auto at = [&](const OffsetCheckpoint& checkpoint) {
    const auto found = checkpoint.find(partition);
    return found == checkpoint.end() ? Offset{0} : std::max(found->second, Offset{0});
  };
  auto log = Log::load(cache_, {.partition = partition,
                                .directory = fmt::format("{}/{}", path(), directory_name(partition)),
                                .config = options_.config ? options_.config(partition.topic) : LogConfig{},
                                .log_start = at(starts),
                                .recovery_point = at(recovery),
                                .clean = clean,
                                .topic_id = std::nullopt,
                                .now = clock_.wall().count(),
                                .jitter_seed = std::hash<std::string>{}(directory_name(partition))});
  if (!log) return fail(log.error().code, fmt::format("{}: {}", directory_name(partition), log.error().message));
  if (at(marks) > (*log)->log_end()) {
    WEIR_LOG(warn, "{}: the checkpoint says high watermark {}, the log ends at {}: taking that",
             directory_name(partition), at(marks).value, (*log)->log_end().value);
  }
  (*log)->set_high_watermark(at(marks));
  return log;
}

Result<std::unique_ptr<Log>> Directory::create(const TopicPartition& partition, const LogConfig& config,
                                               std::optional<Uuid> topic_id, TimestampMs now) {
  const auto directory = fmt::format("{}/{}", path(), directory_name(partition));
  auto there = cache_.files().exists(directory);
  if (!there) return storage_error(there.error());
  if (*there) {
    auto removed = remove_half_made(partition);
    if (!removed) return std::unexpected(removed.error());
    if (!*removed) return fail(ErrorCode::KAFKA_STORAGE_ERROR, directory + " is there already");
  }
  auto log = Log::load(cache_, {.partition = partition,
                                .directory = directory,
                                .config = config,
                                .topic_id = topic_id,
                                .now = now,
                                .jitter_seed = std::hash<std::string>{}(directory_name(partition))});
  if (!log) {
    const std::lock_guard lock(half_made_mutex_);
    half_made_.insert(directory);
  }
  // Where not even that can be done (no descriptor is left), the next try does it.
  if (!log) (void)remove_half_made(partition);
  return log;
}

Result<bool> Directory::remove_half_made(const TopicPartition& partition) {
  const auto directory = fmt::format("{}/{}", path(), directory_name(partition));
  const std::lock_guard lock(half_made_mutex_);
  const auto found = half_made_.find(directory);
  if (found == half_made_.end()) return false;
  if (auto done = cache_.files().remove_all(directory); !done) return storage_error(done.error());
  half_made_.erase(found);
  return true;
}

Result<Removal> Directory::remove(Log& log, const Uuid& unique, TimestampMs now) {
  const auto to = fmt::format("{}/{}", path(), deleted_directory_name(log.partition(), unique));
  if (auto done = cache_.files().rename(log.directory(), to); !done) return storage_error(done.error());
  log.abandon();
  Removal removal;
  removal.paths_.push_back(to);
  removal.not_before_ = now + log.config().file_delete_delay_ms;
  return removal;
}

Result<std::string> Directory::set_aside(Log& log, const Uuid& unique) {
  auto to = fmt::format("{}/{}", path(), stray_directory_name(log.partition(), unique));
  if (auto done = cache_.files().rename(log.directory(), to); !done) return storage_error(done.error());
  log.abandon();
  return to;
}

Result<> Directory::sync_names() {
  if (auto done = cache_.files().sync_directory(path()); !done) return storage_error(done.error());
  return {};
}

Directory::Marks Directory::marks(const Log& log) {
  return {log.partition(), log.recovery_point(), log.log_start(), log.segments_.front()->base_offset(),
          log.high_watermark()};
}

Result<> Directory::write_checkpoints(const std::vector<Marks>& all) {
  OffsetCheckpoint recovery;
  OffsetCheckpoint starts;
  OffsetCheckpoint high;
  for (const auto& marks : all) {
    recovery[marks.partition] = marks.recovery_point;
    high[marks.partition] = marks.high_watermark;
    if (marks.log_start > marks.segment_start) starts[marks.partition] = marks.log_start;
  }
  const std::lock_guard lock(checkpoints_);
  auto& files = cache_.files();
  if (auto done = write_offset_checkpoint(files, fmt::format("{}/{}", path(), recovery_point_name), recovery); !done) {
    return done;
  }
  if (auto done = write_offset_checkpoint(files, fmt::format("{}/{}", path(), log_start_name), starts); !done) {
    return done;
  }
  return write_offset_checkpoint(files, fmt::format("{}/{}", path(), replication_name), high);
}

Result<> Directory::close(const std::vector<Marks>& all) {
  if (auto done = write_checkpoints(all); !done) return done;
  const auto mark = fmt::format("{}/{}", path(), clean_shutdown_name);
  if (auto done = cache_.files().write_whole(mark, clean_shutdown_text); !done) return storage_error(done.error());
  cache_.forget_under(path());
  return {};
}

Result<Directory::Space> Directory::space() const {
  const auto total = cache_.files().total_bytes(path());
  if (!total) return storage_error(total.error());
  const auto usable = cache_.files().free_bytes(path());
  if (!usable) return storage_error(usable.error());
  return Space{*total, *usable};
}

}  // namespace weir::log
