#include "log/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>

namespace weir::log {
namespace {

// The lines of a text, one after the other, without their ends.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}
  std::optional<std::string_view> next() {
    if (rest_.empty()) return std::nullopt;
    const auto end = rest_.find('\n');
    auto line = rest_.substr(0, end);
    rest_ = end == std::string_view::npos ? std::string_view() : rest_.substr(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

 private:
  std::string_view rest_;
};

template <class Int>
bool number(std::string_view text, Int& out) {
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), out);
  return bad == std::errc{} && end == text.data() + text.size();
}

std::string_view word(std::string_view& line) {
  const auto begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return line = {};
  line.remove_prefix(begin);
  const auto end = line.find_first_of(" \t");
  auto out = line.substr(0, end);
  line = end == std::string_view::npos ? std::string_view() : line.substr(end);
  return out;
}

std::unexpected<Error> malformed(std::string_view what) {
  return fail(ErrorCode::KAFKA_STORAGE_ERROR, fmt::format("malformed {}", what));
}

// "0", a count, and that many lines, each given to `entry` (which is false for a line that it cannot read).
template <class Fn>
Result<> parse_checkpoint(std::string_view text, std::string_view what, Fn entry) {
  if (text.empty()) return {};  // made by Kafka before there is anything to say
  Lines lines(text);
  const auto version = lines.next();
  if (!version || *version != "0") return malformed(fmt::format("{}: its version is not 0", what));
  const auto count_line = lines.next();
  std::size_t count = 0;
  if (!count_line || !number(*count_line, count)) return malformed(fmt::format("{}: no number of entries", what));
  for (std::size_t i = 0; i < count; ++i) {
    const auto line = lines.next();
    if (!line || !entry(*line)) return malformed(fmt::format("{}: entry {} of {}", what, i + 1, count));
  }
  return {};
}

std::string trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\f");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\f") - begin + 1));
}

}  // namespace

std::unexpected<Error> storage_error(const runtime::IoError& error) {
  return fail(ErrorCode::KAFKA_STORAGE_ERROR, error.message);
}

Result<OffsetCheckpoint> parse_offset_checkpoint(std::string_view text) {
  OffsetCheckpoint out;
  auto fine = parse_checkpoint(text, "offset checkpoint", [&](std::string_view line) {
    TopicPartition partition;
    Offset offset;
    partition.topic = word(line);
    const auto index = word(line);
    const auto value = word(line);
    if (partition.topic.empty() || !number(index, partition.partition.value) || !number(value, offset.value)) {
      return false;
    }
    out[std::move(partition)] = offset;
    return true;
  });
  if (!fine) return std::unexpected(fine.error());
  return out;
}

std::string to_text(const OffsetCheckpoint& checkpoint) {
  std::string out = fmt::format("0\n{}\n", checkpoint.size());
  for (const auto& [partition, offset] : checkpoint) {
    fmt::format_to(std::back_inserter(out), "{} {} {}\n", partition.topic, partition.partition.value, offset.value);
  }
  return out;
}

Result<OffsetCheckpoint> read_offset_checkpoint(runtime::Files& files, const std::string& path) {
  auto text = files.read_whole(path);
  if (!text) {
    if (text.error().number == ENOENT) return OffsetCheckpoint{};
    return storage_error(text.error());
  }
  auto out = parse_offset_checkpoint(*text);
  if (!out) return fail(out.error().code, path + ": " + out.error().message);
  return out;
}

Result<> write_offset_checkpoint(runtime::Files& files, const std::string& path, const OffsetCheckpoint& checkpoint) {
  if (auto done = files.write_whole(path, to_text(checkpoint)); !done) return storage_error(done.error());
  return {};
}

Result<std::vector<EpochEntry>> parse_epoch_checkpoint(std::string_view text) {
  std::vector<EpochEntry> out;
  auto fine = parse_checkpoint(text, "leader epoch checkpoint", [&](std::string_view line) {
    EpochEntry entry;
    const auto epoch = word(line);
    const auto start = word(line);
    if (!number(epoch, entry.epoch.value) || !number(start, entry.start.value)) return false;
    out.push_back(entry);
    return true;
  });
  if (!fine) return std::unexpected(fine.error());
  return out;
}

std::string to_text(const std::vector<EpochEntry>& entries) {
  std::string out = fmt::format("0\n{}\n", entries.size());
  for (const auto& entry : entries) {
    fmt::format_to(std::back_inserter(out), "{} {}\n", entry.epoch.value, entry.start.value);
  }
  return out;
}

Result<Uuid> parse_partition_metadata(std::string_view text) {
  Lines lines(text);
  bool version = false;
  std::optional<Uuid> id;
  while (auto line = lines.next()) {
    const auto colon = line->find(':');
    if (colon == std::string_view::npos) continue;
    const auto key = line->substr(0, colon);
    const auto value = trimmed(line->substr(colon + 1));
    if (key == "version") version = value == "0";
    if (key == "topic_id") id = Uuid::parse(value);
  }
  if (!version || !id || id->is_zero()) return malformed("partition.metadata");
  return *id;
}

bool is_torn_partition_metadata(std::string_view text) {
  constexpr std::string_view before = "version: 0\ntopic_id: ";
  const auto written = text.substr(0, text.find_last_not_of('\0') + 1);
  if (written.size() <= before.size()) return before.starts_with(written);
  const auto id = written.substr(before.size());
  const auto in_id = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_'; };
  return written.starts_with(before) && id.size() < Uuid{}.text().size() && std::ranges::all_of(id, in_id);
}

std::string partition_metadata_text(const Uuid& topic_id) {
  return fmt::format("version: 0\ntopic_id: {}", topic_id.text());
}

Result<MetaProperties> parse_meta_properties(std::string_view text) {
  MetaProperties out;
  Lines lines(text);
  while (auto line = lines.next()) {
    const auto content = trimmed(*line);
    if (content.empty() || content.starts_with('#') || content.starts_with('!')) continue;
    const auto split = content.find_first_of("=:");
    auto key = trimmed(std::string_view(content).substr(0, split));
    auto value = split == std::string::npos ? std::string() : trimmed(std::string_view(content).substr(split + 1));
    if (key == "version") {
      if (value != "0" && value != "1") return malformed(fmt::format("meta.properties: version {}", value));
    } else if (key == "broker.id") {
      if (!number(std::string_view(value), out.broker_id.value)) {
        return malformed(fmt::format("meta.properties: broker.id {}", value));
      }
    } else if (key == "cluster.id") {
      out.cluster_id = value;
    } else if (key == "directory.id") {
      out.directory_id = Uuid::parse(value);
      if (!out.directory_id) return malformed(fmt::format("meta.properties: directory.id {}", value));
    } else {
      out.others[key] = value;
    }
  }
  return out;
}

std::string to_text(const MetaProperties& meta) {
  std::string out = "#\n";
  if (meta.broker_id != no_broker) fmt::format_to(std::back_inserter(out), "broker.id={}\n", meta.broker_id.value);
  if (!meta.cluster_id.empty()) fmt::format_to(std::back_inserter(out), "cluster.id={}\n", meta.cluster_id);
  if (meta.directory_id) fmt::format_to(std::back_inserter(out), "directory.id={}\n", meta.directory_id->text());
  for (const auto& [key, value] : meta.others) fmt::format_to(std::back_inserter(out), "{}={}\n", key, value);
  out += "version=0\n";
  return out;
}

Result<std::optional<MetaProperties>> read_meta_properties(runtime::Files& files, const std::string& directory) {
  const auto path = fmt::format("{}/{}", directory, meta_properties_name);
  auto text = files.read_whole(path);
  if (!text) {
    if (text.error().number == ENOENT) return std::nullopt;
    return storage_error(text.error());
  }
  auto meta = parse_meta_properties(*text);
  if (!meta) return fail(meta.error().code, path + ": " + meta.error().message);
  return std::move(*meta);
}

Result<> write_meta_properties(runtime::Files& files, const std::string& directory, const MetaProperties& meta) {
  const auto path = fmt::format("{}/{}", directory, meta_properties_name);
  if (auto done = files.write_whole(path, to_text(meta)); !done) return storage_error(done.error());
  return {};
}

}  // namespace weir::log
