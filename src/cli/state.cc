#include "cli/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

namespace weir::cli {

namespace json = boost::json;

const ProcessState* State::find(std::string_view role, std::optional<std::int32_t> id) const {
  auto it =
      std::ranges::find_if(processes, [&](const ProcessState& p) { return p.role == role && (!id || p.id == id); });
  return it == processes.end() ? nullptr : &*it;
}

namespace {

json::object as_object(const State& state) {
  json::array processes;
  for (const ProcessState& p : state.processes) {
    json::object addresses;
    for (const auto& [name, address] : p.addresses) addresses[name] = address;
    json::object o;
    o["role"] = p.role;
    if (p.id) o["id"] = *p.id;
    o["pid"] = p.process.pid;
    o["started"] = p.process.started;
    o["state"] = p.state;
    o["restarts"] = p.restarts;
    if (!p.rack.empty()) o["rack"] = p.rack;
    if (p.given != 0) o["given"] = p.given;
    o["addresses"] = std::move(addresses);
    processes.push_back(std::move(o));
  }
  json::object root;
  root["version"] = state.version;
  root["kafka_version"] = state.kafka_version;
  root["data"] = state.data_dir;
  root["boot_id"] = state.boot_id;
  root["processes"] = std::move(processes);
  if (!state.overrides.empty()) {
    json::object overrides;
    for (const auto& [key, value] : state.overrides) overrides[key] = value;
    root["overrides"] = std::move(overrides);
  }
  return root;
}

std::string text_of(const json::object& o, std::string_view key) {
  const json::value* v = o.if_contains(key);
  return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
}

template <class T>
T number_of(const json::object& o, std::string_view key) {
  const json::value* v = o.if_contains(key);
  if (v == nullptr) return T{};
  json::error_code error;
  T n = v->to_number<T>(error);
  return error ? T{} : n;
}

}  // namespace

std::string to_json(const State& state) { return json::serialize(as_object(state)) + "\n"; }

std::string status_json(const State& state, bool running) {
  json::object root = as_object(state);
  root["running"] = running;
  return json::serialize(root) + "\n";
}

std::expected<State, std::string> parse_state(std::string_view text) {
  json::error_code error;
  json::value root = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return std::unexpected(fmt::format("not JSON: {}", error.message()));
  const json::object* o = root.if_object();
  const json::value* list = o == nullptr ? nullptr : o->if_contains("processes");
  if (list == nullptr || !list->is_array()) return std::unexpected("not a state of weir: it has no processes");
  State state;
  state.version = text_of(*o, "version");
  state.kafka_version = text_of(*o, "kafka_version");
  state.data_dir = text_of(*o, "data");
  state.boot_id = text_of(*o, "boot_id");
  if (const json::value* overrides = o->if_contains("overrides"); overrides != nullptr && overrides->is_object()) {
    for (const auto& entry : overrides->get_object()) {
      if (entry.value().is_string())
        state.overrides[std::string(entry.key())] = std::string(entry.value().get_string());
    }
  }
  for (const json::value& item : list->get_array()) {
    const json::object* p = item.if_object();
    if (p == nullptr) return std::unexpected("not a state of weir: a process is not an object");
    ProcessState s;
    s.role = text_of(*p, "role");
    s.process.pid = number_of<std::int32_t>(*p, "pid");
    s.process.started = number_of<std::uint64_t>(*p, "started");
    s.state = text_of(*p, "state");
    s.restarts = number_of<std::uint32_t>(*p, "restarts");
    s.rack = text_of(*p, "rack");
    s.given = number_of<std::uint32_t>(*p, "given");
    if (p->if_contains("id") != nullptr) s.id = number_of<std::int32_t>(*p, "id");
    if (const json::value* addresses = p->if_contains("addresses"); addresses != nullptr && addresses->is_object()) {
      for (const auto& entry : addresses->get_object()) {
        if (entry.value().is_string()) s.addresses[std::string(entry.key())] = std::string(entry.value().get_string());
      }
    }
    state.processes.push_back(std::move(s));
  }
  return state;
}

}  // namespace weir::cli
