// CreateConfiguration, DescribeConfiguration, DescribeConfigurationRevision, ListConfigurations,
// ListConfigurationRevisions, UpdateConfiguration, DeleteConfiguration.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <utility>

#include "msk/api/api.h"
#include "msk/kafka.h"

namespace weir::msk::api {
namespace {

namespace json = boost::json;

// MSK says so, and not with a NotFoundException: tools that wait until one is gone wait for this sentence.
Fault no_configuration() { return {FaultType::bad_request, "Configuration ARN does not exist.", "arn"}; }

Task<Answer<Versioned<Configuration>>> labelled(Context& context, const aws::Request& request) {
  const auto arn = parse_arn(context.options.realm, request.label("arn"));
  if (!arn || arn->kind != configuration_kind) {
    if (request.label("arn").starts_with("arn:")) co_return std::unexpected(no_configuration());
    co_return bad_request("arn", "Invalid Configuration ARN.");
  }
  auto found = co_await context.store.configuration(arn->id);
  if (!found && found.error().kind != StoreError::Kind::missing) co_return failed(found.error(), "configuration");
  if (!found || found->value.name != arn->name) co_return std::unexpected(no_configuration());
  co_return std::move(*found);
}

Object revision_of(const Revision& revision) {
  Object out;
  out["creationTime"] = text(iso8601(revision.created));
  if (!revision.description.empty()) out["description"] = text(revision.description);
  out["revision"] = revision.number;
  return out;
}

Object view(const Configuration& configuration) {
  Object out;
  out["arn"] = text(configuration.arn);
  out["creationTime"] = text(iso8601(configuration.created));
  out["description"] = text(configuration.description);
  out["kafkaVersions"] = texts_of(configuration.kafka_versions);
  out["latestRevision"] = revision_of(configuration.revisions.back());
  out["name"] = text(configuration.name);
  out["state"] = "ACTIVE";
  return out;
}

std::optional<std::string> read_properties(Params& params) {
  auto properties = params.blob("serverProperties", server_properties_bytes_max, true);
  if (!properties) return std::nullopt;
  if (const auto parsed = parse_server_properties(*properties); !parsed) {
    params.wrong("serverProperties", "Invalid value for parameter serverProperties: " + parsed.error());
  }
  return properties;
}

}  // namespace

Task<Answer<Object>> create_configuration(Context& context, const aws::Request& request) {
  Params params(*request.body);
  const auto configuration_name = params.text("name", {.min = 1, .max = 256, .required = true, .name_pattern = true});
  const auto description = params.text("description", {.max = 1024});
  const auto versions = params.texts("kafkaVersions", {.max = 100}, {.min = 1, .max = 128});
  const auto properties = read_properties(params);
  for (const auto& version : versions.value_or(std::vector<std::string>{})) {
    check_kafka_version(params, "kafkaVersions", version);
  }
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);

  auto all = co_await context.store.configurations();
  if (!all) co_return failed(all.error(), "configuration");
  if (all->size() >= configurations_max) {
    co_return bad_request("name", fmt::format("There can be at most {} configurations.", configurations_max));
  }
  Configuration made;
  made.id = new_id(context.random);
  made.name = *configuration_name;
  made.arn = arn_text(context.options.realm, configuration_kind, made.name, made.id);
  made.description = description.value_or("");
  made.created = context.now();
  made.kafka_versions = versions.value_or(std::vector<std::string>{});
  made.revisions.push_back({1, made.created, made.description, *properties});
  auto stored = co_await context.store.create_configuration(made);
  if (!stored) {
    auto fault = fault_of(stored.error(), "configuration");
    if (fault.type == FaultType::conflict) fault.invalid_parameter = "name";
    co_return std::unexpected(fault);
  }
  auto out = view(made);
  out.erase("description");
  out.erase("kafkaVersions");
  co_return out;
}

Task<Answer<Object>> describe_configuration(Context& context, const aws::Request& request) {
  auto found = co_await labelled(context, request);
  if (!found) co_return std::unexpected(found.error());
  co_return view(found->value);
}

Task<Answer<Object>> describe_configuration_revision(Context& context, const aws::Request& request) {
  const auto label = request.label("revision");
  std::int64_t number = 0;
  const auto read = std::from_chars(label.data(), label.data() + label.size(), number);
  if (read.ec != std::errc() || read.ptr != label.data() + label.size() || number < 1) {
    co_return bad_request("revision", fmt::format("Invalid value for parameter revision: '{}'. It must be at least 1.",
                                                  label.substr(0, 40)));
  }
  auto found = co_await labelled(context, request);
  if (!found) co_return std::unexpected(found.error());
  const auto* revision = found->value.find(number);
  if (revision == nullptr) co_return refuse(FaultType::not_found, "The requested revision does not exist.", "revision");
  auto out = revision_of(*revision);
  out["arn"] = text(found->value.arn);
  out["serverProperties"] = text(to_base64(revision->server_properties));
  co_return out;
}

Task<Answer<Object>> list_configurations(Context& context, const aws::Request& request) {
  auto all = co_await context.store.configurations();
  if (!all) co_return failed(all.error(), "configuration");
  const auto keys = keys_of(*all, [](const Configuration& c) { return time_key(c.created, c.id); });
  co_return listed(request, "configurations", keys, [&](std::size_t i) { return view((*all)[i]); });
}

Task<Answer<Object>> list_configuration_revisions(Context& context, const aws::Request& request) {
  auto found = co_await labelled(context, request);
  if (!found) co_return std::unexpected(found.error());
  const auto& revisions = found->value.revisions;
  const auto keys = keys_of(revisions, [](const Revision& r) { return number_key(r.number); });
  co_return listed(request, "revisions", keys, [&](std::size_t i) { return revision_of(revisions[i]); });
}

Task<Answer<Object>> update_configuration(Context& context, const aws::Request& request) {
  Params params(*request.body);
  const auto description = params.text("description", {.max = 1024});
  const auto properties = read_properties(params);
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  auto found = co_await labelled(context, request);
  if (!found) co_return std::unexpected(found.error());
  auto& revisions = found->value.revisions;
  if (revisions.size() >= revisions_max) {
    co_return bad_request("arn", fmt::format("A configuration can have at most {} revisions.", revisions_max));
  }
  const auto number = revisions.back().number + 1;
  revisions.push_back({number, context.now(), description.value_or(""), *properties});
  Object out;
  out["arn"] = text(found->value.arn);
  out["latestRevision"] = revision_of(revisions.back());
  auto stored = co_await context.store.set_configuration(std::move(*found));
  if (!stored) co_return failed(stored.error(), "configuration");
  co_return out;
}

Task<Answer<Object>> delete_configuration(Context& context, const aws::Request& request) {
  auto found = co_await labelled(context, request);
  if (!found) co_return std::unexpected(found.error());
  const auto arn = found->value.arn;
  auto clusters = co_await context.store.clusters();
  if (!clusters) co_return failed(clusters.error(), "cluster");
  for (const auto& cluster : *clusters) {
    bool used = cluster.spec.configuration_arn == arn;
    if (!cluster.active_operation.empty()) {
      auto operation = co_await context.store.operation(cluster.id, cluster.active_operation);
      used = used || (operation && operation->value.to.configuration_arn == arn);
    }
    if (used) {
      co_return bad_request(
          "arn", "Configuration is in use by one or more clusters. Dissociate the configuration from the clusters.");
    }
  }
  auto removed = co_await context.store.remove_configuration(std::move(*found));
  if (!removed) co_return failed(removed.error(), "configuration");
  Object out;
  out["arn"] = text(arn);
  out["state"] = "DELETING";
  co_return out;
}

}  // namespace weir::msk::api
