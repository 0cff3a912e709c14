// What each command of `weir` was told.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/log.h"
#include "config/broker_config.h"

namespace weir::cli {

inline constexpr std::uint16_t api_port = 4566;

struct LogOptions {
  logging::Level level = logging::Level::info;
  logging::Format format = logging::Format::text;
};

// `ready_fd`: where to write "ready\n" once the process serves (--ready-fd, for a supervisor); -1: nowhere.
struct BrokerOptions {
  std::string config_path;
  std::vector<std::pair<std::string, std::string>> overrides;  // --override KEY=VALUE, later ones win
  int ready_fd = -1;
  LogOptions log;
};

struct ZookeeperOptions {
  std::string config_path;  // a zoo.cfg; when empty, data_dir and listen say it all
  std::string data_dir;
  config::HostPort listen{"127.0.0.1", 2181};
  int ready_fd = -1;
  LogOptions log;
};

// Host, advertised host and ports are those of the first broker; place.h has the others'.
struct UpOptions {
  std::string data_dir;  // empty: ~/.weir
  int brokers = 0;       // 0: as many as there are, at first one
  std::string listen_host = "127.0.0.1";
  std::string advertise_host;  // empty: listen_host
  std::uint16_t port = 9092;
  std::uint16_t zookeeper_port = 2181;
  std::uint16_t metrics_port = 11001;   // 0: no metrics
  std::optional<config::HostPort> api;  // nothing: beside the coordination service, on api_port or any that is free
  bool control = true;                  // false: no control plane, brokers only
  std::string addresses = "127.0";      // as ControlOptions
  std::string kafka_version;            // empty: as before, or the newest
  std::vector<std::pair<std::string, std::string>> overrides;
  bool detach = false;
  LogOptions log;
};

// The control plane alone.
struct ControlOptions {
  std::string data_dir;                      // empty: ~/.weir
  std::string zookeeper = "127.0.0.1:2181";  // its state, and what its clusters live on
  std::string zookeeper_config;              // a file: TLS and SASL to it; empty: neither
  config::HostPort api{"127.0.0.1", api_port};
  std::string advertise_host;       // by which others reach the API; empty: the host of `api`, or this machine's
  std::string addresses = "127.0";  // the pool of its brokers' addresses: 127.A
  std::string region = "us-east-1";
  std::int64_t certificate_s = 397LL * 86'400;  // how long a broker's certificate is valid
  std::int64_t move_rate = 50LL << 20;          // bytes a second, of partitions that move; 0: no limit
  bool supervised = false;                      // a child of weir up, whose brokers are the cluster `local`
  int ready_fd = -1;
  LogOptions log;
};

// What people ask of the control plane, through its API.
struct ClusterOptions {
  enum class Action : std::uint8_t { list, create, describe, remove, watch };
  Action action = Action::list;
  std::string data_dir;
  std::string name;  // or its ARN
  bool json = false;
  bool wait = true;  // create, remove: until it is done
  int brokers = 3;
  int zones = 3;
  std::string kafka_version;  // empty: the newest
  std::string instance_type = "kafka.m5.large";
  int volume_gib = 100;
  std::string client_broker = "TLS";
  int timeout_seconds = 600;
};

struct OperationOptions {
  std::string data_dir;
  std::string arn;
  bool json = false;
  int timeout_seconds = 3600;
};

// The access keys of a folder; its control plane need not run.
struct CredentialsOptions {
  enum class Action : std::uint8_t { list, add, activate, deactivate, revoke };
  Action action = Action::list;
  std::string data_dir;
  std::string id;    // activate, deactivate, revoke
  std::string user;  // add
  bool json = false;
};

// The certificate authority of a folder, which is made when there is none.
struct CaOptions {
  enum class Action : std::uint8_t { export_trust, sign, issue };
  Action action = Action::export_trust;
  std::string data_dir;
  std::string format = "pem";  // export: pem, pkcs12, jks
  std::string password = "changeit";
  std::string out;                 // empty: standard output
  std::string request;             // sign: a file, or -
  std::vector<std::string> names;  // issue: of a broker
  std::string subject;             // or of a client
  int days = 397;
};

struct StatusOptions {
  std::string data_dir;
  bool json = false;
};

struct DownOptions {
  std::string data_dir;
  std::optional<int> broker;  // only this one; the others go on
  int timeout_seconds = 60;
};

struct RestartOptions {
  std::string data_dir;
  std::optional<int> broker;  // nothing: all, one after another
  int timeout_seconds = 300;  // for each
};

struct EnvOptions {
  std::string data_dir;
};

// Whether a broker of a running cluster can be taken over by Weir. What --config or --log-dirs could tell is left out
// when they are not given.
struct MigrateCheckOptions {
  std::string zookeeper;              // as zookeeper.connect; empty: that of the configuration
  int broker_id = -1;                 // -1: that of the configuration, or of the data folders
  std::string zk_tls_config_path;     // zookeeper.ssl. keys, as Kafka's tools take them
  std::string zk_jaas_path;           // a JAAS file with a section Client
  std::string config_path;            // the broker's server.properties
  std::vector<std::string> log_dirs;  // empty: those of the configuration
  bool json = false;
};

struct VersionOptions {};

using Command = std::variant<BrokerOptions, ZookeeperOptions, UpOptions, ControlOptions, ClusterOptions,
                             OperationOptions, CredentialsOptions, StatusOptions, DownOptions, RestartOptions,
                             CaOptions, EnvOptions, MigrateCheckOptions, VersionOptions>;

}  // namespace weir::cli
