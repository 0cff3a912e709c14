#include "apps/migrate_read.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "apps/broker_file.h"
#include "broker/zk_security.h"
#include "config/key.h"
#include "record/batch.h"
#include "runtime/files.h"

namespace weir::apps {

namespace layout = zkwire::layout;
using runtime::Task;
using zkclient::Zk;
using zkclient::ZkCode;
using zkclient::ZkError;
using zkclient::ZkResult;

namespace {

// Nothing for what may not be read; its path is noted.
template <class T>
ZkResult<T> or_note(ZkError error, MigrateEvidence& out) {
  if (error.code == ZkCode::no_node) return T();
  if (error.code != ZkCode::no_auth) return std::unexpected(std::move(error));
  out.unreadable.push_back(std::move(error.path));
  return T();
}

// No names when there is no such node.
Task<ZkResult<std::vector<std::string>>> names_in(Zk& zk, std::string path, MigrateEvidence& out) {
  auto names = co_await zk.children(std::move(path));
  if (!names) co_return or_note<std::vector<std::string>>(names.error(), out);
  std::ranges::sort(*names);
  co_return names;
}

// Empty when there is no such node.
Task<ZkResult<std::string>> text_of(Zk& zk, std::string path, MigrateEvidence& out) {
  auto data = co_await zk.get(std::move(path));
  if (!data) co_return or_note<std::string>(data.error(), out);
  co_return std::move(data->data);
}

Task<ZkResult<std::map<std::string, layout::Config>>> configs_of(Zk& zk, std::string_view type,
                                                                 MigrateEvidence& evidence) {
  auto names = co_await names_in(zk, layout::path_of_config_type(type), evidence);
  if (!names) co_return std::unexpected(names.error());
  std::vector<std::string> paths;
  for (const auto& name : *names) paths.push_back(layout::path_of_config(type, name));
  std::map<std::string, layout::Config> out;
  auto take = [&](std::size_t i, const std::string& data) {
    auto config = layout::decode_config(paths[i], data);
    if (config) {
      out[(*names)[i]] = std::move(*config);
    } else {
      evidence.cluster.problems.push_back(config.error().message);
    }
  };
  auto done = co_await read_nodes(zk, paths, std::move(take));
  if (!done) co_return or_note<decltype(out)>(done.error(), evidence);
  co_return out;
}

// What a part of the reading came to; the first error counts.
class Reader {
 public:
  Reader(Zk& zk, MigrateEvidence& out) : zk_(zk), out_(out) {}

  Task<ZkResult<>> run() {
    auto cluster = co_await read_cluster(zk_);
    if (!cluster) cluster = or_note<ClusterView>(cluster.error(), out_);
    if (!cluster) co_return std::unexpected(cluster.error());
    out_.cluster = std::move(*cluster);
    if (auto done = co_await identity(); !done) co_return done;
    if (auto done = co_await configs(); !done) co_return done;
    if (auto done = co_await changes(); !done) co_return done;
    co_return co_await security();
  }

 private:
  // Takes what can be decoded; anything else is a problem that is named.
  template <class T, class Into>
  void take(Result<T> decoded, Into into) {
    if (decoded) {
      into(std::move(*decoded));
    } else {
      out_.cluster.problems.push_back(decoded.error().message);
    }
  }

  Task<ZkResult<>> identity() {
    auto id = co_await text_of(zk_, std::string(layout::cluster_id_path), out_);
    if (!id) co_return std::unexpected(id.error());
    if (!id->empty()) {
      take(layout::decode_cluster_id(layout::cluster_id_path, *id), [this](std::string v) { out_.cluster_id = v; });
    }
    auto features = co_await text_of(zk_, std::string(layout::feature_path), out_);
    if (!features) co_return std::unexpected(features.error());
    if (!features->empty()) {
      take(layout::decode_features(layout::feature_path, *features), [this](layout::Features v) { out_.features = v; });
    }
    auto migration = co_await zk_.exists(std::string(layout::migration_path));
    if (!migration) co_return std::unexpected(migration.error());
    out_.kraft_migration = migration->has_value();
    co_return ZkResult<>{};
  }

  Task<ZkResult<>> configs() {
    auto brokers = co_await configs_of(zk_, layout::brokers_type, out_);
    if (!brokers) co_return std::unexpected(brokers.error());
    out_.brokers_default = (*brokers)[std::string(layout::default_entity)];
    out_.broker_own = (*brokers)[std::to_string(out_.broker.value)];
    auto topics = co_await configs_of(zk_, layout::topics_type, out_);
    if (!topics) co_return std::unexpected(topics.error());
    out_.topic_configs = std::move(*topics);
    co_return ZkResult<>{};
  }

  Task<ZkResult<>> changes() {
    auto text = co_await text_of(zk_, std::string(layout::reassign_partitions_path), out_);
    if (!text) co_return std::unexpected(text.error());
    if (!text->empty()) {
      take(layout::decode_reassignment(layout::reassign_partitions_path, *text), [this](const auto& targets) {
        for (const auto& [at, replicas] : targets) {
          out_.reassigning.push_back(at.topic + "-" + std::to_string(at.partition.value));
        }
      });
    }
    auto deleting = co_await names_in(zk_, std::string(layout::delete_topics_path), out_);
    if (!deleting) co_return std::unexpected(deleting.error());
    out_.deleting = std::move(*deleting);
    co_return ZkResult<>{};
  }

  Task<ZkResult<>> acls_below(std::string root) {
    auto types = co_await names_in(zk_, root, out_);
    if (!types) co_return std::unexpected(types.error());
    for (const auto& type : *types) {
      auto resources = co_await names_in(zk_, root + "/" + type, out_);
      if (!resources) co_return std::unexpected(resources.error());
      out_.acls += resources->size();
    }
    co_return ZkResult<>{};
  }

  Task<ZkResult<>> security() {
    if (auto done = co_await acls_below(std::string(layout::acl_path)); !done) co_return done;
    if (auto done = co_await acls_below(std::string(layout::acl_prefixed_path)); !done) co_return done;
    for (const auto type : {layout::users_type, layout::clients_type, layout::ips_type}) {
      auto entities = co_await configs_of(zk_, type, out_);
      if (!entities) co_return std::unexpected(entities.error());
      for (const auto& [name, config] : *entities) {
        const auto is_scram = [](const auto& entry) { return entry.first.starts_with("SCRAM-"); };
        if (std::ranges::any_of(config, is_scram)) ++out_.scram_users;
        if (!std::ranges::all_of(config, is_scram)) ++out_.quotas;
        if (type != layout::users_type) continue;
        auto clients = co_await names_in(zk_, layout::path_of_config(type, name) + "/clients", out_);
        if (!clients) co_return std::unexpected(clients.error());
        out_.quotas += clients->size();
      }
    }
    auto tokens = co_await names_in(zk_, std::string(layout::delegation_tokens_path), out_);
    if (!tokens) co_return std::unexpected(tokens.error());
    out_.tokens = tokens->size();
    co_return ZkResult<>{};
  }

  Zk& zk_;
  MigrateEvidence& out_;
};

std::expected<config::Properties, std::string> read_properties(const std::string& path) {
  constexpr std::size_t bytes_max = 16 * MiB;
  auto text = runtime::system_files().read_whole(path, bytes_max);
  if (!text) return std::unexpected(text.error().message);
  auto properties = config::parse_properties(*text);
  if (!properties) return std::unexpected(path + ": " + properties.error());
  return properties;
}

// How to come to ZooKeeper: as the broker's file has it, with what the command line says on top. Other keys of the
// file may be wrong meanwhile: that is a finding, and no reason not to look.
std::expected<zkclient::RealOptions, std::string> zookeeper_access(const cli::MigrateCheckOptions& options) {
  config::Properties keys;
  for (const auto* path : {&options.config_path, &options.zk_tls_config_path}) {
    if (path->empty()) continue;
    auto file = read_properties(*path);
    if (!file) return std::unexpected(file.error());
    for (const auto& [key, value] : *file) {
      if (key.starts_with("zookeeper.") || key.starts_with("weir.zookeeper.")) keys.insert_or_assign(key, value);
    }
  }
  keys.insert_or_assign("zookeeper.connect", options.zookeeper);
  keys.erase("zookeeper.set.acl");  // nothing is made here
  if (!options.zk_jaas_path.empty()) {
    keys.erase("weir.zookeeper.sasl.username");
    keys.erase("weir.zookeeper.sasl.password");
    keys.insert_or_assign("weir.zookeeper.jaas.config", options.zk_jaas_path);
  }
  auto loaded = config::load_broker_config({{}, {}, keys});
  if (!loaded) return std::unexpected(fmt::format("{}", fmt::join(loaded.error(), "; ")));
  zkclient::RealOptions out;
  out.connect = options.zookeeper;
  if (auto done = broker::secure(out, loaded->config, runtime::system_files()); !done) {
    return std::unexpected(done.error().message);
  }
  return out;
}

FileEvidence read_file(const std::string& path) {
  FileEvidence out;
  cli::BrokerOptions options;
  options.config_path = path;
  // An authorizer stops a start, but not the look at the rest of the file: judge() has its own word on it.
  constexpr const char* ignore = "weir.ignore.unsupported";
  const auto written = read_properties(path);
  const bool ignores = written && written->contains(ignore);
  if (!ignores) options.overrides = {{ignore, "authorizer.class.name"}};
  auto file = read_broker_file(options);
  if (!file) {
    out.errors = std::move(file.error());
    return out;
  }
  out.warnings = std::move(file->loaded.warnings);
  std::erase_if(out.warnings, [](const std::string& warning) { return warning.starts_with("authorizer.class.name="); });
  out.config = std::move(file->loaded.config);
  if (!ignores) out.config.values.erase(ignore);
  return out;
}

// Of the first record on the disk of one replica; formats only ever rise. The newest where there is none.
int magic_of_oldest(runtime::Files& files, const std::string& folder) {
  constexpr int newest = 2;
  auto names = files.list(folder);
  if (!names) return newest;
  const auto log = std::ranges::find_if(*names, [](const std::string& name) { return name.ends_with(".log"); });
  if (log == names->end()) return newest;
  auto file = files.open(folder + "/" + *log, runtime::Open::read);
  if (!file) return newest;
  std::array<std::byte, 1> magic{};
  auto got = (*file)->read_at(record::magic_at, magic);
  return got && *got == 1 ? std::to_integer<int>(magic[0]) : newest;
}

}  // namespace

LogDirEvidence read_log_dir(const std::string& path) {
  auto& files = runtime::system_files();
  LogDirEvidence out;
  out.path = path;
  auto names = files.list(path);
  if (!names) {
    out.problem = names.error().message;
    return out;
  }
  for (const auto& name : *names) {
    if (name == ".kafka_cleanshutdown") out.clean = true;
    const auto dash = name.rfind('-');
    if (dash == std::string::npos || dash + 1 == name.size()) continue;
    const auto last = name.substr(dash + 1);
    if (last == "future") out.moving.push_back(name);
    if (last == "stray") out.stray.push_back(name);
    if (last.find_first_not_of("0123456789") != std::string::npos) continue;
    out.replicas.push_back(name);
    if (magic_of_oldest(files, path + "/" + name) < 2) out.old_format.push_back(name);
  }
  constexpr std::size_t meta_bytes_max = 64 * 1024;
  const auto meta = path + "/meta.properties";
  if (auto there = files.exists(meta); !there || !*there) return out;
  auto text = files.read_whole(meta, meta_bytes_max);
  if (!text) {
    out.problem = text.error().message;
    return out;
  }
  auto properties = config::parse_properties(*text);
  if (!properties) {
    out.problem = meta + ": " + properties.error();
    return out;
  }
  out.meta = std::move(*properties);
  return out;
}

std::expected<cli::MigrateCheckOptions, std::string> completed(cli::MigrateCheckOptions options) {
  if (options.config_path.empty()) return options;
  auto file = read_properties(options.config_path);
  if (!file) return std::unexpected(file.error());
  const auto value = [&](const char* key) {
    const auto it = file->find(key);
    return it == file->end() ? std::string() : it->second;
  };
  if (options.zookeeper.empty()) options.zookeeper = value("zookeeper.connect");
  if (options.zookeeper.empty()) return std::unexpected(options.config_path + " names no zookeeper.connect");
  if (options.log_dirs.empty()) options.log_dirs = config::parse_list(value("log.dirs"));
  if (options.log_dirs.empty()) options.log_dirs = config::parse_list(value("log.dir"));
  const auto take_id = [&](const std::string& text) {
    const auto id = config::parse_int(text);
    if (options.broker_id < 0 && id && *id >= 0 && *id <= std::numeric_limits<int>::max()) {
      options.broker_id = static_cast<int>(*id);
    }
  };
  take_id(value("broker.id"));
  take_id(value("node.id"));
  for (const auto& path : options.log_dirs) {  // an id that ZooKeeper gave it
    const auto dir = read_log_dir(path);
    if (dir.meta && dir.meta->contains("broker.id")) take_id(dir.meta->at("broker.id"));
  }
  if (options.broker_id < 0) return std::unexpected(options.config_path + " names no broker.id: give --broker-id");
  return options;
}

std::expected<MigrateEvidence, std::string> read_evidence(const cli::MigrateCheckOptions& options) {
  MigrateEvidence out;
  out.broker = BrokerId{options.broker_id};
  auto access = zookeeper_access(options);
  if (!access) return std::unexpected(access.error());
  out.zookeeper = options.zookeeper;
  out.zookeeper_tls = access->security && access->security->tls;
  out.zookeeper_login = access->security && !access->security->sasl_username.empty();
  std::expected<void, std::string> read;
  auto work = [&](Zk& zk) -> Task<void> {
    Reader reader(zk, out);
    auto done = co_await reader.run();
    if (!done) read = std::unexpected("cannot read the cluster: " + done.error().text());
  };
  auto reached = with_zookeeper(std::move(*access), std::move(work));
  if (!reached) return std::unexpected(reached.error());
  if (!read) return std::unexpected(read.error());
  auto log_dirs = options.log_dirs;
  if (!options.config_path.empty()) {
    out.file = read_file(options.config_path);
    if (log_dirs.empty() && out.file->errors.empty()) log_dirs = out.file->config.log_dirs;
  }
  for (const auto& path : log_dirs) out.log_dirs.push_back(read_log_dir(path));
  return out;
}

}  // namespace weir::apps
