#include "faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace weir::sim {
namespace {

constexpr std::array<std::pair<std::string_view, Fault>, 11> names{{{"kill", Fault::kill},
                                                                    {"power", Fault::power},
                                                                    {"stop", Fault::stop},
                                                                    {"cut", Fault::cut},
                                                                    {"reset", Fault::reset},
                                                                    {"slow", Fault::slow},
                                                                    {"pause", Fault::pause},
                                                                    {"clock", Fault::clock},
                                                                    {"disk", Fault::disk},
                                                                    {"broken", Fault::broken},
                                                                    {"zk", Fault::zk}}};
constexpr std::chrono::microseconds near_min{50};
constexpr std::chrono::microseconds near_max{2000};

}  // namespace

bool parse_faults(std::string_view text, std::set<Fault>& out) {
  if (text == "all") text = all_faults;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto word = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    if (word == "none") continue;
    bool found = false;
    for (const auto& [name, fault] : names) {
      if (name != word) continue;
      out.insert(fault);
      found = true;
    }
    if (!found) return false;
  }
  return true;
}

Faults::Faults(Cluster& cluster, std::set<Fault> kinds)
    : cluster_(cluster), random_(cluster.random()), kinds_(kinds.begin(), kinds.end()) {}

nanoseconds Faults::between(milliseconds least, milliseconds most) {
  return least + nanoseconds(random_.below(static_cast<std::uint64_t>(nanoseconds(most - least).count())));
}
Node& Faults::any() {
  const auto nodes = cluster_.nodes();
  return *nodes[random_.below(nodes.size())];
}
std::string Faults::any_host() {
  const auto hosts = cluster_.hosts();
  return hosts[random_.below(hosts.size())];
}

void Faults::start(nanoseconds every) {
  every_ = every;
  active_ = !kinds_.empty();
  if (active_) next();
}
void Faults::next() {
  const auto in = nanoseconds(random_.below(static_cast<std::uint64_t>(2 * every_.count())));
  cluster_.world().after(in, [this] {
    if (!active_) return;
    strike();
    next();
  });
}

void Faults::undo_after(nanoseconds time, std::function<void()> undo) {
  const auto id = ++last_undo_;
  undo_.emplace(id, std::move(undo));
  cluster_.world().after(time, [this, id] {
    const auto found = undo_.find(id);
    if (found == undo_.end()) return;
    const auto work = std::move(found->second);
    undo_.erase(found);
    work();
  });
}

void Faults::heal() {
  active_ = false;
  cluster_.tell("faults end");
  for (auto& [id, undo] : std::exchange(undo_, {})) undo();
  for (const auto& from : cluster_.hosts()) {
    for (const auto& to : cluster_.hosts()) {
      if (from != to) {
        cluster_.world().sockets().set_link(from, to, {.latency_min = near_min, .latency_max = near_max});
      }
    }
  }
  for (auto* node : cluster_.nodes()) {
    node->machine().forget_planned_end();
    cluster_.start(*node);
  }
}

void Faults::bring_back(Node& node, nanoseconds in) {
  undo_after(in, [this, &node] { cluster_.start(node); });
}

void Faults::down(Node& node, Fault how) {
  if (node.state() != Node::State::up && node.state() != Node::State::starting) return;
  const auto away = chance(50) ? between(milliseconds(10), milliseconds(1500)) : between(seconds(1), seconds(20));
  if (how == Fault::stop) {
    cluster_.stop(node);
    // It takes its time; when it is still at it then, the next try comes later.
    for (int i = 0; i < 4; ++i) bring_back(node, away + seconds(4 * i));
    return;
  }
  const bool power = how == Fault::power;
  if (chance(40)) {
    cluster_.end_at_file_operation(node, 1 + random_.below(40), power);
    // Wherever that was: when nothing was written for long, it ends between two jobs.
    cluster_.world().after(seconds(2), [this, &node, number = node.machine().planned_end(), power] {
      if (number == 0 || node.machine().planned_end() != number) return;
      if (power) {
        cluster_.lose_power(node);
      } else {
        cluster_.kill(node);
      }
    });
    bring_back(node, seconds(2) + away);
    return;
  }
  if (power) {
    cluster_.lose_power(node);
  } else {
    cluster_.kill(node);
  }
  bring_back(node, away);
}

void Faults::set_links(const std::vector<std::pair<std::string, std::string>>& links, bool cut, nanoseconds delay) {
  for (const auto& [from, to] : links) {
    auto link = cluster_.world().sockets().link(from, to);
    link.cut = cut;
    link.latency_max = std::max<nanoseconds>(near_max, delay);
    cluster_.world().sockets().set_link(from, to, link);
  }
}

void Faults::cut() {
  const auto one = any().machine().host();
  std::vector<std::pair<std::string, std::string>> links;
  std::string what;
  switch (random_.below(5)) {
    case 0:
    case 1: {  // from another
      const auto other = any().machine().host();
      if (other == one) return;
      links.emplace_back(one, other);
      what = one + " to " + other;
      break;
    }
    case 2:  // from the coordination service
      links.emplace_back(one, std::string(Cluster::service_host));
      what = one + " to the service";
      break;
    case 3:  // from the other brokers
      for (auto* node : cluster_.nodes()) {
        if (node->machine().host() != one) links.emplace_back(one, node->machine().host());
      }
      what = one + " to the other brokers";
      break;
    default:  // from everybody
      for (const auto& host : cluster_.hosts()) {
        if (host != one) links.emplace_back(one, host);
      }
      what = one + " to all";
      break;
  }
  const auto way = random_.below(3);  // there, back, both
  std::vector<std::pair<std::string, std::string>> chosen;
  for (const auto& [from, to] : links) {
    if (way != 1) chosen.emplace_back(from, to);
    if (way != 0) chosen.emplace_back(to, from);
  }
  cluster_.tell(fmt::format("cut {}, {}", what, way == 0 ? "there" : way == 1 ? "back" : "both ways"));
  set_links(chosen, true, nanoseconds(0));
  undo_after(between(milliseconds(200), milliseconds(20'000)), [this, chosen, what] {
    cluster_.tell(fmt::format("mended {}", what));
    set_links(chosen, false, nanoseconds(0));
  });
}

void Faults::slow() {
  const auto from = any_host();
  const auto to = any_host();
  if (from == to) return;
  cluster_.tell(fmt::format("slow {} to {}", from, to));
  auto link = cluster_.world().sockets().link(from, to);
  link.latency_max = between(milliseconds(5), milliseconds(500));
  cluster_.world().sockets().set_link(from, to, link);
  undo_after(between(milliseconds(500), milliseconds(15'000)), [this, from, to] {
    auto now = cluster_.world().sockets().link(from, to);
    now.latency_max = near_max;
    cluster_.world().sockets().set_link(from, to, now);
  });
}

void Faults::zk() {
  if (chance(70)) {
    const auto host = any().machine().host();
    cluster_.tell(fmt::format("the service breaks the connection of {}", host));
    cluster_.service().reset(host);
    return;
  }
  cluster_.tell("the service is away");
  cluster_.service().set_down(true);
  undo_after(between(milliseconds(500), milliseconds(8000)), [this] {
    cluster_.tell("the service is there again");
    cluster_.service().set_down(false);
  });
}

void Faults::break_directory(Node& node) {
  using Op = runtime::SimFiles::Op;
  if (!broken_.insert(node.id()).second) return;
  const auto all = cluster_.directories();
  const auto directory = all[random_.below(all.size())];
  const auto number = chance(60) ? EIO : ENOSPC;
  const auto what = random_.below(4);
  const unsigned percent = chance(60) ? 100 : 20;
  cluster_.tell(fmt::format("{} of {} fails: {} of {}, error {}, {} %", directory, node.machine().host(),
                            std::array{"writes", "syncs", "changes", "all"}[what], directory, number, percent));
  node.machine().set_disk_fault([this, directory, number, what, percent](Op op, const std::string& path) {
    if (path != directory && !path.starts_with(directory + "/")) return 0;
    const bool changes = op == Op::rename || op == Op::remove || op == Op::truncate || op == Op::make_directory;
    const bool syncs = op == Op::sync || op == Op::sync_directory;
    const bool hit = what == 3 || (what == 0 && op == Op::write) || (what == 1 && syncs) ||
                     (what == 2 && (op == Op::write || syncs || changes));
    return hit && (percent == 100 || chance(percent)) ? number : 0;
  });
  undo_after(between(milliseconds(300), milliseconds(chance(50) ? 3000 : 15'000)), [this, &node, directory] {
    cluster_.tell(fmt::format("{} of {} is mended", directory, node.machine().host()));
    broken_.erase(node.id());
    node.machine().set_disk_fault(nullptr);
    // What was given up is taken up again by a new process only.
    if (node.down()) return;
    cluster_.kill(node);
    cluster_.start(node);
  });
}

void Faults::strike() {
  ++count_;
  const auto kind = kinds_[random_.below(kinds_.size())];
  auto& node = any();
  switch (kind) {
    case Fault::kill:
    case Fault::power:
    case Fault::stop: down(node, kind); return;
    case Fault::cut: cut(); return;
    case Fault::reset: {
      const auto other = any_host();
      cluster_.tell(fmt::format("reset {} with {}", node.machine().host(), other));
      cluster_.world().sockets().reset(node.machine().host(), other);
      return;
    }
    case Fault::slow: slow(); return;
    case Fault::pause:
      if (node.down() || node.machine().paused()) return;
      cluster_.tell(fmt::format("pause {}", node.machine().host()));
      node.machine().pause();
      undo_after(between(milliseconds(50), milliseconds(chance(50) ? 3000 : 15'000)), [this, &node] {
        cluster_.tell(fmt::format("resume {}", node.machine().host()));
        node.machine().resume();
      });
      return;
    case Fault::clock: {
      const auto by = static_cast<std::int64_t>(random_.below(7'200'000)) - 3'600'000;
      cluster_.tell(fmt::format("the clock of {} jumps by {} ms", node.machine().host(), by));
      node.machine().clock().jump_wall(milliseconds(by));
      return;
    }
    case Fault::disk: {
      const auto most = between(milliseconds(5), milliseconds(1000));
      cluster_.tell(fmt::format("the disk of {} is slow", node.machine().host()));
      node.machine().set_pool_latency(nanoseconds(0), most);
      undo_after(between(seconds(1), seconds(15)),
                 [&node] { node.machine().set_pool_latency(nanoseconds(0), nanoseconds(0)); });
      return;
    }
    case Fault::broken: break_directory(node); return;
    case Fault::zk: zk(); return;
  }
}

}  // namespace weir::sim
