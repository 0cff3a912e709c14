#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "runtime/sim.h"

namespace weir::runtime {
namespace {

std::unexpected<IoError> failed(int number, std::string_view what, std::string_view path) {
  return std::unexpected(
      IoError{number, fmt::format("cannot {} {}: {}", what, path, std::generic_category().message(number))});
}

// Without double and trailing slashes.
std::string plain(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c != '/' || out.empty() || out.back() != '/') out.push_back(c);
  }
  if (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

std::string parent(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint64_t sector_bytes = 512;  // a write tears between these

}  // namespace

struct SimFiles::Inode {
  std::vector<std::byte> content;
  std::vector<std::byte> durable;
  // Since the last sync, in order. A truncation has no data.
  struct Step {
    std::uint64_t position;
    std::vector<std::byte> data;
    bool truncation;
  };
  std::vector<Step> steps;
  std::set<std::uint64_t> cold;  // pages out of the cache
};

struct SimFiles::Node {
  std::shared_ptr<Inode> inode;  // null: a directory
};

struct SimFiles::Change {
  enum class Kind { add, remove, rename } kind;
  std::string path;
  std::string to;                // of a rename
  std::shared_ptr<Inode> inode;  // of an add; null: a directory
};

class SimFile final : public File {
 public:
  SimFile(SimFiles& files, std::shared_ptr<SimFiles::Inode> inode, std::string path, bool writable, bool lock)
      : files_(files),
        inode_(std::move(inode)),
        path_(std::move(path)),
        generation_(files.generation_),
        writable_(writable),
        lock_(lock) {}
  ~SimFile() override {
    const std::lock_guard guard(files_.mutex_);
    if (lock_ && generation_ == files_.generation_) files_.locked_.erase(inode_.get());
  }

  Io<std::size_t> read_at(std::uint64_t position, bytes::MutableBytes out) const override {
    const std::lock_guard guard(files_.mutex_);
    if (const int number = check(SimFiles::Op::read)) return failed(number, "read", path_);
    const auto n = copy_out(position, out);
    heat(position, n);
    return n;
  }
  Io<std::size_t> read_cached_at(std::uint64_t position, bytes::MutableBytes out) const override {
    const std::lock_guard guard(files_.mutex_);
    if (const int number = check(SimFiles::Op::read)) return failed(number, "read", path_);
    auto end = position + out.size();
    for (const auto page : inode_->cold) {
      if (page * page_bytes < end && (page + 1) * page_bytes > position) end = std::max(position, page * page_bytes);
    }
    return copy_out(position, out.first(end - position));
  }
  Io<> write_at(std::uint64_t position, std::span<const bytes::Bytes> parts) override {
    const std::lock_guard guard(files_.mutex_);
    if (const int number = check(SimFiles::Op::write)) return failed(number, "write", path_);
    if (!writable_) return failed(EBADF, "write", path_);
    for (auto part : parts) {
      if (part.empty()) continue;
      const auto old_size = inode_->content.size();
      const auto end = position + part.size();
      const auto grows = end > old_size ? end - old_size : 0;
      const auto room = files_.capacity_ > files_.used_ ? files_.capacity_ - files_.used_ : 0;
      const bool full = grows > room;
      if (full) {
        const auto fit_end = old_size + room;
        part = part.first(fit_end > position ? fit_end - position : 0);
      }
      if (!part.empty()) {
        const auto now_end = position + part.size();
        if (now_end > old_size) {
          inode_->content.resize(now_end);
          files_.used_ += now_end - old_size;
        }
        std::memcpy(inode_->content.data() + position, part.data(), part.size());
        inode_->steps.push_back({position, {part.begin(), part.end()}, false});
        heat(position, part.size());
        position = now_end;
      }
      if (full) return failed(ENOSPC, "write", path_);
    }
    return {};
  }
  Io<> sync() override {
    const std::lock_guard guard(files_.mutex_);
    if (const int number = check(SimFiles::Op::sync)) return failed(number, "sync", path_);
    ++files_.syncs_;
    inode_->durable = inode_->content;
    inode_->steps.clear();
    return {};
  }
  Io<> truncate(std::uint64_t size) override {
    const std::lock_guard guard(files_.mutex_);
    if (const int number = check(SimFiles::Op::truncate)) return failed(number, "truncate", path_);
    if (!writable_) return failed(EINVAL, "truncate", path_);
    files_.used_ = files_.used_ - inode_->content.size() + size;
    inode_->content.resize(size);
    inode_->steps.push_back({size, {}, true});
    return {};
  }
  Io<std::uint64_t> size() const override {
    const std::lock_guard guard(files_.mutex_);
    if (generation_ != files_.generation_) return failed(EIO, "look at", path_);
    return inode_->content.size();
  }
  Io<> warm(std::uint64_t position, std::uint64_t length) const override {
    const std::lock_guard guard(files_.mutex_);
    if (const int number = check(SimFiles::Op::read)) return failed(number, "read", path_);
    heat(position, length);
    return {};
  }
  bool cached(std::uint64_t position, std::uint64_t length) const override {
    const std::lock_guard guard(files_.mutex_);
    return std::none_of(inode_->cold.begin(), inode_->cold.end(), [&](std::uint64_t page) {
      return page * page_bytes < position + length && (page + 1) * page_bytes > position;
    });
  }
  int descriptor() const override { return -1; }

 private:
  int check(SimFiles::Op op) const {
    if (generation_ != files_.generation_) return EIO;
    return files_.fault(op, path_);
  }
  std::size_t copy_out(std::uint64_t position, bytes::MutableBytes out) const {
    if (position >= inode_->content.size()) return 0;
    const auto n = std::min<std::uint64_t>(out.size(), inode_->content.size() - position);
    if (n > 0) std::memcpy(out.data(), inode_->content.data() + position, n);
    return n;
  }
  void heat(std::uint64_t position, std::uint64_t length) const {
    if (inode_->cold.empty() || length == 0) return;
    inode_->cold.erase(inode_->cold.lower_bound(position / page_bytes),
                       inode_->cold.upper_bound((position + length - 1) / page_bytes));
  }

  SimFiles& files_;
  const std::shared_ptr<SimFiles::Inode> inode_;
  const std::string path_;
  const std::uint64_t generation_;
  const bool writable_;
  const bool lock_;
};

SimFiles::SimFiles(std::uint64_t seed)
    : random_(seeded_random(seed)), tree_(std::make_unique<Tree>()), durable_(std::make_unique<Tree>()) {
  for (const char* root : {"/", "."}) {
    tree_->emplace(root, Node{});
    durable_->emplace(root, Node{});
  }
}
SimFiles::~SimFiles() = default;

int SimFiles::fault(Op op, const std::string& path) const { return fault_ ? fault_(op, path) : 0; }

const SimFiles::Node* SimFiles::find(const std::string& path) const {
  const auto found = tree_->find(path);
  return found == tree_->end() ? nullptr : &found->second;
}

void SimFiles::apply(Tree& tree, const Change& change) const {
  switch (change.kind) {
    case Change::Kind::add: tree.insert_or_assign(change.path, Node{change.inode}); return;
    case Change::Kind::remove: tree.erase(change.path); return;
    case Change::Kind::rename: {
      // The thing itself and, of a directory, all below it.
      const auto below = change.path + "/";
      std::vector<std::pair<std::string, Node>> moved;
      for (auto it = tree.begin(); it != tree.end();) {
        if (it->first == change.path || it->first.starts_with(below)) {
          moved.emplace_back(change.to + it->first.substr(change.path.size()), it->second);
          it = tree.erase(it);
        } else {
          ++it;
        }
      }
      for (auto& [path, node] : moved) tree.insert_or_assign(path, std::move(node));
      return;
    }
  }
}

void SimFiles::change(Change change) {
  // A directory that takes the name of one that moved away: the disk goes by names here, so the move comes first, and
  // all before it, or what is synced in the new one would move with the old one.
  const bool renewed =
      change.kind == Change::Kind::add && !change.inode && std::ranges::any_of(changes_, [&](const Change& one) {
        return one.kind == Change::Kind::rename && one.path == change.path;
      });
  if (renewed) {
    for (const auto& one : changes_) apply(*durable_, one);
    changes_.clear();
  }
  apply(*tree_, change);
  changes_.push_back(std::move(change));
}

Io<std::unique_ptr<File>> SimFiles::open(const std::string& given, Open how) {
  const std::lock_guard guard(mutex_);
  const auto path = plain(given);
  const bool makes = how == Open::create || how == Open::create_new || how == Open::create_private;
  const auto* what = makes ? "create" : "open";
  if (const int number = fault(Op::open, path)) return failed(number, what, path);
  const auto* node = find(path);
  if (node == nullptr) {
    if (!makes) return failed(ENOENT, what, path);
    const auto* in = find(parent(path));
    if (in == nullptr) return failed(ENOENT, what, path);
    if (in->inode) return failed(ENOTDIR, what, path);
    change({Change::Kind::add, path, {}, std::make_shared<Inode>()});
    node = find(path);
  } else if (how == Open::create_new) {
    return failed(EEXIST, what, path);
  }
  if (!node->inode) return failed(EISDIR, what, path);
  return std::make_unique<SimFile>(*this, node->inode, path, how != Open::read, false);
}

Io<std::unique_ptr<File>> SimFiles::lock(const std::string& path) {
  auto file = open(path, Open::create);
  if (!file) return file;
  const std::lock_guard guard(mutex_);
  const auto name = plain(path);
  const auto inode = find(name)->inode;
  if (!locked_.insert(inode.get()).second) {
    // The file made above goes without the mutex held.
    return failed(EWOULDBLOCK, "lock", name);
  }
  return std::make_unique<SimFile>(*this, inode, name, true, true);
}

Io<bool> SimFiles::exists(const std::string& path) {
  const std::lock_guard guard(mutex_);
  return find(plain(path)) != nullptr;
}
Io<bool> SimFiles::is_directory(const std::string& path) {
  const std::lock_guard guard(mutex_);
  const auto* node = find(plain(path));
  return node != nullptr && !node->inode;
}

Io<> SimFiles::rename(const std::string& from_given, const std::string& to_given) {
  const std::lock_guard guard(mutex_);
  const auto from = plain(from_given);
  const auto to = plain(to_given);
  const auto what = fmt::format("rename {} to", from);
  if (const int number = fault(Op::rename, from)) return failed(number, what, to);
  const auto* node = find(from);
  if (node == nullptr || find(parent(to)) == nullptr) return failed(ENOENT, what, to);
  if (from == to) return {};
  if (const auto* target = find(to)) {
    if (!target->inode && node->inode) return failed(EISDIR, what, to);
    if (target->inode && !node->inode) return failed(ENOTDIR, what, to);
    if (!target->inode) {
      const auto next = tree_->upper_bound(to + "/");
      if (next != tree_->end() && next->first.starts_with(to + "/")) return failed(ENOTEMPTY, what, to);
    } else {
      used_ -= target->inode->content.size();
    }
  }
  change({Change::Kind::rename, from, to, nullptr});
  return {};
}

Io<> SimFiles::remove(const std::string& given) {
  const std::lock_guard guard(mutex_);
  const auto path = plain(given);
  if (const int number = fault(Op::remove, path)) return failed(number, "remove", path);
  const auto* node = find(path);
  if (node == nullptr) return failed(ENOENT, "remove", path);
  if (!node->inode) return failed(EISDIR, "remove", path);
  used_ -= node->inode->content.size();
  change({Change::Kind::remove, path, {}, nullptr});
  return {};
}

Io<> SimFiles::remove_all(const std::string& given) {
  const std::lock_guard guard(mutex_);
  const auto path = plain(given);
  if (const int number = fault(Op::remove, path)) return failed(number, "remove", path);
  std::vector<std::string> gone;
  for (const auto& [name, node] : *tree_) {
    if (name != path && !name.starts_with(path + "/")) continue;
    if (node.inode) used_ -= node.inode->content.size();
    gone.push_back(name);
  }
  // What lies deepest goes first.
  for (auto name = gone.rbegin(); name != gone.rend(); ++name) change({Change::Kind::remove, *name, {}, nullptr});
  return {};
}

Io<> SimFiles::make_directories(const std::string& given) {
  const std::lock_guard guard(mutex_);
  const auto path = plain(given);
  if (const int number = fault(Op::make_directory, path)) return failed(number, "make directory", path);
  for (std::size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const auto part = path.substr(0, end);
    if (const auto* node = find(part)) {
      if (node->inode) return failed(ENOTDIR, "make directory", part);
      continue;
    }
    change({Change::Kind::add, part, {}, nullptr});
  }
  return {};
}

Io<std::vector<std::string>> SimFiles::list(const std::string& given) {
  const std::lock_guard guard(mutex_);
  const auto path = plain(given);
  if (const int number = fault(Op::list, path)) return failed(number, "list", path);
  const auto* node = find(path);
  if (node == nullptr) return failed(ENOENT, "list", path);
  if (node->inode) return failed(ENOTDIR, "list", path);
  std::vector<std::string> names;
  for (const auto& [name, child] : *tree_) {
    if (name != path && name != "." && parent(name) == path) {
      names.push_back(name.substr(name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

Io<> SimFiles::sync_directory(const std::string& given) {
  const std::lock_guard guard(mutex_);
  const auto path = plain(given);
  if (const int number = fault(Op::sync_directory, path)) return failed(number, "sync", path);
  const auto* node = find(path);
  if (node == nullptr) return failed(ENOENT, "sync", path);
  if (node->inode) return failed(ENOTDIR, "sync", path);
  ++syncs_;
  std::vector<Change> pending;
  // A directory's move, or end, is on the disk: what is not yet of the names in it happened to it, wherever it is now,
  // and not to the next directory of its old name.
  const auto follow = [&](const Change& done) {
    const auto below = done.path + "/";
    if (done.kind == Change::Kind::remove) {
      std::erase_if(pending, [&](const Change& one) { return one.path.starts_with(below); });
      std::erase_if(*durable_, [&](const auto& one) { return one.first.starts_with(below); });
    } else if (done.kind == Change::Kind::rename) {
      for (auto& one : pending) {
        for (auto* name : {&one.path, &one.to}) {
          if (name->starts_with(below)) *name = done.to + name->substr(done.path.size());
        }
      }
    }
  };
  for (auto& one : std::exchange(changes_, {})) {
    const bool here = parent(one.path) == path || (one.kind == Change::Kind::rename && parent(one.to) == path);
    if (here) {
      apply(*durable_, one);
      follow(one);
    } else {
      pending.push_back(std::move(one));
    }
  }
  changes_ = std::move(pending);
  return {};
}

Io<std::uint64_t> SimFiles::free_bytes(const std::string&) {
  const std::lock_guard guard(mutex_);
  return capacity_ > used_ ? capacity_ - used_ : 0;
}

Io<std::uint64_t> SimFiles::total_bytes(const std::string&) {
  const std::lock_guard guard(mutex_);
  return capacity_;
}

void SimFiles::crash(bool lose_nothing) {
  const std::lock_guard guard(mutex_);
  ++generation_;
  locked_.clear();
  if (lose_nothing) return;

  const auto kept = random_->below(changes_.size() + 1);
  for (std::size_t i = 0; i < kept; ++i) apply(*durable_, changes_[i]);
  changes_.clear();
  // What lies in a directory that was lost is lost with it.
  for (auto it = durable_->begin(); it != durable_->end();) {
    const bool root = it->first == "/" || it->first == ".";
    it = root || durable_->contains(parent(it->first)) ? std::next(it) : durable_->erase(it);
  }
  *tree_ = *durable_;

  used_ = 0;
  for (auto& [path, node] : *tree_) {
    if (!node.inode) continue;
    auto& inode = *node.inode;
    auto content = inode.durable;
    for (const auto& step : inode.steps) {
      if (step.truncation) {
        if (random_->below(2) == 0) content.resize(step.position);
        continue;
      }
      auto size = step.data.size();
      switch (random_->below(3)) {
        case 0: continue;  // lost
        case 1: size = std::min<std::uint64_t>(size, random_->below(size / sector_bytes + 1) * sector_bytes); break;
        default: break;  // whole
      }
      if (size == 0) continue;
      if (content.size() < step.position + size) content.resize(step.position + size);
      std::memcpy(content.data() + step.position, step.data.data(), size);
    }
    inode.content = content;
    inode.durable = std::move(content);
    inode.steps.clear();
    used_ += inode.content.size();
  }
}

void SimFiles::set_capacity(std::uint64_t bytes) {
  const std::lock_guard guard(mutex_);
  capacity_ = bytes;
}
void SimFiles::set_fault(std::function<int(Op, const std::string&)> fault) {
  const std::lock_guard guard(mutex_);
  fault_ = std::move(fault);
}
void SimFiles::drop_cache() {
  const std::lock_guard guard(mutex_);
  for (auto& [path, node] : *tree_) {
    if (!node.inode) continue;
    for (std::uint64_t page = 0; page * page_bytes < node.inode->content.size(); ++page) node.inode->cold.insert(page);
  }
}
std::uint64_t SimFiles::syncs() const {
  const std::lock_guard guard(mutex_);
  return syncs_;
}

}  // namespace weir::runtime
