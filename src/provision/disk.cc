#include "provision/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "base/log.h"
#include "config/properties.h"
#include "runtime/clock.h"
#include "runtime/files.h"

namespace weir::provision {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

std::unexpected<Failure> system_failure(const std::string& text) {
  return std::unexpected(Failure{Failure::Kind::system, text});
}

std::unexpected<Failure> invalid(const std::string& text) {
  return std::unexpected(Failure{Failure::Kind::invalid_spec, text});
}

Outcome<> write(const std::string& path, std::string_view text) {
  if (auto written = runtime::system_files().write_whole(path, text); !written) {
    return system_failure(written.error().message);
  }
  return {};
}

// A file that only its owner reads from its first byte on.
Outcome<> write_secret(const std::string& path, std::string_view text) {
  const auto fresh = path + ".new";
  const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return system_failure(fmt::format("cannot open {}: {}", fresh, std::generic_category().message(errno)));
  fchmod(fd, 0600);
  int number = 0;
  while (!text.empty() && number == 0) {
    const auto n = ::write(fd, text.data(), text.size());
    if (n < 0) {
      if (errno != EINTR) number = errno;
      continue;
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (number == 0 && fdatasync(fd) != 0) number = errno;
  close(fd);
  if (number == 0 && rename(fresh.c_str(), path.c_str()) != 0) number = errno;
  if (number != 0)
    return system_failure(fmt::format("cannot write {}: {}", path, std::generic_category().message(number)));
  return {};
}

json::object strings(const std::map<std::string, std::string>& map) {
  json::object out;
  for (const auto& [key, value] : map) out[key] = value;
  return out;
}

std::string text_of(const json::object& o, std::string_view key) {
  const auto* v = o.if_contains(json::string_view(key.data(), key.size()));
  return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
}

std::int64_t number_of(const json::object& o, std::string_view key) {
  const auto* v = o.if_contains(json::string_view(key.data(), key.size()));
  if (v == nullptr) return 0;
  json::error_code error;
  const auto n = v->to_number<std::int64_t>(error);
  return error ? 0 : n;
}

std::map<std::string, std::string> strings_of(const json::object& o, std::string_view key) {
  std::map<std::string, std::string> out;
  const auto* v = o.if_contains(json::string_view(key.data(), key.size()));
  if (v == nullptr || !v->is_object()) return out;
  for (const auto& entry : v->get_object()) {
    if (entry.value().is_string()) out[std::string(entry.key())] = std::string(entry.value().get_string());
  }
  return out;
}

std::string record_text(const Record& record) {
  const auto& spec = record.spec;
  json::object limits;
  limits["shards"] = spec.limits.shards;
  limits["memory_bytes"] = spec.limits.memory_bytes;
  limits["storage_bytes"] = spec.limits.storage_bytes;
  json::object o;
  o["cluster"] = spec.key.cluster;
  o["broker"] = spec.key.broker;
  o["address"] = spec.address;
  o["zone"] = spec.zone;
  o["limits"] = std::move(limits);
  o["properties"] = strings(spec.properties);
  o["files"] = strings(spec.files);
  o["number"] = record.number;
  o["wanted"] = record.wanted;
  o["had_data"] = record.had_data;
  return json::serialize(o) + "\n";
}

std::optional<json::object> read_object(const std::string& path) {
  const auto text = runtime::system_files().read_whole(path, 16 * MiB);
  if (!text) return std::nullopt;
  json::error_code error;
  auto value = json::parse(*text, error);
  if (error || !value.is_object()) return std::nullopt;
  return std::move(value.get_object());
}

std::optional<Record> read_record(const std::string& broker_directory) {
  const auto o = read_object(broker_directory + "/spec.json");
  if (!o) return std::nullopt;
  Record record;
  auto& spec = record.spec;
  spec.key = {text_of(*o, "cluster"), static_cast<std::int32_t>(number_of(*o, "broker"))};
  spec.address = text_of(*o, "address");
  spec.zone = text_of(*o, "zone");
  if (const auto* limits = o->if_contains("limits"); limits != nullptr && limits->is_object()) {
    spec.limits.shards = static_cast<std::int32_t>(number_of(limits->get_object(), "shards"));
    spec.limits.memory_bytes = number_of(limits->get_object(), "memory_bytes");
    spec.limits.storage_bytes = number_of(limits->get_object(), "storage_bytes");
  }
  spec.properties = strings_of(*o, "properties");
  spec.files = strings_of(*o, "files");
  record.number = number_of(*o, "number");
  const auto* wanted = o->if_contains("wanted");
  record.wanted = wanted != nullptr && wanted->is_bool() && wanted->get_bool();
  record.had_data = text_of(*o, "had_data");
  if (const auto run = read_object(broker_directory + "/run.json"); run && text_of(*run, "boot") == boot_id()) {
    record.runs_number = number_of(*run, "number");
    record.process = {static_cast<std::int32_t>(number_of(*run, "pid")),
                      static_cast<std::uint64_t>(number_of(*run, "started"))};
  }
  return record;
}

bool valid_cluster(const std::string& name) {
  const auto fits = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-'; };
  return !name.empty() && name.size() <= 128 && name.front() != '-' && std::ranges::all_of(name, fits);
}

bool valid_file(const std::string& name) {
  constexpr std::array<std::string_view, 7> own{"spec.json", "run.json",   "server.properties", "ready",
                                                "data",      "broker.log", "broker.log.1"};
  const auto fits = [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 100 && name.front() != '.' && std::ranges::all_of(name, fits) &&
         !name.ends_with(".new") && !name.starts_with("data.") && std::ranges::find(own, name) == own.end();
}

}  // namespace

Outcome<std::string> properties_text(const BrokerSpec& spec, const std::string& directory, unsigned cores) {
  constexpr std::array<const char*, 6> own{"broker.id", "node.id", "broker.rack", "log.dir", "log.dirs", "weir.shards"};
  if (!valid_cluster(spec.key.cluster)) return invalid(fmt::format("'{}' is no cluster's name", spec.key.cluster));
  if (spec.key.broker < 0) return invalid(fmt::format("{} is no broker's id", spec.key.broker));
  for (const auto& [name, content] : spec.files) {
    if (!valid_file(name)) return invalid(fmt::format("'{}' is no name for a file of a broker", name));
  }
  config::Properties out;
  for (const auto& [key, value] : spec.properties) {
    if (std::ranges::find(own, key) != own.end()) return invalid(fmt::format("{} is the place's to say", key));
    std::string text = value;
    constexpr std::string_view mark = "@DIR@";
    for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark, at + directory.size())) {
      text.replace(at, mark.size(), directory);
    }
    out[key] = std::move(text);
  }
  out["broker.id"] = std::to_string(spec.key.broker);
  out["log.dirs"] = directory + "/data";
  if (!spec.zone.empty()) out["broker.rack"] = spec.zone;
  // More shards than this machine has cores would only take turns.
  if (spec.limits.shards > 0) {
    out["weir.shards"] = std::to_string(std::min(static_cast<unsigned>(spec.limits.shards), std::max(1U, cores)));
  }
  // A quarter of the memory is for requests: the rest is the page cache's, as on Amazon's machines.
  if (spec.limits.memory_bytes > 0 && !out.contains("queued.max.request.bytes")) {
    out["queued.max.request.bytes"] = std::to_string(spec.limits.memory_bytes / 4);
  }
  return "# Written by Weir's control plane.\n" + config::to_text(out);
}

std::string Disk::broker(const BrokerKey& key) const {
  return fmt::format("{}/{}/broker-{}", directory_, key.cluster, key.broker);
}

Outcome<> Disk::make() const {
  if (auto made = runtime::system_files().make_directories(directory_); !made) {
    return system_failure(made.error().message);
  }
  std::error_code error;
  fs::permissions(directory_, fs::perms::owner_all, error);
  if (error) return system_failure(fmt::format("cannot protect {}: {}", directory_, error.message()));
  return {};
}

std::vector<Record> Disk::load() const {
  std::vector<Record> out;
  auto& files = runtime::system_files();
  const auto clusters = files.list(directory_);
  if (!clusters) return out;
  for (const auto& cluster : *clusters) {
    const auto inside = files.list(directory_ + "/" + cluster);
    if (!valid_cluster(cluster) || !inside) continue;
    for (const auto& name : *inside) {
      if (!name.starts_with("broker-")) continue;
      const auto path = directory_ + "/" + cluster + "/" + name;
      auto record = read_record(path);
      if (record && broker(record->spec.key) == path) {
        out.push_back(std::move(*record));
      } else {
        WEIR_LOG(warn, "{} holds no broker that can be read; it is left alone", path);
      }
    }
  }
  return out;
}

Outcome<> Disk::save_record(const Record& record) const {
  // Its directory may have been removed since.
  if (auto made = runtime::system_files().make_directories(broker(record.spec.key)); !made) {
    return system_failure(made.error().message);
  }
  return write_secret(broker(record.spec.key) + "/spec.json", record_text(record));
}

Outcome<> Disk::save_spec(const Record& record) const {
  const auto& key = record.spec.key;
  const auto text = properties_text(record.spec, broker(key), std::thread::hardware_concurrency());
  if (!text) return std::unexpected(text.error());
  if (auto made = runtime::system_files().make_directories(data(key)); !made) {
    return system_failure(made.error().message);
  }
  for (const auto& [name, content] : record.spec.files) {
    if (auto written = write_secret(broker(key) + "/" + name, content); !written) return written;
  }
  if (auto written = write_secret(properties(key), *text); !written) return written;
  return save_record(record);  // last: what it names is there
}

Outcome<int> Disk::prepare_start(const Record& record) const {
  const auto& key = record.spec.key;
  std::error_code error;
  const auto missing = [&](const std::string& path) { return !fs::exists(path, error); };
  if (missing(data(key)) || missing(properties(key)) || missing(broker(key) + "/spec.json")) {
    if (auto written = save_spec(record); !written) return std::unexpected(written.error());
  }
  constexpr std::uintmax_t log_bytes_max = 16 * MiB;
  if (const auto size = fs::file_size(log(key), error); !error && size > log_bytes_max) {
    fs::rename(log(key), log(key) + ".1", error);
  }
  const int fd = open(ready(key).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) {
    return system_failure(fmt::format("cannot open {}: {}", ready(key), std::generic_category().message(errno)));
  }
  return fd;
}

Outcome<> Disk::save_run(const Record& record) const {
  json::object o;
  o["pid"] = record.process.pid;
  o["started"] = record.process.started;
  o["boot"] = boot_id();
  o["number"] = record.runs_number;
  return write(broker(record.spec.key) + "/run.json", json::serialize(o) + "\n");
}

std::string Disk::identity_of_data(const BrokerKey& key) const {
  const auto text = runtime::system_files().read_whole(data(key) + "/meta.properties", 64 * KiB);
  if (!text) return {};
  const auto parsed = config::parse_properties(*text);
  if (!parsed) return {};
  // Kafka's brokers have no id of a directory before 3.7: the cluster's is what tells data that was made anew.
  for (const char* id : {"directory.id", "cluster.id"}) {
    if (const auto it = parsed->find(id); it != parsed->end()) return it->second;
  }
  return {};
}

bool Disk::is_empty(const BrokerKey& key) const {
  std::error_code error;
  if (fs::exists(data(key) + "/meta.properties", error)) return false;
  for (fs::directory_iterator it(data(key), error), end; !error && it != end; it.increment(error)) {
    std::error_code bad;
    if (it->is_directory(bad)) return false;
  }
  return true;
}

bool Disk::is_nameless(const BrokerKey& key) const {
  std::error_code error;
  return fs::exists(data(key) + "/meta.properties", error) && identity_of_data(key).empty();
}

Outcome<> Disk::put_data_aside(const BrokerKey& key) const {
  constexpr std::string_view prefix = "data.unusable-";
  auto& files = runtime::system_files();
  auto names = files.list(broker(key));
  if (!names) return system_failure(names.error().message);
  std::vector<std::string> older;
  for (auto& name : *names) {
    if (name.starts_with(prefix)) older.push_back(std::move(name));
  }
  std::ranges::sort(older);  // the times have as many digits
  for (std::size_t i = 0; i + 1 < older.size(); ++i) {
    if (auto gone = files.remove_all(broker(key) + "/" + older[i]); !gone) return system_failure(gone.error().message);
  }
  const auto aside = fmt::format("{}/{}{}", broker(key), prefix, runtime::system_clock().wall().count());
  if (auto moved = files.rename(data(key), aside); !moved) return system_failure(moved.error().message);
  if (auto made = files.make_directories(data(key)); !made) return system_failure(made.error().message);
  return {};
}

Outcome<> Disk::remove(const BrokerKey& key, bool with_data) const {
  auto& files = runtime::system_files();
  std::error_code error;
  if (!fs::exists(broker(key), error)) return {};
  if (with_data) {
    if (auto removed = files.remove_all(broker(key)); !removed) return system_failure(removed.error().message);
  } else {
    const auto aside =
        fmt::format("{}/{}/removed-{}-{}", directory_, key.cluster, key.broker, runtime::system_clock().wall().count());
    if (auto moved = files.rename(broker(key), aside); !moved) return system_failure(moved.error().message);
  }
  fs::remove(directory_ + "/" + key.cluster, error);  // when it was the last one
  return {};
}

Volume Disk::volume(const BrokerKey& key) const { return volume_of(data(key)); }

Volume volume_of(const std::string& data) {
  Volume out;
  std::error_code error;
  for (fs::recursive_directory_iterator it(data, error), end; !error && it != end; it.increment(error)) {
    struct stat about{};
    if (lstat(it->path().c_str(), &about) == 0) out.used_bytes += about.st_blocks * 512;
  }
  if (const auto free = runtime::system_files().free_bytes(data)) out.free_bytes = static_cast<std::int64_t>(*free);
  return out;
}

}  // namespace weir::provision
