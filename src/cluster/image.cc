#include "cluster/image.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace weir::cluster {

const Endpoint* Broker::endpoint(std::string_view listener) const {
  const auto found =
      std::find_if(endpoints.begin(), endpoints.end(), [&](const Endpoint& e) { return e.listener == listener; });
  return found == endpoints.end() ? nullptr : &*found;
}

const Partition* Partitions::find(PartitionId id) const {
  if (id.value < 0 || static_cast<std::size_t>(id.value) >= size_) return nullptr;
  const auto at = static_cast<std::size_t>(id.value);
  return &(*groups_[at / group_size])[at % group_size];
}

void Partitions::set(PartitionId id, Partition partition) {
  WEIR_CHECK(id.value >= 0, "a partition has a number");
  const auto at = static_cast<std::size_t>(id.value);
  while (size_ <= at) {
    if (size_ % group_size == 0) groups_.push_back(std::make_shared<Group>());
    auto& last = groups_.back();
    if (last.use_count() != 1) last = std::make_shared<Group>(*last);
    last->emplace_back();
    ++size_;
  }
  auto& group = groups_[at / group_size];
  if (group.use_count() != 1) group = std::make_shared<Group>(*group);
  (*group)[at % group_size] = std::move(partition);
}

const Broker* Image::broker(BrokerId id) const {
  const auto found = brokers_->find(id);
  return found == brokers_->end() ? nullptr : found->second.get();
}

TopicPtr Image::topic(std::string_view name) const {
  const auto* found = topics_.find(name);
  return found == nullptr ? nullptr : *found;
}

TopicPtr Image::topic(const Uuid& id) const {
  const auto* found = topics_by_id_.find(id);
  return found == nullptr ? nullptr : topic(*found);
}

const Partition* Image::partition(std::string_view topic, PartitionId id) const {
  const auto* found = topics_.find(topic);
  return found == nullptr ? nullptr : (*found)->partitions.find(id);
}

const ConfigMap& Image::config(const ConfigKey& key) const {
  static const ConfigMap none;
  const auto* found = configs_.find(key);
  return found == nullptr ? none : **found;
}

const Endpoint* Image::leader_endpoint(const Partition& partition, std::string_view listener) const {
  const Broker* leader = broker(partition.leader);
  return leader == nullptr ? nullptr : leader->endpoint(listener);
}

std::vector<BrokerId> Image::offline_replicas(const Partition& partition) const {
  std::vector<BrokerId> out;
  for (const BrokerId id : partition.replicas) {
    const auto& called = partition.offline;
    if (!alive(id) || std::find(called.begin(), called.end(), id) != called.end()) out.push_back(id);
  }
  return out;
}

ImagePtr empty_image() {
  static const ImagePtr empty = std::make_shared<Image>();
  return empty;
}

ImageBuilder& ImageBuilder::set_cluster_id(std::string id) {
  next_->cluster_id_ = std::move(id);
  return *this;
}

ImageBuilder& ImageBuilder::set_controller(BrokerId id, ControllerEpoch epoch) {
  next_->controller_ = id;
  next_->controller_epoch_ = epoch;
  return *this;
}

ImageBuilder& ImageBuilder::put_broker(Broker broker) {
  auto brokers = std::make_shared<std::map<BrokerId, std::shared_ptr<const Broker>>>(*next_->brokers_);
  const auto id = broker.id;
  (*brokers)[id] = std::make_shared<const Broker>(std::move(broker));
  next_->brokers_ = std::move(brokers);
  return *this;
}

ImageBuilder& ImageBuilder::remove_broker(BrokerId id) {
  auto brokers = std::make_shared<std::map<BrokerId, std::shared_ptr<const Broker>>>(*next_->brokers_);
  brokers->erase(id);
  next_->brokers_ = std::move(brokers);
  return *this;
}

ImageBuilder& ImageBuilder::set_brokers(std::vector<Broker> all) {
  auto brokers = std::make_shared<std::map<BrokerId, std::shared_ptr<const Broker>>>();
  for (auto& broker : all) {
    const BrokerId id = broker.id;
    // Those that did not change stay the same object.
    const auto old = next_->brokers_->find(id);
    (*brokers)[id] = old != next_->brokers_->end() && *old->second == broker
                         ? old->second
                         : std::make_shared<const Broker>(std::move(broker));
  }
  next_->brokers_ = std::move(brokers);
  return *this;
}

Topic& ImageBuilder::writable(std::string_view name) {
  const auto known = fresh_.find(name);
  if (known != fresh_.end()) return *known->second;
  const auto old = next_->topic(name);
  std::shared_ptr<Topic> made;
  if (old) {
    made = std::make_shared<Topic>(*old);
  } else {
    made = std::make_shared<Topic>();
    made->name = std::string(name);
  }
  next_->topics_.set(made->name, made);
  return *fresh_.emplace(made->name, made).first->second;
}

ImageBuilder& ImageBuilder::put_topic(std::string_view name, const Uuid& id) {
  const auto old = next_->topic(name);
  // Another id is another topic, that took the name of one that was deleted.
  if (old && !old->id.is_zero() && !id.is_zero() && old->id != id) remove_topic(name);
  Topic& topic = writable(name);
  if (id.is_zero() || topic.id == id) return *this;
  topic.id = id;
  next_->topics_by_id_.set(id, topic.name);
  return *this;
}

ImageBuilder& ImageBuilder::remove_topic(std::string_view name) {
  const auto old = next_->topic(name);
  if (!old) return *this;
  next_->partition_count_ -= old->partitions.size();
  if (!old->id.is_zero()) next_->topics_by_id_.erase(old->id);
  fresh_.erase(old->name);
  next_->topics_.erase(name);
  return unmark_deleting(old->name);
}

ImageBuilder& ImageBuilder::put_partition(std::string_view topic, PartitionId id, Partition partition) {
  auto& partitions = writable(topic).partitions;
  const auto before = partitions.size();
  partitions.set(id, std::move(partition));
  next_->partition_count_ += partitions.size() - before;
  return *this;
}

ImageBuilder& ImageBuilder::mark_deleting(std::string_view topic) {
  if (next_->deleting(topic)) return *this;
  auto deleting = std::make_shared<std::set<std::string, std::less<>>>(*next_->deleting_);
  deleting->emplace(topic);
  next_->deleting_ = std::move(deleting);
  return *this;
}

ImageBuilder& ImageBuilder::unmark_deleting(std::string_view topic) {
  if (!next_->deleting(topic)) return *this;
  auto deleting = std::make_shared<std::set<std::string, std::less<>>>(*next_->deleting_);
  deleting->erase(deleting->find(topic));
  next_->deleting_ = std::move(deleting);
  return *this;
}

ImageBuilder& ImageBuilder::set_config(ConfigKey key, ConfigMap config) {
  if (config.empty()) {
    next_->configs_.erase(key);
  } else {
    next_->configs_.set(std::move(key), std::make_shared<const ConfigMap>(std::move(config)));
  }
  return *this;
}

ImagePtr ImageBuilder::build() {
  WEIR_CHECK(next_ != nullptr, "an image is built once");
  fresh_.clear();
  base_ = nullptr;
  return std::move(next_);
}

}  // namespace weir::cluster
