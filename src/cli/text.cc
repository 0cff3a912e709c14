#include "cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "config/properties.h"

namespace weir::cli {

std::string display_name(const ProcessState& process) {
  return process.id ? fmt::format("{} {}", process.role, *process.id) : process.role;
}

namespace {

std::string address_of(const ProcessState* process, std::string_view name) {
  if (process == nullptr) return {};
  auto it = process->addresses.find(std::string(name));
  return it == process->addresses.end() ? std::string() : it->second;
}

// Where clients connect: the plaintext listener, or the first there is.
std::string listener_of(const ProcessState* broker) {
  if (auto plaintext = address_of(broker, "PLAINTEXT"); !plaintext.empty()) return plaintext;
  if (broker == nullptr) return {};
  for (const auto& [name, address] : broker->addresses) {
    if (name != "metrics") return address;
  }
  return {};
}

std::string data_flag(const State& state) {
  return state.data_dir.empty() ? std::string() : " --data " + shell_quoted(state.data_dir);
}

}  // namespace

std::string up_text(const State& state, milliseconds took, bool detached) {
  std::string out;
  auto to = std::back_inserter(out);
  const ProcessState* first = state.find("broker");
  for (const ProcessState& p : state.processes) {
    if (p.role == "broker" && p.state == "running") {
      first = &p;
      break;
    }
  }
  fmt::format_to(to, "weir {} is up, compatible with Kafka {} (ready in {} ms)\n", state.version, state.kafka_version,
                 took.count());
  for (const ProcessState& p : state.processes) {
    if (p.role == "supervisor") continue;
    std::string where = p.role == "zookeeper" ? address_of(&p, "client") : listener_of(&p);
    std::string how = p.state == "running" ? fmt::format("pid {}", p.process.pid) : "not up: " + p.state;
    fmt::format_to(to, "  {:<10} {:<22} {}{}{}\n", display_name(p), where, how, p.rack.empty() ? "" : ", zone ",
                   p.rack);
  }
  const char* label = "metrics";
  for (const ProcessState& p : state.processes) {
    if (auto metrics = address_of(&p, "metrics"); p.role == "broker" && !metrics.empty()) {
      fmt::format_to(to, "  {:<10} http://{}/metrics\n", std::exchange(label, ""), metrics);
    }
  }
  fmt::format_to(to, "  {:<10} {}, logs in {}/log\n", "data", state.data_dir, state.data_dir);
  fmt::format_to(to,
                 "\nNow, in another shell:\n"
                 "  echo hello | kcat -b {0} -P -t first\n"
                 "  kcat -b {0} -C -t first -e\n"
                 "  kafka-topics.sh --bootstrap-server {0} --list\n",
                 listener_of(first));
  if (state.find("control") != nullptr) {
    fmt::format_to(to, "  eval \"$(weir env{})\" && aws kafka list-clusters\n", data_flag(state));
  }
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
    std::string zone = p.rack.empty() ? "" : ", zone " + p.rack;
    fmt::format_to(to, "  {:<10} {:<9} {:<11} {}{}{}\n", display_name(p), p.state, pid, addresses, zone, restarts);
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

std::string bootstrap(const State& state) {
  std::string out;
  for (const ProcessState& p : state.processes) {
    if (p.role != "broker") continue;
    if (auto address = listener_of(&p); !address.empty()) out += (out.empty() ? "" : ",") + address;
  }
  return out;
}

std::string env_text(const State& state) {
  return fmt::format("export BOOTSTRAP={}\nexport ZOOKEEPER={}\n", shell_quoted(bootstrap(state)),
                     shell_quoted(address_of(state.find("zookeeper"), "client")));
}

std::string server_properties(const Place& place, int brokers, const std::string& zookeeper,
                              const std::string& kafka_version, const std::string& log_dir, unsigned cores) {
  const int replicas = std::min(brokers, 3);
  const int in_sync = replicas == 3 ? 2 : 1;  // as MSK: one zone may be away
  config::Properties p{
      {"broker.id", std::to_string(place.id)},
      {"listeners", "PLAINTEXT://" + host_port(place.listen_host, place.port)},
      {"advertised.listeners", "PLAINTEXT://" + host_port(place.advertise_host, place.port)},
      {"log.dirs", log_dir},
      {"zookeeper.connect", zookeeper},
      {"inter.broker.protocol.version", kafka_version},
      // A broker that was killed can come back when its session is over: on one machine that need not take long.
      {"zookeeper.session.timeout.ms", "6000"},
      {"offsets.topic.replication.factor", std::to_string(replicas)},
      {"transaction.state.log.replication.factor", std::to_string(replicas)},
      {"transaction.state.log.min.isr", std::to_string(in_sync)},
      // On one machine no group waits for members from elsewhere.
      {"group.initial.rebalance.delay.ms", "0"},
  };
  if (brokers > 1) {
    p["broker.rack"] = place.rack;
    p["default.replication.factor"] = std::to_string(replicas);
    p["min.insync.replicas"] = std::to_string(in_sync);
    // They share the machine's cores; some more than its part, since not all are busy at once.
    const auto shards = std::max(1U, (2 * cores + static_cast<unsigned>(brokers) - 1) / static_cast<unsigned>(brokers));
    if (shards < cores) p["weir.shards"] = std::to_string(shards);
  }
  if (place.metrics_port != 0) p["weir.metrics.listener"] = host_port(place.listen_host, place.metrics_port);
  return "# Written by `weir up` at each start. Other settings: weir up --override KEY=VALUE\n" + config::to_text(p);
}

}  // namespace weir::cli
