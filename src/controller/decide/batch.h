// Collects what brokers are to be told, and makes one set of orders a broker of it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/decide/orders.h"
#include "controller/decide/state.h"

namespace weir::controller::decide {

class Batch {
 public:
  // `brokers` are to lead or follow the partition; all brokers hear of its state.
  void lead_and_follow(const std::vector<BrokerId>& brokers, const PartitionRef& at, bool is_new);
  // All brokers hear of the partition.
  void tell(const PartitionRef& at) { told_.insert(at); }
  // All brokers hear who is alive, also when no partition changed.
  void tell_brokers() { tell_brokers_ = true; }
  // This broker hears of every partition that has a state.
  void tell_everything(BrokerId broker) { everything_.insert(broker); }
  void stop(BrokerId broker, const PartitionRef& at, bool remove);

  bool empty() const {
    return led_.empty() && told_.empty() && !tell_brokers_ && everything_.empty() && stopped_.empty();
  }
  // For brokers that are alive only; states are those of `state` now. `listener`: the inter-broker one.
  std::map<BrokerId, Orders> build(const State& state, const std::string& listener) const;

 private:
  std::map<BrokerId, std::map<PartitionRef, bool>> led_;      // value: is new
  std::map<BrokerId, std::map<PartitionRef, bool>> stopped_;  // value: remove
  std::set<PartitionRef> told_;
  std::set<BrokerId> everything_;
  bool tell_brokers_ = false;
};

}  // namespace weir::controller::decide
