#include "broker/timed_zk.h"

#include <utility>

namespace weir::broker {

struct TimedZk::Events : zkclient::Watcher {
  explicit Events(metrics::Registry& registry)
      : disconnects(
            registry.counter("weir_zookeeper_disconnects_total", "Connections to the coordination service that broke")),
        expirations(registry.counter("weir_zookeeper_expirations_total",
                                     "Sessions that ended by themselves: this broker was out of the cluster")) {}
  void on_watch(const zkclient::WatchEvent&) override {}
  void on_session(zkclient::SessionEvent event) override {
    if (event == zkclient::SessionEvent::disconnected) disconnects.add();
    if (event == zkclient::SessionEvent::expired) expirations.add();
  }
  metrics::Counter& disconnects;
  metrics::Counter& expirations;
};

TimedZk::TimedZk(std::unique_ptr<zkclient::Zk> inner, runtime::Clock& clock, metrics::Registry& registry)
    : inner_(std::move(inner)), clock_(clock), events_(std::make_shared<Events>(registry)) {
  auto& family = registry.histograms("weir_zookeeper_request_duration_seconds",
                                     "Calls of the coordination service, from asked to answered", {"call"}, 8);
  create_ = family.with({"create"});
  get_ = family.with({"get"});
  set_ = family.with({"set"});
  remove_ = family.with({"remove"});
  children_ = family.with({"children"});
  exists_ = family.with({"exists"});
  multi_ = family.with({"multi"});
  sync_ = family.with({"sync"});
  inner_->listen(events_);
}

}  // namespace weir::broker
