#include "log/file_cache.h"

namespace weir::log {

runtime::Io<std::shared_ptr<runtime::File>> FileCache::get(const std::string& path, bool create) {
  const std::lock_guard lock(mutex_);
  if (auto found = by_path_.find(path); found != by_path_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    return found->second->file;
  }
  auto opened = files_.open(path, create ? runtime::Open::create : runtime::Open::write);
  if (!opened) return std::unexpected(opened.error());
  recent_.push_front({path, std::shared_ptr<runtime::File>(std::move(*opened))});
  by_path_[recent_.front().path] = recent_.begin();
  while (recent_.size() > open_max_ && recent_.size() > 1) {
    by_path_.erase(recent_.back().path);
    recent_.pop_back();
  }
  return recent_.front().file;
}

void FileCache::forget(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (auto found = by_path_.find(path); found != by_path_.end()) {
    const auto entry = found->second;
    by_path_.erase(found);
    recent_.erase(entry);
  }
}

void FileCache::forget_under(const std::string& directory) {
  const auto prefix = directory + "/";
  const std::lock_guard lock(mutex_);
  for (auto entry = recent_.begin(); entry != recent_.end();) {
    if (entry->path.starts_with(prefix)) {
      by_path_.erase(entry->path);
      entry = recent_.erase(entry);
    } else {
      ++entry;
    }
  }
}

std::size_t FileCache::open() const {
  const std::lock_guard lock(mutex_);
  return recent_.size();
}

}  // namespace weir::log
