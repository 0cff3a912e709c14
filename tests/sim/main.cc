// sim: many seeds of the simulation, each in a process of its own.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <map>
#include <string>

#include "run.h"

namespace {

using weir::sim::Outcome;
using weir::sim::RunOptions;

struct Child {
  std::uint64_t seed;
  int output;
};

void report(const Outcome& outcome) {
  fmt::print(
      "seed {}: {:.0f} s, {} faults, {} writes, {} acknowledged, {} read, {} commits, {} partitions excused, "
      "healthy after {:.1f} s, fingerprint {:016x}\n",
      outcome.seed, outcome.seconds, outcome.faults, outcome.writes, outcome.acks, outcome.reads, outcome.commits,
      outcome.excused, outcome.healthy_after, outcome.fingerprint);
  for (const auto& problem : outcome.problems) fmt::print("  {}\n", problem);
  std::fflush(stdout);
}

std::string all_of(int descriptor) {
  std::string text;
  char buffer[4096];
  ::lseek(descriptor, 0, SEEK_SET);
  for (ssize_t n; (n = ::read(descriptor, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

// Runs one seed in this process; exits.
[[noreturn]] void child(const RunOptions& options, int output) {
  ::dup2(output, 1);
  ::dup2(output, 2);
  const auto outcome = weir::sim::run(options);
  report(outcome);
  ::_exit(outcome.problems.empty() ? 0 : 1);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Whole clusters of brokers in a simulated world, one a seed: faults, a workload, and a judgement"};
  std::uint64_t seeds = 20;
  std::uint64_t first = 1;
  std::int64_t seed = -1;
  double minutes = 1;
  int jobs = std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
  int timeout = 300;
  std::string faults = "all";
  bool verbose = false;
  bool quiet = false;
  app.add_option("--seeds", seeds, "How many seeds")->capture_default_str();
  app.add_option("--first", first, "The first of them")->capture_default_str();
  app.add_option("--seed", seed, "This seed alone, in this process");
  app.add_option("--minutes", minutes, "Of the world's time with faults, each")->capture_default_str();
  app.add_option("--faults", faults, fmt::format("all, none, or of {}", weir::sim::all_faults))->capture_default_str();
  app.add_option("--jobs", jobs, "Side by side")->capture_default_str();
  app.add_option("--timeout", timeout, "Seconds of real time for one seed")->capture_default_str();
  app.add_flag("--verbose", verbose, "What happens, and what the brokers log, to stderr");
  app.add_flag("--quiet", quiet, "Only failures and the sum");
  CLI11_PARSE(app, argc, argv);

  RunOptions options;
  options.faulty = weir::nanoseconds(static_cast<std::int64_t>(minutes * 60e9));
  options.verbose = verbose;
  if (!weir::sim::parse_faults(faults, options.faults)) {
    fmt::print(stderr, "--faults takes all, none, or some of {}\n", weir::sim::all_faults);
    return 2;
  }
  if (seed >= 0) {
    options.seed = static_cast<std::uint64_t>(seed);
    const auto outcome = weir::sim::run(options);
    report(outcome);
    std::fflush(stdout);
    ::_exit(outcome.problems.empty() ? 0 : 1);  // what is frozen is not taken apart
  }

  std::map<pid_t, Child> running;
  std::uint64_t next = first;
  std::uint64_t good = 0;
  std::vector<std::uint64_t> bad;
  while (next < first + seeds || !running.empty()) {
    while (next < first + seeds && running.size() < static_cast<std::size_t>(jobs)) {
      options.seed = next++;
      const int output = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
      std::fflush(nullptr);
      const auto pid = ::fork();
      if (pid == 0) {
        ::alarm(static_cast<unsigned>(timeout));
        child(options, output);
      }
      running.emplace(pid, Child{options.seed, output});
    }
    int status = 0;
    const auto pid = ::wait(&status);
    const auto found = running.find(pid);
    if (found == running.end()) continue;
    const auto text = all_of(found->second.output);
    ::close(found->second.output);
    const auto number = found->second.seed;
    running.erase(found);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      ++good;
      if (!quiet) fmt::print("{}", text);
    } else {
      bad.push_back(number);
      fmt::print("{}", text);
      if (WIFSIGNALED(status)) fmt::print("seed {}: ended by signal {}\n", number, WTERMSIG(status));
      fmt::print("FAILED seed {}; again: {} --seed {} --minutes {} --faults {} --verbose\n", number, argv[0], number,
                 minutes, faults);
    }
    std::fflush(stdout);
  }
  std::sort(bad.begin(), bad.end());
  fmt::print("{} seeds: {} good, {} failed{}", good + bad.size(), good, bad.size(), bad.empty() ? "\n" : ":");
  for (const auto one : bad) fmt::print(" {}", one);
  if (!bad.empty()) fmt::print("\n");
  return bad.empty() ? 0 : 1;
}
