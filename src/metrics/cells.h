// Where counters and histograms keep their numbers: 64-bit cells, a private copy for each thread.
//
// A cell is an index, valid in every thread. A thread adds to its own copy, which no other thread writes, so an
// addition is a load and a store (about a nanosecond) and two threads never share a cache line. A reader sums the
// copies of all threads; it may miss additions of this instant, never lose one. When a thread ends, its copies stay
// and the next new thread goes on with them.
//
// The store is one for the process, since threads are. Copies come in pages, made when a thread first adds to one
// of the page's cells. The number of cells is bounded by `cells_max`.
#pragma once

#include <atomic>
#include <cstdint>

namespace weir::metrics {

inline constexpr std::uint32_t cells_per_page = 512;
inline constexpr std::uint32_t cell_pages_max = 4096;
inline constexpr std::uint32_t cells_max = cells_per_page * cell_pages_max;

// A run of cells owned by one metric; given back when it goes. Reads zero when it is made.
class Cells {
 public:
  // `count` neighbouring cells, at most cells_per_page. When all are taken, a run that nobody can tell apart
  // from a working one but that counts nothing: metrics never end a process.
  explicit Cells(std::uint32_t count);
  ~Cells();
  Cells(const Cells&) = delete;
  Cells& operator=(const Cells&) = delete;

  void add(std::uint32_t i, std::uint64_t n) const { add_at(first_ + i, n); }
  // The sum over all threads.
  std::uint64_t read(std::uint32_t i) const;

 private:
  using Cell = std::atomic<std::uint64_t>;
  struct Copies {
    std::atomic<Cell*> pages[cell_pages_max];
  };
  struct Store;
  friend struct Store;

  static void add_at(std::uint32_t index, std::uint64_t n) {
    Cell* page = mine_->pages[index / cells_per_page].load(std::memory_order_relaxed);
    if (page == nullptr) [[unlikely]]
      page = make_page(index / cells_per_page);
    Cell& cell = page[index % cells_per_page];
    cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  static Cell* make_page(std::uint32_t page);
  static Copies none_;
  static constinit thread_local Copies* mine_;

  std::uint32_t first_;
  std::uint32_t count_;
};

}  // namespace weir::metrics
