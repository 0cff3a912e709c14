#include "cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "config/properties.h"

namespace weir::cli {

std::string display_name(const ProcessState& process) {
  return process.id ? fmt::format("{} {}", process.role, *process.id) : process.role;
}

namespace {

std::string address_of(const State& state, std::string_view role, std::string_view name) {
  const ProcessState* process = state.find(role);
  if (process == nullptr) return {};
  auto it = process->addresses.find(std::string(name));
  return it == process->addresses.end() ? std::string() : it->second;
}

// Where clients connect: the plaintext listener, or the first there is.
std::string bootstrap_of(const State& state) {
  if (auto plaintext = address_of(state, "broker", "PLAINTEXT"); !plaintext.empty()) return plaintext;
  const ProcessState* broker = state.find("broker");
  if (broker == nullptr) return {};
  for (const auto& [name, address] : broker->addresses) {
    if (name != "metrics") return address;
  }
  return {};
}

std::string data_flag(const State& state) {
  return state.data_dir.empty() ? std::string() : " --data " + shell_quoted(state.data_dir);
}

std::string with_brackets(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

}  // namespace

std::string up_text(const State& state, milliseconds took, bool detached) {
  std::string out;
  auto to = std::back_inserter(out);
  std::string bootstrap = bootstrap_of(state);
  std::string metrics = address_of(state, "broker", "metrics");
  fmt::format_to(to, "weir {} is up, compatible with Kafka {} (ready in {} ms)\n", state.version, state.kafka_version,
                 took.count());
  for (const ProcessState& p : state.processes) {
    if (p.role == "supervisor") continue;
    std::string where = p.role == "zookeeper" ? address_of(state, "zookeeper", "client") : bootstrap;
    fmt::format_to(to, "  {:<10} {:<22} pid {}\n", display_name(p), where, p.process.pid);
  }
  if (!metrics.empty()) fmt::format_to(to, "  {:<10} http://{}/metrics\n", "metrics", metrics);
  fmt::format_to(to, "  {:<10} {}, logs in {}/log\n", "data", state.data_dir, state.data_dir);
  fmt::format_to(to,
                 "\nNow, in another shell:\n"
                 "  echo hello | kcat -b {0} -P -t first\n"
                 "  kcat -b {0} -C -t first -e\n"
                 "  kafka-topics.sh --bootstrap-server {0} --list\n",
                 bootstrap);
  if (detached) {
    fmt::format_to(to, "\n`weir down{0}` stops it, `weir status{0}` shows it; data stays.\n", data_flag(state));
  } else {
    out += "\nCtrl-C stops it; data stays.\n";
  }
  return out;
}

std::string status_text(const State& state, bool running) {
  std::string out;
  auto to = std::back_inserter(out);
  if (running) {
    fmt::format_to(to, "weir {} runs on {}, compatible with Kafka {}\n", state.version, state.data_dir,
                   state.kafka_version);
  } else {
    fmt::format_to(to, "weir does not run on {}\n", state.data_dir);
  }
  for (const ProcessState& p : state.processes) {
    std::string addresses;
    for (const auto& [name, address] : p.addresses) {
      fmt::format_to(std::back_inserter(addresses), "{}{} {}", addresses.empty() ? "" : ", ", name, address);
    }
    std::string pid = p.process.pid == 0 ? "-" : fmt::format("pid {}", p.process.pid);
    std::string restarts = p.restarts == 0 ? "" : fmt::format(" (started again {} times)", p.restarts);
    fmt::format_to(to, "  {:<10} {:<9} {:<11} {}{}\n", display_name(p), p.state, pid, addresses, restarts);
  }
  // Blanks at the end of a line are noise.
  std::string trimmed;
  for (std::size_t at = 0; at < out.size();) {
    auto end = out.find('\n', at);
    auto line = std::string_view(out).substr(at, end - at);
    auto last = line.find_last_not_of(' ');
    trimmed += line.substr(0, last == std::string_view::npos ? 0 : last + 1);
    trimmed += '\n';
    at = end + 1;
  }
  return trimmed;
}

std::string shell_quoted(const std::string& word) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,@%+=";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string out = "'";
  for (char c : word) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string env_text(const State& state) {
  return fmt::format("export BOOTSTRAP={}\nexport ZOOKEEPER={}\n", shell_quoted(bootstrap_of(state)),
                     shell_quoted(address_of(state, "zookeeper", "client")));
}

std::string server_properties(const UpOptions& options, const std::string& kafka_version, const std::string& log_dir) {
  config::Properties p{
      {"broker.id", "1"},
      {"listeners", fmt::format("PLAINTEXT://{}:{}", with_brackets(options.listen_host), options.port)},
      {"advertised.listeners", fmt::format("PLAINTEXT://{}:{}", with_brackets(options.advertise_host), options.port)},
      {"log.dirs", log_dir},
      {"zookeeper.connect", fmt::format("127.0.0.1:{}", options.zookeeper_port)},
      {"inter.broker.protocol.version", kafka_version},
      // A broker that was killed can come back when its session is over: on one machine that need not take long.
      {"zookeeper.session.timeout.ms", "6000"},
      // One broker: internal topics cannot have more replicas, and no group waits for members from elsewhere.
      {"offsets.topic.replication.factor", "1"},
      {"transaction.state.log.replication.factor", "1"},
      {"transaction.state.log.min.isr", "1"},
      {"group.initial.rebalance.delay.ms", "0"},
  };
  if (options.metrics_port != 0) {
    p["weir.metrics.listener"] = fmt::format("{}:{}", with_brackets(options.listen_host), options.metrics_port);
  }
  return "# Written by `weir up` at each start. Other settings: weir up --override KEY=VALUE\n" + config::to_text(p);
}

}  // namespace weir::cli
