#include "cli/control_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/log_flags.h"
#include "cli/zookeeper_flag.h"

namespace weir::cli {

namespace {

void add_data(CLI::App& app, std::string& data_dir) {
  app.add_option("--data", data_dir, "Folder of the control plane, as of weir up")
      ->type_name("DIR")
      ->default_str("~/.weir");
}

using Action = ClusterOptions::Action;
using Values = std::shared_ptr<ClusterOptions>;

Binder made(CLI::App* app, const Values& values, Action action, const char* examples) {
  add_data(*app, values->data_dir);
  app->add_flag("--json", values->json, "As JSON, as the API answers");
  app->footer(examples);
  return {app, [values, action]() -> Command {
            values->action = action;
            return *values;
          }};
}

void add_name(CLI::App& app, const Values& values) {
  app.add_option("NAME", values->name, "The cluster's name, or its ARN")->required();
}

void add_wait(CLI::App& app, const Values& values, const char* what) {
  app.add_flag("!--no-wait", values->wait, what);
  app.add_option("--timeout", values->timeout_seconds, "How long to wait for it")
      ->type_name("SECONDS")
      ->default_str("600")
      ->check(CLI::Range(1, 86'400));
}

Binder add_create(CLI::App& cluster) {
  auto v = std::make_shared<ClusterOptions>();
  CLI::App* app = cluster.add_subcommand("create", "Make a cluster and wait until it is active");
  add_name(*app, v);
  app->add_option("--brokers", v->brokers, "How many brokers: a multiple of the zones")
      ->type_name("N")
      ->default_str("3")
      ->check(CLI::Range(1, 30));
  app->add_option("--zones", v->zones, "How many zones they are spread over")
      ->type_name("N")
      ->default_str("3")
      ->check(CLI::Range(2, 3));
  app->add_option("--kafka-version", v->kafka_version,
                  "As `aws kafka list-kafka-versions` has them; the newest when left out")
      ->type_name("V");
  app->add_option("--instance-type", v->instance_type, "What a broker may use: docs/instance-types.md")
      ->type_name("TYPE")
      ->default_str("kafka.m5.large");
  app->add_option("--volume", v->volume_gib, "Each broker's volume")
      ->type_name("GIB")
      ->default_str("100")
      ->check(CLI::Range(1, 16'384));
  app->add_option("--client-broker", v->client_broker, "Encryption between clients and brokers")
      ->check(CLI::IsMember({"TLS", "TLS_PLAINTEXT", "PLAINTEXT"}))
      ->type_name("HOW")
      ->default_str("TLS");
  add_wait(*app, v, "Return at once; weir cluster watch waits");
  return made(app, v, Action::create,
              "Examples:\n"
              "  weir cluster create orders\n"
              "  weir cluster create orders --brokers 6 --client-broker TLS_PLAINTEXT\n"
              "  weir cluster create old --kafka-version 2.2.1 --instance-type kafka.t3.small --volume 10\n"
              "\nMore can be said to the API: aws kafka create-cluster help");
}

}  // namespace

Binder add_control(CLI::App& root) {
  struct Line {
    ControlOptions options;
    std::string api = "127.0.0.1:4566";
    LogFlags log;
  };
  auto v = std::make_shared<Line>();
  CLI::App* app = root.add_subcommand("control", "Run the control plane alone: the MSK API, state in ZooKeeper");
  add_zookeeper_flag(*app, v->options.zookeeper, "Where its state lies, and its clusters' metadata")
      ->default_str("127.0.0.1:2181");
  app->add_option("--zookeeper-config", v->options.zookeeper_config,
                  "TLS and SASL to it, for brokers, too: zookeeper.ssl. and weir.zookeeper. keys as a broker has them")
      ->type_name("FILE");
  app->add_option("--api", v->api, "Where the API listens; by TLS when that is not a loopback address")
      ->type_name("HOST:PORT")
      ->default_str("127.0.0.1:4566");
  app->add_option("--advertise", v->options.advertise_host,
                  "Name or address by which others reach the API, if another: it is in its certificate and in weir env")
      ->type_name("HOST");
  app->add_option("--data", v->options.data_dir, "Folder of its brokers, credentials and authority")
      ->type_name("DIR")
      ->default_str("~/.weir");
  app->add_option("--addresses", v->options.addresses, "Loopback addresses for its brokers: 127.A.1.1 and so on")
      ->type_name("127.A")
      ->default_str("127.0");
  app->add_option("--region", v->options.region, "The region that ARNs and signatures name")
      ->type_name("NAME")
      ->default_str("us-east-1");
  app->add_option("--certificate-validity", v->options.certificate_s,
                  "How long a broker's certificate is valid; it is renewed when a third of that is left")
      ->type_name("TIME")
      ->default_str("397d")
      ->transform(CLI::AsNumberWithUnit(std::map<std::string, std::int64_t>{{"s", 1}, {"h", 3600}, {"d", 86'400}},
                                        CLI::AsNumberWithUnit::UNIT_REQUIRED))
      ->check(CLI::Range(std::int64_t{5}, std::int64_t{3650} * 86'400));
  app->add_option("--move-rate", v->options.move_rate,
                  "Bytes a second that each broker copies when partitions move to other brokers; 0: no limit")
      ->type_name("BYTES")
      ->default_str("50MiB")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::NonNegativeNumber);
  app->add_flag("--supervised", v->options.supervised, "Show the brokers of the folder's weir up as the cluster local");
  add_ready_fd(*app, v->options.ready_fd);
  v->log.bind(*app);
  app->footer(
      "Examples:\n"
      "  weir control                                            beside a ZooKeeper on 127.0.0.1:2181\n"
      "  weir control --zookeeper zk1:2181,zk2:2181,zk3:2181 --data /var/lib/weir\n"
      "  weir control --data /var/lib/weir --api 127.0.0.1:4567  a second one: it takes over when the first ends\n"
      "  weir control --api 0.0.0.0:4566 --advertise kafka.lan   for others on the network, by TLS\n"
      "\nIts brokers are processes of this machine and run on when it ends: the next one finds them. SIGUSR1 stops\n"
      "them with it. `weir env --data DIR` prints what the aws command line needs.");
  return {app, [v]() -> Command {
            auto at = config::parse_host_port(v->api);
            if (!at) throw CLI::ValidationError("--api", fmt::format("{} is not HOST:PORT", v->api));
            v->options.api = *at;
            v->options.log = v->log.options();
            return v->options;
          }};
}

std::vector<Binder> add_cluster(CLI::App& root) {
  CLI::App* cluster = root.add_subcommand("cluster", "List, make, look at and delete clusters");
  cluster->require_subcommand(1);
  cluster->footer(
      "Examples:\n"
      "  weir cluster list\n"
      "  weir cluster create orders --brokers 3\n"
      "  weir cluster describe orders             with the three lines of client.properties\n"
      "  weir cluster delete orders");
  std::vector<Binder> out;
  {
    auto v = std::make_shared<ClusterOptions>();
    out.push_back(made(cluster->add_subcommand("list", "One line a cluster"), v, Action::list,
                       "Examples:\n  weir cluster list\n  weir cluster list --json"));
  }
  out.push_back(add_create(*cluster));
  {
    auto v = std::make_shared<ClusterOptions>();
    CLI::App* app = cluster->add_subcommand("describe", "All about one: state, brokers, how clients connect");
    add_name(*app, v);
    out.push_back(made(app, v, Action::describe,
                       "Examples:\n  weir cluster describe orders\n  weir cluster describe orders --json"));
  }
  {
    auto v = std::make_shared<ClusterOptions>();
    CLI::App* app = cluster->add_subcommand("delete", "Delete one with all its data, and wait until it is gone");
    add_name(*app, v);
    add_wait(*app, v, "Return at once");
    out.push_back(made(app, v, Action::remove, "Examples:\n  weir cluster delete orders"));
  }
  {
    auto v = std::make_shared<ClusterOptions>();
    CLI::App* app = cluster->add_subcommand("watch", "Say what happens to one until it is settled");
    add_name(*app, v);
    add_wait(*app, v, "Say how it is now, and return");
    out.push_back(made(app, v, Action::watch, "Examples:\n  weir cluster watch orders"));
  }
  return out;
}

Binder add_operation(CLI::App& root) {
  auto v = std::make_shared<OperationOptions>();
  CLI::App* operation = root.add_subcommand("operation", "Follow what changes a cluster");
  operation->require_subcommand(1);
  CLI::App* app = operation->add_subcommand("watch", "A line for each step until it is over");
  app->add_option("ARN", v->arn, "The operation's ARN")->required();
  add_data(*app, v->data_dir);
  app->add_flag("--json", v->json, "As JSON, as the API answers, once it is over");
  app->add_option("--timeout", v->timeout_seconds, "How long to wait for it")
      ->type_name("SECONDS")
      ->default_str("3600")
      ->check(CLI::Range(1, 86'400));
  const char* examples =
      "Examples:\n"
      "  weir operation watch arn:aws:kafka:us-east-1:000000000000:cluster-operation/orders/ID/ID\n"
      "\nThe exit code is 0 when it completed, 1 when it failed.";
  operation->footer(examples);
  app->footer(examples);
  return {app, [v]() -> Command { return *v; }};
}

}  // namespace weir::cli
