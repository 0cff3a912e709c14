// The embedded coordination service alone, for the tests of this folder: zk_serve CONFIG, a zoo.cfg. It prints
// "listening PORT" when it does, and ends on SIGTERM or SIGINT.
#include <signal.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "base/log.h"
#include "runtime/files.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "zkserver/server.h"

using namespace weir;

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: zk_serve ZOO_CFG\n");
    return 2;
  }
  logging::init({});
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  signal(SIGPIPE, SIG_IGN);

  std::stringstream text;
  text << std::ifstream(argv[1]).rdbuf();
  auto parsed = zkserver::parse_zoo_cfg(text.str());
  if (!parsed) {
    std::fprintf(stderr, "%s: %s\n", argv[1], parsed.error().message.c_str());
    return 1;
  }
  runtime::Shards shards(2);
  auto pool = runtime::make_pool(2);
  std::unique_ptr<zkserver::ZkServer> server;
  int status = 0;
  runtime::block_on(shards[0], [&]() -> runtime::Task<void> {
    zkserver::Runtime on{
        {&shards[0], &shards[1]}, *pool, runtime::system_sockets(), runtime::system_files(), runtime::system_random()};
    auto started = co_await zkserver::ZkServer::start(on, parsed->options);
    if (!started) {
      std::fprintf(stderr, "%s\n", started.error().message.c_str());
      status = 1;
      co_return;
    }
    server = std::move(*started);
  });
  if (server) {
    std::printf("listening %d\n", server->local().port);
    std::fflush(stdout);
    int got = 0;
    sigwait(&ends, &got);
    runtime::block_on(shards[0], [&] { return server->stop(); });
    server.reset();
  }
  shards.stop();
  return status;
}
