// A map of which copies share what is alike: copying is one pointer, changing one entry copies one bucket and the
// table of buckets, not the map. Copies may be read by any thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace weir::cluster {

// Hash must spread; Key needs ==. 256 buckets: at 100,000 entries a change copies about 400 small entries.
template <class Key, class Value, class Hash = std::hash<Key>>
class PersistentMap {
 public:
  using Entry = std::pair<Key, Value>;

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // `key` may be anything Hash takes and == compares with Key. Null when missing; valid as long as this copy.
  template <class K>
  const Value* find(const K& key) const {
    if (!table_) return nullptr;
    const auto& bucket = (*table_)[index(key)];
    if (!bucket) return nullptr;
    for (const Entry& entry : *bucket) {
      if (entry.first == key) return &entry.second;
    }
    return nullptr;
  }

  void set(Key key, Value value) {
    auto& bucket = writable(index(key));
    auto at = std::find_if(bucket.begin(), bucket.end(), [&](const Entry& entry) { return entry.first == key; });
    if (at != bucket.end()) {
      at->second = std::move(value);
    } else {
      bucket.emplace_back(std::move(key), std::move(value));
      ++size_;
    }
  }

  template <class K>
  bool erase(const K& key) {
    if (!find(key)) return false;
    std::erase_if(writable(index(key)), [&](const Entry& entry) { return entry.first == key; });
    --size_;
    return true;
  }

  // fn(key, value), in no order.
  template <class Fn>
  void each(Fn&& fn) const {
    if (!table_) return;
    for (const auto& bucket : *table_) {
      if (!bucket) continue;
      for (const Entry& entry : *bucket) fn(entry.first, entry.second);
    }
  }

 private:
  using Bucket = std::vector<Entry>;
  using Table = std::array<std::shared_ptr<Bucket>, 256>;

  template <class K>
  static std::size_t index(const K& key) {
    std::size_t h = Hash{}(key);
    h ^= h >> 32;
    h *= 0x9E3779B97F4A7C15ULL;
    return (h >> 56) & 255;
  }
  // What nobody else holds is changed in place: that is what this copy made since it was taken. (The copy it was
  // taken from must outlive the changes, or a reader that lets it go on another thread would be raced.)
  Bucket& writable(std::size_t at) {
    if (!table_) {
      table_ = std::make_shared<Table>();
    } else if (table_.use_count() != 1) {
      table_ = std::make_shared<Table>(*table_);
    }
    auto& slot = (*table_)[at];
    if (!slot) {
      slot = std::make_shared<Bucket>();
    } else if (slot.use_count() != 1) {
      slot = std::make_shared<Bucket>(*slot);
    }
    return *slot;
  }

  std::shared_ptr<Table> table_;  // never changed while it is shared
  std::size_t size_ = 0;
};

}  // namespace weir::cluster
