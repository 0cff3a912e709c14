#include "cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>

#include "cli/ca_line.h"
#include "cli/control_line.h"
#include "cli/credentials_line.h"
#include "cli/log_flags.h"
#include "cli/place.h"
#include "cli/zookeeper_flag.h"
#include "config/key.h"

namespace weir::cli {

std::string_view version() { return WEIR_VERSION; }

namespace {

std::pair<std::string, std::string> parse_override(const std::string& text) {
  auto equals = text.find('=');
  if (equals == 0 || equals == std::string::npos) {
    throw CLI::ValidationError("--override", fmt::format("{} is not KEY=VALUE", text));
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::vector<std::pair<std::string, std::string>> parse_overrides(const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& text : texts) out.push_back(parse_override(text));
  return out;
}

void add_data(CLI::App& app, std::string& data_dir) {
  app.add_option("--data", data_dir, "Folder of data, logs and state")->type_name("DIR")->default_str("~/.weir");
}

void add_override(CLI::App& app, std::vector<std::string>& overrides) {
  app.add_option("--override", overrides, "A key of server.properties; may be given more than once")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
}

Binder add_broker(CLI::App& root) {
  struct Values {
    BrokerOptions options;
    std::vector<std::string> overrides;
    LogFlags log;
  };
  auto v = std::make_shared<Values>();
  CLI::App* app = root.add_subcommand("broker", "Run one broker; reads Apache Kafka's server.properties as it is");
  app->add_option("--config,config", v->options.config_path, "The broker's server.properties")
      ->type_name("FILE")
      ->required();
  add_override(*app, v->overrides);
  add_ready_fd(*app, v->options.ready_fd, "the broker");
  v->log.bind(*app);
  app->footer(
      "Examples:\n"
      "  weir broker --config server.properties\n"
      "  weir broker --config server.properties --override broker.id=3 --override log.dirs=/data/kafka\n"
      "  weir broker --config server.properties --log-format json --log-level debug\n"
      "\nIt stays in the foreground, logs to stderr, and stops cleanly on SIGTERM or Ctrl-C:\n"
      "it hands leadership to other brokers first. SIGUSR1 stops it without that, for when all of them stop.");
  return {app, [v]() -> Command {
            v->options.overrides = parse_overrides(v->overrides);
            v->options.log = v->log.options();
            return v->options;
          }};
}

Binder add_zookeeper(CLI::App& root) {
  struct Values {
    ZookeeperOptions options;
    std::string listen = "127.0.0.1:2181";
    LogFlags log;
  };
  auto v = std::make_shared<Values>();
  CLI::App* app =
      root.add_subcommand("zookeeper", "Run the coordination service alone: ZooKeeper's protocol, one node, durable");
  auto* config = app->add_option("--config,config", v->options.config_path, "A zoo.cfg")->type_name("FILE");
  auto* data = app->add_option("--data", v->options.data_dir, "Folder of its state")->type_name("DIR");
  auto* listen = app->add_option("--listen", v->listen, "Where clients connect")
                     ->type_name("HOST:PORT")
                     ->default_str("127.0.0.1:2181");
  config->excludes(data);
  config->excludes(listen);
  add_ready_fd(*app, v->options.ready_fd);
  v->log.bind(*app);
  app->footer(
      "Examples:\n"
      "  weir zookeeper --data /var/lib/weir/zookeeper\n"
      "  weir zookeeper --data ./zk --listen 127.0.0.1:2182\n"
      "  weir zookeeper --config zoo.cfg\n"
      "  echo ruok | nc 127.0.0.1 2181          is it alive?");
  return {app, [v]() -> Command {
            if (v->options.config_path.empty() && v->options.data_dir.empty()) {
              throw CLI::RequiredError("--data DIR or --config FILE");
            }
            auto at = config::parse_host_port(v->listen);
            if (!at) throw CLI::ValidationError("--listen", fmt::format("{} is not HOST:PORT", v->listen));
            v->options.listen = *at;
            v->options.log = v->log.options();
            return v->options;
          }};
}

Binder add_up(CLI::App& root) {
  struct Values {
    UpOptions options;
    int port = 9092, zookeeper_port = 2181, metrics_port = 11001;
    std::string api;
    std::vector<std::string> overrides;
    LogFlags log;
  };
  auto v = std::make_shared<Values>();
  CLI::App* app =
      root.add_subcommand("up", "Start everything on this machine: coordination service, brokers, control plane");
  app->add_option("--brokers", v->options.brokers, "How many brokers; as many as there are when left out, at first one")
      ->type_name("N")
      ->check(CLI::Range(1, brokers_max));
  add_data(*app, v->options.data_dir);
  app->add_option("--listen", v->options.listen_host, "Address of the first broker; a loopback address is counted up")
      ->type_name("HOST")
      ->default_str("127.0.0.1");
  app->add_option("--advertise", v->options.advertise_host, "Address that clients are told, if another")
      ->type_name("HOST");
  auto port = [&](const char* name, int& value, const char* what, const char* initial) {
    app->add_option(name, value, what)->type_name("PORT")->default_str(initial)->check(CLI::Range(0, 65535));
  };
  port("--port", v->port, "Port of each broker", "9092");
  port("--zookeeper-port", v->zookeeper_port, "Port of the coordination service", "2181");
  port("--metrics-port", v->metrics_port, "Port of each broker's Prometheus metrics; 0 for none", "11001");
  app->add_option("--api", v->api, "Where the control plane's API listens, the MSK API; none for no control plane")
      ->type_name("HOST:PORT")
      ->default_str("port 4566 of --listen if that is a loopback address, else of 127.0.0.1; another if taken");
  app->add_option("--addresses", v->options.addresses, "Loopback addresses for the brokers of further clusters")
      ->type_name("127.A")
      ->default_str("127.0");
  app->add_option("--kafka-version", v->options.kafka_version,
                  "Version of Kafka that the cluster is compatible with, 1.1 to 3.9")
      ->type_name("V");
  add_override(*app, v->overrides);
  app->add_flag("--detach,-d", v->options.detach, "Return once all is ready; weir down stops it");
  v->log.bind(*app);
  app->footer(
      "Examples:\n"
      "  weir up                                  a broker on 127.0.0.1:9092; Ctrl-C stops it, data stays in ~/.weir\n"
      "  weir up --detach                         the same in the background; weir status, weir down\n"
      "  weir up --brokers 3                      three, on 127.0.0.1:9092, 127.0.0.2:9092 and 127.0.0.3:9092\n"
      "  weir up --data /tmp/w --listen 127.0.1.1                                       a second cluster beside it\n"
      "  weir up --data /tmp/w --port 19092 --zookeeper-port 12181 --metrics-port 0     the same by other ports\n"
      "  weir up --listen 0.0.0.0 --advertise kafka.lan                                 for others on the network\n"
      "  weir up --override auto.create.topics.enable=false --override num.partitions=6\n"
      "\nThe number of brokers is kept with the data. More than one are in zones in turn (broker.rack), and topics\n"
      "have two or three replicas. On an address that is no loopback one, brokers differ by port: 9092, 9102, ...");
  return {app, [v]() -> Command {
            UpOptions& o = v->options;
            if (v->port == 0) throw CLI::ValidationError("--port", "0 cannot be: clients must know the port");
            if (v->zookeeper_port == 0) {
              throw CLI::ValidationError("--zookeeper-port", "0 cannot be: brokers must know the port");
            }
            if (!o.kafka_version.empty()) {
              auto wanted = config::parse_kafka_version(o.kafka_version);
              if (!wanted || *wanted < config::KafkaVersion{1, 1} || *wanted > config::KafkaVersion{3, 9}) {
                throw CLI::ValidationError("--kafka-version",
                                           fmt::format("{} is not a version from 1.1 to 3.9", o.kafka_version));
              }
              o.kafka_version = wanted->text();
            }
            bool everywhere = o.listen_host == "0.0.0.0" || o.listen_host == "::";
            if (o.advertise_host.empty() && everywhere) {
              throw CLI::RequiredError(
                  fmt::format("--advertise HOST (clients cannot connect to {}, so the address of "
                              "this machine)",
                              o.listen_host));
            }
            if (o.advertise_host.empty()) o.advertise_host = o.listen_host;
            o.port = static_cast<std::uint16_t>(v->port);
            o.zookeeper_port = static_cast<std::uint16_t>(v->zookeeper_port);
            o.metrics_port = static_cast<std::uint16_t>(v->metrics_port);
            o.overrides = parse_overrides(v->overrides);
            o.control = v->api != "none";
            if (o.control && !v->api.empty()) {
              o.api = config::parse_host_port(v->api);
              if (!o.api) throw CLI::ValidationError("--api", fmt::format("{} is not HOST:PORT", v->api));
            }
            o.log = v->log.options();
            return o;
          }};
}

Binder add_status(CLI::App& root) {
  auto v = std::make_shared<StatusOptions>();
  CLI::App* app = root.add_subcommand("status", "Show what weir up runs: process, state, addresses");
  add_data(*app, v->data_dir);
  app->add_flag("--json", v->json, "As JSON: pid, role, addresses, state of each process");
  app->footer(
      "Examples:\n"
      "  weir status\n"
      "  weir status --data /tmp/w --json\n"
      "\nThe exit code is 0 while weir up runs on the folder, 1 when not.");
  return {app, [v]() -> Command { return *v; }};
}

void add_one_broker(CLI::App& app, std::optional<int>& broker, const char* what) {
  app.add_option("--broker", broker, what)->type_name("N")->check(CLI::Range(1, brokers_max));
}

Binder add_down(CLI::App& root) {
  auto v = std::make_shared<DownOptions>();
  CLI::App* app = root.add_subcommand("down", "Stop what weir up runs, or one broker of it; data stays");
  add_data(*app, v->data_dir);
  add_one_broker(*app, v->broker, "Stop only this broker; the others go on");
  app->add_option("--timeout", v->timeout_seconds, "How long to wait for it")
      ->type_name("SECONDS")
      ->default_str("60")
      ->check(CLI::Range(1, 3600));
  app->footer(
      "Examples:\n"
      "  weir down\n"
      "  weir down --data /tmp/w\n"
      "  weir down --broker 2                     only broker 2; weir restart --broker 2 starts it again\n"
      "  rm -r ~/.weir                            afterwards, to start from nothing next time");
  return {app, [v]() -> Command { return *v; }};
}

Binder add_restart(CLI::App& root) {
  auto v = std::make_shared<RestartOptions>();
  CLI::App* app = root.add_subcommand("restart", "Restart a broker of what weir up runs, or all one after another");
  add_data(*app, v->data_dir);
  add_one_broker(*app, v->broker, "Only this broker; one that was stopped is started");
  app->add_option("--timeout", v->timeout_seconds, "How long to wait for each broker")
      ->type_name("SECONDS")
      ->default_str("300")
      ->check(CLI::Range(1, 86400));
  app->footer(
      "Examples:\n"
      "  weir restart --broker 2                  a controlled shutdown of broker 2, and its start\n"
      "  weir restart                             all brokers, one after another\n"
      "\nWith all, the next broker is restarted when the one before it serves and is in sync again, so that topics\n"
      "with enough replicas stay available.");
  return {app, [v]() -> Command { return *v; }};
}

Binder add_env(CLI::App& root) {
  auto v = std::make_shared<EnvOptions>();
  CLI::App* app = root.add_subcommand("env", "Print addresses and AWS access key as lines for a shell");
  add_data(*app, v->data_dir);
  app->footer(
      "Examples:\n"
      "  eval \"$(weir env)\"\n"
      "  kcat -b $BOOTSTRAP -L");
  return {app, [v]() -> Command { return *v; }};
}

Binder add_migrate(CLI::App& root) {
  struct Values {
    MigrateCheckOptions options;
    std::string log_dirs;
  };
  auto v = std::make_shared<Values>();
  CLI::App* migrate =
      root.add_subcommand("migrate", "Take over brokers of a running Apache Kafka cluster: what stands in the way");
  migrate->require_subcommand(1);
  CLI::App* app = migrate->add_subcommand("check", "Say whether Weir can take a broker's place; changes nothing");
  add_zookeeper_flag(*app, v->options.zookeeper, "The cluster's ZooKeeper, as in zookeeper.connect");
  app->add_option("--broker-id", v->options.broker_id, "The broker to be replaced")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--config", v->options.config_path,
                  "Its server.properties, to look at it too; what is left out here is taken from it")
      ->type_name("FILE");
  app->add_option("--zk-tls-config-file", v->options.zk_tls_config_path,
                  "zookeeper.ssl. keys for TLS to ZooKeeper, as Kafka's tools take them; stronger than --config")
      ->type_name("FILE");
  app->add_option("--zk-jaas-config-file", v->options.zk_jaas_path,
                  "JAAS file with a section Client for SASL to ZooKeeper, as java.security.auth.login.config has it")
      ->type_name("FILE");
  app->add_option("--log-dirs", v->log_dirs, "Its data folders; those of --config when left out")
      ->type_name("DIR[,...]");
  app->add_flag("--json", v->options.json, "As JSON");
  const char* examples =
      "Examples:\n"
      "  weir migrate check --zookeeper zk1:2181,zk2:2181/kafka --broker-id 2\n"
      "  weir migrate check --config /etc/kafka/server.properties\n"
      "  weir migrate check --config /etc/kafka/server.properties --zk-jaas-config-file /etc/kafka/jaas.conf\n"
      "  weir migrate check --zookeeper 127.0.0.1:2181 --broker-id 2 --log-dirs /data/a,/data/b --json\n"
      "\nWith --config or --log-dirs run it on the broker's machine. The exit code is 0 when nothing stands in the\n"
      "way, 1 when there are warnings, 2 when something blocks.";
  migrate->footer(examples);
  app->footer(examples);
  return {migrate, [v]() -> Command {
            const auto needs = [&](bool given, const char* option) {
              if (!given && v->options.config_path.empty()) {
                throw CLI::ValidationError(option, "is required where no --config FILE names it");
              }
            };
            needs(!v->options.zookeeper.empty(), "--zookeeper");
            needs(v->options.broker_id >= 0, "--broker-id");
            v->options.log_dirs = config::parse_list(v->log_dirs);
            return v->options;
          }};
}

Binder add_version(CLI::App& root) {
  CLI::App* app = root.add_subcommand("version", "Print the version");
  app->footer("Examples:\n  weir version");
  return {app, []() -> Command { return VersionOptions{}; }};
}

}  // namespace

std::expected<Command, Answer> parse_command_line(const std::vector<std::string>& arguments) {
  CLI::App root{"Weir: Amazon MSK that you run yourself. A Kafka broker, native and in one binary.", "weir"};
  root.footer(
      "Examples:\n"
      "  weir up                                     a broker on 127.0.0.1:9092, in the foreground\n"
      "  weir up --brokers 3                         three brokers, on 127.0.0.1, 127.0.0.2 and 127.0.0.3\n"
      "  weir up --detach && weir status             in the background\n"
      "  weir down                                   stop it\n"
      "  weir cluster create orders                  a further cluster; aws kafka works, too: eval \"$(weir env)\"\n"
      "  weir broker --config server.properties      one broker of a cluster\n"
      "\n`weir COMMAND --help` says more of each.");
  root.require_subcommand(1);
  root.set_version_flag("--version", std::string("weir ") + WEIR_VERSION);
  std::vector<Binder> binders{add_up(root),        add_status(root),  add_down(root),
                              add_restart(root),   add_env(root),     add_broker(root),
                              add_zookeeper(root), add_migrate(root), add_version(root)};
  binders.push_back(add_control(root));
  for (auto& binder : add_cluster(root)) binders.push_back(std::move(binder));
  binders.push_back(add_operation(root));
  for (auto& binder : add_ca(root)) binders.push_back(std::move(binder));
  for (auto& binder : add_credentials(root)) binders.push_back(std::move(binder));
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
  try {
    if (arguments.empty()) return std::unexpected(Answer{exit_usage, root.help()});
    const bool known = !root.get_subcommands([&](CLI::App* a) { return a->get_name() == arguments[0]; }).empty();
    if (!known && !arguments[0].starts_with('-')) {
      return std::unexpected(
          Answer{exit_usage,
                 fmt::format("weir: there is no command {}\n`weir --help` says what can be given.\n", arguments[0])});
    }
    root.parse(reversed);
    for (const Binder& binder : binders) {
      if (binder.app->parsed()) return binder.make();
    }
    return std::unexpected(Answer{exit_usage, root.help()});
  } catch (const CLI::ParseError& e) {
    std::ostringstream out, err;
    int code = root.exit(e, out, err);
    if (code == 0) return std::unexpected(Answer{exit_ok, out.str()});
    std::string name;
    for (const Binder& binder : binders) {
      if (!binder.app->parsed()) continue;
      name = " " + binder.app->get_name();
      if (binder.app->get_parent() != &root) name = " " + binder.app->get_parent()->get_name() + name;
    }
    return std::unexpected(
        Answer{exit_usage, fmt::format("weir: {}\n`weir{} --help` says what can be given.\n", e.what(), name)});
  }
}

}  // namespace weir::cli
