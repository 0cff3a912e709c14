// The structures that requests describe clusters by, checked and read into a ClusterSpec.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

#include "msk/api/api.h"
#include "msk/kafka.h"
#include "provision/instance_type.h"

namespace weir::msk::api {
namespace {

void not_yet(Params& params, std::string_view name, std::string_view what) {
  params.wrong(name, fmt::format("{} is not supported yet.", what));
}

// {"enabled": true} below `name`.
bool enabled(Params& params, std::string_view name) {
  auto inner = params.object(name);
  return inner && inner->flag("enabled").value_or(false);
}

}  // namespace

void read_encryption(Params& params, ClusterSpec& spec) {
  auto info = params.object("encryptionInfo");
  if (!info) return;
  if (auto rest = info->object("encryptionAtRest")) {
    TextRule required;
    required.required = true;
    rest->text("dataVolumeKMSKeyId", required);
    not_yet(*rest, "dataVolumeKMSKeyId", "Encryption at rest with a key of your own");
  }
  if (auto transit = info->object("encryptionInTransit")) {
    const auto client = transit->one_of("clientBroker", {"TLS", "TLS_PLAINTEXT", "PLAINTEXT"});
    if (client) spec.client_broker = parse_client_broker(*client).value_or(ClientBroker::tls);
    spec.in_cluster = transit->flag("inCluster").value_or(spec.in_cluster);
  }
}

void read_authentication(Params& params, ClusterSpec& spec) {
  auto info = params.object("clientAuthentication");
  if (!info) return;
  spec.client_authentication = params.json("clientAuthentication");
  spec.mutual_tls = false;
  bool unauthenticated = true;
  if (auto sasl = info->object("sasl")) {
    if (enabled(*sasl, "scram")) not_yet(params, "scram", "SASL/SCRAM authentication of Kafka clients");
    if (enabled(*sasl, "iam")) not_yet(params, "iam", "IAM authentication of Kafka clients");
  }
  if (auto tls = info->object("tls")) {
    TextRule arn;
    arn.max = 2048;
    const auto authorities = tls->texts("certificateAuthorityArnList", {}, arn);
    // MSK's first form has no `enabled`: the list alone asks for it.
    spec.mutual_tls = tls->flag("enabled").value_or(authorities && !authorities->empty());
    if (spec.mutual_tls) unauthenticated = false;
  }
  if (auto none = info->object("unauthenticated")) unauthenticated = none->flag("enabled").value_or(false);
  spec.unauthenticated = unauthenticated;
  if (!spec.unauthenticated && !spec.mutual_tls) {
    params.wrong("clientAuthentication",
                 "At least one way of authentication must be enabled, or unauthenticated access.");
  }
}

void read_monitoring(Params& params, ClusterSpec& spec) {
  const auto level =
      params.one_of("enhancedMonitoring", {"DEFAULT", "PER_BROKER", "PER_TOPIC_PER_BROKER", "PER_TOPIC_PER_PARTITION"});
  if (level) spec.monitoring = *level;
  auto open = params.object("openMonitoring");
  if (!open) return;
  auto prometheus = open->object("prometheus", true);
  if (!prometheus) return;
  if (auto jmx = prometheus->object("jmxExporter"))
    spec.jmx_exporter = jmx->flag("enabledInBroker", true).value_or(false);
  if (auto node = prometheus->object("nodeExporter")) {
    spec.node_exporter = node->flag("enabledInBroker", true).value_or(false);
  }
}

void read_logging(Params& params, ClusterSpec& spec) {
  auto info = params.object("loggingInfo");
  if (!info) return;
  auto logs = info->object("brokerLogs", true);
  if (!logs) return;
  for (const std::string_view target : {"cloudWatchLogs", "firehose", "s3"}) {
    auto to = logs->object(target);
    if (!to) continue;
    if (to->flag("enabled", true).value_or(false)) not_yet(params, target, "The delivery of broker logs");
  }
  spec.logging_info = params.json("loggingInfo");
}

void read_storage_mode(Params& params, ClusterSpec& spec) {
  const auto mode = params.one_of("storageMode", {"LOCAL", "TIERED"});
  if (mode == "TIERED") not_yet(params, "storageMode", "Tiered storage");
  if (mode) spec.storage_mode = *mode;
}

void read_rebalancing(Params& params, ClusterSpec& spec, bool required) {
  auto info = params.object("rebalancing", required);
  if (!info) return;
  const auto status = info->one_of("status", {"PAUSED", "ACTIVE"}, required);
  if (status) spec.rebalancing = *status;
}

void read_connectivity(Params& params, ClusterSpec& spec, bool creating) {
  auto info = params.object("connectivityInfo");
  if (!info) return;
  if (auto access = info->object("publicAccess")) {
    const auto type = access->one_of("type", {"DISABLED", "SERVICE_PROVIDED_EIPS"});
    if (type == "SERVICE_PROVIDED_EIPS") {
      params.wrong("type", creating ? "Public access cannot be turned on while a cluster is created."
                                    : "Public access is a part of Amazon's network: there is none here.");
    }
  }
  const auto network = info->one_of("networkType", {"IPV4", "DUAL"});
  if (network == "DUAL")
    params.wrong("networkType", "Invalid value for parameter networkType: 'DUAL'. Valid values: [IPV4]");
  if (auto vpc = info->object("vpcConnectivity")) {
    if (auto auth = vpc->object("clientAuthentication")) {
      if (auto sasl = auth->object("sasl")) {
        if (enabled(*sasl, "scram")) not_yet(params, "scram", "SASL/SCRAM authentication of Kafka clients");
        if (enabled(*sasl, "iam")) not_yet(params, "iam", "IAM authentication of Kafka clients");
      }
      if (enabled(*auth, "tls") && creating) {
        params.wrong("vpcConnectivity",
                     "While a cluster is created all authentication schemes of vpcConnectivity must be disabled. They "
                     "can be enabled once it is there.");
      }
    }
  }
  auto kept = json_of(spec.connectivity_info);
  for (auto& member : json_of(params.json("connectivityInfo"))) kept[member.key()] = member.value();
  spec.connectivity_info = boost::json::serialize(kept);
}

void read_throughput(Params& params, ClusterSpec& spec) {
  auto info = params.object("provisionedThroughput");
  if (!info) return;
  const bool on = info->flag("enabled").value_or(false);
  const auto amount = info->number("volumeThroughput", {.min = 250, .max = 2375});
  if (on && !amount) params.wrong("volumeThroughput", "The parameter volumeThroughput is required.");
  if (on && spec.volume_gib < 10) {
    params.wrong("volumeThroughput", "Provisioned throughput needs a volume of at least 10 GiB.");
  }
  spec.provisioned_throughput = params.json("provisionedThroughput");
}

void check_access(Params& params, const ClusterSpec& spec) {
  if (params.fault() || spec.unauthenticated) return;
  if (spec.client_broker == ClientBroker::tls_plaintext) {
    params.wrong("clientBroker",
                 "A plaintext listener knows no client: where clients must authenticate (TLS authentication without "
                 "unauthenticated access), clientBroker must be TLS. Set it, or unauthenticated.enabled to true.");
  } else if (!spec.in_cluster) {
    params.wrong("inCluster",
                 "Without encryption between brokers their own listener takes anybody: where clients must authenticate "
                 "(TLS authentication without unauthenticated access), inCluster must be true.");
  }
}

void check_replicas(Params& params, std::string_view parameter, const ClusterSpec& spec, std::size_t zones) {
  if (params.fault()) return;
  if (const auto wrong = too_many_replicas(spec, zones); !wrong.empty()) params.wrong(parameter, wrong);
}

void check_spec(Params& params, const Context& context, const ClusterSpec& spec, std::size_t zones) {
  if (params.fault()) return;
  if (spec.mutual_tls && spec.client_broker == ClientBroker::plaintext) {
    params.wrong("clientBroker",
                 "TLS authentication needs encryption between clients and brokers: TLS or TLS_PLAINTEXT.");
  }
  if (needs_certificate(spec) && !context.options.certify) {
    params.wrong("encryptionInTransit",
                 "Encryption in transit is not available: there is no authority for certificates.");
  }
  const auto wrong = complaints(spec, zones);
  if (!wrong.empty()) {
    params.wrong("configurationInfo", fmt::format("The configuration does not fit this cluster: {}", wrong.front()));
  }
}

Task<Answer<>> read_configuration(Context& context, Params& params, ClusterSpec& spec, bool required) {
  auto info = params.object("configurationInfo", required);
  if (!info) co_return Answer<>{};
  TextRule rule;
  rule.required = true;
  const auto text = info->text("arn", rule);
  const auto revision = info->number("revision", {.min = 1, .required = true});
  if (params.fault()) co_return Answer<>{};
  const auto arn = parse_arn(context.options.realm, *text);
  if (!arn || arn->kind != configuration_kind) co_return bad_request("arn", "Invalid Configuration ARN.");
  auto found = co_await context.store.configuration(arn->id);
  if (!found && found.error().kind != StoreError::Kind::missing) co_return failed(found.error(), "configuration");
  if (!found || found->value.name != arn->name) co_return bad_request("arn", "Invalid Configuration ARN.");
  const auto* chosen = found->value.find(*revision);
  if (chosen == nullptr) {
    co_return bad_request("revision", fmt::format("Invalid value for parameter revision: {}. The configuration has the "
                                                  "revisions 1 to {}.",
                                                  *revision, found->value.revisions.back().number));
  }
  spec.configuration_arn = found->value.arn;
  spec.configuration_revision = *revision;
  spec.server_properties = chosen->server_properties;
  co_return Answer<>{};
}

}  // namespace weir::msk::api
