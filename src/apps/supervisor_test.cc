#include "apps/supervisor.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>

#include "apps/control_socket.h"
#include "apps/data_dir.h"
#include "apps/left_session.h"
#include "apps/process.h"
#include "apps/up.h"
#include "cli/text.h"
#include "config/properties.h"
#include "runtime/files.h"

namespace weir::apps {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

class Folder {
 public:
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "weir-apps-XXXXXX";
    path = mkdtemp(name.data());
  }
  explicit Folder(std::string at) : path(std::move(at)) { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

std::string text_of(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Children are shell scripts. The supervisor runs in a process of its own, as it does in life: it owns that
// process's signals. What the test wants to know is written to `events`, one line each.
struct Script {
  std::string role;
  std::string text;
  std::optional<int> id;  // those with one are started together, in the stage after the others
  std::function<void()> clear_up;
  int stop_all_signal = SIGTERM;
  bool accessory = false;
};

class Supervised {
 public:
  Supervised(const Folder& folder, std::vector<Script> scripts, milliseconds stop_max = milliseconds(20'000),
             milliseconds ready_max = milliseconds(20'000))
      : events_(folder / "events") {
    std::ofstream(events_).flush();
    pid_ = fork();
    if (pid_ != 0) return;
    std::vector<ChildSpec> specs;
    int stage = 0;
    for (const auto& script : scripts) {
      ChildSpec spec;
      spec.state.role = script.role;
      spec.state.id = script.id;
      spec.stage = script.id ? stage : stage++;
      spec.clear_up = script.clear_up;
      spec.stop_all_signal = script.stop_all_signal;
      spec.accessory = script.accessory;
      spec.program = "/bin/sh";
      spec.argv = {"sh", "-c", script.text};
      spec.log_path = folder / (cli::display_name(spec.state) + ".log");
      spec.stop_max = stop_max;
      spec.ready_max = ready_max;
      specs.push_back(std::move(spec));
    }
    std::ofstream events(events_, std::ios::app);
    SupervisorHooks hooks;
    hooks.say = [&](const std::string& line) { events << "say " << line << std::endl; };
    hooks.progress = [&](const std::string& line) { events << "progress " << line << std::endl; };
    hooks.changed = [&](const std::vector<cli::ProcessState>& all) {
      for (const auto& p : all) events << cli::display_name(p) << "=" << p.state << "(" << p.process.pid << ") ";
      events << std::endl;
    };
    {
      Supervisor supervisor(std::move(specs), hooks);
      auto started = supervisor.start();
      events << (started ? "started" : "failed " + started.error()) << std::endl;
      ControlSocket control(folder.path, [&](const std::string& line, ControlSocket::Answer answer) {
        const int id = line.contains(' ') ? std::atoi(line.substr(line.find(' ')).c_str()) : 0;
        if (line.starts_with("restart ")) return supervisor.restart_child("broker", id, std::move(answer));
        if (line.starts_with("down ")) return supervisor.stop_child("broker", id, std::move(answer));
        if (line.starts_with("start ")) return supervisor.start_child("broker", id, std::move(answer));
        if (line.starts_with("remove ")) {
          auto gone = supervisor.remove_child("broker", id);
          if (!gone) return answer(std::unexpected(gone.error()));
          return answer("gone");
        }
        if (line.starts_with("add ")) {
          ChildSpec spec;
          spec.state.role = "broker";
          spec.state.id = id;
          spec.stage = 1;
          spec.program = "/bin/sh";
          spec.argv = {"sh", "-c", scripts.back().text};
          spec.log_path = folder / (cli::display_name(spec.state) + ".log");
          spec.renew = [&events](cli::ProcessState&) -> std::expected<void, std::string> {
            events << "renewed" << std::endl;
            return {};
          };
          supervisor.add_child(std::move(spec));
          return answer("there");
        }
        if (line != "never") answer(std::unexpected("not known: " + line));
      });
      supervisor.watch([&] { return control.descriptors(); }, [&] { control.take(); });
      events << "listens" << std::endl;
      if (started) supervisor.run();
    }
    events << "over" << std::endl;
    _exit(0);
  }
  ~Supervised() {
    if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }

  // Waits until a line with all of `parts` has come after what was seen before.
  std::string until(const std::vector<std::string>& parts) {
    for (int i = 0; i < 3000; ++i) {
      std::stringstream lines(text_of(events_).substr(seen_));
      std::size_t at = seen_;
      for (std::string line; std::getline(lines, line);) {
        at += line.size() + 1;
        bool all = true;
        for (const auto& part : parts) all = all && line.find(part) != std::string::npos;
        if (!all) continue;
        seen_ = at;
        return line;
      }
      poll_a_little();
    }
    ADD_FAILURE() << "never: " << testing::PrintToString(parts) << " in\n" << text_of(events_);
    return {};
  }
  void signal(int number) const { kill(pid_, number); }
  void join() {
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  static int pid_in(const std::string& line, const std::string& role) {
    auto at = line.find(role + "=");
    return at == std::string::npos ? 0 : std::atoi(line.c_str() + line.find('(', at) + 1);
  }
  std::string all() const { return text_of(events_); }

 private:
  // The condition is a file that another process writes: looked at again after a moment.
  static void poll_a_little() {
    timespec moment{0, 10'000'000};
    pselect(0, nullptr, nullptr, nullptr, &moment, nullptr);
  }
  std::string events_;
  std::size_t seen_ = 0;
  pid_t pid_ = -1;
};

const std::string serves = "echo ready >&3; exec 3>&-; while :; do sleep 0.05; done";
const std::string stubborn = "trap '' TERM; " + serves;

TEST(Supervisor, StartsInOrderAndStopsInReverse) {
  Folder folder;
  Supervised s(folder, {{"first", serves}, {"second", serves}});
  s.until({"first=starting", "second=stopped"});
  s.until({"first=running", "second=stopped"});
  s.until({"first=running", "second=starting"});
  s.until({"first=running", "second=running"});
  s.until({"started"});
  s.signal(SIGTERM);
  s.until({"first=running", "second=stopping"});
  s.until({"first=running", "second=stopped"});
  s.until({"first=stopping", "second=stopped"});
  s.until({"first=stopped", "second=stopped"});
  s.until({"over"});
  s.join();
}

TEST(Supervisor, StartsAgainWhatDies) {
  Folder folder;
  Supervised s(folder, {{"first", serves}, {"second", serves}});
  int pid = Supervised::pid_in(s.until({"second=running"}), "second");
  s.until({"started"});
  ASSERT_GT(pid, 0);
  kill(pid, SIGKILL);
  s.until({"say second", "killed by signal 9", "started again in 0.5 s"});
  s.until({"first=running", "second=waiting(0)"});
  int next = Supervised::pid_in(s.until({"first=running", "second=running"}), "second");
  EXPECT_NE(next, pid);
  s.signal(SIGINT);
  s.until({"over"});
  s.join();
  EXPECT_FALSE(alive(identify(next)));
}

TEST(Supervisor, AChildThatEndsAtStartIsTheErrorWithItsLog) {
  Folder folder;
  Supervised s(folder, {{"first", serves}, {"second", "echo the disk is on fire >&2; exit 3"}});
  s.until({"failed second ended with exit code 3", "second.log"});
  s.until({"the disk is on fire"});
  s.until({"over"});
  s.join();
  EXPECT_THAT(s.all(), HasSubstr("first=stopped(0) second=stopped(0)"));
}

TEST(Supervisor, AChildThatIsNeverReadyIsAnError) {
  Folder folder;
  Supervised s(folder, {{"first", "exec sleep 1000"}}, milliseconds(20'000), milliseconds(100));
  s.until({"failed first is not ready"});
  s.until({"over"});
  s.join();
}

TEST(Supervisor, WhatDoesNotStopInTimeIsKilled) {
  Folder folder;
  Supervised s(folder, {{"first", stubborn}}, milliseconds(100));
  s.until({"started"});
  s.signal(SIGTERM);
  s.until({"say first", "did not stop", "is killed"});
  s.until({"over"});
  s.join();
}

TEST(Supervisor, ASecondSignalKillsAtOnce) {
  Folder folder;
  Supervised s(folder, {{"first", stubborn}}, milliseconds(600'000));
  s.until({"started"});
  s.signal(SIGINT);
  s.until({"first=stopping"});
  s.signal(SIGINT);
  s.until({"over"});
  s.join();
}

TEST(Supervisor, ChildrenEndWithASupervisorThatIsKilled) {
  Folder folder;
  Supervised s(folder, {{"first", serves}});
  int pid = Supervised::pid_in(s.until({"first=running"}), "first");
  auto child = identify(pid);
  ASSERT_TRUE(alive(child));
  s.signal(SIGKILL);
  s.join();
  EXPECT_TRUE(wait_for_end(child, milliseconds(20'000)));
}

constexpr milliseconds long_enough{20'000};

TEST(Supervisor, AnAccessoryNeitherKeepsAStageUpNorTakesItDown) {
  const auto accessory = [](const std::string& text) {
    Script script{"broker", text, 2};
    script.accessory = true;
    return script;
  };
  {
    Folder folder;
    Supervised s(folder, {{"first", serves}, {"broker", "exit 3", 1}, accessory(serves)});
    s.until({"failed broker 1 ended with exit code 3"});
    s.until({"over"});
    s.join();
  }
  Folder folder;
  Supervised s(folder, {{"first", serves}, {"broker", serves, 1}, accessory("exit 4")});
  s.until({"started"});
  s.until({"say broker 2", "started again"});
  s.signal(SIGTERM);
  s.until({"over"});
  s.join();
}

TEST(Supervisor, OneStageStartsAndStopsTogetherAndAfterTheOneBefore) {
  Folder folder;
  Supervised s(folder, {{"first", serves}, {"broker", serves, 1}, {"broker", serves, 2}, {"broker", serves, 3}});
  s.until({"first=running", "broker 1=starting", "broker 2=starting", "broker 3=starting"});
  s.until({"first=running", "broker 1=running", "broker 2=running", "broker 3=running"});
  s.until({"listens"});
  s.signal(SIGTERM);
  s.until({"first=running", "broker 1=stopping", "broker 2=stopping", "broker 3=stopping"});
  s.until({"first=running", "broker 1=stopped", "broker 2=stopped", "broker 3=stopped"});
  s.until({"first=stopping", "broker 1=stopped", "broker 2=stopped", "broker 3=stopped"});
  s.until({"over"});
  s.join();
}

TEST(Supervisor, OneOfSeveralThatCannotStartDoesNotStopTheOthers) {
  Folder folder;
  Supervised s(folder, {{"broker", serves, 1}, {"broker", "echo of another cluster >&2; exit 1", 2}});
  s.until({"broker 1=running", "broker 2=waiting"});
  s.until({"say broker 2 ended with exit code 1", "broker 2.log"});
  s.until({"of another cluster"});
  s.until({"started"});
  s.until({"say broker 2 is started again"});
  s.signal(SIGTERM);
  s.until({"over"});
  s.join();
}

TEST(Supervisor, WhenNoneOfSeveralCanStartThatIsTheError) {
  Folder folder;
  Supervised s(folder, {{"broker", "exit 1", 1}, {"broker", "exit 1", 2}});
  s.until({"failed broker 1 ended with exit code 1"});
  s.until({"over"});
  s.join();
}

TEST(Supervisor, ALongStartSaysWhatItWaitsFor) {
  Folder folder;
  Supervised s(folder, {{"broker", serves, 1}, {"broker", "exec sleep 1000", 2}});
  s.until({"progress 1 of 2 are ready after 1 s; waiting for broker 2"});
  s.signal(SIGTERM);
  s.until({"failed asked to stop"});
  s.until({"over"});
  s.join();
}

TEST(Supervisor, RestartsAndStopsOneWhenAsked) {
  Folder folder;
  Supervised s(folder, {{"broker", serves, 1}, {"broker", serves, 2}});
  const auto all = s.until({"broker 1=running", "broker 2=running"});
  s.until({"listens"});
  auto answer = ask_supervisor(folder.path, "restart 2", long_enough);
  ASSERT_TRUE(answer) << answer.error();
  EXPECT_THAT(*answer, HasSubstr("broker 2 is ready"));
  const auto again = s.until({"broker 1=running", "broker 2=running"});
  EXPECT_EQ(Supervised::pid_in(again, "broker 1"), Supervised::pid_in(all, "broker 1"));
  EXPECT_NE(Supervised::pid_in(again, "broker 2"), Supervised::pid_in(all, "broker 2"));

  answer = ask_supervisor(folder.path, "down 1", long_enough);
  ASSERT_TRUE(answer) << answer.error();
  EXPECT_EQ(*answer, "broker 1 is stopped");
  EXPECT_TRUE(wait_for_end(identify(Supervised::pid_in(again, "broker 1")), milliseconds(0)));
  answer = ask_supervisor(folder.path, "down 1", long_enough);
  EXPECT_TRUE(answer) << answer.error();  // once more is fine
  answer = ask_supervisor(folder.path, "restart 1", long_enough);
  ASSERT_TRUE(answer) << answer.error();
  s.until({"broker 1=running", "broker 2=running"});
  answer = ask_supervisor(folder.path, "restart 7", long_enough);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), "there is no broker 7 here");
  s.signal(SIGTERM);
  s.until({"over"});
  s.join();
}

TEST(Supervisor, ARestartThatFailsSaysWhyAndIsTriedAgain) {
  Folder folder;
  const auto flag = folder / "broken";
  Supervised s(folder, {{"broker", "test -e " + flag + " && { echo no way >&2; exit 9; }; " + serves, 1}});
  s.until({"listens"});
  std::ofstream(flag).flush();
  auto answer = ask_supervisor(folder.path, "restart 1", long_enough);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error(), AllOf(HasSubstr("exit code 9"), HasSubstr("no way")));
  std::filesystem::remove(flag);
  s.until({"broker 1=running"});
  s.signal(SIGTERM);
  s.until({"over"});
  s.join();
}

TEST(Supervisor, IsStartedAgainOnlyAfterItWasClearedUpBehindIt) {
  Folder folder;
  const auto go = folder / "go";
  const auto cleared = folder / "cleared";
  auto clear_up = [go, cleared] {
    timespec moment{0, 10'000'000};
    while (!std::filesystem::exists(go)) pselect(0, nullptr, nullptr, nullptr, &moment, nullptr);
    std::ofstream(cleared).flush();
  };
  const auto script = "test -e " + cleared + " && echo cleared >>" + (folder / "seen") + " || echo not >>" +
                      (folder / "seen") + "; " + serves;
  Supervised s(folder, {{"broker", script, 1, clear_up}});
  const int pid = Supervised::pid_in(s.until({"broker 1=running"}), "broker 1");
  s.until({"listens"});
  kill(pid, SIGKILL);
  s.until({"broker 1=waiting"});
  std::ofstream(go).flush();
  s.until({"broker 1=running"});
  EXPECT_EQ(text_of(folder / "seen"), "not\ncleared\n");
  s.signal(SIGTERM);
  s.until({"over"});
  s.join();
}

TEST(Supervisor, TellsAChildWhetherItStopsAloneOrWithAll) {
  Folder folder;
  const auto heard = folder / "heard";
  const auto script =
      "trap 'echo alone >>" + heard + "; exit 0' TERM; trap 'echo all >>" + heard + "; exit 0' USR1; " + serves;
  {
    Supervised s(folder, {{"broker", script, 1, {}, SIGUSR1}, {"broker", script, 2, {}, SIGUSR1}});
    s.until({"listens"});
    ASSERT_TRUE(ask_supervisor(folder.path, "restart 1", long_enough));
    EXPECT_EQ(text_of(heard), "alone\n");
    s.signal(SIGTERM);
    s.until({"over"});
    EXPECT_EQ(text_of(heard), "alone\nall\nall\n");
    s.join();
  }
  // A supervisor that is killed takes all with it.
  Supervised s(folder, {{"broker", script, 1, {}, SIGUSR1}});
  const auto child = identify(Supervised::pid_in(s.until({"broker 1=running"}), "broker 1"));
  s.signal(SIGKILL);
  s.join();
  ASSERT_TRUE(wait_for_end(child, long_enough));
  EXPECT_EQ(text_of(heard), "alone\nall\nall\nall\n");
}

TEST(Supervisor, BrokersComeAndGoWhenTheyAreOrdered) {
  Folder folder;
  Supervised s(folder, {{"broker", serves, 1}});
  s.until({"listens"});
  EXPECT_EQ(ask_supervisor(folder.path, "start 1", long_enough), "broker 1 runs already");
  EXPECT_FALSE(ask_supervisor(folder.path, "start 2", long_enough));
  ASSERT_TRUE(ask_supervisor(folder.path, "add 2", long_enough));
  s.until({"broker 1=running", "broker 2=stopped(0)"});
  ASSERT_TRUE(ask_supervisor(folder.path, "start 2", long_enough));
  s.until({"renewed"});
  s.until({"broker 2=running"});
  auto runs = ask_supervisor(folder.path, "remove 2", long_enough);
  ASSERT_FALSE(runs);
  EXPECT_TRUE(runs.error().ends_with(Supervisor::busy_text));
  ASSERT_TRUE(ask_supervisor(folder.path, "restart 2", long_enough));
  s.until({"renewed"});
  ASSERT_TRUE(ask_supervisor(folder.path, "down 2", long_enough));
  ASSERT_TRUE(ask_supervisor(folder.path, "remove 2", long_enough));
  EXPECT_THAT(s.until({"broker 1=running"}), Not(HasSubstr("broker 2=running")));
  EXPECT_TRUE(ask_supervisor(folder.path, "remove 2", long_enough)) << "it is gone";
  EXPECT_FALSE(ask_supervisor(folder.path, "restart 2", long_enough));
  s.signal(SIGTERM);
  s.until({"over"});
  s.join();
}

TEST(ControlSocket, WhatIsNoOrderIsRefusedAndHarmsNobody) {
  // A folder whose path is longer than the address of a socket can be.
  Folder outer;
  Folder folder(outer / std::string(120, 'd'));
  Supervised s(folder, {{"broker", serves, 1}});
  s.until({"listens"});
  auto answer = ask_supervisor(folder.path, "sing", long_enough);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), "not known: sing");
  EXPECT_FALSE(ask_supervisor(folder.path, std::string(100'000, 'x'), long_enough));
  answer = ask_supervisor(folder.path, "never", milliseconds(1));
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error(), HasSubstr("--timeout"));
  EXPECT_TRUE(ask_supervisor(folder.path, "restart 1", long_enough));
  EXPECT_FALSE(ask_supervisor(folder / "nowhere", "restart 1", long_enough));
  s.signal(SIGTERM);
  s.until({"over"});
  s.join();
  EXPECT_FALSE(ask_supervisor(folder.path, "restart 1", long_enough));
}

TEST(Process, AReusedNumberIsNotTheSameProcess) {
  auto self = identify(getpid());
  EXPECT_EQ(self.pid, getpid());
  EXPECT_TRUE(alive(self));
  auto other = self;
  ++other.started;
  EXPECT_FALSE(alive(other));
  EXPECT_FALSE(signal_process(other, 0));
  EXPECT_FALSE(alive({}));
  EXPECT_TRUE(wait_for_end(other, milliseconds(0)));
}

TEST(Process, ASignalBeforeReadyEndsAtOnceAndLaterGoesToTheWaiter) {
  pid_t pid = fork();
  if (pid == 0) {
    EndSignals ends;
    {
      EndBeforeReady none_came(ends);
    }
    raise(SIGTERM);
    if (ends.wait() != SIGTERM) _exit(1);
    EndBeforeReady guard(ends);
    kill(getpid(), SIGINT);
    for (;;) pause();
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(DataDirectory, StateOfProcessesThatAreGoneIsStopped) {
  Folder folder;
  auto dir = DataDir::find(folder.path);
  ASSERT_TRUE(dir);
  EXPECT_FALSE(dir->read_state());
  ASSERT_TRUE(dir->make(1));
  cli::State state{"v", "3.9", folder.path, boot_id(), {}};
  state.processes.push_back({"supervisor", std::nullopt, identify(getpid()), "running", {}, 0, {}});
  state.processes.push_back({"broker", 1, {1, 123456789}, "running", {}, 0, {}});
  ASSERT_TRUE(dir->write_state(state));
  auto read = dir->read_state();
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, state);
  EXPECT_TRUE(supervisor_runs(*read));
  auto now = as_of_now(*read);
  EXPECT_EQ(now.processes[0].state, "running");
  EXPECT_EQ(now.processes[1].state, "stopped");
  EXPECT_EQ(now.processes[1].process.pid, 0);
  state.boot_id = "another boot";
  EXPECT_FALSE(supervisor_runs(state));
  EXPECT_EQ(as_of_now(state).processes[0].state, "stopped");
  EXPECT_FALSE(DataDir::find("/tmp/a,b"));
}

// A port that was free a moment ago.
std::uint16_t free_port() {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  bind(fd, reinterpret_cast<sockaddr*>(&at), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  close(fd);
  return ntohs(at.sin_port);
}

TEST(Up, APlanNamesWhatIsStartedAndKeepsTheClustersLevel) {
  Folder folder;
  auto dir = DataDir::find(folder.path);
  ASSERT_TRUE(dir);
  cli::UpOptions o;
  o.advertise_host = o.listen_host;
  o.port = free_port();
  do {
    o.zookeeper_port = free_port();
  } while (o.zookeeper_port == o.port);
  o.metrics_port = 0;
  o.kafka_version = "2.8";
  o.overrides = {{"num.partitions", "6"}};
  auto plan = prepare(o, *dir, "/usr/bin/weir");
  ASSERT_TRUE(plan) << plan.error();
  ASSERT_EQ(plan->children.size(), 3u);
  EXPECT_EQ(plan->children[0].state.role, "zookeeper");
  EXPECT_EQ(plan->children[2].state.role, "control");
  EXPECT_THAT(plan->children[1].argv, Contains("num.partitions=6"));
  EXPECT_EQ(plan->children[1].state.addresses.at("PLAINTEXT"), "127.0.0.1:" + std::to_string(o.port));
  EXPECT_THAT(text_of(dir->broker(1) + "/server.properties"), HasSubstr("inter.broker.protocol.version=2.8"));
  o.kafka_version = "";
  auto again = prepare(o, *dir, "/usr/bin/weir");
  ASSERT_TRUE(again) << again.error();
  EXPECT_EQ(again->kafka_version, "2.8");

  o.overrides = {{"num.partitions", "0"}};
  auto bad = prepare(o, *dir, "/usr/bin/weir");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error(), "num.partitions=0: must be at least 1");
  o.overrides.clear();
  o.zookeeper_port = o.port;
  auto same = prepare(o, *dir, "/usr/bin/weir");
  ASSERT_FALSE(same);
  EXPECT_THAT(same.error(), HasSubstr("cannot both be"));
}

cli::UpOptions options_of(int brokers) {
  cli::UpOptions o;
  o.brokers = brokers;
  o.advertise_host = o.listen_host;
  o.port = free_port();
  do {
    o.zookeeper_port = free_port();
  } while (o.zookeeper_port == o.port);
  o.metrics_port = 0;
  return o;
}

// As a broker does when it has settled its id.
void claim(const DataDir& dir, int id) {
  std::ofstream(dir.broker_data(id) + "/meta.properties") << "version=0\nbroker.id=" << id << "\n";
}

TEST(Up, EachOfSeveralBrokersHasItsOwnAddressFolderAndZone) {
  Folder folder;
  auto dir = DataDir::find(folder.path);
  ASSERT_TRUE(dir);
  auto o = options_of(4);
  auto plan = prepare(o, *dir, "/usr/bin/weir");
  ASSERT_TRUE(plan) << plan.error();
  ASSERT_EQ(plan->children.size(), 6u) << "coordination, four brokers, the control plane";
  std::vector<std::string> racks;
  for (int id = 1; id <= 4; ++id) {
    const auto& child = plan->children[static_cast<std::size_t>(id)];
    EXPECT_EQ(child.stage, 1);
    EXPECT_EQ(child.state.id, id);
    EXPECT_EQ(child.state.addresses.at("PLAINTEXT"), fmt::format("127.0.0.{}:{}", id, o.port));
    EXPECT_TRUE(child.clear_up);
    racks.push_back(child.state.rack);
    auto file = config::parse_properties(text_of(dir->broker(id) + "/server.properties"));
    ASSERT_TRUE(file);
    EXPECT_EQ(file->at("broker.id"), std::to_string(id));
    EXPECT_EQ(file->at("log.dirs"), dir->broker_data(id));
    EXPECT_EQ(file->at("default.replication.factor"), "3");
    EXPECT_EQ(file->at("min.insync.replicas"), "2");
    EXPECT_EQ(file->at("zookeeper.connect"), fmt::format("127.0.0.1:{}", o.zookeeper_port));
  }
  EXPECT_EQ(racks, (std::vector<std::string>{"use1-az1", "use1-az2", "use1-az3", "use1-az1"}));

  o.overrides = {{"broker.id", "7"}};
  auto own = prepare(o, *dir, "/usr/bin/weir");
  ASSERT_FALSE(own);
  EXPECT_THAT(own.error(), HasSubstr("--override broker.id=7"));
}

TEST(Up, TheNumberOfBrokersStaysAndDoesNotShrink) {
  Folder folder;
  auto dir = DataDir::find(folder.path);
  ASSERT_TRUE(dir);
  EXPECT_EQ(broker_count(options_of(0), *dir).value(), 1);
  // A start that failed before there was a broker leaves no number behind.
  ASSERT_TRUE(prepare(options_of(3), *dir, "/usr/bin/weir"));
  EXPECT_EQ(broker_count(options_of(0), *dir).value(), 1);
  for (int id : {1, 2, 3}) claim(*dir, id);
  EXPECT_EQ(broker_count(options_of(0), *dir).value(), 3);
  EXPECT_EQ(broker_count(options_of(3), *dir).value(), 3);
  EXPECT_EQ(broker_count(options_of(5), *dir).value(), 5);
  auto fewer = broker_count(options_of(1), *dir);
  ASSERT_FALSE(fewer);
  EXPECT_THAT(fewer.error(), AllOf(HasSubstr("holds 3 brokers"), HasSubstr("kafka-reassign-partitions"),
                                   HasSubstr("broker-2"), HasSubstr("broker-3")));
  std::filesystem::remove_all(dir->broker(3));
  EXPECT_EQ(broker_count(options_of(2), *dir).value(), 2);
}

TEST(Up, ASecondClusterBesideTheFirstIsSuggested) {
  Folder folder;
  auto dir = DataDir::find(folder.path);
  ASSERT_TRUE(dir);
  auto o = options_of(3);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(o.port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 2);  // the third broker's
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  auto taken = prepare(o, *dir, "/usr/bin/weir");
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error(), AllOf(HasSubstr(fmt::format("127.0.0.3:{} is taken", o.port)), HasSubstr("--port"),
                                   HasSubstr("--listen 127.0.1.1")));
  o.listen_host = o.advertise_host = "127.0.1.1";
  auto beside = prepare(o, *dir, "/usr/bin/weir");
  close(fd);
  ASSERT_TRUE(beside) << beside.error();
  EXPECT_EQ(beside->children[0].state.addresses.at("client"), fmt::format("127.0.1.1:{}", o.zookeeper_port));
  EXPECT_EQ(beside->children[3].state.addresses.at("PLAINTEXT"), fmt::format("127.0.1.3:{}", o.port));
}

TEST(LeftSession, NothingLeftOrNoAnswerIsNoHarm) {
  Folder folder;
  EXPECT_FALSE(end_left_session(folder.path, milliseconds(1)));
  std::ofstream(folder / "weir.session") << "no line end";
  EXPECT_FALSE(end_left_session(folder.path, milliseconds(1)));
  std::ofstream(folder / "weir.session") << "not a key\n127.0.0.1:1\n";
  EXPECT_FALSE(end_left_session(folder.path, milliseconds(1)));
}

// A broker that was given another one's directory dies at its lock, again and again.
TEST(LeftSession, OfABrokerThatLivesGoesOn) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);  // where ZooKeeper would be asked
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(listen(fd, 8), 0);
  socklen_t size = sizeof at;
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  const auto asked = [fd] {
    pollfd waits{fd, POLLIN, 0};
    return poll(&waits, 1, 0) == 1;
  };
  Folder folder;
  std::ofstream(folder / "weir.session") << fmt::format("{:016x}:{:032x}\n127.0.0.1:{}\n", 1, 2, ntohs(at.sin_port));
  {
    const auto lock = runtime::system_files().lock(folder / ".lock");
    ASSERT_TRUE(lock);
    EXPECT_FALSE(end_left_session(folder.path, milliseconds(200)));
    EXPECT_FALSE(asked());
  }
  EXPECT_FALSE(end_left_session(folder.path, milliseconds(200))) << "nobody answers";
  EXPECT_TRUE(asked());
  close(fd);
}

TEST(Up, PortsThatAreTakenAreNamedWithTheirOption) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  socklen_t size = sizeof at;
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  auto problem = listen_problem("127.0.0.1", ntohs(at.sin_port), "--port");
  close(fd);
  ASSERT_TRUE(problem);
  EXPECT_THAT(*problem, AllOf(HasSubstr("is taken by another program"), HasSubstr("--port")));
  EXPECT_EQ(listen_problem("127.0.0.1", 0, "--port"), std::nullopt);
  EXPECT_THAT(listen_problem("192.0.2.1", 0, "--port").value_or(""), HasSubstr("--listen"));
}

}  // namespace
}  // namespace weir::apps
