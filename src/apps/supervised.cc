#include "apps/supervised.h"

#include <fmt/format.h>

#include <csignal>
#include <utility>

#include "apps/control_socket.h"
#include "apps/process.h"

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

}  // namespace

Supervised::Supervised(runtime::Shard& shard, runtime::Pool& pool, DataDir dir)
    : shard_(shard), pool_(pool), dir_(std::move(dir)), scope_(shard), waiter_(shard) {}

Task<void> Supervised::start() {
  co_await look();
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
  auto read = [this] { return dir_.read_state(); };
  auto state = co_await pool_.run(std::move(read));
  if (state) state_ = std::move(*state);
}

std::optional<provision::BrokerStatus> Supervised::status(std::int32_t broker) const {
  const auto* process = state_.find("broker", broker);
  if (process == nullptr) return std::nullopt;
  provision::BrokerStatus out;
  out.state = state_of(process->state);
  out.pid = process->process.pid;
  out.restarts = process->restarts;
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

Task<provision::Outcome<>> Supervised::order(std::string line, milliseconds wait) {
  auto ask = [folder = dir_.control_folder(), line = std::move(line), wait] {
    return ask_supervisor(folder, line, wait);
  };
  auto answer = co_await pool_.run(std::move(ask));
  co_await look();
  if (!answer) co_return failure(Failure::Kind::not_ready, answer.error());
  co_return provision::Outcome<>();
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

provision::Outcome<> Supervised::refuse() {
  return failure(Failure::Kind::invalid_spec,
                 "the brokers of `local` are those of `weir up`: its options say how many there are and what is in "
                 "their server.properties (weir up --brokers N --override KEY=VALUE)");
}

}  // namespace weir::apps
