#include <fmt/format.h>

#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "apps/api_caller.h"
#include "apps/run.h"
#include "aws/sigv4.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/text.h"
#include "runtime/clock.h"

// weir cluster and weir operation: what people ask of the control plane, through its API as any other client.

namespace weir::apps {

namespace {

namespace json = boost::json;
using Action = cli::ClusterOptions::Action;
template <class T>
using Called = std::expected<T, aws::Fault>;

constexpr milliseconds look_every{200};

int complain(const std::string& text) {
  fmt::print(stderr, "weir: {}\n", text);
  return cli::exit_failure;
}

int complain(const aws::Fault& fault) {
  if (fault.status == 0) return complain(fault.message + "; is it running? weir up, or weir control");
  return complain(fmt::format("{} ({}{})", fault.message, fault.type,
                              fault.invalid_parameter.empty() ? "" : ", " + fault.invalid_parameter));
}

void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

// What is at `path` ("a.b.c"); null when there is none.
const json::value* at(const json::value& value, std::string_view path) {
  const json::value* here = &value;
  while (here != nullptr && !path.empty()) {
    const auto dot = path.find('.');
    const auto key = path.substr(0, dot);
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
    here = here->is_object() ? here->get_object().if_contains(json::string_view(key.data(), key.size())) : nullptr;
  }
  return here;
}

std::string text(const json::value& value, std::string_view path) {
  const auto* v = at(value, path);
  if (v == nullptr) return {};
  if (v->is_string()) return std::string(v->get_string());
  if (v->is_double()) return fmt::format("{}", v->get_double());
  return json::serialize(*v);
}

const json::array& list(const json::value& value, std::string_view path) {
  static const json::array none;
  const auto* v = at(value, path);
  return v != nullptr && v->is_array() ? v->get_array() : none;
}

// All pages of a list.
Called<json::array> all_of(ApiCaller& api, const std::string& target, const char* member) {
  json::array out;
  std::string token;
  do {
    const auto joint = target.find('?') == std::string::npos ? "?" : "&";
    auto page = api.call(
        "GET", target + joint + "maxResults=100" + (token.empty() ? "" : "&nextToken=" + aws::uri_encode(token)));
    if (!page) return std::unexpected(page.error());
    for (const auto& item : list(*page, member)) out.push_back(item);
    token = text(*page, "nextToken");
  } while (!token.empty());
  return out;
}

std::string cluster_path(const std::string& arn, const char* rest = "") {
  return "/v1/clusters/" + aws::uri_encode(arn) + rest;
}

Called<std::string> arn_of(ApiCaller& api, const std::string& name) {
  if (name.starts_with("arn:")) return name;
  auto clusters = all_of(api, "/v1/clusters?clusterNameFilter=" + aws::uri_encode(name), "clusterInfoList");
  if (!clusters) return std::unexpected(clusters.error());
  for (const auto& cluster : *clusters) {
    if (text(cluster, "clusterName") == name) return text(cluster, "clusterArn");
  }
  return std::unexpected(aws::fault(404, "NotFoundException", fmt::format("there is no cluster {}", name)));
}

Called<json::value> describe(ApiCaller& api, const std::string& arn) {
  auto answer = api.call("GET", cluster_path(arn));
  if (!answer) return answer;
  return *at(*answer, "clusterInfo");
}

int list_clusters(ApiCaller& api, bool as_json) {
  auto clusters = all_of(api, "/v1/clusters", "clusterInfoList");
  if (!clusters) return complain(clusters.error());
  if (as_json) {
    say(json::serialize(json::object{{"clusterInfoList", *clusters}}));
    return cli::exit_ok;
  }
  if (clusters->empty()) say("there is no cluster; weir cluster create NAME makes one");
  for (const auto& c : *clusters) {
    say(fmt::format("{:<24} {:<16} {:>2} brokers  Kafka {:<8} {}", text(c, "clusterName"), text(c, "state"),
                    text(c, "numberOfBrokerNodes"), text(c, "currentBrokerSoftwareInfo.kafkaVersion"),
                    text(c, "clusterArn")));
  }
  return cli::exit_ok;
}

int show(ApiCaller& api, const std::string& arn, bool as_json) {
  auto cluster = describe(api, arn);
  if (!cluster) return complain(cluster.error());
  auto bootstrap = api.call("GET", cluster_path(arn, "/bootstrap-brokers"));
  auto nodes = all_of(api, cluster_path(arn, "/nodes"), "nodeInfoList");
  if (as_json) {
    json::object all{{"clusterInfo", *cluster}};
    if (bootstrap) all["bootstrapBrokers"] = *bootstrap;
    if (nodes) all["nodeInfoList"] = *nodes;
    say(json::serialize(all));
    return cli::exit_ok;
  }
  const auto line = [](const char* label, const std::string& value) {
    if (!value.empty()) say(fmt::format("  {:<14} {}", label, value));
  };
  const auto& c = *cluster;
  say(fmt::format("{} is {}", text(c, "clusterName"), text(c, "state")));
  line("why", text(c, "stateInfo.message"));
  line("arn", text(c, "clusterArn"));
  line("version", text(c, "currentVersion"));
  line("kafka", text(c, "currentBrokerSoftwareInfo.kafkaVersion"));
  line("instance type", text(c, "brokerNodeGroupInfo.instanceType"));
  line("zookeeper", text(c, "zookeeperConnectString"));
  line("operation", text(c, "activeOperationArn"));
  if (nodes) {
    for (const auto& node : *nodes) {
      std::string where;
      for (const auto& endpoint : list(node, "brokerNodeInfo.endpoints")) {
        if (endpoint.is_string()) where += (where.empty() ? "" : ", ") + std::string(endpoint.get_string());
      }
      line(("broker " + text(node, "brokerNodeInfo.brokerId")).c_str(), where);
    }
  }
  if (!bootstrap) return cli::exit_ok;
  line("plaintext", text(*bootstrap, "bootstrapBrokerString"));
  const auto tls = text(*bootstrap, "bootstrapBrokerStringTls");
  line("tls", tls);
  if (tls.empty()) return cli::exit_ok;
  const auto& folder = api.files().path;
  say(
      fmt::format("\nFor Java clients by TLS, once:\n"
                  "  weir ca export --data {0} --format pkcs12 --password changeit --out truststore.p12\n"
                  "and in client.properties:\n"
                  "  security.protocol=SSL\n"
                  "  ssl.truststore.location=truststore.p12\n"
                  "  ssl.truststore.password=changeit\n"
                  "Others take the authority as it is: {0}/ca/ca.crt",
                  cli::shell_quoted(folder)));
  return cli::exit_ok;
}

class Deadline {
 public:
  explicit Deadline(int seconds_max)
      : end_(runtime::system_clock().mono() + std::chrono::seconds(seconds_max)), seconds_(seconds_max) {}
  // False once it is over.
  bool pause() const {
    if (runtime::system_clock().mono() >= end_) return false;
    std::this_thread::sleep_for(look_every);
    return true;
  }
  std::string text() const { return fmt::format("it is not over after {} s; it goes on (--timeout)", seconds_); }

 private:
  nanoseconds end_;
  int seconds_;
};

// A line for each step of an operation when it begins and when it is done.
class StepLines {
 public:
  void take(const json::value& operation) {
    for (const auto& step : list(operation, "operationSteps")) {
      const auto name = text(step, "stepName");
      const auto status = text(step, "stepInfo.stepStatus");
      auto& before = seen_[name];
      if (status == before || status == "PENDING") continue;
      before = status;
      std::string what = name;
      for (auto& c : what) c = c == '_' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      const auto blank = what.rfind(' ');
      const bool numbered =
          blank != std::string::npos && what.find_first_not_of("0123456789", blank + 1) == std::string::npos;
      if (numbered) what = "broker" + what.substr(blank) + ": " + what.substr(0, blank);
      say(fmt::format("  {:<32} {}", what, status == "COMPLETED" ? "done" : "..."));
    }
  }

 private:
  std::map<std::string, std::string> seen_;
};

Called<json::value> operation(ApiCaller& api, const std::string& arn) {
  auto answer = api.call("GET", "/v1/operations/" + aws::uri_encode(arn));
  if (!answer) return answer;
  return *at(*answer, "clusterOperationInfo");
}

// Until the cluster's state is `settled`; says each change. Deleted ends it as well.
int follow(ApiCaller& api, const std::string& arn, bool gone_is_good, bool once, int timeout_seconds) {
  const Deadline deadline(timeout_seconds);
  std::string last;
  std::string last_operation;
  StepLines lines;
  for (;;) {
    auto cluster = describe(api, arn);
    if (!cluster) {
      if (cluster.error().status != 404) return complain(cluster.error());
      if (!gone_is_good && last.empty()) return complain(cluster.error());
      say("it is deleted");
      return cli::exit_ok;
    }
    const auto state = text(*cluster, "state");
    if (state != last) {
      const auto why = text(*cluster, "stateInfo.message");
      say(fmt::format("{} is {}{}{}", text(*cluster, "clusterName"), state, why.empty() ? "" : ": ", why));
      last = state;
    }
    const auto running = text(*cluster, "activeOperationArn");
    if (!running.empty() && running != last_operation) {
      last_operation = running;
      lines = {};
    }
    if (!last_operation.empty()) {
      if (auto info = operation(api, last_operation)) lines.take(*info);
    }
    if (once || state == "ACTIVE") return cli::exit_ok;
    if (state == "FAILED") return cli::exit_failure;
    if (!deadline.pause()) return complain(deadline.text());
  }
}

int create(ApiCaller& api, const cli::ClusterOptions& o) {
  json::array subnets;
  for (int zone = 1; zone <= o.zones; ++zone) subnets.emplace_back(fmt::format("subnet-{:08x}", zone));
  json::object nodes{{"instanceType", o.instance_type},
                     {"clientSubnets", std::move(subnets)},
                     {"storageInfo", {{"ebsStorageInfo", {{"volumeSize", o.volume_gib}}}}}};
  auto version = o.kafka_version;
  if (version.empty()) {
    auto versions = all_of(api, "/v1/kafka-versions", "kafkaVersions");
    if (!versions) return complain(versions.error());
    for (const auto& v : *versions) {
      if (text(v, "status") == "ACTIVE") version = text(v, "version");
    }
  }
  json::object in_transit{{"clientBroker", o.client_broker}};
  if (o.client_broker == "PLAINTEXT") in_transit["inCluster"] = false;
  const json::object body{{"clusterName", o.name},
                          {"kafkaVersion", version},
                          {"numberOfBrokerNodes", o.brokers},
                          {"brokerNodeGroupInfo", std::move(nodes)},
                          {"encryptionInfo", {{"encryptionInTransit", std::move(in_transit)}}}};
  auto made = api.call("POST", "/v1/clusters", json::serialize(body));
  if (!made) return complain(made.error());
  const auto arn = text(*made, "clusterArn");
  if (!o.wait) {
    say(o.json ? json::serialize(*made) : arn);
    return cli::exit_ok;
  }
  if (o.json) {
    const Deadline deadline(o.timeout_seconds);
    for (;;) {
      auto cluster = describe(api, arn);
      if (!cluster) return complain(cluster.error());
      const auto state = text(*cluster, "state");
      if (state == "ACTIVE" || state == "FAILED") {
        show(api, arn, true);
        return state == "ACTIVE" ? cli::exit_ok : cli::exit_failure;
      }
      if (!deadline.pause()) return complain(deadline.text());
    }
  }
  const int how = follow(api, arn, false, false, o.timeout_seconds);
  return how == cli::exit_ok ? show(api, arn, false) : how;
}

}  // namespace

int run_cluster(const cli::ClusterOptions& options) {
  logging::init({logging::Level::error, logging::Format::text, {}});
  auto api = ApiCaller::open(options.data_dir);
  if (!api) return complain(api.error());
  if (options.action == Action::list) return list_clusters(**api, options.json);
  if (options.action == Action::create) return create(**api, options);
  auto arn = arn_of(**api, options.name);
  if (!arn) return complain(arn.error());
  if (options.action == Action::describe) return show(**api, *arn, options.json);
  if (options.action == Action::watch) return follow(**api, *arn, false, !options.wait, options.timeout_seconds);
  auto removed = (*api)->call("DELETE", cluster_path(*arn));
  if (!removed) return complain(removed.error());
  if (options.json) say(json::serialize(*removed));
  return options.wait && !options.json ? follow(**api, *arn, true, false, options.timeout_seconds) : cli::exit_ok;
}

int run_operation_watch(const cli::OperationOptions& options) {
  logging::init({logging::Level::error, logging::Format::text, {}});
  auto api = ApiCaller::open(options.data_dir);
  if (!api) return complain(api.error());
  const Deadline deadline(options.timeout_seconds);
  std::string last;
  StepLines lines;
  for (;;) {
    auto info = operation(**api, options.arn);
    if (!info) return complain(info.error());
    const auto state = text(*info, "operationState");
    if (!options.json) {
      if (state != last) say(fmt::format("{} {}", text(*info, "operationType"), state));
      lines.take(*info);
    }
    last = state;
    if (state.ends_with("_COMPLETE") || state.ends_with("_FAILED")) {
      if (options.json) say(json::serialize(*info));
      const auto why = text(*info, "errorInfo.errorString");
      if (!why.empty() && !options.json) say(why);
      return state.ends_with("_COMPLETE") ? cli::exit_ok : cli::exit_failure;
    }
    if (!deadline.pause()) return complain(deadline.text());
  }
}

}  // namespace weir::apps
