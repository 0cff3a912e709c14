#include "msk/model.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::msk {
namespace {

template <class E>
using Names = std::pair<E, std::string_view>;

constexpr std::array<Names<ClusterState>, 8> states{{{ClusterState::creating, "CREATING"},
                                                     {ClusterState::active, "ACTIVE"},
                                                     {ClusterState::updating, "UPDATING"},
                                                     {ClusterState::rebooting_broker, "REBOOTING_BROKER"},
                                                     {ClusterState::deleting, "DELETING"},
                                                     {ClusterState::failed, "FAILED"},
                                                     {ClusterState::healing, "HEALING"},
                                                     {ClusterState::maintenance, "MAINTENANCE"}}};
constexpr std::array<Names<ClientBroker>, 3> client_brokers{{{ClientBroker::tls, "TLS"},
                                                             {ClientBroker::tls_plaintext, "TLS_PLAINTEXT"},
                                                             {ClientBroker::plaintext, "PLAINTEXT"}}};
constexpr std::array<Names<StepKind>, 18> kinds{{{StepKind::address, "TAKE_ADDRESSES"},
                                                 {StepKind::put, "WRITE_FILES"},
                                                 {StepKind::start, "START_BROKERS"},
                                                 {StepKind::registered, "WAIT_FOR_BROKERS"},
                                                 {StepKind::live_config, "SET_DYNAMIC_CONFIGURATION"},
                                                 {StepKind::safe, "WAIT_FOR_REPLICAS"},
                                                 {StepKind::restart, "RESTART_BROKER"},
                                                 {StepKind::back, "CATCH_UP"},
                                                 {StepKind::leaders, "TAKE_LEADERSHIP"},
                                                 {StepKind::add, "ADD_BROKERS"},
                                                 {StepKind::spread, "SPREAD_PARTITIONS"},
                                                 {StepKind::drain, "DRAIN_BROKERS"},
                                                 {StepKind::settled, "WAIT_FOR_REASSIGNMENT"},
                                                 {StepKind::cancel, "CANCEL_REASSIGNMENT"},
                                                 {StepKind::leave, "REMOVE_BROKERS"},
                                                 {StepKind::stop, "DELETE_BROKERS"},
                                                 {StepKind::forget, "DELETE_STATE"},
                                                 {StepKind::record, "FINALIZE_UPDATE"}}};

template <class E, std::size_t N>
std::string_view name_in(const std::array<Names<E>, N>& table, E value) {
  const auto* found = std::ranges::find(table, value, &Names<E>::first);
  return found == table.end() ? std::string_view{} : found->second;
}
template <class E, std::size_t N>
std::optional<E> value_in(const std::array<Names<E>, N>& table, std::string_view text) {
  const auto* found = std::ranges::find(table, text, &Names<E>::second);
  if (found == table.end()) return std::nullopt;
  return found->first;
}

}  // namespace

std::string_view name(ClusterState state) { return name_in(states, state); }
std::optional<ClusterState> parse_cluster_state(std::string_view text) { return value_in(states, text); }
std::string_view name(ClientBroker value) { return name_in(client_brokers, value); }
std::optional<ClientBroker> parse_client_broker(std::string_view text) { return value_in(client_brokers, text); }
std::string_view name(StepKind kind) { return name_in(kinds, kind); }
std::optional<StepKind> parse_step_kind(std::string_view text) { return value_in(kinds, text); }

std::string Operation::state_name() const {
  // A reboot has words of its own, as MSK's guide shows them.
  const std::string_view verb = type == "REBOOT_NODE" ? "REBOOT" : "UPDATE";
  switch (state) {
    case OperationState::pending: return "PENDING";
    case OperationState::in_progress: return std::string(verb) + "_IN_PROGRESS";
    case OperationState::complete: return std::string(verb) + "_COMPLETE";
    case OperationState::failed: return std::string(verb) + "_FAILED";
  }
  return "UPDATE_FAILED";
}

const Revision* Configuration::find(std::int64_t number) const {
  const auto found = std::ranges::find(revisions, number, &Revision::number);
  return found == revisions.end() ? nullptr : &*found;
}

}  // namespace weir::msk
