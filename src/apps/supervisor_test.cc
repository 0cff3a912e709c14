#include "apps/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "apps/data_dir.h"
#include "apps/process.h"
#include "apps/up.h"
#include "cli/text.h"

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
    for (const auto& script : scripts) {
      ChildSpec spec;
      spec.state.role = script.role;
      spec.program = "/bin/sh";
      spec.argv = {"sh", "-c", script.text};
      spec.log_path = folder / (script.role + ".log");
      spec.stop_max = stop_max;
      spec.ready_max = ready_max;
      specs.push_back(std::move(spec));
    }
    std::ofstream events(events_, std::ios::app);
    SupervisorHooks hooks;
    hooks.say = [&](const std::string& line) { events << "say " << line << std::endl; };
    hooks.changed = [&](const std::vector<cli::ProcessState>& all) {
      for (const auto& p : all) events << p.role << "=" << p.state << "(" << p.process.pid << ") ";
      events << std::endl;
    };
    {
      Supervisor supervisor(std::move(specs), hooks);
      auto started = supervisor.start();
      events << (started ? "started" : "failed " + started.error()) << std::endl;
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
  ASSERT_TRUE(dir->make());
  cli::State state{"v", "3.9", folder.path, boot_id(), {}};
  state.processes.push_back({"supervisor", std::nullopt, identify(getpid()), "running", {}, 0});
  state.processes.push_back({"broker", 1, {1, 123456789}, "running", {}, 0});
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
  ASSERT_TRUE(dir && dir->make());
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
  ASSERT_EQ(plan->children.size(), 2u);
  EXPECT_EQ(plan->children[0].state.role, "zookeeper");
  EXPECT_THAT(plan->children[1].argv, Contains("num.partitions=6"));
  EXPECT_EQ(plan->children[1].state.addresses.at("PLAINTEXT"), "127.0.0.1:" + std::to_string(o.port));
  EXPECT_THAT(text_of(dir->broker() + "/server.properties"), HasSubstr("inter.broker.protocol.version=2.8"));
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
