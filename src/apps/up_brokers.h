// The brokers of `weir up`: what each is started with. Its file is written anew before each start, out of the options,
// the number of brokers there are by then, and what the control plane asks for (local_spec.h).
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "apps/data_dir.h"
#include "apps/supervisor.h"
#include "cli/options.h"
#include "cli/place.h"
#include "config/broker_config.h"

namespace weir::apps {

class UpBrokers {
 public:
  // Brokers 1 to `count`, of this level where nobody said another. `program` is this very program.
  UpBrokers(cli::UpOptions options, DataDir dir, std::string program, std::string kafka_version, int count);

  // What is to be started as broker `id`: checks its configuration as the broker will, and that its ports are free, and
  // writes its file. `warnings`: what the broker will say of its configuration, each once.
  // The spec refers to this.
  std::expected<ChildSpec, std::string> child(int id, std::vector<std::string>& warnings);
  // One more: the next id, whose folder is made.
  std::expected<ChildSpec, std::string> add(int id);
  // The last one has gone: the others go before.
  static constexpr std::string_view not_last_text = "is not the last one";
  void remove() { --count_; }
  int count() const { return count_; }
  // The lowest compatibility level of all.
  std::string level() const;
  // A level that was asked for by an option goes before what the API said before.
  static std::expected<void, std::string> forget_level(const DataDir& dir, int count);

 private:
  struct Composed {
    std::string text;
    std::uint32_t given = 0;
    std::expected<config::LoadedBrokerConfig, std::vector<std::string>> loaded;
  };
  std::expected<Composed, std::string> compose(const cli::Place& place) const;
  // Before a start. The error is said, and the broker started with the file as it is.
  std::expected<void, std::string> renew(int id, cli::ProcessState& state);
  static void describe(cli::ProcessState& state, const config::BrokerConfig& config);

  const cli::UpOptions options_;
  const DataDir dir_;
  const std::string program_;
  const std::string kafka_version_;
  int count_;
  std::set<int> fresh_;  // written, and not started since
  std::map<int, std::string> levels_;
};

// What a file must say after it was written is written when it does not: on a full disk none could be.
std::expected<void, std::string> write_if_other(const std::string& path, const std::string& text);

}  // namespace weir::apps
