#include "apps/up.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <thread>

#include "apps/control_socket.h"
#include "apps/process.h"
#include "apps/run.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/place.h"
#include "cli/text.h"
#include "config/broker_config.h"
#include "msk/kafka.h"
#include "runtime/clock.h"

namespace weir::apps {

using cli::host_port;

namespace {

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
  end_processes(*state, milliseconds(10'000));
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

ChildSpec zookeeper_child(const cli::UpOptions& options, const DataDir& dir, const std::string& program) {
  const auto address = host_port(cli::zookeeper_host(options), options.zookeeper_port);
  ChildSpec child;
  child.state.role = "zookeeper";
  child.state.addresses = {{"client", address}};
  child.program = "/proc/self/exe";
  child.argv = {program,    "zookeeper", "--data",     dir.zookeeper(),
                "--listen", address,     "--ready-fd", std::to_string(child_ready_fd)};
  for (auto& flag : log_flags(options.log)) child.argv.push_back(std::move(flag));
  child.log_path = dir.log("zookeeper");
  child.stop_max = milliseconds(10'000);
  return child;
}

// A port that nobody listens on just now.
std::uint16_t any_free_port(const std::string& host) {
  for (std::uint16_t port = cli::api_port + 1; port != 0; ++port) {
    if (!listen_problem(host, port, "--api")) return port;
  }
  return 0;
}

// Where the API is to listen. One that nobody asked for moves out of another's way: `weir env` says where it is.
std::expected<config::HostPort, std::string> api_place(const cli::UpOptions& options) {
  if (options.api) {
    if (auto problem = listen_problem(options.api->host, options.api->port, "--api")) return std::unexpected(*problem);
    return *options.api;
  }
  config::HostPort at{cli::zookeeper_host(options), cli::api_port};
  if (listen_problem(at.host, at.port, "--api")) at.port = any_free_port(at.host);
  return at;
}

ChildSpec control_child(const cli::UpOptions& options, const DataDir& dir, const std::string& program,
                        const config::HostPort& api) {
  ChildSpec child;
  child.stage = 1;  // beside the brokers, which wait for nobody
  child.accessory = true;
  child.state.role = "control";
  child.state.addresses = {{"API", host_port(api.host, api.port)}};
  child.program = "/proc/self/exe";
  child.argv = {program,       "control",
                "--data",      dir.path(),
                "--zookeeper", host_port(cli::zookeeper_host(options), options.zookeeper_port),
                "--api",       host_port(api.host, api.port),
                "--addresses", options.addresses,
                "--ready-fd",  std::to_string(child_ready_fd)};
  child.argv.emplace_back("--supervised");
  // Where both are for others, they are told the same name.
  const bool everywhere = api.host == "0.0.0.0" || api.host == "::";
  if (everywhere && !options.advertise_host.empty() && options.advertise_host != options.listen_host) {
    child.argv.insert(child.argv.end(), {"--advertise", options.advertise_host});
  }
  for (auto& flag : log_flags(options.log)) child.argv.push_back(std::move(flag));
  child.log_path = dir.log("control");
  child.stop_all_signal = stop_with_all_signal;  // its clusters' brokers stop with it
  return child;
}

}  // namespace

std::vector<std::string> log_flags(const cli::LogOptions& log) {
  return {"--log-level", std::string(level_name(log.level)), "--log-format",
          log.format == logging::Format::json ? "json" : "text"};
}

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

std::expected<void, std::string> check_overrides(const cli::UpOptions& options, int brokers) {
  if (brokers == 1) return {};
  constexpr std::array<const char*, 9> own{"broker.id",        "node.id",  "listeners",   "advertised.listeners",
                                           "log.dir",          "log.dirs", "broker.rack", "weir.metrics.listener",
                                           "zookeeper.connect"};
  for (const auto& [key, value] : options.overrides) {
    if (std::ranges::find(own, key) == own.end()) continue;
    return std::unexpected(fmt::format(
        "--override {}={}: with {} brokers each has one of its own; --listen, --port and --metrics-port say where they "
        "are",
        key, value, brokers));
  }
  return {};
}

std::expected<int, std::string> broker_count(const cli::UpOptions& options, const DataDir& dir) {
  const int there = dir.brokers();
  const int wanted = options.brokers;
  if (wanted == 0) return std::max(there, 1);
  if (wanted >= there) return wanted;
  return std::unexpected(fmt::format(
      "{0} holds {1} brokers, and cannot go on with {2}: what lies on broker {3} alone would be lost. Either start all "
      "(leave --brokers out); or move all partitions to other brokers (kafka-reassign-partitions), `weir down --data "
      "{4}`, and remove {5}",
      dir.path(), there, wanted, there, cli::shell_quoted(dir.path()),
      wanted + 1 == there ? dir.broker(there)
                          : fmt::format("the folders {} to {}", dir.broker(wanted + 1), dir.broker(there))));
}

std::expected<Plan, std::string> prepare(const cli::UpOptions& options, const DataDir& dir,
                                         const std::string& program) {
  const auto brokers = broker_count(options, dir);
  if (!brokers) return std::unexpected(brokers.error());
  if (auto fine = check_overrides(options, *brokers); !fine) return std::unexpected(fine.error());
  if (auto made = dir.make(*brokers); !made) return std::unexpected(made.error());
  if (auto problem = listen_problem(cli::zookeeper_host(options), options.zookeeper_port, "--zookeeper-port")) {
    return std::unexpected(*problem);
  }
  Plan plan;
  plan.kafka_version = kafka_version_of(options, dir.broker(1) + "/server.properties");
  if (!options.kafka_version.empty()) {
    if (auto forgotten = UpBrokers::forget_level(dir, *brokers); !forgotten) return std::unexpected(forgotten.error());
  }
  plan.brokers = std::make_unique<UpBrokers>(options, dir, program, plan.kafka_version, *brokers);
  plan.children.push_back(zookeeper_child(options, dir, program));
  for (int id = 1; id <= *brokers; ++id) {
    auto child = plan.brokers->child(id, plan.warnings);
    if (!child) return std::unexpected(child.error());
    plan.children.push_back(std::move(*child));
  }
  if (options.control) {
    const auto api = api_place(options);
    if (!api) return std::unexpected(api.error());
    plan.children.push_back(control_child(options, dir, program, *api));
  }
  for (const auto& child : plan.children) put_aside(child.log_path);
  return plan;
}

namespace {

// What `weir restart`, `weir down --broker` and the control plane ask for.
void take_order(Supervisor& supervisor, UpBrokers& brokers, const std::string& line, ControlSocket::Answer answer) {
  const auto blank = line.find(' ');
  const auto what = line.substr(0, blank);
  int id = 0;
  if (blank != std::string::npos) std::from_chars(line.data() + blank + 1, line.data() + line.size(), id);
  if (what == "restart") return supervisor.restart_child("broker", id, std::move(answer));
  if (what == "down") return supervisor.stop_child("broker", id, std::move(answer));
  if (what == "start") return supervisor.start_child("broker", id, std::move(answer));
  if (what == "add") {
    if (id >= 1 && id <= brokers.count()) return answer(fmt::format("broker {} is there already", id));
    auto child = brokers.add(id);
    if (!child) return answer(std::unexpected(child.error()));
    supervisor.add_child(std::move(*child));
    return answer(fmt::format("broker {} is there", id));
  }
  if (what == "remove") {
    if (id > brokers.count()) return answer(fmt::format("broker {} is gone already", id));
    if (id != brokers.count())
      return answer(std::unexpected(fmt::format("broker {} {}", id, UpBrokers::not_last_text)));
    if (auto gone = supervisor.remove_child("broker", id); !gone) return answer(std::unexpected(gone.error()));
    brokers.remove();
    return answer(fmt::format("broker {} is gone", id));
  }
  answer(std::unexpected(fmt::format("this weir up does not know '{}'", what)));
}

}  // namespace

int supervise(const cli::UpOptions& options, const DataDir& dir, const Voice& voice) {
  const auto began = runtime::system_clock().mono();
  auto fail = [&](const std::string& why) {
    voice.failed(why);
    return cli::exit_failure;
  };
  if (auto made = dir.make(0); !made) return fail(made.error());
  auto locked = lock(dir);
  if (!locked) return fail(locked.error());
  end_leftovers(dir);

  std::error_code error;
  auto program = std::filesystem::read_symlink("/proc/self/exe", error).string();
  auto plan = prepare(options, dir, error ? "weir" : program);
  if (!plan) return fail(plan.error());
  for (const auto& warning : plan->warnings) voice.progress("warning: " + warning);

  cli::State state;
  state.version = cli::version();
  state.kafka_version = plan->kafka_version;
  state.data_dir = dir.path();
  state.boot_id = boot_id();
  for (const auto& [key, value] : options.overrides) {
    if (msk::settable(key)) state.overrides[key] = value;
  }
  cli::ProcessState self;
  self.role = "supervisor";
  self.process = identify(getpid());
  self.state = "running";
  SupervisorHooks hooks;
  hooks.say = voice.say;
  hooks.progress = voice.progress;
  hooks.changed = [&](const std::vector<cli::ProcessState>& children) {
    state.processes = {self};
    state.processes.insert(state.processes.end(), children.begin(), children.end());
    state.kafka_version = plan->brokers->level();
    if (auto written = dir.write_state(state); !written) voice.say(written.error());
  };

  Supervisor supervisor(std::move(plan->children), hooks);
  auto started = supervisor.start();
  if (started) {
    voice.ready(cli::up_text(state, std::chrono::duration_cast<milliseconds>(runtime::system_clock().mono() - began),
                             options.detach));
    ControlSocket control(dir.control_folder(), [&](const std::string& line, ControlSocket::Answer answer) {
      take_order(supervisor, *plan->brokers, line, std::move(answer));
    });
    supervisor.watch([&] { return control.descriptors(); }, [&] { control.take(); });
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
  voice.progress = voice.say;
  return supervise(options, dir, voice);
}

// In the process that stays: its words until it is ready go to `report`. Lines of progress begin with '~'; what begins
// with '+' or '-' is the last word, up to the end, and says how it went.
int in_background(const cli::UpOptions& options, const DataDir& dir, int report) {
  auto write_report = [report](const std::string& message) {
    [[maybe_unused]] auto n = write(report, message.data(), message.size());
  };
  auto tell = [=](char how, const std::string& text) {
    write_report(how + text);
    close(report);
  };
  Voice voice;
  voice.progress = [&](const std::string& line) { write_report("~" + line + "\n"); };
  voice.ready = [&](const std::string& text) {
    tell('+', text);
    WEIR_LOG(info, "ready");
  };
  voice.failed = [&](const std::string& why) { tell('-', why); };
  voice.say = [](const std::string& line) { WEIR_LOG(info, "{}", line); };
  return supervise(options, dir, voice);
}

int detach(const cli::UpOptions& options, const DataDir& dir) {
  if (auto made = dir.make(0); !made) {
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
    for (auto end = report.find('\n'); report.starts_with('~') && end != std::string::npos; end = report.find('\n')) {
      fmt::print("weir: {}\n", report.substr(1, end - 1));
      std::fflush(stdout);
      report.erase(0, end + 1);
    }
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
