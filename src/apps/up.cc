#include "apps/up.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "apps/process.h"
#include "apps/run.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/text.h"
#include "config/broker_config.h"
#include "runtime/clock.h"

namespace weir::apps {

namespace {

std::string host_port(const std::string& host, std::uint16_t port) {
  return fmt::format(host.find(':') == std::string::npos ? fmt::runtime("{}:{}") : fmt::runtime("[{}]:{}"), host, port);
}

std::string_view level_name(logging::Level level) {
  switch (level) {
    case logging::Level::trace: return "trace";
    case logging::Level::debug: return "debug";
    case logging::Level::info: return "info";
    case logging::Level::warn: return "warn";
    case logging::Level::error: return "error";
    case logging::Level::off: return "off";
  }
  return "info";
}

std::vector<std::string> log_flags(const cli::LogOptions& log) {
  return {"--log-level", std::string(level_name(log.level)), "--log-format",
          log.format == logging::Format::json ? "json" : "text"};
}

// A log that has grown is put aside, so that two of them is all there is.
void put_aside(const std::string& path) {
  constexpr std::uintmax_t log_bytes_max = 16 * MiB;
  std::error_code error;
  if (auto size = std::filesystem::file_size(path, error); !error && size > log_bytes_max) {
    std::filesystem::rename(path, path + ".1", error);
  }
}

// The level of a cluster stays as it is until somebody says another.
std::string kafka_version_of(const cli::UpOptions& options, const std::string& properties_path) {
  if (!options.kafka_version.empty()) return options.kafka_version;
  if (auto text = runtime::system_files().read_whole(properties_path)) {
    if (auto before = config::parse_properties(*text)) {
      auto it = before->find("inter.broker.protocol.version");
      if (it != before->end() && config::parse_kafka_version(it->second)) return it->second;
    }
  }
  return config::KafkaVersion{}.text();
}

// What a supervisor that was killed left behind is ended before anything is started: it holds ports and folders.
void end_leftovers(const DataDir& dir) {
  auto state = dir.read_state();
  if (!state || state->boot_id != boot_id()) return;
  for (auto it = state->processes.rbegin(); it != state->processes.rend(); ++it) {
    if (it->role == "supervisor" || !signal_process(it->process, SIGTERM)) continue;
    constexpr milliseconds leftover_stop_max{10'000};
    if (!wait_for_end(it->process, leftover_stop_max)) {
      signal_process(it->process, SIGKILL);
      wait_for_end(it->process, leftover_stop_max);
    }
  }
}

std::expected<std::unique_ptr<runtime::File>, std::string> lock(const DataDir& dir) {
  auto locked = runtime::system_files().lock(dir.lock());
  if (locked) return std::move(*locked);
  if (locked.error().number != EWOULDBLOCK) return std::unexpected(locked.error().message);
  int pid = 0;
  if (auto state = dir.read_state(); state && supervisor_runs(*state)) pid = state->find("supervisor")->process.pid;
  return std::unexpected(fmt::format("weir is already running on {0}{1}; `weir down --data {2}` stops it", dir.path(),
                                     pid == 0 ? "" : fmt::format(" (pid {})", pid), cli::shell_quoted(dir.path())));
}

std::expected<void, std::string> check_ports(const cli::UpOptions& options, const config::BrokerConfig& broker) {
  if (auto problem = listen_problem("127.0.0.1", options.zookeeper_port, "--zookeeper-port")) {
    return std::unexpected(*problem);
  }
  for (const auto& e : broker.listeners) {
    if (auto problem = listen_problem(e.host, e.port, "--port")) return std::unexpected(*problem);
    if (e.port == options.zookeeper_port) {
      return std::unexpected(fmt::format("--port and --zookeeper-port cannot both be {}", e.port));
    }
  }
  if (const auto& metrics = broker.weir_metrics_listener) {
    if (auto problem = listen_problem(metrics->host, metrics->port, "--metrics-port")) {
      return std::unexpected(*problem);
    }
  }
  return {};
}

}  // namespace

std::optional<std::string> listen_problem(const std::string& host, std::uint16_t port, const std::string& option) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int failed = getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed != 0) return fmt::format("cannot listen on {}: {} (--listen)", host, gai_strerror(failed));
  int number = 0;
  int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  if (fd < 0) {
    number = errno;
  } else {
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, found->ai_addr, found->ai_addrlen) != 0) number = errno;
    close(fd);
  }
  freeaddrinfo(found);
  if (number == 0) return std::nullopt;
  if (number == EADDRINUSE) {
    return fmt::format("{} is taken by another program: choose another port with {}", host_port(host, port), option);
  }
  return fmt::format("cannot listen on {}: {} ({})", host_port(host, port), std::generic_category().message(number),
                     number == EADDRNOTAVAIL ? "--listen" : option);
}

std::expected<Plan, std::string> prepare(const cli::UpOptions& options, const DataDir& dir,
                                         const std::string& program) {
  Plan plan;
  const std::string properties_path = dir.broker() + "/server.properties";
  plan.kafka_version = kafka_version_of(options, properties_path);
  const std::string text = cli::server_properties(options, plan.kafka_version, dir.broker() + "/data");

  auto file = config::parse_properties(text);
  if (!file) return std::unexpected(file.error());
  for (const auto& [key, value] : options.overrides) file->insert_or_assign(key, value);
  auto loaded = config::load_broker_config({{}, {}, *file});
  if (!loaded) return std::unexpected(fmt::format("{}", fmt::join(loaded.error(), "\n")));
  if (auto free = check_ports(options, loaded->config); !free) return std::unexpected(free.error());
  if (auto written = runtime::system_files().write_whole(properties_path, text); !written) {
    return std::unexpected(written.error().message);
  }

  const std::string zookeeper_address = host_port("127.0.0.1", options.zookeeper_port);
  auto log = log_flags(options.log);
  ChildSpec zookeeper;
  zookeeper.state.role = "zookeeper";
  zookeeper.state.addresses = {{"client", zookeeper_address}};
  zookeeper.program = "/proc/self/exe";
  zookeeper.argv = {program,    "zookeeper",       "--data",     dir.zookeeper(),
                    "--listen", zookeeper_address, "--ready-fd", std::to_string(child_ready_fd)};
  zookeeper.argv.insert(zookeeper.argv.end(), log.begin(), log.end());
  zookeeper.log_path = dir.log("zookeeper");
  zookeeper.stop_max = milliseconds(10'000);

  ChildSpec broker;
  broker.state.role = "broker";
  broker.state.id = loaded->config.broker_id.value;
  for (const auto& e : loaded->config.advertised) broker.state.addresses[e.listener] = host_port(e.host, e.port);
  if (const auto& metrics = loaded->config.weir_metrics_listener) {
    broker.state.addresses["metrics"] = host_port(metrics->host, metrics->port);
  }
  broker.program = "/proc/self/exe";
  broker.argv = {program, "broker", "--config", properties_path, "--ready-fd", std::to_string(child_ready_fd)};
  for (const auto& [key, value] : options.overrides) {
    broker.argv.push_back("--override");
    broker.argv.push_back(key + "=" + value);
  }
  broker.argv.insert(broker.argv.end(), log.begin(), log.end());
  broker.log_path = dir.log("broker-1");

  for (const auto& child : {zookeeper, broker}) put_aside(child.log_path);
  plan.children = {std::move(zookeeper), std::move(broker)};
  return plan;
}

int supervise(const cli::UpOptions& options, const DataDir& dir, const Voice& voice) {
  const auto began = runtime::system_clock().mono();
  auto fail = [&](const std::string& why) {
    voice.failed(why);
    return cli::exit_failure;
  };
  if (auto made = dir.make(); !made) return fail(made.error());
  auto locked = lock(dir);
  if (!locked) return fail(locked.error());
  end_leftovers(dir);

  std::error_code error;
  auto program = std::filesystem::read_symlink("/proc/self/exe", error).string();
  auto plan = prepare(options, dir, error ? "weir" : program);
  if (!plan) return fail(plan.error());

  cli::State state;
  state.version = cli::version();
  state.kafka_version = plan->kafka_version;
  state.data_dir = dir.path();
  state.boot_id = boot_id();
  cli::ProcessState self;
  self.role = "supervisor";
  self.process = identify(getpid());
  self.state = "running";
  SupervisorHooks hooks;
  hooks.say = voice.say;
  hooks.changed = [&](const std::vector<cli::ProcessState>& children) {
    state.processes = {self};
    state.processes.insert(state.processes.end(), children.begin(), children.end());
    if (auto written = dir.write_state(state); !written) voice.say(written.error());
  };

  Supervisor supervisor(std::move(plan->children), hooks);
  auto started = supervisor.start();
  if (started) {
    voice.ready(cli::up_text(state, std::chrono::duration_cast<milliseconds>(runtime::system_clock().mono() - began),
                             options.detach));
    supervisor.run();
    voice.say("stopped");
  }
  self = {"supervisor", std::nullopt, {}, "stopped", {}, 0};
  hooks.changed({state.processes.begin() + (state.processes.empty() ? 0 : 1), state.processes.end()});
  return started ? cli::exit_ok : fail(started.error());
}

namespace {

int in_foreground(const cli::UpOptions& options, const DataDir& dir) {
  Voice voice;
  voice.ready = [](const std::string& text) {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  };
  voice.failed = [](const std::string& why) { fmt::print(stderr, "weir: {}\n", why); };
  voice.say = [](const std::string& line) {
    fmt::print("weir: {}\n", line);
    std::fflush(stdout);
  };
  return supervise(options, dir, voice);
}

// In the process that stays: its words until it is ready go to `report`, the first character says how it went.
int in_background(const cli::UpOptions& options, const DataDir& dir, int report) {
  auto tell = [report](char how, const std::string& text) {
    std::string message = how + text;
    [[maybe_unused]] auto n = write(report, message.data(), message.size());
    close(report);
  };
  Voice voice;
  voice.ready = [&](const std::string& text) {
    tell('+', text);
    WEIR_LOG(info, "ready");
  };
  voice.failed = [&](const std::string& why) { tell('-', why); };
  voice.say = [](const std::string& line) { WEIR_LOG(info, "{}", line); };
  return supervise(options, dir, voice);
}

int detach(const cli::UpOptions& options, const DataDir& dir) {
  if (auto made = dir.make(); !made) {
    fmt::print(stderr, "weir: {}\n", made.error());
    return cli::exit_failure;
  }
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  std::fflush(nullptr);
  pid_t first = fork();
  if (first < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (first == 0) {
    setsid();
    if (pid_t second = fork(); second != 0) _exit(second < 0 ? 1 : 0);
    close(fds[0]);
    const std::string log = dir.log("up");
    put_aside(log);
    int null = open("/dev/null", O_RDONLY);
    int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    dup2(null, STDIN_FILENO);
    dup2(out < 0 ? null : out, STDOUT_FILENO);
    dup2(out < 0 ? null : out, STDERR_FILENO);
    close(null);
    if (out >= 0) close(out);
    logging::init({options.log.level, options.log.format, {}});
    std::exit(in_background(options, dir, fds[1]));
  }
  close(fds[1]);
  while (waitpid(first, nullptr, 0) < 0 && errno == EINTR) {
  }
  std::string report;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(fds[0], buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0) report.append(buffer, static_cast<std::size_t>(n));
  }
  close(fds[0]);
  if (report.starts_with('+')) {
    std::fputs(report.c_str() + 1, stdout);
    return cli::exit_ok;
  }
  fmt::print(
      stderr, "weir: {}\n",
      report.empty() ? fmt::format("it ended before it was ready; its log: {}", dir.log("up")) : report.substr(1));
  return cli::exit_failure;
}

}  // namespace

int run_up(cli::UpOptions options) {
  auto dir = DataDir::find(options.data_dir);
  if (!dir) {
    fmt::print(stderr, "weir: {}\n", dir.error());
    return cli::exit_failure;
  }
  options.data_dir = dir->path();
  return options.detach ? detach(options, *dir) : in_foreground(options, *dir);
}

}  // namespace weir::apps
