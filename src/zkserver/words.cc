#include "zkserver/words.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <set>

namespace weir::zkserver {
namespace {

// The release whose protocol this is, as tools read it ("3.9.3"), and whose work it is.
constexpr std::string_view version = "3.9.3-weir";

using Out = std::back_insert_iterator<std::string>;

template <class... T>
void put(std::string& out, fmt::format_string<T...> format, T&&... args) {
  fmt::format_to(Out(out), format, std::forward<T>(args)...);
}

std::string peer_of(const Engine::Client& client) {
  // Java writes an address with a slash in front, and IPv6 without brackets.
  return fmt::format("/{}:{}", client.link->address, client.link->peer_port);
}

std::uint64_t average(std::uint64_t sum, std::uint64_t n) { return n == 0 ? 0 : sum / n; }

void connection_line(std::string& out, const Engine::Client& c, bool brief) {
  put(out, " {}[1](queued={},recved={},sent={}", peer_of(c), c.waiting, c.received, c.sent);
  if (!brief && c.session != 0) {
    put(out, ",sid={:#x},lop={},est={},to={}", static_cast<std::uint64_t>(c.session), zkwire::short_name(c.last_op),
        c.since, c.timeout.count());
    if (c.last_cxid >= 0) put(out, ",lcxid={:#x}", c.last_cxid);
    put(out, ",lzxid={:#x},lresp={},llat={},minlat={},avglat={},maxlat={}", static_cast<std::uint64_t>(c.last_zxid),
        c.last_answer.count() / 1'000'000, c.latency_ms_last, c.latency_ms_min, average(c.latency_ms_sum, c.answered),
        c.latency_ms_max);
  }
  put(out, ")\n");
}

void version_line(std::string& out) { put(out, "Zookeeper version: {}, built on 2026-01-01 00:00 UTC\n", version); }

std::string stat(const Engine& engine, const WordsContext& context, bool with_clients) {
  std::string out;
  version_line(out);
  if (with_clients) {
    put(out, "Clients:\n");
    for (const auto& [conn, client] : engine.clients()) connection_line(out, client, true);
    put(out, "\n");
  }
  const auto& n = engine.numbers();
  const double mean = n.answered == 0 ? 0 : static_cast<double>(n.latency_ms_sum) / static_cast<double>(n.answered);
  put(out, "Latency min/avg/max: {}/{:.4f}/{}\n", n.latency_ms_min, mean, n.latency_ms_max);
  put(out, "Received: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: {:#x}\nMode: standalone\nNode count: {}\n",
      n.received, n.sent, context.connections, engine.queued(), static_cast<std::uint64_t>(engine.tree().zxid()),
      engine.tree().size());
  return out;
}

std::string mntr(const Engine& engine, const WordsContext& context) {
  const auto& n = engine.numbers();
  const auto& tree = engine.tree();
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  std::string out;
  put(out, "zk_version\t{}, built on 2026-01-01 00:00 UTC\n", version);
  put(out, "zk_server_state\tstandalone\n");
  const double mean = n.answered == 0 ? 0 : static_cast<double>(n.latency_ms_sum) / static_cast<double>(n.answered);
  put(out, "zk_min_latency\t{}\nzk_avg_latency\t{:.4f}\nzk_max_latency\t{}\n", n.latency_ms_min, mean,
      n.latency_ms_max);
  const std::pair<std::string_view, std::uint64_t> rows[] = {
      {"packets_received", n.received},
      {"packets_sent", n.sent},
      {"num_alive_connections", context.connections},
      {"outstanding_requests", engine.queued()},
      {"znode_count", tree.size()},
      {"watch_count", tree.data_watches().watches() + tree.child_watches().watches()},
      {"ephemerals_count", tree.ephemerals()},
      {"approximate_data_size", tree.data_bytes()},
      {"max_file_descriptor_count", files.rlim_cur},
      {"global_sessions", tree.sessions().size()},
      {"local_sessions", 0},
      {"stale_sessions_expired", n.expired_sessions},
      {"connection_rejected", context.refused_connections},
      {"commit_count", n.commits},
      {"commit_requests", n.committed_changes},
      {"commit_failures", n.commit_failures},
      {"state_bytes", engine.numbers().state_bytes},
  };
  for (const auto& [key, value] : rows) put(out, "zk_{}\t{}\n", key, value);
  return out;
}

std::string conf(const Engine& engine, const WordsContext& context) {
  const auto& o = *context.options;
  std::string out;
  put(out, "clientPort={}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={}\ndataLogDir={}\ndataLogSize={}\n",
      context.port, o.data_dir, engine.numbers().state_bytes, o.data_dir, engine.numbers().state_bytes);
  put(out, "tickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\n", o.tick.count(),
      o.connections_per_ip_max, o.min_timeout().count(), o.max_timeout().count());
  put(out, "clientPortListenBacklog=-1\nserverId=0\n");
  return out;
}

std::string cons(const Engine& engine) {
  std::string out;
  for (const auto& [conn, client] : engine.clients()) connection_line(out, client, false);
  out += '\n';
  return out;
}

SessionId session_of(const Engine& engine, ConnId conn) {
  const auto at = engine.clients().find(conn);
  return at == engine.clients().end() ? 0 : at->second.session;
}

std::string wchs(const Tree& tree) {
  // A path or connection that is in both tables counts once.
  std::set<ConnId> conns;
  std::set<std::string_view> paths;
  for (const auto* table : {&tree.data_watches(), &tree.child_watches()}) {
    for (const auto& [conn, own] : table->by_connection()) conns.insert(conn);
    for (const auto& [path, modes] : table->by_path()) paths.insert(path);
  }
  return fmt::format("{} connections watching {} paths\nTotal watches:{}\n\n", conns.size(), paths.size(),
                     tree.data_watches().watches() + tree.child_watches().watches());
}

std::string watches_by_connection(const Engine& engine) {
  std::map<ConnId, std::set<std::string_view>> all;
  for (const auto* table : {&engine.tree().data_watches(), &engine.tree().child_watches()}) {
    for (const auto& [conn, own] : table->by_connection()) all[conn].insert(own.paths.begin(), own.paths.end());
  }
  std::string out;
  for (const auto& [conn, paths] : all) {
    put(out, "{:#x}\n", static_cast<std::uint64_t>(session_of(engine, conn)));
    for (const auto path : paths) put(out, "\t{}\n", path);
  }
  return out + "\n";
}

std::string watches_by_path(const Engine& engine) {
  std::map<std::string_view, std::set<ConnId>> all;
  for (const auto* table : {&engine.tree().data_watches(), &engine.tree().child_watches()}) {
    for (const auto& [path, modes] : table->by_path()) {
      for (const auto& [conn, mode] : modes) all[path].insert(conn);
    }
  }
  std::string out;
  for (const auto& [path, conns] : all) {
    put(out, "{}\n", path);
    for (const auto conn : conns) put(out, "\t{:#x}\n", static_cast<std::uint64_t>(session_of(engine, conn)));
  }
  return out + "\n";
}

std::string dump(const Engine& engine) {
  std::string out = "SessionTracker dump:\n";
  const auto left = engine.deadlines().left();
  put(out, "Session Sets ({})/({}):\n", left.size(), engine.deadlines().size());
  for (const auto& [ms, ids] : left) {
    put(out, "{} expire in {} ms:\n", ids.size(), ms);
    for (const auto id : ids) put(out, "\t{:#x}\n", static_cast<std::uint64_t>(id));
  }
  const auto& owned = engine.tree().ephemerals_by_session();
  put(out, "ephemeral nodes dump:\nSessions with Ephemerals ({}):\n", owned.size());
  for (const auto& [id, paths] : owned) {
    put(out, "{:#x}:\n", static_cast<std::uint64_t>(id));
    for (const auto& path : paths) put(out, "\t{}\n", path);
  }
  put(out, "Connections dump:\nConnections Sets (1)/({}):\n", engine.clients().size());
  for (const auto& [conn, client] : engine.clients()) {
    put(out, "\tip: {} sessionId: {:#x}\n", peer_of(client), static_cast<std::uint64_t>(client.session));
  }
  return out;
}

std::string envi() {
  utsname system{};
  uname(&system);
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format(
      "Environment:\nzookeeper.version={}, built on 2026-01-01 00:00 UTC\nhost.name={}\nos.name={}\n"
      "os.arch={}\nos.version={}\n",
      version, host.data(), system.sysname, system.machine, system.release);
}

constexpr std::string_view known[] = {"ruok", "srvr", "stat", "mntr", "conf", "cons", "wchs", "isro",
                                      "envi", "dump", "wchc", "wchp", "srst", "crst", "dirs"};

bool allowed(std::string_view word, const Options& options) {
  const auto& list = options.four_letter_words;
  return std::any_of(list.begin(), list.end(), [&](const std::string& one) { return one == "*" || one == word; });
}

}  // namespace

bool is_word(std::string_view four) { return std::find(std::begin(known), std::end(known), four) != std::end(known); }

std::string answer_word(std::string_view word, Engine& engine, const WordsContext& context) {
  if (!allowed(word, *context.options)) {
    return fmt::format("{} is not executed because it is not in the whitelist.\n", word);
  }
  if (word == "ruok") return "imok";
  if (word == "srvr") return stat(engine, context, false);
  if (word == "stat") return stat(engine, context, true);
  if (word == "mntr") return mntr(engine, context);
  if (word == "conf") return conf(engine, context);
  if (word == "cons") return cons(engine);
  if (word == "wchs") return wchs(engine.tree());
  if (word == "wchc") return watches_by_connection(engine);
  if (word == "wchp") return watches_by_path(engine);
  if (word == "isro") return "rw";
  if (word == "envi") return envi();
  if (word == "dump") return dump(engine);
  if (word == "dirs") return fmt::format("datadir_size: {0}\nlogdir_size: {0}\n", engine.numbers().state_bytes);
  if (word == "srst") {
    engine.reset_numbers();
    return "Server stats reset.\n";
  }
  engine.reset_client_numbers();
  return "Connection stats reset.\n";
}

}  // namespace weir::zkserver
