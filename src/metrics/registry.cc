#include "metrics/registry.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "base/check.h"

namespace weir::metrics {

template <class M>
std::shared_ptr<M> Family<M>::with(std::span<const std::string_view> values) {
  WEIR_CHECK(values.size() == labels_.size(), "one value for each label");
  std::vector<std::string> key(values.begin(), values.end());
  std::lock_guard lock(mutex_);
  if (auto it = children_.find(key); it != children_.end()) return it->second;
  if (children_.size() >= values_max_) {
    if (overflows_ != nullptr) overflows_->add();
    if (other_ == nullptr) other_ = std::make_shared<M>();
    return other_;
  }
  return children_.emplace(std::move(key), std::make_shared<M>()).first->second;
}

template <class M>
void Family<M>::remove(std::initializer_list<std::string_view> values) {
  std::vector<std::string> key(values.begin(), values.end());
  std::lock_guard lock(mutex_);
  children_.erase(key);
}

template <class M>
std::size_t Family<M>::size() const {
  std::lock_guard lock(mutex_);
  return children_.size();
}

template class Family<Counter>;
template class Family<Gauge>;
template class Family<Histogram>;

// One name. A metric without labels is a family of one child without values.
struct Registry::Entry {
  std::string help;
  Kind kind;
  Unit unit;
  std::vector<std::string> labels;
  std::unique_ptr<Family<Counter>> counters;
  std::unique_ptr<Family<Gauge>> gauges;
  std::unique_ptr<Family<Histogram>> histograms;
  std::shared_ptr<void> single;  // keeps the child of a metric without labels
  std::map<std::uint64_t, std::function<void(Emit&)>> reads;
};

namespace {

using Out = std::back_insert_iterator<std::string>;

void put_escaped(std::string& out, std::string_view text, bool quotes) {
  for (char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

void put_number(std::string& out, double v) {
  if (std::isnan(v)) {
    out += "NaN";
  } else if (std::isinf(v)) {
    out += v > 0 ? "+Inf" : "-Inf";
  } else if (v == std::floor(v) && std::fabs(v) < 1e15) {
    fmt::format_to(Out(out), "{}", static_cast<std::int64_t>(v));
  } else {
    fmt::format_to(Out(out), "{}", v);
  }
}

// {a="1",b="2"}, with le where given; nothing where there are none.
template <class Values>
void put_labels(std::string& out, const std::vector<std::string>& names, const Values& values, std::string_view le) {
  if (names.empty() && le.empty()) return;
  char before = '{';
  auto value = std::begin(values);
  for (const std::string& name : names) {
    out += before;
    before = ',';
    out += name;
    out += "=\"";
    put_escaped(out, *value++, true);
    out += '"';
  }
  if (!le.empty()) {
    out += before;
    fmt::format_to(Out(out), "le=\"{}\"", le);
  }
  out += '}';
}

void put_sample(std::string& out, std::string_view name, const std::vector<std::string>& labels,
                const std::vector<std::string>& values, const Counter& counter, Unit) {
  out += name;
  put_labels(out, labels, values, {});
  fmt::format_to(Out(out), " {}\n", counter.value());
}

void put_sample(std::string& out, std::string_view name, const std::vector<std::string>& labels,
                const std::vector<std::string>& values, const Gauge& gauge, Unit) {
  out += name;
  put_labels(out, labels, values, {});
  fmt::format_to(Out(out), " {}\n", gauge.value());
}

void put_sample(std::string& out, std::string_view name, const std::vector<std::string>& labels,
                const std::vector<std::string>& values, const Histogram& histogram, Unit unit) {
  Histogram::Snapshot s = histogram.snapshot();
  double scale = unit == Unit::seconds ? 1e-6 : 1.0;
  // Buckets hold whole numbers, so "below 2^n" is "at most 2^n - 1"; at this resolution le="2^n" says it.
  for (std::uint32_t octave = 0; octave <= Histogram::octaves; ++octave) {
    out += name;
    out += "_bucket";
    put_labels(out, labels, values, fmt::format("{}", static_cast<double>(1ULL << octave) * scale));
    fmt::format_to(Out(out), " {}\n", s.below(octave));
  }
  std::uint64_t count = s.count();
  out += name;
  out += "_bucket";
  put_labels(out, labels, values, "+Inf");
  fmt::format_to(Out(out), " {}\n{}_sum", count, name);
  put_labels(out, labels, values, {});
  out += ' ';
  put_number(out, static_cast<double>(s.sum) * scale);
  fmt::format_to(Out(out), "\n{}_count", name);
  put_labels(out, labels, values, {});
  fmt::format_to(Out(out), " {}\n", count);
}

class TextEmit final : public Emit {
 public:
  TextEmit(std::string& out, std::string_view name, const std::vector<std::string>& labels)
      : out_(out), name_(name), labels_(labels) {}
  void sample(std::initializer_list<std::string_view> values, double value) override {
    WEIR_CHECK(values.size() == labels_.size(), "one value for each label");
    out_ += name_;
    put_labels(out_, labels_, values, {});
    out_ += ' ';
    put_number(out_, value);
    out_ += '\n';
  }

 private:
  std::string& out_;
  std::string_view name_;
  const std::vector<std::string>& labels_;
};

bool valid_name(std::string_view name, bool colon) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  for (char c : name) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (!letter && !(c >= '0' && c <= '9') && !(colon && c == ':')) return false;
  }
  return true;
}

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::counter: return "counter";
    case Kind::gauge: return "gauge";
    case Kind::histogram: return "histogram";
  }
  return "untyped";
}

}  // namespace

Registry::Registry() {
  overflows_ = &counter("weir_metrics_label_overflows_total",
                        "Look-ups of a metric by labels that were counted under \"other\" because the family is full");
}

Registry::~Registry() = default;

Registry::Entry& Registry::entry(std::string_view name, std::string_view help, Kind kind, Unit unit,
                                 std::vector<std::string> labels, std::size_t values_max) {
  WEIR_CHECK(valid_name(name, true), "a metric's name is letters, digits and underscores");
  for (const std::string& label : labels) WEIR_CHECK(valid_name(label, false), "a label's name is letters, digits, _");
  auto it = entries_.find(name);
  if (it == entries_.end()) {
    auto made = std::make_unique<Entry>();
    made->help = help;
    made->kind = kind;
    made->unit = unit;
    made->labels = labels;
    auto prepare = [&](auto& family) {
      using F = std::remove_cvref_t<decltype(*family)>;
      family = std::make_unique<F>(std::move(labels), values_max);
      family->overflows_ = overflows_;
    };
    switch (kind) {
      case Kind::counter: prepare(made->counters); break;
      case Kind::gauge: prepare(made->gauges); break;
      case Kind::histogram: prepare(made->histograms); break;
    }
    it = entries_.emplace(std::string(name), std::move(made)).first;
  } else {
    WEIR_CHECK(it->second->kind == kind && it->second->labels == labels, "a metric's name is used in two ways");
  }
  return *it->second;
}

namespace {

template <class M>
M& only_child(Family<M>& family, std::shared_ptr<void>& keep) {
  auto child = family.with(std::span<const std::string_view>{});
  keep = child;
  return *child;
}

}  // namespace

Counter& Registry::counter(std::string_view name, std::string_view help) {
  std::lock_guard lock(mutex_);
  Entry& e = entry(name, help, Kind::counter, Unit::plain, {}, 1);
  return only_child(*e.counters, e.single);
}

Gauge& Registry::gauge(std::string_view name, std::string_view help) {
  std::lock_guard lock(mutex_);
  Entry& e = entry(name, help, Kind::gauge, Unit::plain, {}, 1);
  return only_child(*e.gauges, e.single);
}

Histogram& Registry::histogram(std::string_view name, std::string_view help, Unit unit) {
  std::lock_guard lock(mutex_);
  Entry& e = entry(name, help, Kind::histogram, unit, {}, 1);
  return only_child(*e.histograms, e.single);
}

Family<Counter>& Registry::counters(std::string_view name, std::string_view help, std::vector<std::string> labels,
                                    std::size_t values_max) {
  std::lock_guard lock(mutex_);
  return *entry(name, help, Kind::counter, Unit::plain, std::move(labels), values_max).counters;
}

Family<Gauge>& Registry::gauges(std::string_view name, std::string_view help, std::vector<std::string> labels,
                                std::size_t values_max) {
  std::lock_guard lock(mutex_);
  return *entry(name, help, Kind::gauge, Unit::plain, std::move(labels), values_max).gauges;
}

Family<Histogram>& Registry::histograms(std::string_view name, std::string_view help, std::vector<std::string> labels,
                                        std::size_t values_max, Unit unit) {
  std::lock_guard lock(mutex_);
  return *entry(name, help, Kind::histogram, unit, std::move(labels), values_max).histograms;
}

Registry::Callback Registry::gauge_callback(std::string_view name, std::string_view help,
                                            std::function<double()> read) {
  return collector(name, help, Kind::gauge, {}, [read = std::move(read)](Emit& emit) { emit.sample({}, read()); });
}

Registry::Callback Registry::collector(std::string_view name, std::string_view help, Kind kind,
                                       std::vector<std::string> labels, std::function<void(Emit&)> read) {
  WEIR_CHECK(kind != Kind::histogram, "a collector gives single numbers");
  std::lock_guard lock(mutex_);
  Entry& e = entry(name, help, kind, Unit::plain, std::move(labels), 0);
  std::uint64_t id = next_id_++;
  e.reads.emplace(id, std::move(read));
  return Callback(this, id);
}

void Registry::forget(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  for (auto& [name, e] : entries_) {
    if (e->reads.erase(id) > 0) return;
  }
}

Registry::Callback::~Callback() {
  if (registry_ != nullptr) registry_->forget(id_);
}

std::string Registry::text() const {
  std::string out;
  std::string samples;
  std::lock_guard lock(mutex_);
  for (const auto& [name, e] : entries_) {
    samples.clear();
    auto put_family = [&](auto& family) {
      std::lock_guard family_lock(family.mutex_);
      for (const auto& [values, metric] : family.children_) {
        put_sample(samples, name, e->labels, values, *metric, e->unit);
      }
      if (family.other_ != nullptr) {
        std::vector<std::string> values(e->labels.size(), "other");
        // A label value that is truly "other" keeps its place; the shared one would repeat its name.
        if (!family.children_.contains(values)) put_sample(samples, name, e->labels, values, *family.other_, e->unit);
      }
    };
    if (e->counters) put_family(*e->counters);
    if (e->gauges) put_family(*e->gauges);
    if (e->histograms) put_family(*e->histograms);
    TextEmit emit(samples, name, e->labels);
    for (const auto& [id, read] : e->reads) read(emit);
    if (samples.empty()) continue;  // a name nobody has a number for is left out
    fmt::format_to(Out(out), "# HELP {} ", name);
    put_escaped(out, e->help, false);
    fmt::format_to(Out(out), "\n# TYPE {} {}\n", name, kind_name(e->kind));
    out += samples;
  }
  return out;
}

}  // namespace weir::metrics
