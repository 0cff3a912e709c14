#include "controller/config_follower.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "controller/admin.h"
#include "zkclient/pipeline.h"
#include "zkwire/layout.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using zkclient::to_error;
using zkclient::Watch;
using zkclient::ZkCode;
using zkclient::ZkResult;

namespace {

constexpr std::size_t reads_in_flight_max = 1000;
constexpr std::chrono::minutes change_kept_for{15};  // as Kafka's ZkNodeChangeNotificationListener

std::optional<std::int64_t> number_of(std::string_view child) {
  constexpr std::string_view prefix = "config_change_";
  if (!child.starts_with(prefix)) return std::nullopt;
  std::int64_t n = 0;
  const auto digits = child.substr(prefix.size());
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  if (ec != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return n;
}

cluster::ConfigKey key_of(cluster::ConfigType type, std::string name) {
  if (name == layout::default_entity) name.clear();
  return {type, std::move(name)};
}

}  // namespace

struct ConfigFollower::Impl : zkclient::Watcher {
  Impl(runtime::Shard& s, zkclient::Zk& z, Changed c)
      : shard(s), zk(z), changed(std::move(c)), waiter(s), scope(s), session(z.session_id()) {}

  void on_watch(const zkclient::WatchEvent&) override {
    look = true;
    waiter.wake();
  }
  void on_session(zkclient::SessionEvent event) override {
    if (event != zkclient::SessionEvent::connected || zk.session_id() == session) return;
    session = zk.session_id();
    reload = true;
    waiter.wake();
  }

  Task<void> run(Watch self) {
    while (!stopping) {
      if (std::exchange(reload, false)) {
        auto done = co_await load(self);
        if (!done) WEIR_LOG(warn, "cannot read the dynamic configs: {}", done.error().message);
      } else if (std::exchange(look, false)) {
        auto done = co_await follow(self);
        if (!done) WEIR_LOG(warn, "cannot follow the changes of configs: {}", done.error().message);
      } else {
        co_await waiter.wait();
      }
    }
  }

  // Everything, and the watch for what comes after. The watch comes first, so that nothing falls between.
  Task<Result<>> load(Watch self) {
    auto there = co_await list(self);
    if (!there) co_return std::unexpected(to_error(there.error()));
    for (const auto& [number, name] : *there) last = std::max(last, number);
    using cluster::ConfigType;
    std::vector<cluster::ConfigKey> keys;
    for (const auto type :
         {ConfigType::broker, ConfigType::topic, ConfigType::client, ConfigType::user, ConfigType::ip}) {
      auto named = co_await children(layout::path_of_config_type(config_type_name(type)));
      if (!named) co_return std::unexpected(to_error(named.error()));
      for (auto& name : *named) {
        if (type == ConfigType::user) {
          auto clients = co_await children(layout::path_of_config(layout::users_type, name + "/clients"));
          if (!clients) co_return std::unexpected(to_error(clients.error()));
          for (const auto& client : *clients) keys.push_back(key_of(type, name + "/clients/" + client));
        }
        keys.push_back(key_of(type, std::move(name)));
      }
    }
    Result<> result;
    auto read = [&](std::size_t i) -> Task<void> {
      auto done = co_await read_entity(keys[i]);
      if (!done) result = std::move(done);
    };
    co_await zkclient::pipeline(shard, keys.size(), reads_in_flight_max, read);
    co_return result;
  }

  // A missing node has no children.
  Task<ZkResult<std::vector<std::string>>> children(std::string path) {
    auto names = co_await zk.children(path, Watch{});
    if (!names && names.error().code == ZkCode::no_node) co_return std::vector<std::string>();
    co_return names;
  }

  Task<ZkResult<std::vector<std::pair<std::int64_t, std::string>>>> list(Watch self) {
    const std::string path(layout::config_changes_path);
    auto names = co_await zk.children(path, self);
    if (!names && names.error().code == ZkCode::no_node) {
      auto made = co_await zkclient::ensure(zk, path);
      if (!made) co_return std::unexpected(made.error());
      names = co_await zk.children(path, self);
    }
    if (!names) co_return std::unexpected(names.error());
    std::vector<std::pair<std::int64_t, std::string>> out;
    for (const auto& name : *names) {
      if (const auto number = number_of(name)) out.emplace_back(*number, path + "/" + name);
    }
    std::sort(out.begin(), out.end());
    co_return out;
  }

  Task<Result<>> follow(Watch self) {
    auto there = co_await list(self);
    if (!there) co_return std::unexpected(to_error(there.error()));
    for (const auto& [number, path] : *there) {
      auto note = co_await zk.get(path, Watch{});
      if (!note && note.error().code == ZkCode::no_node) continue;
      if (!note) co_return std::unexpected(to_error(note.error()));
      if (number > last) {
        auto told = co_await take(path, note->data);
        if (!told) co_return told;
        last = number;
      }
      if (shard.clock().wall().count() - note->stat.ctime_ms > milliseconds(change_kept_for).count()) {
        (void)co_await zk.remove(path, zkclient::any_version);
      }
    }
    co_return Result<>();
  }

  Task<Result<>> take(std::string path, std::string data) {
    const auto change = layout::decode_config_change(path, data);
    if (!change) {
      WEIR_LOG(error, "a notification is left out: {}", change.error().message);
      co_return Result<>();
    }
    const auto type = config_type_of(change->type);
    if (!type) co_return Result<>();
    auto key = key_of(*type, change->name);
    co_return co_await read_entity(std::move(key));
  }

  Task<Result<>> read_entity(cluster::ConfigKey key) {
    const auto path = layout::path_of_config(config_type_name(key.type), config_entity(key));
    auto there = co_await zk.get(path, Watch{});
    if (!there && there.error().code != ZkCode::no_node) co_return std::unexpected(to_error(there.error()));
    auto config = layout::decode_config(path, there ? there->data : std::string());
    if (!config) {
      WEIR_LOG(error, "a config is left out: {}", config.error().message);
      co_return Result<>();
    }
    if (!stopping) changed(key, *config);
    co_return Result<>();
  }

  runtime::Shard& shard;
  zkclient::Zk& zk;
  Changed changed;
  runtime::Waiter waiter;
  runtime::Scope scope;
  std::int64_t session;
  std::int64_t last = -1;  // number of the newest notification seen
  bool look = false;
  bool reload = false;
  bool stopping = false;
};

ConfigFollower::ConfigFollower(runtime::Shard& shard, zkclient::Zk& zk, Changed changed)
    : impl_(std::make_shared<Impl>(shard, zk, std::move(changed))) {}
ConfigFollower::~ConfigFollower() = default;

Task<Result<>> ConfigFollower::start() {
  impl_->zk.listen(impl_);
  auto loaded = co_await impl_->load(impl_);
  if (!loaded) co_return loaded;
  impl_->scope.spawn(impl_->run(impl_));
  co_return Result<>();
}

Task<void> ConfigFollower::stop() {
  impl_->stopping = true;
  impl_->waiter.wake();
  co_await impl_->scope.stop();
}

}  // namespace weir::controller
