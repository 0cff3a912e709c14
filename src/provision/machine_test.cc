#include "provision/machine.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <utility>

#include "provision/process.h"
#include "runtime/pool.h"
#include "runtime/shard.h"

namespace weir::provision {
namespace {

using runtime::block_on;
using testing::ElementsAre;
using testing::HasSubstr;

class Folder {
 public:
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "weir-provision-XXXXXX";
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

// A broker that is a shell script: it does what `behave` in its server.properties says. Each start is a line in
// `starts` beside it.
constexpr auto fake_broker = R"sh(#!/bin/sh
# broker --config FILE --ready-fd 3
dir=${3%/*}
behave=$(sed -n 's/^behave=//p' "$3")
echo "start $(sed -n 's/^mark=//p' "$3")" >> "$dir/starts"
trap 'echo graceful >> "$dir/starts"; exit 0' TERM
trap 'echo with-all >> "$dir/starts"; exit 0' USR1
[ "$behave" = stubborn ] && trap '' TERM
[ "$behave" = fails ] && { echo "weir broker: the disk is on fire"; exit 1; }
[ -e "$dir/data/bad" ] && { echo "weir broker: that is no log"; exit 3; }
echo "cluster.id=abc" > "$dir/data/meta.properties"
[ "$behave" = silent ] || echo ready >&3
exec 3>&-
while :; do sleep 0.02; done
)sh";

struct World {
  runtime::Shards shards{1};
  std::unique_ptr<runtime::Pool> pool = runtime::make_pool(2);
  std::unique_ptr<Machine> place;
  std::vector<std::string> events;  // the shard's
  std::mutex mutex;                 // of `cleared`, which the pool writes
  std::vector<std::string> cleared;

  ~World() { shards.stop(); }
};

MachineOptions options_of(const Folder& folder, World* world) {
  const auto program = folder / "fake-broker";
  if (!std::filesystem::exists(program)) {
    std::ofstream(program) << fake_broker;
    chmod(program.c_str(), 0755);
  }
  MachineOptions options;
  options.directory = folder / "place";
  options.program = program;
  options.backoff_min = milliseconds(1);
  if (world != nullptr) {
    options.clear_up = [world](const std::string& log_dir) {
      const std::lock_guard lock(world->mutex);
      world->cleared.push_back(log_dir);
    };
  }
  return options;
}

BrokerSpec spec_of(std::int32_t id, const std::string& behave = "serves", const std::string& mark = "one") {
  BrokerSpec spec;
  spec.key = {"demo-1234", id};
  spec.address = fmt::format("127.0.7.{}", id);
  spec.zone = "use1-az1";
  spec.properties = {{"behave", behave}, {"mark", mark}, {"cert", "@DIR@/broker.pem"}};
  spec.files = {{"broker.pem", "secret"}};
  return spec;
}

const BrokerKey first{"demo-1234", 1};
constexpr milliseconds long_enough{20'000};

class OnMachine : public testing::Test {
 protected:
  ~OnMachine() override {
    for (const auto& key : left_) {
      const auto process = find_by_arguments("--config", file_of(key, "server.properties"));
      signal_process(process, SIGKILL);
    }
  }

  // Runs `work(place)` with a place on the folder, and closes it; the brokers run on.
  template <class Work>
  void with_place(Work work, std::function<void(MachineOptions&)> change = {}) {
    World world;
    auto options = options_of(folder_, &world);
    if (change) change(options);
    block_on(world.shards[0], [&]() -> Task<void> {
      auto opened = co_await open_machine(world.shards[0], *world.pool, options);
      EXPECT_TRUE(opened) << opened.error().text;
      if (!opened) co_return;
      world.place = std::move(*opened);
      world.place->listen([&](const BrokerEvent& event) {
        world.events.push_back(event.key.text() + " " + std::to_string(static_cast<int>(event.type)));
      });
      co_await work(world);
      left_ = world.place->brokers();
      co_await world.place->close();
      world.place.reset();
    });
  }
  std::string file_of(const BrokerKey& key, const std::string& name) const {
    return fmt::format("{}/place/{}/broker-{}/{}", folder_.path, key.cluster, key.broker, name);
  }
  std::string starts() const { return text_of(file_of(first, "starts")); }

  // Until the place says so; the test's own time limit is the bound.
  static Task<BrokerStatus> until(World& world, std::function<bool(const BrokerStatus&)> is) {
    for (int i = 0; i < 4000; ++i) {
      const auto status = world.place->status(first);
      if (status && is(*status)) co_return *status;
      co_await runtime::sleep(world.shards[0], milliseconds(5));
    }
    ADD_FAILURE() << "it never came to that";
    co_return BrokerStatus{};
  }

  Folder folder_;
  std::vector<BrokerKey> left_;
};

TEST_F(OnMachine, ABrokerIsPutStartedStoppedAndRemoved) {
  with_place([this](World& world) -> Task<void> {
    auto& place = *world.place;
    EXPECT_FALSE(place.status(first));
    auto started = co_await place.start(first, long_enough);
    EXPECT_EQ(started.error().kind, Failure::Kind::unknown_broker);
    EXPECT_TRUE(co_await place.put(spec_of(1)));
    EXPECT_EQ(place.status(first)->state, BrokerState::stopped);
    started = co_await place.start(first, long_enough);
    EXPECT_TRUE(started) << started.error().text;
    const auto status = place.status(first);
    EXPECT_EQ(status->state, BrokerState::running);
    EXPECT_TRUE(alive(identify(status->pid)));
    EXPECT_TRUE(co_await place.start(first, long_enough));  // once more changes nothing
    EXPECT_EQ(place.status(first)->pid, status->pid);

    const auto properties = text_of(file_of(first, "server.properties"));
    EXPECT_THAT(properties, HasSubstr("\nbroker.id=1\n"));
    EXPECT_THAT(properties, HasSubstr("\nbroker.rack=use1-az1\n"));
    EXPECT_THAT(properties, HasSubstr("\nlog.dirs=" + file_of(first, "data") + "\n"));
    EXPECT_THAT(properties, HasSubstr("\ncert=" + file_of(first, "broker.pem") + "\n"));
    struct stat about{};
    EXPECT_EQ(stat(file_of(first, "broker.pem").c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 0777, 0600U);
    EXPECT_EQ(stat((folder_ / "place").c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 0777, 0700U);

    EXPECT_TRUE(co_await place.stop(first, {}));
    EXPECT_EQ(place.status(first)->state, BrokerState::stopped);
    EXPECT_FALSE(alive(identify(status->pid)));
    EXPECT_TRUE(co_await place.stop(first, {}));
    EXPECT_EQ(starts(), "start one\ngraceful\n");
    EXPECT_TRUE(co_await place.start(first, long_enough));
    EXPECT_TRUE(co_await place.stop(first, {.with_cluster = true}));
    EXPECT_EQ(starts(), "start one\ngraceful\nstart one\nwith-all\n");

    EXPECT_TRUE(co_await place.remove(first, true));
    EXPECT_FALSE(place.status(first));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "place/demo-1234"));
    EXPECT_TRUE(co_await place.remove(first, true));
  });
}

TEST_F(OnMachine, WhatDiesIsClearedUpBehindAndStartedAgain) {
  with_place([this](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1));
    co_await place.start(first, long_enough);
    const auto before = place.status(first)->pid;
    EXPECT_TRUE(co_await place.kill(first));
    const auto after = co_await until(
        world, [&](const BrokerStatus& s) { return s.state == BrokerState::running && s.pid != before; });
    EXPECT_EQ(after.restarts, 1U);
    EXPECT_THAT(after.cause, HasSubstr("killed by signal 9"));
    EXPECT_THAT(world.events,
                ElementsAre("demo-1234/1 0", "demo-1234/1 1", "demo-1234/1 2", "demo-1234/1 0", "demo-1234/1 1"));
    const std::lock_guard lock(world.mutex);
    EXPECT_THAT(world.cleared, ElementsAre(file_of(first, "data")));
  });
}

TEST_F(OnMachine, WhatFailsAtStartIsNotReadyWithItsLogAndIsTriedAgain) {
  with_place([](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1, "fails"));
    const auto started = co_await place.start(first, long_enough);
    EXPECT_FALSE(started);
    EXPECT_EQ(started.error().kind, Failure::Kind::not_ready);
    EXPECT_THAT(started.error().text, HasSubstr("exit code 1: the disk is on fire"));
    co_await until(world, [](const BrokerStatus& s) { return s.restarts >= 2; });
    // A better file heals it without another order.
    EXPECT_TRUE(co_await place.put(spec_of(1, "serves")));
    const auto healed = co_await until(world, [](const BrokerStatus& s) { return s.state == BrokerState::running; });
    EXPECT_EQ(healed.state, BrokerState::running);
    // It counts as stale when it was being started while the file changed: nobody knows which of the two it read.
    EXPECT_TRUE(co_await place.stop(first, {}));
    EXPECT_TRUE(co_await place.start(first, long_enough));
    EXPECT_FALSE(place.status(first)->stale);
    EXPECT_TRUE(co_await place.stop(first, {}));
  });
}

TEST_F(OnMachine, AStoppedBackOffDoesNotComeBack) {
  with_place(
      [this](World& world) -> Task<void> {
        auto& place = *world.place;
        co_await place.put(spec_of(1, "fails"));
        EXPECT_FALSE(co_await place.start(first, long_enough));
        EXPECT_EQ(place.status(first)->state, BrokerState::backing_off);
        EXPECT_GT(place.status(first)->again_at.count(), 0);
        EXPECT_TRUE(co_await place.stop(first, {}));
        EXPECT_EQ(place.status(first)->state, BrokerState::stopped);
        EXPECT_EQ(starts(), "start one\n");
      },
      [](MachineOptions& options) { options.backoff_min = milliseconds(3'600'000); });
}

TEST_F(OnMachine, WhatDoesNotServeInTimeIsNotReadyAndAtLastKilled) {
  with_place(
      [](World& world) -> Task<void> {
        auto& place = *world.place;
        co_await place.put(spec_of(1, "silent"));
        const auto started = co_await place.start(first, milliseconds(1));
        EXPECT_FALSE(started);
        EXPECT_EQ(started.error().kind, Failure::Kind::not_ready);
        const auto killed = co_await until(world, [](const BrokerStatus& s) { return s.restarts > 0; });
        EXPECT_THAT(killed.cause, HasSubstr("killed by signal 9"));
        EXPECT_TRUE(co_await place.stop(first, {}));
      },
      [](MachineOptions& options) { options.ready_max = milliseconds(100); });
}

TEST_F(OnMachine, WhatDoesNotStopInTimeIsKilledAndSaid) {
  with_place([](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1, "stubborn"));
    EXPECT_TRUE(co_await place.start(first, long_enough));
    const auto stopped = co_await place.stop(first, {.deadline = milliseconds(20)});
    EXPECT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind, Failure::Kind::late);
    EXPECT_EQ(place.status(first)->state, BrokerState::stopped);
    EXPECT_EQ(place.status(first)->pid, 0);
  });
}

TEST_F(OnMachine, APutIsTakenUpByARestart) {
  with_place([this](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1));
    co_await place.start(first, long_enough);
    EXPECT_TRUE(co_await place.put(spec_of(1)));
    EXPECT_FALSE(place.status(first)->stale);
    EXPECT_TRUE(co_await place.put(spec_of(1, "serves", "two")));
    EXPECT_TRUE(place.status(first)->stale);
    EXPECT_EQ(place.status(first)->state, BrokerState::running);
    EXPECT_TRUE(co_await place.restart(first, {}, long_enough));
    EXPECT_FALSE(place.status(first)->stale);
    EXPECT_EQ(starts(), "start one\ngraceful\nstart two\n");
  });
}

TEST_F(OnMachine, WhatIsThePlacesIsRefusedInASpec) {
  with_place([](World& world) -> Task<void> {
    auto& place = *world.place;
    auto named = spec_of(1);
    named.key.cluster = "../etc";
    EXPECT_EQ((co_await place.put(named)).error().kind, Failure::Kind::invalid_spec);
    auto with_dirs = spec_of(1);
    with_dirs.properties["log.dirs"] = "/tmp";
    EXPECT_EQ((co_await place.put(with_dirs)).error().kind, Failure::Kind::invalid_spec);
    for (const char* name : {"../x", "spec.json", "data", "", ".hidden"}) {
      auto with_file = spec_of(1);
      with_file.files[name] = "x";
      EXPECT_EQ((co_await place.put(with_file)).error().kind, Failure::Kind::invalid_spec) << name;
    }
    EXPECT_TRUE(place.brokers().empty());
  });
}

TEST_F(OnMachine, LostDataIsSeenAndTheBrokerComesBackWithout) {
  with_place([this](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1));
    co_await place.start(first, long_enough);
    // What data it had is noted once it serves.
    for (int i = 0; i < 4000 && text_of(file_of(first, "spec.json")).find("\"abc\"") == std::string::npos; ++i) {
      co_await runtime::sleep(world.shards[0], milliseconds(5));
    }
    EXPECT_FALSE(place.status(first)->data_lost);
    const auto before = place.status(first)->pid;
    std::filesystem::remove_all(folder_ / "place/demo-1234/broker-1");
    co_await place.kill(first);
    const auto after = co_await until(
        world, [&](const BrokerStatus& s) { return s.state == BrokerState::running && s.pid != before; });
    EXPECT_TRUE(after.data_lost);
    EXPECT_EQ(text_of(file_of(first, "broker.pem")), "secret");
  });
}

TEST_F(OnMachine, WhoRunsAndLosesItsDirectoryComesBackWithoutAnOrder) {
  const auto quick = [](MachineOptions& options) { options.look_interval = milliseconds(5); };
  const auto work = [this](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1));
    co_await place.start(first, long_enough);
    const auto before = place.status(first)->pid;
    for (int i = 0; i < 4000 && text_of(file_of(first, "spec.json")).find("\"abc\"") == std::string::npos; ++i) {
      co_await runtime::sleep(world.shards[0], milliseconds(5));
    }
    std::filesystem::remove_all(folder_ / "place/demo-1234/broker-1");
    const auto after = co_await until(
        world, [&](const BrokerStatus& s) { return s.state == BrokerState::running && s.pid != before; });
    EXPECT_TRUE(after.data_lost);
  };
  with_place(work, quick);
}

// One that counted as in sync must not lead with nothing: its peers would throw away what it lacks.
TEST_F(OnMachine, WhoHasNoDataBeginsWhenItMay) {
  std::vector<std::string> asked;
  std::string why;
  const auto ask = [&](MachineOptions& options) {
    options.ask_interval = milliseconds(1);
    options.look_interval = milliseconds(5);
    options.may_begin_empty = [&](EmptyStart start) -> Task<std::string> {
      asked.push_back(fmt::format("{} {}", start.spec.key.broker, start.unusable));
      co_return why;
    };
  };
  const auto work = [&](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1));
    co_await place.put(spec_of(2));
    EXPECT_TRUE(co_await place.start(first, long_enough));
    EXPECT_THAT(asked, ElementsAre("1 false")) << "its first start";
    co_await place.kill(first);
    co_await until(world, [](const BrokerStatus& s) { return s.state == BrokerState::running && s.restarts == 1; });
    EXPECT_EQ(asked.size(), 1U) << "it has its data";

    why = "t-0 still counts it in sync";
    std::ofstream(file_of(first, "data/bad")) << "x";
    co_await place.kill(first);
    const auto waits = co_await until(world, [&](const BrokerStatus&) { return asked.size() > 3; });
    EXPECT_EQ(waits.state, BrokerState::starting);
    EXPECT_THAT(waits.cause, HasSubstr("broker 1 cannot use its data, and is not started without yet: t-0 still"));
    EXPECT_EQ(asked.back(), "1 true");
    EXPECT_TRUE(std::filesystem::exists(file_of(first, "data/bad"))) << "its data is left alone until then";
    why.clear();
    const auto after = co_await until(world, [](const BrokerStatus& s) { return s.state == BrokerState::running; });
    EXPECT_TRUE(after.data_lost);
    std::vector<std::string> aside;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "place/demo-1234/broker-1")) {
      if (entry.path().filename().string().starts_with("data.unusable-")) aside.push_back(entry.path().string());
    }
    EXPECT_EQ(aside.size(), 1U);
    EXPECT_TRUE(std::filesystem::exists(aside.at(0) + "/bad"));

    // An order to stop is heard while it waits.
    why = "never";
    std::filesystem::remove_all(folder_ / "place/demo-1234/broker-1");
    const auto count = asked.size();
    co_await until(world, [&](const BrokerStatus&) { return asked.size() > count; });
    EXPECT_TRUE(co_await place.stop(first, {}));
    EXPECT_EQ(place.status(first)->state, BrokerState::stopped);
  };
  with_place(work, ask);
}

TEST_F(OnMachine, DataThatIsMendedMeanwhileIsTaken) {
  const auto never = [](MachineOptions& options) {
    options.ask_interval = milliseconds(1);
    options.backoff_max = milliseconds(20);
    options.may_begin_empty = [](EmptyStart start) -> Task<std::string> {
      co_return start.unusable ? "only it has this" : "";
    };
  };
  const auto work = [this](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1));
    co_await place.put(spec_of(2));
    EXPECT_TRUE(co_await place.start(first, long_enough));
    std::ofstream(file_of(first, "data/bad")) << "x";
    co_await place.kill(first);
    co_await until(world, [](const BrokerStatus& s) { return s.cause.find("only it has this") != std::string::npos; });
    std::filesystem::remove(file_of(first, "data/bad"));
    const auto after = co_await until(world, [](const BrokerStatus& s) { return s.state == BrokerState::running; });
    EXPECT_FALSE(after.data_lost);
  };
  with_place(work, never);
}

TEST_F(OnMachine, WhenAllHaveLostAllThereIsNobodyToWaitFor) {
  const auto never = [](MachineOptions& options) {
    options.ask_interval = milliseconds(1);
    options.may_begin_empty = [](EmptyStart) -> Task<std::string> { co_return "others have it"; };
  };
  const auto work = [](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1));
    co_await place.put(spec_of(2));
    EXPECT_FALSE(co_await place.start(first, milliseconds(20)));
    EXPECT_TRUE(co_await place.start({"demo-1234", 2}, long_enough)) << "both wait: one of them must begin";
    EXPECT_TRUE(co_await place.stop(first, {}));
  };
  with_place(work, never);
}

TEST_F(OnMachine, AFileIsInForceWithoutARestart) {
  const auto work = [this](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1));
    co_await place.start(first, long_enough);
    auto renewed = spec_of(1);
    renewed.files["broker.pem"] = "another";
    EXPECT_TRUE(co_await place.put(renewed));
    EXPECT_EQ(text_of(file_of(first, "broker.pem")), "another");
    EXPECT_FALSE(place.status(first)->stale);
    renewed.properties["mark"] = "two";
    EXPECT_TRUE(co_await place.put(renewed));
    EXPECT_TRUE(place.status(first)->stale);
  };
  with_place(work);
}

// The record lay in the directory that was removed, and the control plane was started anew.
TEST_F(OnMachine, AProcessWithoutARecordMakesRoomForTheBrokerThatIsPut) {
  std::int32_t before = 0;
  const auto begin = [&](World& world) -> Task<void> {
    co_await world.place->put(spec_of(1));
    co_await world.place->start(first, long_enough);
    before = world.place->status(first)->pid;
  };
  with_place(begin);
  std::filesystem::remove_all(folder_ / "place/demo-1234/broker-1");
  const auto process = identify(before);
  const auto again = [&](World& world) -> Task<void> {
    EXPECT_TRUE(world.place->brokers().empty());
    EXPECT_TRUE(co_await world.place->put(spec_of(1)));
    EXPECT_FALSE(alive(process));
    EXPECT_TRUE(co_await world.place->start(first, long_enough));
  };
  with_place(again);
}

TEST_F(OnMachine, RemovedWithoutItsDataIsPutAside) {
  with_place([this](World& world) -> Task<void> {
    auto& place = *world.place;
    co_await place.put(spec_of(1));
    co_await place.start(first, long_enough);
    EXPECT_TRUE(co_await place.remove(first, false));
    bool aside = false;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "place/demo-1234")) {
      aside = aside || std::filesystem::exists(entry.path() / "data/meta.properties");
      EXPECT_FALSE(entry.path().filename().string().starts_with("broker-"));
    }
    EXPECT_TRUE(aside);
  });
}

TEST_F(OnMachine, BrokersOutliveThePlaceAndTheNextFindsThem) {
  std::int32_t pid = 0;
  with_place([&](World& world) -> Task<void> {
    co_await world.place->put(spec_of(1));
    co_await world.place->put(spec_of(2));
    co_await world.place->start(first, long_enough);
    pid = world.place->status(first)->pid;
    auto second = co_await open_machine(world.shards[0], *world.pool, options_of(folder_, &world));
    EXPECT_FALSE(second) << "only one may hold the directory";
  });
  EXPECT_TRUE(alive(identify(pid)));
  std::filesystem::remove(file_of(first, "run.json"));  // as if its maker had been killed before it wrote that
  with_place([&](World& world) -> Task<void> {
    auto& place = *world.place;
    EXPECT_THAT(place.brokers(), ElementsAre(first, BrokerKey{"demo-1234", 2}));
    EXPECT_EQ(place.spec(first), spec_of(1));
    EXPECT_EQ(place.status(BrokerKey{"demo-1234", 2})->state, BrokerState::stopped);
    EXPECT_EQ(place.status(first)->pid, pid);
    EXPECT_EQ(place.status(first)->state, BrokerState::running);
    EXPECT_TRUE(co_await place.start(first, long_enough));
    EXPECT_EQ(place.status(first)->pid, pid);
    EXPECT_EQ(starts(), "start one\n");
    // It is kept from now on by this one.
    co_await place.kill(first);
    co_await until(world, [&](const BrokerStatus& s) { return s.state == BrokerState::running && s.pid != pid; });
    EXPECT_TRUE(co_await place.stop(first, {}));
  });
}

TEST_F(OnMachine, WhatIsStoppedAtTheEndOfAllComesBackWithTheNext) {
  with_place([&](World& world) -> Task<void> {
    co_await world.place->put(spec_of(1));
    co_await world.place->put(spec_of(2, "stubborn"));
    co_await world.place->start(first, long_enough);
    co_await world.place->stop_all(long_enough);
    EXPECT_EQ(world.place->status(first)->pid, 0);
  });
  EXPECT_EQ(starts(), "start one\nwith-all\n");
  with_place([&](World& world) -> Task<void> {
    co_await until(world, [](const BrokerStatus& s) { return s.state == BrokerState::running; });
    EXPECT_EQ(world.place->status(BrokerKey{"demo-1234", 2})->state, BrokerState::stopped);
    EXPECT_TRUE(co_await world.place->stop(first, {}));
  });
}

TEST_F(OnMachine, WhatEndedWhileNobodyLookedIsStartedAgain) {
  std::int32_t pid = 0;
  with_place([&](World& world) -> Task<void> {
    co_await world.place->put(spec_of(1));
    co_await world.place->start(first, long_enough);
    pid = world.place->status(first)->pid;
  });
  const auto process = identify(pid);
  signal_process(process, SIGKILL);
  EXPECT_TRUE(wait_for_end(process, long_enough));
  with_place([&](World& world) -> Task<void> {
    co_await until(world, [&](const BrokerStatus& s) { return s.state == BrokerState::running && s.pid != pid; });
    {
      const std::lock_guard lock(world.mutex);
      EXPECT_THAT(world.cleared, ElementsAre(file_of(first, "data")));
    }
    EXPECT_TRUE(co_await world.place->stop(first, {}));
  });
}

// The control plane itself is killed: its process is a child of the test's.
TEST_F(OnMachine, AKilledMakerTakesNoBrokerWithIt) {
  options_of(folder_, nullptr);  // the program is there before the fork
  const auto maker = fork();
  if (maker == 0) {
    World world;
    block_on(world.shards[0], [&]() -> Task<void> {
      auto opened = co_await open_machine(world.shards[0], *world.pool, options_of(folder_, nullptr));
      if (!opened) _exit(1);
      co_await (*opened)->put(spec_of(1));
      co_await (*opened)->start(first, long_enough);
      ::kill(getpid(), SIGKILL);
    });
    _exit(1);
  }
  int status = 0;
  waitpid(maker, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  const auto process = find_by_arguments("--config", file_of(first, "server.properties"));
  EXPECT_TRUE(alive(process));
  with_place([&](World& world) -> Task<void> {
    EXPECT_EQ(world.place->status(first)->state, BrokerState::running);
    EXPECT_EQ(world.place->status(first)->pid, process.pid);
    EXPECT_TRUE(co_await world.place->stop(first, {}));
  });
  EXPECT_EQ(starts(), "start one\ngraceful\n");
}

TEST_F(OnMachine, BlocksWhosePortsAreTakenAreLeftOut) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  inet_pton(AF_INET, "127.213.2.3", &at.sin_addr);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  socklen_t length = sizeof at;
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &length);
  const auto port = ntohs(at.sin_port);
  with_place(
      [&](World& world) -> Task<void> {
        auto& place = *world.place;
        EXPECT_EQ(*co_await place.free_block({"127.213.1"}, 2, {port}), "127.213.2");
        EXPECT_EQ(*co_await place.free_block({"127.213.1"}, 3, {port}), "127.213.3");
        EXPECT_EQ(place.address_of("127.213.2", 3), "127.213.2.3");
      },
      [](MachineOptions& options) { options.pool = "127.213"; });
  close(fd);
}

TEST_F(OnMachine, CallsThatAreUnderWayEndAtClose) {
  with_place([this](World& world) -> Task<void> {
    co_await world.place->put(spec_of(1, "silent"));
    runtime::Scope scope(world.shards[0]);
    std::optional<Failure> how;
    auto waits = [](World& w, std::optional<Failure>& to) -> Task<void> {
      auto started = co_await w.place->start(first, long_enough);
      if (!started) to = started.error();
    };
    scope.spawn(waits(world, how));
    co_await until(world, [](const BrokerStatus& s) { return s.pid != 0; });
    co_await world.place->close();
    co_await scope.stop();
    EXPECT_TRUE(how);
    EXPECT_EQ(how->kind, Failure::Kind::closed);
    // The next one finds a broker that does not serve yet.
    auto again = co_await open_machine(world.shards[0], *world.pool, options_of(folder_, &world));
    EXPECT_TRUE(again);
    world.place = std::move(*again);
    EXPECT_EQ(world.place->status(first)->state, BrokerState::starting);
    EXPECT_TRUE(co_await world.place->stop(first, {}));
  });
}

}  // namespace
}  // namespace weir::provision
