#include "provision/machine_place.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "provision/address.h"

namespace weir::provision {

using Kind = Failure::Kind;
using Type = BrokerEvent::Type;

namespace {

constexpr nanoseconds forever{std::numeric_limits<std::int64_t>::max()};
constexpr std::int64_t little_space = 16 * MiB;

std::unexpected<Failure> failure(Kind kind, std::string text) {
  return std::unexpected(Failure{kind, std::move(text)});
}

std::unexpected<Failure> unknown(const BrokerKey& key) {
  return failure(Kind::unknown_broker, fmt::format("there is no broker {}", key.text()));
}

// Nothing: it can be listened on.
std::string bind_problem(const std::string& address, std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int number = fd < 0 ? errno : 0;
  const int yes = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) number = errno;
  if (fd >= 0) ::close(fd);
  return number == 0 ? "" : fmt::format("{}:{}: {}", address, port, std::generic_category().message(number));
}

bool has_spoken(const std::string& ready_path) {
  std::stringstream text;
  text << std::ifstream(ready_path).rdbuf();
  return text.str() == ready_word;
}

struct Launched {
  Outcome<ProcessId> process;
  bool data_lost = false;
  std::int64_t log_from = 0;
};

Launched launch_on(const Disk& disk, Record record, bool unusable, const MachineOptions& options) {
  const auto& key = record.spec.key;
  if (unusable) {
    if (auto aside = disk.put_data_aside(key); !aside) return {std::unexpected(aside.error())};
  }
  const auto fd = disk.prepare_start(record);
  if (!fd) return {std::unexpected(fd.error())};
  const bool lost = !record.had_data.empty() && disk.is_empty(key);
  std::error_code error;
  const auto log_size = std::filesystem::file_size(disk.log(key), error);
  const auto log_from = error ? 0 : static_cast<std::int64_t>(log_size);
  Spawn how;
  how.program = options.program;
  how.argv = {"weir", "broker", "--config", disk.properties(key), "--ready-fd", "3"};
  how.argv.insert(how.argv.end(), options.arguments.begin(), options.arguments.end());
  how.log_path = disk.log(key);
  how.ready_fd = *fd;
  auto process = spawn(how);
  ::close(*fd);
  if (!process) return {failure(Kind::system, process.error())};
  record.process = *process;
  record.runs_number = record.number;
  // A process that is not written down is found by its arguments.
  if (auto saved = disk.save_run(record); !saved) WEIR_LOG(warn, "{}", saved.error().text);
  return {*process, lost, log_from};
}

}  // namespace

struct MachinePlace::Turn {
  explicit Turn(Ref of) : broker(std::move(of)) { broker->changing = true; }
  ~Turn() { broker->changing = false; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  Ref broker;
};

struct MachinePlace::Call {
  explicit Call(MachinePlace& of) : place(of) { ++place.calls_; }
  ~Call() {
    if (--place.calls_ == 0 && place.closer_ != nullptr) place.closer_->wake();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  MachinePlace& place;
};

MachinePlace::MachinePlace(runtime::Shard& shard, runtime::Pool& pool, MachineOptions options)
    : shard_(shard), pool_(pool), options_(std::move(options)), disk_(options_.directory), scope_(shard) {}

MachinePlace::~MachinePlace() { WEIR_CHECK(closing_ || !watcher_, "a place is closed before it goes"); }

// --- Opening

Task<Outcome<>> MachinePlace::open() {
  if (!valid_pool(options_.pool)) {
    co_return failure(Kind::invalid_spec, fmt::format("{} is no pool of addresses (127.A)", options_.pool));
  }
  struct Found {
    Record record;
    bool ready = false;
  };
  struct Opened {
    std::unique_ptr<runtime::File> lock;
    std::vector<Found> found;
  };
  auto look = [this]() -> Outcome<Opened> {
    Opened opened;
    if (auto made = disk_.make(); !made) return std::unexpected(made.error());
    auto locked = runtime::system_files().lock(options_.directory + "/lock");
    if (!locked) {
      return failure(Kind::system, locked.error().number == EWOULDBLOCK
                                       ? fmt::format("another control plane holds {}", options_.directory)
                                       : locked.error().message);
    }
    opened.lock = std::move(*locked);
    for (auto& record : disk_.load()) {
      const auto& key = record.spec.key;
      if (!alive(record.process)) {
        // Its maker may have been killed before it wrote the process down.
        record.process = find_by_arguments("--config", disk_.properties(key));
        record.runs_number = 0;
      }
      const bool ready = record.process.pid != 0 && has_spoken(disk_.ready(key));
      opened.found.push_back({std::move(record), ready});
    }
    return opened;
  };
  auto opened = co_await pool_.run(std::move(look));
  if (!opened) co_return std::unexpected(opened.error());
  lock_ = std::move(opened->lock);
  Watcher::Hooks hooks;
  std::weak_ptr<bool> living = alive_;
  hooks.ended = [this, living](ProcessId process, std::optional<int> status) {
    shard_.post([this, living, process, status] {
      if (living.lock()) on_ended(process, status);
    });
  };
  hooks.ready = [this, living](ProcessId process) {
    shard_.post([this, living, process] {
      if (living.lock()) on_ready(process);
    });
  };
  watcher_ = std::make_unique<Watcher>(std::move(hooks));
  for (auto& found : opened->found) adopt(std::move(found.record), found.ready);
  scope_.spawn(look_after_data());
  co_return Outcome<>();
}

void MachinePlace::adopt(Record record, bool ready) {
  auto broker = std::make_shared<Broker>();
  broker->record = std::move(record);
  broker->backoff = options_.backoff_min;
  broker->launched = shard_.clock().mono();
  brokers_[broker->record.spec.key] = broker;
  const auto process = broker->record.process;
  if (process.pid == 0) {
    set_state(*broker, BrokerState::stopped);
    if (broker->record.wanted) scope_.spawn(recover(broker));
    return;
  }
  set_state(*broker, ready ? BrokerState::running : BrokerState::starting);
  WEIR_LOG(info, "broker {} runs already (pid {})", broker->record.spec.key.text(), process.pid);
  watcher_->watch(process, disk_.ready(broker->record.spec.key));
  if (!broker->record.wanted) {
    // The one before this was killed while it stopped it.
    auto ending = [](MachinePlace& place, Ref of) -> Task<void> {
      const Turn turn(of);
      co_await place.do_stop(of, StopHow{});
    };
    scope_.spawn(ending(*this, broker));
  } else if (!ready) {
    kill_at(broker, broker->launched + options_.ready_max);
  }
}

// What is wanted up and ended while nobody looked.
Task<void> MachinePlace::recover(Ref broker) {
  broker->clearing = true;
  set_state(*broker, BrokerState::backing_off);
  auto clear = [clear_up = options_.clear_up, data = disk_.data(broker->record.spec.key)] {
    if (clear_up) clear_up(data);
  };
  co_await pool_.run(std::move(clear));
  broker->clearing = false;
  wake(*broker);
  if (!closing_ && broker->record.wanted && !broker->launching && broker->status.state == BrokerState::backing_off) {
    co_await launch(broker);
  }
}

// --- What all use

MachinePlace::Ref MachinePlace::find(const BrokerKey& key) const {
  const auto it = brokers_.find(key);
  return it == brokers_.end() ? nullptr : it->second;
}

void MachinePlace::wake(Broker& broker) {
  for (auto* waiter : broker.waiters) waiter->wake();
}

void MachinePlace::set_state(Broker& broker, BrokerState state) {
  broker.status.state = state;
  broker.status.since = shard_.clock().wall();
  wake(broker);
}

void MachinePlace::tell(Type type, const Broker& broker, std::string text) {
  const auto& key = broker.record.spec.key;
  WEIR_LOG(info, "broker {} {}", key.text(), text);
  if (listener_ && !closing_) listener_({type, key, fmt::format("broker {} {}", key.broker, text)});
}

Task<bool> MachinePlace::changed(Ref broker, nanoseconds deadline) {
  if (closing_) co_return false;
  runtime::Waiter waiter(shard_);
  broker->waiters.push_back(&waiter);
  bool woken = true;
  if (deadline == forever) {
    co_await waiter.wait();
  } else {
    woken = co_await waiter.wait(std::max(nanoseconds(0), deadline - shard_.clock().mono()));
  }
  std::erase(broker->waiters, &waiter);
  co_return woken && !closing_;
}

void MachinePlace::cancel_timer(Broker& broker) {
  if (const auto timer = std::exchange(broker.timer, 0); timer != 0) shard_.cancel(timer);
}

void MachinePlace::start_at(Ref broker, nanoseconds when) {
  cancel_timer(*broker);
  auto& timer = broker->timer;
  timer = shard_.schedule(when, [this, broker = std::move(broker)] {
    broker->timer = 0;
    ++broker->status.restarts;
    scope_.spawn(launch(broker));
  });
}

// What does not get ready is no better than what died.
void MachinePlace::kill_at(Ref broker, nanoseconds when) {
  cancel_timer(*broker);
  auto& timer = broker->timer;
  timer = shard_.schedule(when, [this, broker = std::move(broker)] {
    broker->timer = 0;
    WEIR_LOG(warn, "broker {} does not serve after {} s and is killed", broker->record.spec.key.text(),
             std::chrono::duration_cast<seconds>(options_.ready_max).count());
    signal_process(broker->record.process, SIGKILL);
  });
}

Task<Outcome<>> MachinePlace::save(Ref broker, bool with_spec) {
  while (broker->saving) {
    if (!co_await changed(broker, forever)) co_return failure(Kind::closed, "the control plane stops");
  }
  broker->saving = true;
  auto write = [this, record = broker->record, with_spec] {
    return with_spec ? disk_.save_spec(record) : disk_.save_record(record);
  };
  auto written = co_await pool_.run(std::move(write));
  broker->saving = false;
  wake(*broker);
  co_return written;
}

Task<Outcome<>> MachinePlace::want(Ref broker, bool up) {
  if (broker->record.wanted == up) co_return Outcome<>();
  broker->record.wanted = up;
  co_return co_await save(broker, false);
}

std::string MachinePlace::failure_text(const Broker& broker) const {
  return broker.status.cause.empty() ? fmt::format("broker {} does not serve", broker.record.spec.key.broker)
                                     : broker.status.cause;
}

// --- Starts and ends

Task<void> MachinePlace::launch(Ref broker) {
  if (broker->launching || broker->gone || closing_ || ending_) co_return;
  broker->launching = true;
  cancel_timer(*broker);
  set_state(*broker, BrokerState::starting);
  while ((broker->clearing || broker->saving) && co_await changed(broker, forever)) {
  }
  if (closing_ || ending_ || broker->gone || !co_await may_begin(broker)) {
    broker->launching = false;
    wake(*broker);
    co_return;
  }
  const auto number = broker->record.number;
  auto make = [this, record = broker->record, unusable = broker->unusable] {
    return launch_on(disk_, record, unusable, options_);
  };
  auto launched = co_await pool_.run(std::move(make));
  broker->launching = false;
  broker->launched = shard_.clock().mono();
  broker->status.data_lost = launched.data_lost;
  broker->log_from = launched.log_from;
  if (launched.process) broker->unusable = false;
  if (!launched.process) {
    ++broker->ends;
    broker->status.cause =
        fmt::format("broker {} cannot be started: {}", broker->record.spec.key.broker, launched.process.error().text);
    tell(Type::ended, *broker, "cannot be started: " + launched.process.error().text);
    back_off(*broker);
    if (broker->record.wanted && !closing_ && !ending_) start_at(broker, broker->launched + broker->backoff);
    co_return;
  }
  broker->record.process = *launched.process;
  broker->record.runs_number = number;
  if (!closing_) {
    watcher_->watch(*launched.process, disk_.ready(broker->record.spec.key));
    kill_at(broker, broker->launched + options_.ready_max);
  }
  tell(Type::starting, *broker,
       fmt::format("is started (pid {}){}", launched.process->pid,
                   launched.data_lost ? "; its data is gone, and it begins with none" : ""));
  wake(*broker);
}

bool MachinePlace::all_wait(const Broker& broker) const {
  return std::ranges::all_of(brokers_, [&](const auto& entry) {
    return entry.first.cluster != broker.record.spec.key.cluster || entry.second->waiting;
  });
}

Task<bool> MachinePlace::may_begin(Ref broker) {
  const auto key = broker->record.spec.key;
  const auto wanted = [&] { return broker->record.wanted && !broker->gone && !closing_ && !ending_; };
  if (!options_.may_begin_empty || broker->empty) co_return wanted();
  if (!broker->unusable) {
    auto look = [this, key, had = broker->record.had_data] {
      return std::pair(disk_.is_empty(key), !had.empty() && disk_.is_nameless(key));
    };
    const auto [empty, nameless] = co_await pool_.run(std::move(look));
    if (!empty && !nameless) co_return wanted();
    broker->unusable = nameless;
  }
  broker->waiting = true;
  const auto began = shard_.clock().mono();
  for (bool told = false; wanted(); told = true) {
    auto question = EmptyStart{broker->record.spec, broker->unusable};
    auto why =
        all_wait(*broker) && !broker->unusable ? std::string() : co_await options_.may_begin_empty(std::move(question));
    if (why.empty()) {
      broker->empty = true;
      break;
    }
    broker->status.cause = fmt::format("broker {} {}, and is not started without yet: {}", key.broker,
                                       broker->unusable ? "cannot use its data" : "has lost its data", why);
    if (!told) WEIR_LOG(warn, "{}", broker->status.cause);
    wake(*broker);
    co_await changed(broker, shard_.clock().mono() + options_.ask_interval);
    if (!broker->unusable) continue;
    // Somebody may have removed it meanwhile, or mended it: the broker itself finds out.
    auto look = [this, key] { return disk_.is_empty(key); };
    if (co_await pool_.run(std::move(look))) broker->unusable = false;
    if (!broker->unusable || shard_.clock().mono() - began < options_.backoff_max) continue;
    broker->unusable = false;
    break;
  }
  broker->waiting = false;
  co_return wanted();
}

Task<void> MachinePlace::look_after_data() {
  while (!closing_) {
    runtime::Waiter waiter(shard_);
    looking_ = &waiter;
    co_await waiter.wait(options_.look_interval);
    looking_ = nullptr;
    std::vector<std::pair<BrokerKey, ProcessId>> run;
    for (const auto& [key, broker] : brokers_) {
      const bool has = broker->status.state == BrokerState::running && !broker->record.had_data.empty();
      if (has) run.emplace_back(key, broker->record.process);
    }
    if (closing_ || run.empty()) continue;
    auto look = [this, run = std::move(run)] {
      for (const auto& [key, process] : run) {
        std::error_code error;
        const bool there = std::filesystem::exists(disk_.data(key) + "/meta.properties", error);
        if (there || error) continue;
        WEIR_LOG(warn, "broker {} runs without its data, which was removed below it: it is killed", key.text());
        signal_process(process, SIGKILL);
      }
    };
    co_await pool_.run(std::move(look));
  }
}

// Into the state of waiting; the next wait is longer.
void MachinePlace::back_off(Broker& broker) {
  broker.status.again_at = shard_.clock().wall() + broker.backoff;
  set_state(broker, BrokerState::backing_off);
}

void MachinePlace::on_ended(ProcessId process, std::optional<int> status) {
  const auto is_it = [&](const auto& entry) { return entry.second->record.process == process; };
  const auto it = std::ranges::find_if(brokers_, is_it);
  if (it == brokers_.end() || closing_) return;
  const auto broker = it->second;
  broker->record.process = {};
  ++broker->ends;
  cancel_timer(*broker);
  const bool ordered = broker->status.state == BrokerState::stopping;
  if (status && WIFEXITED(*status) && WEXITSTATUS(*status) == exit_data_unusable) broker->unusable = true;
  const auto how = fmt::format("(pid {}) {}", process.pid,
                               status ? how_it_ended(*status) : "ended, nobody saw how: another had started it");
  scope_.spawn(after_end(broker, ordered ? std::string() : how));
}

Task<void> MachinePlace::after_end(Ref broker, std::string how) {
  const auto now = shard_.clock().mono();
  const auto key = broker->record.spec.key;
  if (now - broker->launched >= options_.settled_after) broker->backoff = options_.backoff_min;
  const auto again = now + broker->backoff;
  broker->clearing = true;
  if (!how.empty()) back_off(*broker);
  auto clear = [this, key, from = broker->log_from]() -> std::string {
    if (options_.clear_up) options_.clear_up(disk_.data(key));
    auto words = last_words(disk_.log(key), from);
    if (!words.empty()) words.insert(0, ": ");
    const auto free = runtime::system_files().free_bytes(disk_.data(key));
    if (free && *free < little_space) words += fmt::format("; its volume is full ({} bytes are free)", *free);
    return words;
  };
  auto words = co_await pool_.run(std::move(clear));
  broker->clearing = false;
  wake(*broker);
  if (how.empty()) {
    set_state(*broker, BrokerState::stopped);
    tell(Type::stopped, *broker, "is stopped");
    co_return;
  }
  broker->status.cause = fmt::format("broker {} {}{}; its log: {}", key.broker, how, words, disk_.log(key));
  tell(Type::ended, *broker,
       fmt::format("{}{}; it is started again in {:.1f} s; its log: {}", how, words,
                   static_cast<double>(broker->backoff.count()) / 1000, disk_.log(key)));
  broker->backoff = std::min(broker->backoff * 2, options_.backoff_max);
  const bool waits = broker->status.state == BrokerState::backing_off && !broker->launching;
  if (waits && broker->record.wanted && !broker->gone && !closing_ && !ending_) start_at(broker, again);
}

void MachinePlace::on_ready(ProcessId process) {
  const auto is_it = [&](const auto& entry) { return entry.second->record.process == process; };
  const auto it = std::ranges::find_if(brokers_, is_it);
  if (it == brokers_.end() || closing_ || it->second->status.state != BrokerState::starting) return;
  const auto broker = it->second;
  cancel_timer(*broker);
  broker->empty = false;
  set_state(*broker, BrokerState::running);
  tell(Type::serving, *broker, fmt::format("serves (pid {})", process.pid));
  scope_.spawn(note_data(broker));
}

// So that a start can tell whether the data was lost since.
Task<void> MachinePlace::note_data(Ref broker) {
  auto read = [this, key = broker->record.spec.key] { return disk_.identity_of_data(key); };
  auto identity = co_await pool_.run(std::move(read));
  if (identity.empty() || identity == broker->record.had_data || broker->gone || closing_) co_return;
  broker->record.had_data = std::move(identity);
  if (auto saved = co_await save(broker, false); !saved) WEIR_LOG(warn, "{}", saved.error().text);
}

Task<Outcome<>> MachinePlace::await_serving(Ref broker, milliseconds wait) {
  const auto deadline = shard_.clock().mono() + wait;
  const auto ends = broker->ends;
  for (;;) {
    if (closing_) co_return failure(Kind::closed, "the control plane stops");
    const auto state = broker->status.state;
    if (broker->gone || (state == BrokerState::stopped && !broker->launching) || state == BrokerState::stopping) {
      co_return failure(Kind::not_ready,
                        fmt::format("broker {} was stopped before it served", broker->record.spec.key.broker));
    }
    if (state == BrokerState::running) co_return Outcome<>();
    if (broker->ends != ends && !broker->clearing) co_return failure(Kind::not_ready, failure_text(*broker));
    if (shard_.clock().mono() >= deadline) {
      co_return failure(
          Kind::not_ready,
          fmt::format("broker {} does not serve after {:.1f} s; its log: {}", broker->record.spec.key.broker,
                      static_cast<double>(wait.count()) / 1000, disk_.log(broker->record.spec.key)));
    }
    co_await changed(broker, deadline);
  }
}

Task<Outcome<>> MachinePlace::do_stop(Ref broker, StopHow how) {
  if (auto saved = co_await want(broker, false); !saved) co_return saved;
  while (broker->launching) {
    if (!co_await changed(broker, forever)) co_return failure(Kind::closed, "the control plane stops");
  }
  cancel_timer(*broker);
  bool late = false;
  if (broker->record.process.pid != 0) {
    set_state(*broker, BrokerState::stopping);
    auto deadline = shard_.clock().mono() + how.deadline;
    // Weir's brokers take SIGUSR1 as the end of all.
    signal_process(broker->record.process, how.with_cluster ? SIGUSR1 : SIGTERM);
    while (broker->record.process.pid != 0) {
      if (co_await changed(broker, deadline)) continue;
      if (closing_) co_return failure(Kind::closed, "the control plane stops");
      if (shard_.clock().mono() < deadline) continue;
      late = true;
      deadline = forever;
      signal_process(broker->record.process, SIGKILL);
    }
  }
  while (broker->clearing || broker->status.state == BrokerState::stopping) {
    if (!co_await changed(broker, forever)) co_return failure(Kind::closed, "the control plane stops");
  }
  if (broker->status.state != BrokerState::stopped) {
    set_state(*broker, BrokerState::stopped);
    tell(Type::stopped, *broker, "is stopped");
  }
  if (late) {
    co_return failure(
        Kind::late, fmt::format("broker {} did not stop within {:.1f} s and was killed", broker->record.spec.key.broker,
                                static_cast<double>(how.deadline.count()) / 1000));
  }
  co_return Outcome<>();
}

// --- The calls

std::string MachinePlace::address_of(const std::string& block, std::int32_t id) const {
  return block_address(block, id).value_or("");
}

Task<Outcome<std::string>> MachinePlace::free_block(std::vector<std::string> taken, std::int32_t brokers,
                                                    std::vector<std::uint16_t> ports) {
  const Call call(*this);
  if (brokers < 1 || brokers > block_brokers_max) {
    co_return failure(Kind::invalid_spec, fmt::format("{} brokers have no place in a block", brokers));
  }
  auto look = [pool = options_.pool, taken = std::move(taken), brokers,
               ports = std::move(ports)]() -> Outcome<std::string> {
    std::string problem = "all are taken";
    for (const auto& block : free_blocks(pool, taken)) {
      std::string found;
      for (std::int32_t id = 1; id <= brokers && found.empty(); ++id) {
        for (const auto port : ports) {
          found = bind_problem(*block_address(block, id), port);
          if (!found.empty()) break;
        }
      }
      if (found.empty()) return block;
      problem = std::move(found);
    }
    return failure(Kind::system, fmt::format("no block of addresses in {}.0.0 is free: {}", pool, problem));
  };
  co_return co_await pool_.run(std::move(look));
}

Task<Outcome<>> MachinePlace::put(BrokerSpec spec) {
  const Call call(*this);
  if (closing_) co_return failure(Kind::closed, "the control plane stops");
  if (auto text = properties_text(spec, disk_.broker(spec.key), 1); !text) co_return std::unexpected(text.error());
  auto broker = find(spec.key);
  const bool fresh = broker == nullptr;
  if (fresh) {
    broker = std::make_shared<Broker>();
    broker->backoff = options_.backoff_min;
    brokers_[spec.key] = broker;
  } else if (broker->record.spec == spec) {
    co_return Outcome<>();
  }
  if (broker->changing) {
    co_return failure(Kind::busy, fmt::format("broker {} is being changed already", spec.key.text()));
  }
  const Turn turn(broker);
  if (fresh) co_await end_stranger(spec.key);
  auto before = std::exchange(broker->record.spec, std::move(spec));
  auto same = before;
  same.files = broker->record.spec.files;
  if (same != broker->record.spec) ++broker->record.number;
  auto saved = co_await save(broker, true);
  if (!saved && fresh) {
    broker->gone = true;
    brokers_.erase(broker->record.spec.key);
  } else if (!saved) {
    broker->record.spec = std::move(before);
  }
  co_return saved;
}

Task<void> MachinePlace::end_stranger(BrokerKey key) {
  auto end = [this, key] {
    constexpr milliseconds wait_max{5'000};
    const auto stranger = find_by_arguments("--config", disk_.properties(key));
    if (stranger.pid == 0) return;
    WEIR_LOG(warn, "broker {} runs (pid {}), and there is no record of it: it is killed", key.text(), stranger.pid);
    signal_process(stranger, SIGKILL);
    wait_for_end(stranger, wait_max);
  };
  co_await pool_.run(std::move(end));
}

Task<Outcome<>> MachinePlace::start(BrokerKey key, milliseconds wait) {
  const Call call(*this);
  if (closing_) co_return failure(Kind::closed, "the control plane stops");
  const auto broker = find(key);
  if (!broker) co_return unknown(key);
  if (broker->changing) co_return failure(Kind::busy, fmt::format("broker {} is being changed already", key.text()));
  if (auto saved = co_await want(broker, true); !saved) co_return saved;
  const auto state = broker->status.state;
  if ((state == BrokerState::stopped || state == BrokerState::backing_off) && !broker->launching) {
    if (state == BrokerState::stopped) {
      broker->status.restarts = 0;
      broker->backoff = options_.backoff_min;
    }
    scope_.spawn(launch(broker));
  }
  co_return co_await await_serving(broker, wait);
}

Task<Outcome<>> MachinePlace::stop(BrokerKey key, StopHow how) {
  const Call call(*this);
  if (closing_) co_return failure(Kind::closed, "the control plane stops");
  const auto broker = find(key);
  if (!broker) co_return unknown(key);
  if (broker->changing) co_return failure(Kind::busy, fmt::format("broker {} is being changed already", key.text()));
  const Turn turn(broker);
  co_return co_await do_stop(broker, how);
}

Task<Outcome<>> MachinePlace::kill(BrokerKey key) {
  const Call call(*this);
  const auto broker = find(key);
  if (!broker) co_return unknown(key);
  signal_process(broker->record.process, SIGKILL);
  co_return Outcome<>();
}

Task<Outcome<>> MachinePlace::restart(BrokerKey key, StopHow how, milliseconds wait) {
  const Call call(*this);
  if (closing_) co_return failure(Kind::closed, "the control plane stops");
  const auto broker = find(key);
  if (!broker) co_return unknown(key);
  if (broker->changing) co_return failure(Kind::busy, fmt::format("broker {} is being changed already", key.text()));
  const Turn turn(broker);
  if (auto stopped = co_await do_stop(broker, how); !stopped && stopped.error().kind != Kind::late) co_return stopped;
  if (auto saved = co_await want(broker, true); !saved) co_return saved;
  broker->status.restarts = 0;
  broker->backoff = options_.backoff_min;
  scope_.spawn(launch(broker));
  co_return co_await await_serving(broker, wait);
}

Task<Outcome<>> MachinePlace::remove(BrokerKey key, bool with_data) {
  const Call call(*this);
  if (closing_) co_return failure(Kind::closed, "the control plane stops");
  const auto broker = find(key);
  if (!broker) co_return Outcome<>();
  if (broker->changing) co_return failure(Kind::busy, fmt::format("broker {} is being changed already", key.text()));
  const Turn turn(broker);
  StopHow at_once;
  at_once.deadline = milliseconds(0);
  at_once.with_cluster = true;
  if (auto stopped = co_await do_stop(broker, at_once); !stopped && stopped.error().kind != Kind::late) {
    co_return stopped;
  }
  while (broker->saving) {
    if (!co_await changed(broker, forever)) co_return failure(Kind::closed, "the control plane stops");
  }
  broker->gone = true;
  auto clear = [this, key, with_data] { return disk_.remove(key, with_data); };
  if (auto removed = co_await pool_.run(std::move(clear)); !removed) {
    broker->gone = false;
    co_return removed;
  }
  brokers_.erase(key);
  wake(*broker);
  tell(Type::removed, *broker, "is removed");
  co_return Outcome<>();
}

std::optional<BrokerStatus> MachinePlace::status(const BrokerKey& key) const {
  const auto broker = find(key);
  if (!broker) return std::nullopt;
  auto out = broker->status;
  out.pid = broker->record.process.pid;
  out.stale = out.pid != 0 && broker->record.runs_number != broker->record.number;
  if (out.state != BrokerState::backing_off) out.again_at = milliseconds(0);
  return out;
}

std::optional<BrokerSpec> MachinePlace::spec(const BrokerKey& key) const {
  const auto broker = find(key);
  if (!broker) return std::nullopt;
  return broker->record.spec;
}

std::vector<BrokerKey> MachinePlace::brokers() const {
  std::vector<BrokerKey> out;
  for (const auto& [key, broker] : brokers_) out.push_back(key);
  return out;
}

Task<Outcome<Volume>> MachinePlace::volume(BrokerKey key) {
  const Call call(*this);
  const auto broker = find(key);
  if (!broker) co_return unknown(key);
  auto look = [this, key] { return disk_.volume(key); };
  auto volume = co_await pool_.run(std::move(look));
  volume.quota_bytes = broker->record.spec.limits.storage_bytes;
  co_return volume;
}

Task<void> MachinePlace::stop_all(milliseconds deadline) {
  ending_ = true;
  const auto until = shard_.clock().mono() + deadline;
  for (auto& [key, broker] : brokers_) {
    cancel_timer(*broker);
    if (broker->record.process.pid == 0) continue;
    set_state(*broker, BrokerState::stopping);
    signal_process(broker->record.process, SIGUSR1);
  }
  for (auto& [key, of] : std::map(brokers_)) {
    const Ref broker = of;
    // One whose process is being made just now gets its signal when it is there.
    while (broker->launching && co_await changed(broker, until)) {
    }
    if (broker->status.state != BrokerState::stopping) signal_process(broker->record.process, SIGUSR1);
    while (broker->record.process.pid != 0) {
      if (co_await changed(broker, until)) continue;
      if (closing_) co_return;
      signal_process(broker->record.process, SIGKILL);
      co_await changed(broker, forever);
    }
  }
}

Task<void> MachinePlace::close() {
  closing_ = true;
  for (auto& [key, broker] : brokers_) {
    cancel_timer(*broker);
    wake(*broker);
  }
  if (looking_ != nullptr) looking_->wake();
  watcher_.reset();
  co_await scope_.stop();
  runtime::Waiter waiter(shard_);
  closer_ = &waiter;
  while (calls_ > 0) co_await waiter.wait();
  closer_ = nullptr;
  alive_.reset();
  lock_.reset();
}

Task<Outcome<std::unique_ptr<Machine>>> open_machine(runtime::Shard& shard, runtime::Pool& pool,
                                                     MachineOptions options) {
  auto place = std::make_unique<MachinePlace>(shard, pool, std::move(options));
  if (auto opened = co_await place->open(); !opened) {
    co_await place->close();
    co_return std::unexpected(opened.error());
  }
  co_return std::unique_ptr<Machine>(std::move(place));
}

}  // namespace weir::provision
