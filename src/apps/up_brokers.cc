#include "apps/up_brokers.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "apps/left_session.h"
#include "apps/local_spec.h"
#include "apps/process.h"
#include "apps/up.h"
#include "cli/text.h"
#include "runtime/files.h"

namespace weir::apps {

using cli::host_port;

namespace {

constexpr milliseconds session_end_max{5000};
constexpr auto level_key = "inter.broker.protocol.version";

std::expected<void, std::string> check_ports(const cli::UpOptions& options, const config::BrokerConfig& broker) {
  const auto beside = options.listen_host == "127.0.0.1" ? " or another loopback address with --listen 127.0.1.1" : "";
  const auto problem = [&](const std::string& host, std::uint16_t port, const char* option) {
    auto text = listen_problem(host, port, option);
    if (text && text->find("another port") != std::string::npos) *text += beside;
    return text;
  };
  for (const auto& e : broker.listeners) {
    if (auto text = problem(e.host, e.port, "--port")) return std::unexpected(*text);
    if (e.port == options.zookeeper_port && e.host == cli::zookeeper_host(options)) {
      return std::unexpected(fmt::format("--port and --zookeeper-port cannot both be {}", e.port));
    }
  }
  if (const auto& metrics = broker.weir_metrics_listener) {
    if (auto text = problem(metrics->host, metrics->port, "--metrics-port")) return std::unexpected(*text);
  }
  return {};
}

}  // namespace

std::expected<void, std::string> write_if_other(const std::string& path, const std::string& text) {
  auto& files = runtime::system_files();
  if (const auto before = files.read_whole(path); before && *before == text) return {};
  if (auto written = files.write_whole(path, text); !written) return std::unexpected(written.error().message);
  return {};
}

UpBrokers::UpBrokers(cli::UpOptions options, DataDir dir, std::string program, std::string kafka_version, int count)
    : options_(std::move(options)),
      dir_(std::move(dir)),
      program_(std::move(program)),
      kafka_version_(std::move(kafka_version)),
      count_(count) {}

std::expected<UpBrokers::Composed, std::string> UpBrokers::compose(const cli::Place& place) const {
  const auto zookeeper = host_port(cli::zookeeper_host(options_), options_.zookeeper_port);
  const auto cores = std::max(1U, std::thread::hardware_concurrency());
  Composed out;
  out.text = cli::server_properties(place, count_, zookeeper, kafka_version_, dir_.broker_data(place.id), cores);
  auto file = config::parse_properties(out.text);
  if (!file) return std::unexpected(file.error());
  auto asked = read_local_spec(dir_.broker_asked(place.id));
  if (!asked) return std::unexpected(asked.error());
  if (*asked) {
    *file = put_over(std::move(*file), **asked, place, dir_.broker(place.id));
    out.text = "# Written by `weir up` at each start: its options, and over them what the API asks for (api.json)\n" +
               config::to_text(*file);
    out.given = (*asked)->number();
  }
  for (const auto& [key, value] : options_.overrides) file->insert_or_assign(key, value);
  out.loaded = config::load_broker_config({{}, {}, *file});
  return out;
}

void UpBrokers::describe(cli::ProcessState& state, const config::BrokerConfig& config) {
  state.rack = config.rack;
  state.addresses.clear();
  for (const auto& e : config.advertised) state.addresses[e.listener] = host_port(e.host, e.port);
  if (const auto& metrics = config.weir_metrics_listener) {
    state.addresses["metrics"] = host_port(metrics->host, metrics->port);
  }
}

std::expected<ChildSpec, std::string> UpBrokers::child(int id, std::vector<std::string>& warnings) {
  const auto place = cli::place_of(options_, id);
  if (!place) return std::unexpected(place.error());
  auto composed = compose(*place);
  if (!composed) return std::unexpected(composed.error());
  auto& loaded = composed->loaded;
  if (!loaded) return std::unexpected(fmt::format("{}", fmt::join(loaded.error(), "\n")));
  if (auto free = check_ports(options_, loaded->config); !free) return std::unexpected(free.error());
  const auto properties_path = dir_.broker(id) + "/server.properties";
  if (auto written = write_if_other(properties_path, composed->text); !written) {
    return std::unexpected(written.error());
  }
  fresh_.insert(id);
  levels_[id] = loaded->config.inter_broker_protocol.text();
  for (auto& warning : loaded->warnings) {
    if (std::ranges::find(warnings, warning) == warnings.end()) warnings.push_back(std::move(warning));
  }

  ChildSpec child;
  child.stage = 1;
  child.state.role = "broker";
  child.state.id = loaded->config.broker_id.value;
  child.state.given = composed->given;
  describe(child.state, loaded->config);
  child.program = "/proc/self/exe";
  child.argv = {program_, "broker", "--config", properties_path, "--ready-fd", std::to_string(child_ready_fd)};
  for (const auto& [key, value] : options_.overrides) {
    child.argv.push_back("--override");
    child.argv.push_back(key + "=" + value);
  }
  for (auto& flag : log_flags(options_.log)) child.argv.push_back(std::move(flag));
  child.log_path = dir_.log(dir_.broker_name(id));
  child.stop_all_signal = stop_with_all_signal;
  child.ready_max = milliseconds(600'000);  // after a crash it may have much to recover
  child.clear_up = [log_dir = loaded->config.log_dirs.front()] { end_left_session(log_dir, session_end_max); };
  child.renew = [this, id](cli::ProcessState& state) { return renew(id, state); };
  return child;
}

std::expected<ChildSpec, std::string> UpBrokers::add(int id) {
  if (id != count_ + 1 || id > cli::brokers_max) {
    return std::unexpected(
        fmt::format("there can be no broker {}: the next one is {}, the last {}", id, count_ + 1, cli::brokers_max));
  }
  if (auto fine = check_overrides(options_, id); !fine) return std::unexpected(fine.error());
  if (auto made = dir_.make(id); !made) return std::unexpected(made.error());
  ++count_;
  std::vector<std::string> warnings;
  auto added = child(id, warnings);
  if (!added) --count_;
  // Others may be added before it is started.
  fresh_.erase(id);
  return added;
}

std::expected<void, std::string> UpBrokers::renew(int id, cli::ProcessState& state) {
  if (fresh_.erase(id) > 0) return {};
  const auto place = cli::place_of(options_, id);
  if (!place) return std::unexpected(place.error());
  auto composed = compose(*place);
  if (!composed) return std::unexpected(composed.error());
  if (auto written = write_if_other(dir_.broker(id) + "/server.properties", composed->text); !written) return written;
  state.given = composed->given;
  // The broker says itself what is wrong.
  if (!composed->loaded) return {};
  levels_[id] = composed->loaded->config.inter_broker_protocol.text();
  describe(state, composed->loaded->config);
  return {};
}

std::string UpBrokers::level() const {
  std::optional<config::KafkaVersion> lowest;
  for (const auto& [id, text] : levels_) {
    const auto level = config::parse_kafka_version(text);
    if (id <= count_ && level && (!lowest || *level < *lowest)) lowest = level;
  }
  return lowest ? lowest->text() : kafka_version_;
}

std::expected<void, std::string> UpBrokers::forget_level(const DataDir& dir, int count) {
  for (int id = 1; id <= count; ++id) {
    auto asked = read_local_spec(dir.broker_asked(id));
    if (!asked) return std::unexpected(asked.error());
    if (!*asked || (*asked)->properties.erase(level_key) == 0) continue;
    if (auto written = runtime::system_files().write_private(dir.broker_asked(id), to_json(**asked)); !written) {
      return std::unexpected(written.error().message);
    }
  }
  return {};
}

}  // namespace weir::apps
