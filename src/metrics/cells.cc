#include "metrics/cells.h"

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace weir::metrics {

// Everything that is shared: which cells are taken, and the copies of all threads that ever were. It is never
// destroyed, because threads may end after main.
struct Cells::Store {
  std::mutex mutex;
  std::vector<Copies*> all;
  std::vector<Copies*> idle;  // of threads that have ended
  // Freed runs by length. A freed cell keeps its counts; `base` is what a reader takes off.
  std::map<std::uint32_t, std::vector<std::uint32_t>> freed;
  std::uint32_t next = cells_per_page;  // page 0 is the one that counts nothing
  std::unique_ptr<std::uint64_t[]> base[cell_pages_max];

  static Store& get() {
    static Store* store = new Store;
    return *store;
  }

  std::uint64_t sum(std::uint32_t index) const {
    std::uint64_t total = 0;
    for (const Copies* copies : all) {
      if (const Cell* page = copies->pages[index / cells_per_page].load(std::memory_order_acquire)) {
        total += page[index % cells_per_page].load(std::memory_order_relaxed);
      }
    }
    return total;
  }
};

Cells::Copies Cells::none_{};
constinit thread_local Cells::Copies* Cells::mine_ = &Cells::none_;

Cells::Cells(std::uint32_t count) : first_(0), count_(count) {
  Store& store = Store::get();
  std::lock_guard lock(store.mutex);
  if (auto& freed = store.freed[count]; !freed.empty()) {
    first_ = freed.back();
    freed.pop_back();
  } else {
    std::uint32_t room = cells_per_page - store.next % cells_per_page;
    std::uint32_t first = room < count ? store.next + room : store.next;  // a run does not cross pages
    if (count > cells_per_page || first + count > cells_max) return;
    first_ = first;
    store.next = first + count;
  }
  auto& base = store.base[first_ / cells_per_page];
  if (base == nullptr) base = std::make_unique<std::uint64_t[]>(cells_per_page);
  for (std::uint32_t i = 0; i < count; ++i) base[(first_ + i) % cells_per_page] = store.sum(first_ + i);
}

Cells::~Cells() {
  if (first_ == 0) return;
  Store& store = Store::get();
  std::lock_guard lock(store.mutex);
  store.freed[count_].push_back(first_);
}

std::uint64_t Cells::read(std::uint32_t i) const {
  if (first_ == 0) return 0;
  Store& store = Store::get();
  std::lock_guard lock(store.mutex);
  std::uint32_t index = first_ + i;
  return store.sum(index) - store.base[index / cells_per_page][index % cells_per_page];
}

Cells::Cell* Cells::make_page(std::uint32_t page) {
  Store& store = Store::get();
  std::lock_guard lock(store.mutex);
  if (mine_ == &none_) {
    // Gives the copies back when the thread ends; an addition after that (in another thread_local's destructor)
    // takes a set again, which then stays taken.
    struct Return {
      Copies* copies = nullptr;
      ~Return() {
        if (copies == nullptr) return;
        Store& s = Store::get();
        std::lock_guard l(s.mutex);
        s.idle.push_back(copies);
        mine_ = &none_;
      }
    };
    static thread_local Return at_exit;
    if (store.idle.empty()) {
      // Zeroed by the system page by page as it is touched: a thread with few metrics pays for few.
      mine_ = static_cast<Copies*>(std::calloc(1, sizeof(Copies)));
      if (mine_ == nullptr) std::abort();
      store.all.push_back(mine_);
    } else {
      mine_ = store.idle.back();
      store.idle.pop_back();
    }
    at_exit.copies = mine_;
  }
  Cell* cells = mine_->pages[page].load(std::memory_order_relaxed);
  if (cells == nullptr) {
    cells = new Cell[cells_per_page]();
    mine_->pages[page].store(cells, std::memory_order_release);
  }
  return cells;
}

}  // namespace weir::metrics
