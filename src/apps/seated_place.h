// The place as the control plane's service sees it: the machine's brokers while this control plane is the active one,
// which alone may open the directory; else nobody's. And the brokers of the `weir up` that runs on the folder, as the
// cluster `local`: the active one alone changes them, too.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/supervised.h"
#include "provision/machine.h"

namespace weir::apps {

class SeatedPlace final : public provision::Place {
 public:
  template <class T = void>
  using Outcome = provision::Outcome<T>;
  template <class T = void>
  using Task = runtime::Task<T>;

  // `supervised` outlives this.
  explicit SeatedPlace(Supervised& supervised) : supervised_(supervised) {}
  void open(std::unique_ptr<provision::Machine> machine);
  // Ends what is under way; the brokers run on.
  Task<void> close() override;
  // Null: this control plane does not sit.
  provision::Machine* machine() { return machine_.get(); }

  Task<Outcome<std::string>> free_block(std::vector<std::string> taken, std::int32_t brokers,
                                        std::vector<std::uint16_t> ports) override;
  std::string address_of(const std::string& block, std::int32_t id) const override;
  Task<Outcome<>> put(provision::BrokerSpec spec) override;
  Task<Outcome<>> start(provision::BrokerKey key, milliseconds wait) override;
  Task<Outcome<>> stop(provision::BrokerKey key, provision::StopHow how) override;
  Task<Outcome<>> kill(provision::BrokerKey key) override;
  Task<Outcome<>> restart(provision::BrokerKey key, provision::StopHow how, milliseconds wait) override;
  Task<Outcome<>> remove(provision::BrokerKey key, bool with_data) override;
  std::optional<provision::BrokerStatus> status(const provision::BrokerKey& key) const override;
  std::optional<provision::BrokerSpec> spec(const provision::BrokerKey& key) const override;
  std::vector<provision::BrokerKey> brokers() const override;
  Task<Outcome<provision::Volume>> volume(provision::BrokerKey key) override;
  void listen(std::function<void(const provision::BrokerEvent&)> listener) override;

 private:
  static bool is_local(const provision::BrokerKey& key) { return key.cluster == Supervised::cluster; }

  std::unique_ptr<provision::Machine> machine_;
  Supervised& supervised_;
  std::function<void(const provision::BrokerEvent&)> listener_;
};

}  // namespace weir::apps
