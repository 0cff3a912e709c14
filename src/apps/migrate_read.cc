#include "apps/migrate_read.h"

#include <algorithm>
#include <utility>

#include "apps/broker_file.h"
#include "runtime/files.h"

namespace weir::apps {

namespace layout = zkwire::layout;
using runtime::Task;
using zkclient::Zk;
using zkclient::ZkCode;
using zkclient::ZkResult;

namespace {

// No names when there is no such node.
Task<ZkResult<std::vector<std::string>>> names_in(Zk& zk, std::string path) {
  auto names = co_await zk.children(std::move(path));
  if (!names && names.error().code == ZkCode::no_node) co_return std::vector<std::string>();
  if (names) std::ranges::sort(*names);
  co_return names;
}

// Empty when there is no such node.
Task<ZkResult<std::string>> text_of(Zk& zk, std::string path) {
  auto data = co_await zk.get(std::move(path));
  if (data) co_return std::move(data->data);
  if (data.error().code == ZkCode::no_node) co_return std::string();
  co_return std::unexpected(data.error());
}

Task<ZkResult<std::map<std::string, layout::Config>>> configs_of(Zk& zk, std::string_view type,
                                                                 std::vector<std::string>& problems) {
  auto names = co_await names_in(zk, layout::path_of_config_type(type));
  if (!names) co_return std::unexpected(names.error());
  std::vector<std::string> paths;
  for (const auto& name : *names) paths.push_back(layout::path_of_config(type, name));
  std::map<std::string, layout::Config> out;
  auto take = [&](std::size_t i, const std::string& data) {
    auto config = layout::decode_config(paths[i], data);
    if (config) {
      out[(*names)[i]] = std::move(*config);
    } else {
      problems.push_back(config.error().message);
    }
  };
  auto done = co_await read_nodes(zk, paths, std::move(take));
  if (!done) co_return std::unexpected(done.error());
  co_return out;
}

// What a part of the reading came to; the first error counts.
class Reader {
 public:
  Reader(Zk& zk, MigrateEvidence& out) : zk_(zk), out_(out) {}

  Task<ZkResult<>> run() {
    auto cluster = co_await read_cluster(zk_);
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
    auto id = co_await text_of(zk_, std::string(layout::cluster_id_path));
    if (!id) co_return std::unexpected(id.error());
    if (!id->empty()) {
      take(layout::decode_cluster_id(layout::cluster_id_path, *id), [this](std::string v) { out_.cluster_id = v; });
    }
    auto features = co_await text_of(zk_, std::string(layout::feature_path));
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
    auto brokers = co_await configs_of(zk_, layout::brokers_type, out_.cluster.problems);
    if (!brokers) co_return std::unexpected(brokers.error());
    out_.brokers_default = (*brokers)[std::string(layout::default_entity)];
    out_.broker_own = (*brokers)[std::to_string(out_.broker.value)];
    auto topics = co_await configs_of(zk_, layout::topics_type, out_.cluster.problems);
    if (!topics) co_return std::unexpected(topics.error());
    out_.topic_configs = std::move(*topics);
    co_return ZkResult<>{};
  }

  Task<ZkResult<>> changes() {
    auto text = co_await text_of(zk_, std::string(layout::reassign_partitions_path));
    if (!text) co_return std::unexpected(text.error());
    if (!text->empty()) {
      take(layout::decode_reassignment(layout::reassign_partitions_path, *text), [this](const auto& targets) {
        for (const auto& [at, replicas] : targets) {
          out_.reassigning.push_back(at.topic + "-" + std::to_string(at.partition.value));
        }
      });
    }
    auto deleting = co_await names_in(zk_, std::string(layout::delete_topics_path));
    if (!deleting) co_return std::unexpected(deleting.error());
    out_.deleting = std::move(*deleting);
    co_return ZkResult<>{};
  }

  Task<ZkResult<>> acls_below(std::string root) {
    auto types = co_await names_in(zk_, root);
    if (!types) co_return std::unexpected(types.error());
    for (const auto& type : *types) {
      auto resources = co_await names_in(zk_, root + "/" + type);
      if (!resources) co_return std::unexpected(resources.error());
      out_.acls += resources->size();
    }
    co_return ZkResult<>{};
  }

  Task<ZkResult<>> security() {
    if (auto done = co_await acls_below(std::string(layout::acl_path)); !done) co_return done;
    if (auto done = co_await acls_below(std::string(layout::acl_prefixed_path)); !done) co_return done;
    for (const auto type : {layout::users_type, layout::clients_type, layout::ips_type}) {
      auto entities = co_await configs_of(zk_, type, out_.cluster.problems);
      if (!entities) co_return std::unexpected(entities.error());
      for (const auto& [name, config] : *entities) {
        const auto is_scram = [](const auto& entry) { return entry.first.starts_with("SCRAM-"); };
        if (std::ranges::any_of(config, is_scram)) ++out_.scram_users;
        if (!std::ranges::all_of(config, is_scram)) ++out_.quotas;
        if (type != layout::users_type) continue;
        auto clients = co_await names_in(zk_, layout::path_of_config(type, name) + "/clients");
        if (!clients) co_return std::unexpected(clients.error());
        out_.quotas += clients->size();
      }
    }
    auto tokens = co_await names_in(zk_, std::string(layout::delegation_tokens_path));
    if (!tokens) co_return std::unexpected(tokens.error());
    out_.tokens = tokens->size();
    co_return ZkResult<>{};
  }

  Zk& zk_;
  MigrateEvidence& out_;
};

FileEvidence read_file(const std::string& path) {
  FileEvidence out;
  cli::BrokerOptions options;
  options.config_path = path;
  auto file = read_broker_file(options);
  if (!file) {
    out.errors = std::move(file.error());
    return out;
  }
  out.warnings = std::move(file->loaded.warnings);
  out.config = std::move(file->loaded.config);
  return out;
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
    if (last.find_first_not_of("0123456789") == std::string::npos) ++out.replicas;
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

std::expected<MigrateEvidence, std::string> read_evidence(const cli::MigrateCheckOptions& options) {
  MigrateEvidence out;
  out.broker = BrokerId{options.broker_id};
  std::expected<void, std::string> read;
  auto work = [&](Zk& zk) -> Task<void> {
    Reader reader(zk, out);
    auto done = co_await reader.run();
    if (!done) read = std::unexpected("cannot read the cluster: " + done.error().text());
  };
  auto reached = with_zookeeper(options.zookeeper, std::move(work));
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
