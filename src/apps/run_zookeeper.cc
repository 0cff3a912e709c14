#include <cstdio>
#include <memory>

#include "apps/last_words.h"
#include "apps/process.h"
#include "apps/run.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "runtime/files.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "zkserver/server.h"

namespace weir::apps {

namespace {

Result<zkserver::Options> service_options(const cli::ZookeeperOptions& options) {
  if (options.config_path.empty()) {
    zkserver::Options o;
    o.data_dir = options.data_dir;
    o.listen = {options.listen.host, options.listen.port};
    return o;
  }
  auto text = runtime::system_files().read_whole(options.config_path, 1 * MiB);
  if (!text) return fail(ErrorCode::INVALID_CONFIG, text.error().message);
  auto parsed = zkserver::parse_zoo_cfg(*text);
  if (!parsed) return fail(ErrorCode::INVALID_CONFIG, options.config_path + ": " + parsed.error().message);
  for (const auto& warning : parsed->warnings) WEIR_LOG(warn, "{}: {}", options.config_path, warning);
  return std::move(parsed->options);
}

}  // namespace

int run_zookeeper(const cli::ZookeeperOptions& options) {
  EndSignals ends;
  auto service = service_options(options);
  if (!service) {
    tell_failure(options.log, "zookeeper", service.error().message);
    return cli::exit_failure;
  }
  // The tree is on one shard, and one thread waits for the disk; more would only sleep.
  runtime::Shards shards(1);
  auto pool = runtime::make_pool(2);
  std::unique_ptr<zkserver::ZkServer> server;
  std::string failure;
  auto guard = std::make_unique<EndBeforeReady>(ends);
  runtime::block_on(shards[0], [&]() -> runtime::Task<void> {
    zkserver::Runtime on{shards.all(), *pool, runtime::system_sockets(), runtime::system_files(),
                         runtime::system_random()};
    auto started = co_await zkserver::ZkServer::start(on, *service);
    if (started) {
      server = std::move(*started);
    } else {
      failure = started.error().message;
    }
  });
  guard.reset();
  if (server) {
    WEIR_LOG(info, "the coordination service listens on {}, its state is in {}", server->local().text(),
             service->data_dir);
    notify_ready(options.ready_fd);
    int signal = ends.wait();
    WEIR_LOG(info, "signal {}: the coordination service stops", signal);
    runtime::block_on(shards[0], [&] { return server->stop(); });
    server.reset();
  } else {
    tell_failure(options.log, "zookeeper", failure);
  }
  shards.stop();
  return failure.empty() ? cli::exit_ok : cli::exit_failure;
}

}  // namespace weir::apps
