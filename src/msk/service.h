// The Amazon MSK API: all operations of the model kafka/2018-11-14, answered from the store; changes become operations
// that the driver carries out.
//
// Lives on one shard, with the Zk session and the place. handle() may run many times side by side; it never waits for
// an operation to go on. Several control planes serve the API over the same state, and each may begin an operation; the
// active one alone drives them, and hears of a new one by a watch.
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aws/endpoint.h"
#include "msk/names.h"
#include "provision/place.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"

namespace weir::msk {

using runtime::Task;

// A broker's certificate and key, and whom it believes: PEM texts.
struct Certificate {
  std::string chain_and_key;
  std::string authority;
};
// Names and addresses go into the certificate's alternative names. An error is a sentence.
using Certify = std::function<std::expected<Certificate, std::string>(
    std::string common_name, std::vector<std::string> names, std::vector<std::string> addresses)>;

// `weir up`'s own cluster, as who keeps its brokers knows it (local.h). Null: there is none here.
struct LocalPlace {
  std::function<std::string(std::int32_t brokers)> defaults;  // a ClusterSpec's, with this many brokers
  std::function<std::string(std::int32_t broker)> listener;   // host:port of its plaintext listener, also before it is
  std::function<std::vector<std::string>()> fixed;            // keys that `weir up --override` sets, whatever is put
};

struct ServiceOptions {
  Realm realm;
  std::string root = "/weir/msk";
  std::string zookeeper;      // as brokers and clients reach it, without a chroot: "127.0.0.1:2181"
  std::string zookeeper_tls;  // the same by TLS; empty: there is none
  Certify certify;            // null: clusters without encryption on the wire only
  // Defaults of this place over MSK's, such as a shorter session timeout; a configuration of a user goes before them.
  std::map<std::string, std::string> broker_overrides;
  LocalPlace local;
  // What a broker copies, and sends for others to copy, when partitions move: bytes a second. 0: as fast as can be.
  std::int64_t move_rate = 0;
  milliseconds poll{100};  // how often the driver looks at the world while it waits
  // How long a broker may run and not be registered in ZooKeeper before it is killed and started again.
  milliseconds hung_max{60'000};
  milliseconds start_max{120'000};  // a broker's start, before an operation is said to have failed
  // How long an operation waits while nothing of what it waits for changes, before it fails and is taken back: for
  // brokers and leaders, and for partitions that move or catch up, which may be large.
  milliseconds stall_max{1'800'000};
  milliseconds move_stall_max{14'400'000};
  // Whether this control plane is still entitled to be the active one; asked before it takes the next epoch (fence.h).
  // Null: it is while it is told so, and no longer when another took its place.
  std::function<Task<bool>()> entitled;
};

class Service final : public aws::Service {
 public:
  // All outlive the service and are of this shard.
  Service(runtime::Shard& shard, runtime::Random& random, zkclient::Zk& zk, provision::Place& place,
          ServiceOptions options);
  ~Service() override;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Makes the folders in ZooKeeper. An error is a sentence.
  Task<std::expected<void, std::string>> start();
  // This control plane is the one that drives, from now on or no longer. Operations that are under way go on.
  void set_active(bool active);
  // Ends what the driver waits for. Before destruction; handle() must not be called again.
  Task<void> stop();

  std::string_view name() const override { return "kafka"; }
  const aws::Router& router() const override;
  Task<aws::Reply> handle(aws::Request request) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::msk
