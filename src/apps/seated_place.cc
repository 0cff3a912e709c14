#include "apps/seated_place.h"

#include <utility>

#include "provision/address.h"

namespace weir::apps {

using provision::BrokerKey;

namespace {

std::unexpected<provision::Failure> not_here() {
  return std::unexpected(
      provision::Failure{provision::Failure::Kind::closed, "this control plane is not the active one"});
}

}  // namespace

void SeatedPlace::open(std::unique_ptr<provision::Machine> machine) {
  machine_ = std::move(machine);
  machine_->listen(listener_);
}

SeatedPlace::Task<void> SeatedPlace::close() {
  if (!machine_) co_return;
  // Calls that come meanwhile are refused by the machine itself, which is closing.
  co_await machine_->close();
  machine_.reset();
}

SeatedPlace::Task<SeatedPlace::Outcome<std::string>> SeatedPlace::free_block(std::vector<std::string> taken,
                                                                             std::int32_t brokers,
                                                                             std::vector<std::uint16_t> ports) {
  if (!machine_) co_return not_here();
  co_return co_await machine_->free_block(std::move(taken), brokers, std::move(ports));
}

std::string SeatedPlace::address_of(const std::string& block, std::int32_t id) const {
  if (block.empty()) return supervised_.host_of(id);  // `local` has no block
  return provision::block_address(block, id).value_or("");
}

SeatedPlace::Task<SeatedPlace::Outcome<>> SeatedPlace::put(provision::BrokerSpec spec) {
  if (!machine_) co_return not_here();
  if (is_local(spec.key)) co_return co_await supervised_.put(std::move(spec));
  co_return co_await machine_->put(std::move(spec));
}

SeatedPlace::Task<SeatedPlace::Outcome<>> SeatedPlace::start(BrokerKey key, milliseconds wait) {
  if (!machine_) co_return not_here();
  if (is_local(key)) co_return co_await supervised_.start(key.broker, wait);
  co_return co_await machine_->start(std::move(key), wait);
}

SeatedPlace::Task<SeatedPlace::Outcome<>> SeatedPlace::stop(BrokerKey key, provision::StopHow how) {
  if (!machine_) co_return not_here();
  if (is_local(key)) co_return co_await supervised_.down(key.broker, how.deadline);
  co_return co_await machine_->stop(std::move(key), how);
}

SeatedPlace::Task<SeatedPlace::Outcome<>> SeatedPlace::kill(BrokerKey key) {
  if (!machine_) co_return not_here();
  if (is_local(key)) co_return co_await supervised_.kill(key.broker);
  co_return co_await machine_->kill(std::move(key));
}

SeatedPlace::Task<SeatedPlace::Outcome<>> SeatedPlace::restart(BrokerKey key, provision::StopHow how,
                                                               milliseconds wait) {
  if (!machine_) co_return not_here();
  if (is_local(key)) co_return co_await supervised_.restart(key.broker, how.deadline + wait);
  co_return co_await machine_->restart(std::move(key), how, wait);
}

SeatedPlace::Task<SeatedPlace::Outcome<>> SeatedPlace::remove(BrokerKey key, bool with_data) {
  if (!machine_) co_return not_here();
  if (is_local(key)) co_return co_await supervised_.remove(key.broker, with_data);
  co_return co_await machine_->remove(std::move(key), with_data);
}

std::optional<provision::BrokerStatus> SeatedPlace::status(const BrokerKey& key) const {
  if (is_local(key)) return supervised_.status(key.broker);
  return machine_ ? machine_->status(key) : std::nullopt;
}

std::optional<provision::BrokerSpec> SeatedPlace::spec(const BrokerKey& key) const {
  if (is_local(key)) return supervised_.spec(key.broker);
  return machine_ ? machine_->spec(key) : std::nullopt;
}

std::vector<BrokerKey> SeatedPlace::brokers() const {
  if (!machine_) return {};
  auto out = machine_->brokers();
  for (auto& key : supervised_.brokers()) out.push_back(std::move(key));
  return out;
}

SeatedPlace::Task<SeatedPlace::Outcome<provision::Volume>> SeatedPlace::volume(BrokerKey key) {
  if (!machine_) co_return not_here();
  if (is_local(key)) co_return co_await supervised_.volume(key.broker);
  co_return co_await machine_->volume(std::move(key));
}

void SeatedPlace::listen(std::function<void(const provision::BrokerEvent&)> listener) {
  listener_ = std::move(listener);
  if (machine_) machine_->listen(listener_);
}

}  // namespace weir::apps
