#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "apps/broker_file.h"
#include "apps/last_words.h"
#include "apps/process.h"
#include "apps/run.h"
#include "base/log.h"
#include "broker/broker.h"
#include "cli/command_line.h"
#include "metrics/registry.h"
#include "provision/machine.h"
#include "runtime/clock.h"
#include "runtime/files.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::apps {

int run_broker(const cli::BrokerOptions& options) {
  EndSignals ends;
  auto file = read_broker_file(options);
  if (!file) {
    for (const auto& error : file.error()) tell_failure(options.log, "broker", error);
    return cli::exit_failure;
  }
  log_findings(file->loaded);
  auto& config = file->loaded.config;
  const auto cores = std::max(1U, std::thread::hardware_concurrency());
  const auto shard_count = config.weir_shards > 0 ? static_cast<std::size_t>(config.weir_shards) : cores;
  const auto pool_threads = config.weir_pool_threads > 0 ? static_cast<std::size_t>(config.weir_pool_threads)
                                                         : std::clamp<std::size_t>(2 * cores, 4, 16);
  runtime::Shards shards(shard_count);
  auto pool = runtime::make_pool(pool_threads);
  metrics::Registry registry;
  config::BrokerLayers layers;
  layers.file = file->file;
  broker::Environment environment;
  environment.shards = shards.all();
  environment.pool = pool.get();
  environment.files = &runtime::system_files();
  environment.sockets = &runtime::system_sockets();
  environment.clock = &runtime::system_clock();
  environment.random = &runtime::system_random();
  environment.metrics = &registry;
  std::atomic<bool> gave_up{false};
  std::string why_gave_up;  // written before `gave_up` is set
  environment.failed = [&gave_up, &why_gave_up](const std::string& why) {
    WEIR_LOG(error, "{}: this broker stops", why);
    why_gave_up = why;
    gave_up = true;
    ::kill(::getpid(), SIGTERM);
  };
  auto broker = std::make_unique<broker::Broker>(std::move(environment), std::move(layers), std::move(config));

  std::string failure;
  bool others_stay = true;
  bool unusable = false;
  auto guard = std::make_unique<EndBeforeReady>(ends);
  runtime::block_on(shards[0], [&]() -> runtime::Task<void> {
    auto started = co_await broker->start();
    if (started) co_return;
    const auto& error = started.error();
    failure = error.message.empty() ? std::string(name(error.code)) : error.message;
    unusable = error.code == ErrorCode::INCONSISTENT_CLUSTER_ID || error.code == ErrorCode::CORRUPT_MESSAGE;
  });
  guard.reset();
  if (failure.empty()) {
    for (const auto& endpoint : broker->endpoints())
      WEIR_LOG(info, "broker {} listens on {}", broker->id().value, endpoint.text());
    if (broker->metrics_at()) WEIR_LOG(info, "metrics at http://{}/metrics", broker->metrics_at()->text());
    notify_ready(options.ready_fd);
    const int signal = ends.wait();
    others_stay = signal != stop_with_all_signal;
    WEIR_LOG(info, "signal {}: broker {} stops{}", signal, broker->id().value,
             others_stay ? "" : ", as all brokers do");
  } else {
    tell_failure(options.log, "broker", failure);
  }
  runtime::block_on(shards[0], [&] { return broker->stop(others_stay); });
  if (gave_up) {
    failure = why_gave_up;
    tell_failure(options.log, "broker", failure);
  }
  if (failure.empty()) WEIR_LOG(info, "broker {} has stopped cleanly", broker->id().value);
  shards.stop();
  pool.reset();
  broker.reset();
  if (unusable) return provision::exit_data_unusable;
  return failure.empty() ? cli::exit_ok : cli::exit_failure;
}

}  // namespace weir::apps
