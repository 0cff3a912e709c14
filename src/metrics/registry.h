// The names under which a process shows its metrics, and their text for Prometheus.
//
//   Registry registry;
//   Counter& accepted = registry.counter("weir_connections_accepted_total", "Connections accepted");
//   auto& bytes_in = registry.counters("weir_topic_bytes_in_total", "Bytes produced", {"topic"}, 10'000);
//   std::shared_ptr<Counter> orders = bytes_in.with({"orders"});   // keep it; looking it up takes a lock
//   orders->add(size);
//   std::string body = registry.text();                            // content type: Registry::content_type
//
// Owner: the process's assembly. The registry owns unlabelled metrics and families; references stay valid as long
// as it lives. Registering the same name twice with the same kind and labels gives the same metric; with another
// kind it is a bug (checked). Names end in _total for counters, in _seconds for times, in _bytes for sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/metric.h"

namespace weir::metrics {

enum class Kind : std::uint8_t { counter, gauge, histogram };
// How a histogram's numbers are shown: times in seconds, or as they are.
enum class Unit : std::uint8_t { seconds, plain };

// Metrics of one name that differ in the values of their labels, made when first asked for. A family holds at
// most `values_max` of them: beyond that all others share one whose label values are "other" (and
// weir_metrics_label_overflows_total counts the refused), so that names chosen by clients cannot grow memory.
template <class M>
class Family {
 public:
  Family(std::vector<std::string> labels, std::size_t values_max)
      : labels_(std::move(labels)), values_max_(values_max) {}

  // The metric of these label values, one for each label, in their order.
  std::shared_ptr<M> with(std::initializer_list<std::string_view> values) {
    return with(std::span<const std::string_view>(values.begin(), values.size()));
  }
  std::shared_ptr<M> with(std::span<const std::string_view> values);
  // It is shown no longer; who still holds it may go on counting for nobody.
  void remove(std::initializer_list<std::string_view> values);
  std::size_t size() const;

 private:
  friend class Registry;
  std::vector<std::string> labels_;
  std::size_t values_max_;
  mutable std::mutex mutex_;
  std::map<std::vector<std::string>, std::shared_ptr<M>> children_;
  std::shared_ptr<M> other_;
  Counter* overflows_ = nullptr;
};

// What a collector hands in: samples of its one name, computed when the text is asked for.
class Emit {
 public:
  virtual ~Emit() = default;
  // `values` as many as the collector's labels.
  virtual void sample(std::initializer_list<std::string_view> values, double value) = 0;
};

class Registry {
 public:
  static constexpr std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";

  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  Counter& counter(std::string_view name, std::string_view help);
  Gauge& gauge(std::string_view name, std::string_view help);
  Histogram& histogram(std::string_view name, std::string_view help, Unit unit = Unit::seconds);

  Family<Counter>& counters(std::string_view name, std::string_view help, std::vector<std::string> labels,
                            std::size_t values_max);
  Family<Gauge>& gauges(std::string_view name, std::string_view help, std::vector<std::string> labels,
                        std::size_t values_max);
  Family<Histogram>& histograms(std::string_view name, std::string_view help, std::vector<std::string> labels,
                                std::size_t values_max, Unit unit = Unit::seconds);

  // As long as the handle lives, `read` is called for each text(), on the thread that asks for it, with the
  // registry's lock held: it must be thread-safe, quick, and must not call the registry. After the handle is gone
  // it runs no more.
  class [[nodiscard]] Callback {
   public:
    Callback() = default;
    Callback(Callback&& o) noexcept : registry_(std::exchange(o.registry_, nullptr)), id_(o.id_) {}
    Callback& operator=(Callback&& o) noexcept {
      std::swap(registry_, o.registry_);
      std::swap(id_, o.id_);
      return *this;
    }
    ~Callback();

   private:
    friend class Registry;
    Callback(Registry* registry, std::uint64_t id) : registry_(registry), id_(id) {}
    Registry* registry_ = nullptr;
    std::uint64_t id_ = 0;
  };
  Callback gauge_callback(std::string_view name, std::string_view help, std::function<double()> read);
  // Several samples under one name, for example one for each partition.
  Callback collector(std::string_view name, std::string_view help, Kind kind, std::vector<std::string> labels,
                     std::function<void(Emit&)> read);

  // Everything in Prometheus text format 0.0.4, names and label values in order.
  std::string text() const;

 private:
  struct Entry;
  Entry& entry(std::string_view name, std::string_view help, Kind kind, Unit unit, std::vector<std::string> labels,
               std::size_t values_max);
  void forget(std::uint64_t id);

  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Entry>, std::less<>> entries_;
  std::uint64_t next_id_ = 1;
  Counter* overflows_ = nullptr;
};

extern template class Family<Counter>;
extern template class Family<Gauge>;
extern template class Family<Histogram>;

}  // namespace weir::metrics
