// What the active control plane knows of clusters without asking ZooKeeper, for the others: they read it there.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace weir::msk {

struct Health {
  std::map<std::string, std::string> ailing;   // why a cluster is healing: which brokers are down. By cluster id
  std::map<std::string, std::string> waiting;  // what its operation waits for
  std::map<std::string, std::string> full;     // which brokers' volumes are full, or nearly
  friend bool operator==(const Health&, const Health&) = default;
};

// As JSON; sentences are cut where they would make the record too long.
std::string encode(const Health& health);
// What cannot be read is nothing.
Health decode_health(std::string_view text);

}  // namespace weir::msk
