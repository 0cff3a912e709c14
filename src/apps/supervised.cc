#include "apps/supervised.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <thread>
#include <utility>

#include "apps/control_socket.h"
#include "apps/local_spec.h"
#include "apps/process.h"
#include "apps/supervisor.h"
#include "apps/up_brokers.h"
#include "base/log.h"
#include "cli/place.h"
#include "msk/kafka.h"
#include "provision/disk.h"
#include "runtime/clock.h"
#include "runtime/files.h"

namespace weir::apps {

using provision::BrokerState;
using provision::Failure;
using runtime::Task;

namespace {

BrokerState state_of(const std::string& name) {
  if (name == "starting") return BrokerState::starting;
  if (name == "running") return BrokerState::running;
  if (name == "waiting") return BrokerState::backing_off;
  if (name == "stopping") return BrokerState::stopping;
  return BrokerState::stopped;
}

std::unexpected<Failure> failure(Failure::Kind kind, std::string text) {
  return std::unexpected(Failure{kind, std::move(text)});
}

Failure::Kind kind_of(const std::string& refusal) {
  if (refusal.ends_with(Supervisor::busy_text) || refusal.ends_with(UpBrokers::not_last_text)) {
    return Failure::Kind::busy;
  }
  const bool nobody = refusal.starts_with(unreachable_text) || refusal.starts_with(unanswered_text) ||
                      refusal == Supervisor::ending_text;
  return nobody ? Failure::Kind::closed : Failure::Kind::not_ready;
}

std::string plaintext_of(const cli::ProcessState& process) {
  const auto plaintext = process.addresses.find("PLAINTEXT");
  if (plaintext != process.addresses.end()) return plaintext->second;
  const auto any = std::ranges::find_if(process.addresses, [](const auto& a) { return a.first != "metrics"; });
  return any == process.addresses.end() ? std::string() : any->second;
}

// A limit that a broker has as keys of its file.
void add_limits(config::Properties& properties, const provision::Limits& limits) {
  const auto cores = std::max(1U, std::thread::hardware_concurrency());
  if (limits.shards > 0) {
    properties["weir.shards"] = std::to_string(std::min(static_cast<unsigned>(limits.shards), cores));
  }
  if (limits.memory_bytes > 0) {
    properties.try_emplace("queued.max.request.bytes", std::to_string(limits.memory_bytes / 4));
  }
}

// What was put for a broker: its api.json and the files beside it. Blocks.
std::optional<provision::BrokerSpec> read_asked(const DataDir& dir, std::int32_t id) {
  auto asked = read_local_spec(dir.broker_asked(id));
  if (!asked) WEIR_LOG(warn, "{}", asked.error());
  if (!asked || !*asked) return std::nullopt;
  provision::BrokerSpec out;
  out.key = {Supervised::cluster, id};
  out.address = (*asked)->address;
  for (auto& [key, value] : (*asked)->properties) out.properties.emplace(key, std::move(value));
  for (const auto name : {msk::certificate_file, msk::authority_file}) {
    const auto text = runtime::system_files().read_whole(fmt::format("{}/{}", dir.broker(id), name), 1 << 20);
    if (text) out.files.emplace(name, *text);
  }
  return out;
}

std::expected<void, std::string> write_private(const std::string& path, const std::string& text) {
  auto& files = runtime::system_files();
  if (const auto before = files.read_whole(path, 1 << 20); before && *before == text) return {};
  if (auto written = files.write_private(path, text); !written) return std::unexpected(written.error().message);
  return {};
}

LocalSpec local_spec_of(const provision::BrokerSpec& spec) {
  LocalSpec out;
  out.address = spec.address;
  for (const auto& [key, value] : spec.properties) out.properties.emplace(key, value);
  return out;
}

// The files first: what api.json names is there.
std::expected<void, std::string> write_asked(const DataDir& dir, const provision::BrokerSpec& spec) {
  const auto id = spec.key.broker;
  if (auto made = runtime::system_files().make_directories(dir.broker_data(id)); !made) {
    return std::unexpected(made.error().message);
  }
  for (const auto& [name, content] : spec.files) {
    if (auto written = write_private(dir.broker(id) + "/" + name, content); !written) return written;
  }
  return write_private(dir.broker_asked(id), to_json(local_spec_of(spec)));
}

}  // namespace

Supervised::Supervised(runtime::Shard& shard, runtime::Pool& pool, DataDir dir)
    : shard_(shard), pool_(pool), dir_(std::move(dir)), scope_(shard), waiter_(shard) {}

Task<void> Supervised::start() {
  co_await look();
  co_await learn();
  scope_.spawn(run());
}

Task<void> Supervised::stop() {
  stopping_ = true;
  waiter_.wake();
  co_await scope_.stop();
}

Task<void> Supervised::run() {
  while (!stopping_) {
    co_await waiter_.wait(look_every);
    if (!stopping_) co_await look();
  }
}

Task<void> Supervised::look() {
  auto read = [this]() -> std::optional<cli::State> {
    auto state = dir_.read_state();
    if (!state) return std::nullopt;
    return supervisor_runs(*state) ? std::move(*state) : cli::State();
  };
  auto state = co_await pool_.run(std::move(read));
  if (state) state_ = std::move(*state);
}

Task<void> Supervised::learn() {
  auto read = [this] {
    std::map<std::int32_t, provision::BrokerSpec> found;
    for (std::int32_t id = 1; id <= cli::brokers_max; ++id) {
      if (auto asked = read_asked(dir_, id)) found.emplace(id, std::move(*asked));
    }
    return found;
  };
  auto found = co_await pool_.run(std::move(read));
  asked_.clear();
  for (auto& [id, spec] : found) {
    const auto number = local_spec_of(spec).number();
    asked_[id] = {std::move(spec), number};
  }
}

std::string Supervised::listener_of(std::int32_t broker) const {
  if (const auto* there = state_.find("broker", broker)) return plaintext_of(*there);
  // As cli::place_of() counts them, from one that is there.
  const auto* first = state_.find("broker");
  if (first == nullptr || !first->id) return {};
  const auto at = plaintext_of(*first);
  const auto colon = at.rfind(':');
  if (colon == std::string::npos) return {};
  cli::UpOptions options;
  options.listen_host = options.advertise_host = at.substr(0, colon);
  std::from_chars(at.data() + colon + 1, at.data() + at.size(), options.port);
  options.metrics_port = 0;
  const auto place = cli::place_of(options, broker - *first->id + 1);
  return place ? cli::host_port(place->advertise_host, place->port) : std::string();
}

std::string Supervised::host_of(std::int32_t broker) const {
  const auto at = listener_of(broker);
  return at.substr(0, at.rfind(':'));
}

std::optional<provision::BrokerStatus> Supervised::status(std::int32_t broker) const {
  const auto* process = state_.find("broker", broker);
  if (process == nullptr) return std::nullopt;
  provision::BrokerStatus out;
  out.state = state_of(process->state);
  out.pid = process->process.pid;
  out.restarts = process->restarts;
  const auto asked = asked_.find(broker);
  out.stale = out.pid != 0 && process->given != (asked == asked_.end() ? 0 : asked->second.number);
  if (out.state == BrokerState::backing_off) {
    out.cause = fmt::format("broker {} ended by itself and is started again by `weir up`; its log: {}", broker,
                            dir_.log(dir_.broker_name(broker)));
  }
  return out;
}

std::vector<provision::BrokerKey> Supervised::brokers() const {
  std::vector<provision::BrokerKey> out;
  for (const auto& process : state_.processes) {
    if (process.role == "broker") out.push_back({cluster, *process.id});
  }
  return out;
}

std::optional<provision::BrokerSpec> Supervised::spec(std::int32_t broker) const {
  const auto asked = asked_.find(broker);
  if (asked == asked_.end() || state_.find("broker", broker) == nullptr) return std::nullopt;
  return asked->second.spec;
}

Task<provision::Outcome<provision::Volume>> Supervised::volume(std::int32_t broker) {
  if (state_.find("broker", broker) == nullptr) {
    co_return failure(Failure::Kind::unknown_broker, fmt::format("there is no broker {} of `weir up`", broker));
  }
  auto look = [data = dir_.broker_data(broker)] { return provision::volume_of(data); };
  auto volume = co_await pool_.run(std::move(look));
  if (const auto asked = asked_.find(broker); asked != asked_.end()) {
    const auto& properties = asked->second.spec.properties;
    if (const auto quota = properties.find("weir.storage.quota.bytes"); quota != properties.end()) {
      volume.quota_bytes = std::atoll(quota->second.c_str());
    }
  }
  co_return volume;
}

Task<provision::Outcome<>> Supervised::order(std::string line, milliseconds wait) {
  auto ask = [folder = dir_.control_folder(), line = std::move(line), wait] {
    return ask_supervisor(folder, line, wait);
  };
  auto answer = co_await pool_.run(std::move(ask));
  co_await look();
  if (!answer) co_return failure(kind_of(answer.error()), answer.error());
  co_return provision::Outcome<>();
}

Task<provision::Outcome<>> Supervised::put(provision::BrokerSpec spec) {
  if (state_.processes.empty()) {
    co_return failure(Failure::Kind::closed, fmt::format("`weir up` does not run on {}", dir_.path()));
  }
  const auto id = spec.key.broker;
  config::Properties limited;
  add_limits(limited, spec.limits);
  for (const auto& [key, value] : limited) spec.properties.emplace(key, value);
  spec.limits = {};
  const bool there = state_.find("broker", id) != nullptr;
  auto write = [this, spec, there]() -> std::expected<void, std::string> {
    std::error_code error;
    if (there && !std::filesystem::exists(dir_.broker(spec.key.broker) + "/server.properties", error)) {
      return std::unexpected(
          fmt::format("broker {} is not in the folder of its number (weir up --override broker.id)", spec.key.broker));
    }
    return write_asked(dir_, spec);
  };
  if (auto written = co_await pool_.run(std::move(write)); !written) {
    co_return failure(Failure::Kind::system, written.error());
  }
  const auto number = local_spec_of(spec).number();
  asked_[id] = {std::move(spec), number};
  if (there) co_return provision::Outcome<>();
  auto added = co_await order(fmt::format("add {}", id), at_once);
  if (added || added.error().kind == Failure::Kind::closed) co_return added;
  // Nobody is to start it the next time.
  auto forget = [path = dir_.broker_asked(id)] { (void)runtime::system_files().remove(path); };
  co_await pool_.run(std::move(forget));
  asked_.erase(id);
  co_return failure(Failure::Kind::system, added.error().text);
}

Task<provision::Outcome<>> Supervised::start(std::int32_t broker, milliseconds wait) {
  return order(fmt::format("start {}", broker), wait);
}

Task<provision::Outcome<>> Supervised::restart(std::int32_t broker, milliseconds wait) {
  return order(fmt::format("restart {}", broker), wait);
}

Task<provision::Outcome<>> Supervised::down(std::int32_t broker, milliseconds wait) {
  return order(fmt::format("down {}", broker), wait);
}

Task<provision::Outcome<>> Supervised::kill(std::int32_t broker) {
  if (const auto* process = state_.find("broker", broker)) signal_process(process->process, SIGKILL);
  co_return provision::Outcome<>();
}

Task<provision::Outcome<>> Supervised::remove(std::int32_t broker, bool with_data) {
  if (state_.processes.empty()) {
    co_return failure(Failure::Kind::closed, fmt::format("`weir up` does not run on {}", dir_.path()));
  }
  if (const auto* process = state_.find("broker", broker)) {
    if (process->state != "stopped") {
      signal_process(process->process, SIGKILL);
      auto stopped = co_await order(fmt::format("down {}", broker), at_once);
      if (!stopped) co_return stopped;
    }
    auto gone = co_await order(fmt::format("remove {}", broker), at_once);
    if (!gone) co_return gone;
  }
  asked_.erase(broker);
  // First what would have it started the next time.
  auto clear = [this, broker, with_data]() -> std::expected<void, std::string> {
    auto& files = runtime::system_files();
    const auto folder = dir_.broker(broker);
    std::error_code error;
    std::filesystem::remove(dir_.broker_asked(broker), error);
    if (!std::filesystem::exists(folder, error)) return {};
    if (with_data) {
      std::filesystem::remove(dir_.broker_data(broker) + "/meta.properties", error);
      auto removed = files.remove_all(folder);
      if (!removed) return std::unexpected(removed.error().message);
      return {};
    }
    const auto aside =
        fmt::format("{}/removed-broker-{}-{}", dir_.path(), broker, runtime::system_clock().wall().count());
    auto moved = files.rename(folder, aside);
    if (!moved) return std::unexpected(moved.error().message);
    return {};
  };
  if (auto cleared = co_await pool_.run(std::move(clear)); !cleared) {
    co_return failure(Failure::Kind::system, cleared.error());
  }
  co_return provision::Outcome<>();
}

}  // namespace weir::apps
