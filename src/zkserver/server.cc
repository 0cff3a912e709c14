#include "zkserver/server.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "net/server.h"
#include "runtime/files.h"
#include "runtime/pool.h"
#include "runtime/shard.h"
#include "zkserver/engine.h"
#include "zkserver/session_link.h"
#include "zkserver/store.h"
#include "zkserver/words.h"

namespace weir::zkserver {

using runtime::Task;

struct ZkServer::Impl final : net::Service {
  Impl(Runtime on, Options with) : runtime(std::move(on)), options(std::move(with)) {}

  Task<void> serve(std::shared_ptr<net::Connection> connection) override;
  Task<void> serve_word(std::shared_ptr<net::Connection> connection, std::string word);
  std::string answer(std::string_view word);

  Task<Result<>> open();
  Task<Result<>> listen();
  Task<void> close();

  runtime::Shard& home() { return *runtime.shards.front(); }

  Runtime runtime;
  const Options options;
  std::unique_ptr<runtime::File> lock;
  std::unique_ptr<Store> store;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<net::Server> server;
  runtime::Address bound;
};

// --- connections -----------------------------------------------------------------------------------------------

Task<void> ZkServer::Impl::serve(std::shared_ptr<net::Connection> connection) {
  auto& shard = connection->shard();
  const auto timer =
      shard.schedule(shard.clock().mono() + seconds(10), [connection] { connection->close("nothing was said"); });
  const auto first = co_await connection->peek4();
  shard.cancel(timer);
  if (!first) co_return;
  // A word is no length: as a number it is over a billion.
  std::string word(reinterpret_cast<const char*>(first->data()), first->size());
  if (is_word(word)) {
    co_await serve_word(std::move(connection), std::move(word));
    co_return;
  }
  auto link = std::make_shared<SessionLink>(std::move(connection), *engine, options);
  co_await link->serve();
}

Task<void> ZkServer::Impl::serve_word(std::shared_ptr<net::Connection> connection, std::string word) {
  const auto ask = [this, &word] { return answer(word); };
  const std::string text = co_await runtime::call(home(), ask);
  std::vector<runtime::Chunk> chunks;
  chunks.push_back({bytes::Shared::copy(text), nullptr, 0, 0});
  co_await connection->write(std::move(chunks));
}

std::string ZkServer::Impl::answer(std::string_view word) {
  WordsContext context;
  context.options = &options;
  context.port = bound.port;
  context.connections = server->counters().open();
  context.refused_connections = server->counters().rejected.load(std::memory_order_relaxed);
  return answer_word(word, *engine, context);
}

// --- start and stop --------------------------------------------------------------------------------------------

namespace {

struct Opened {
  std::unique_ptr<runtime::File> lock;
  std::unique_ptr<Store> store;
  std::unique_ptr<Tree> tree;
};

Result<Opened> open_blocking(runtime::Files& files, const Options& options) {
  const auto storage = [](const runtime::IoError& error) {
    return std::unexpected(Error{ErrorCode::KAFKA_STORAGE_ERROR, error.message});
  };
  Opened out;
  if (auto made = files.make_directories(options.data_dir); !made) return storage(made.error());
  auto lock = files.lock(options.data_dir + "/.lock");
  if (!lock) {
    if (lock.error().number != EWOULDBLOCK) return storage(lock.error());
    return fail(ErrorCode::KAFKA_STORAGE_ERROR, fmt::format("{} is in use by another process", options.data_dir));
  }
  out.lock = std::move(*lock);
  auto store = Store::open(options.data_dir + "/coordination.db", options.state_bytes_max);
  if (!store) return std::unexpected(store.error());
  out.store = std::move(*store);
  out.tree = std::make_unique<Tree>();
  if (auto loaded = out.store->load(*out.tree); !loaded) return std::unexpected(loaded.error());
  return out;
}

}  // namespace

Task<Result<>> ZkServer::Impl::open() {
  const auto work = [this] { return open_blocking(runtime.files, options); };
  auto opened = co_await runtime.pool.run(work);
  if (!opened) co_return std::unexpected(opened.error());
  lock = std::move(opened->lock);
  store = std::move(opened->store);
  engine = std::make_unique<Engine>(home(), runtime.pool, runtime.random, *store, std::move(opened->tree), options);
  co_return Result<>();
}

Task<Result<>> ZkServer::Impl::listen() {
  net::ServerOptions with;
  if (options.connections_max > 0) with.connections_max = options.connections_max;
  if (options.connections_per_ip_max > 0) with.connections_per_ip_max = options.connections_per_ip_max;
  with.frame_bytes_max = options.frame_bytes_max;
  with.queued_bytes_max = static_cast<std::int64_t>(options.queued_bytes_max);
  with.idle_max = milliseconds(0);  // sessions expire; that is the limit here
  with.protocol = "ZooKeeper";
  server = std::make_unique<net::Server>(runtime.shards, runtime.sockets, *this, std::move(with));
  std::vector<net::ListenerOptions> listeners(1);
  listeners[0].endpoint.listener = "ZOOKEEPER";
  listeners[0].endpoint.address = options.listen;
  auto endpoints = co_await server->start(std::move(listeners));
  if (!endpoints) {
    server.reset();
    co_return std::unexpected(endpoints.error());
  }
  bound = endpoints->front().address;
  co_return Result<>();
}

Task<void> ZkServer::Impl::close() {
  if (server) co_await server->stop();
  if (engine) co_await engine->stop();
  // Closing writes the last of the log into the database: it waits for the disk.
  const auto work = [this] {
    store.reset();
    lock.reset();
  };
  co_await runtime.pool.run(work);
}

ZkServer::ZkServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ZkServer::~ZkServer() = default;

Task<Result<std::unique_ptr<ZkServer>>> ZkServer::start(Runtime runtime, Options options) {
  WEIR_CHECK(!runtime.shards.empty(), "the service has a shard to live on");
  auto impl = std::make_unique<Impl>(std::move(runtime), std::move(options));
  auto* raw = impl.get();
  const auto work = [raw]() -> Task<Result<>> {
    auto opened = co_await raw->open();
    if (!opened) co_return opened;
    if (raw->runtime.metrics != nullptr) raw->engine->show_in(*raw->runtime.metrics);
    raw->engine->start();
    auto listening = co_await raw->listen();
    if (!listening) co_await raw->close();
    co_return listening;
  };
  auto started = co_await runtime::call(raw->home(), work);
  if (!started) co_return std::unexpected(started.error());
  WEIR_LOG(info, "coordination service listens on {}, state in {}: {} nodes, {} sessions, zxid {:#x}",
           raw->bound.text(), raw->options.data_dir, raw->engine->tree().size(), raw->engine->tree().sessions().size(),
           raw->engine->tree().zxid());
  co_return std::unique_ptr<ZkServer>(new ZkServer(std::move(impl)));
}

Task<void> ZkServer::stop() {
  auto* raw = impl_.get();
  const auto work = [raw] { return raw->close(); };
  co_await runtime::call(raw->home(), work);
}

const runtime::Address& ZkServer::local() const { return impl_->bound; }

Task<Result<bool>> ZkServer::close_session(std::int64_t session_id) {
  auto* raw = impl_.get();
  const auto work = [raw, session_id] { return raw->engine->end_session(session_id, false); };
  co_return co_await runtime::call(raw->home(), work);
}

Task<Result<bool>> ZkServer::expire_session(std::int64_t session_id) {
  auto* raw = impl_.get();
  const auto work = [raw, session_id] { return raw->engine->end_session(session_id, true); };
  co_return co_await runtime::call(raw->home(), work);
}

}  // namespace weir::zkserver
