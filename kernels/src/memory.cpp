// SPDX-License-Identifier: Apache-2.0
#include "memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>

namespace springtide {
namespace {

std::atomic<std::int64_t> allocations_left{-1};

void count_allocation() {
  if (allocations_left.load(std::memory_order_relaxed) < 0) return;
  std::int64_t left = allocations_left.load();
  while (left > 0 && !allocations_left.compare_exchange_weak(left, left - 1)) {
  }
  if (left == 0) throw std::bad_alloc();
}

// From here on pieces are kept for later, and from there on they stand in huge pages.
constexpr std::size_t kKept = std::size_t{128} << 10;
constexpr std::size_t kLarge = kHugePage / 2;
// Two captures of a million rows of usual size.
constexpr std::size_t kMostKept = std::size_t{384} << 20;
constexpr std::size_t kMostPieces = 256;

// Large pieces come in quarters of powers of two, so that one capture's fit the next one's.
std::size_t piece_size(std::size_t bytes) {
  std::size_t step = kCacheLine;
  while (step * 8 < bytes) step *= 2;
  return rounded_up(bytes, step);
}

class Recycler {
 public:
  void* take(std::size_t bytes) noexcept {
    const std::size_t size = piece_size(bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    for (std::size_t i = count_; i-- > 0;) {
      if (pieces_[i].size != size) continue;
      void* memory = pieces_[i].memory;
      pieces_[i] = pieces_[--count_];
      kept_ -= size;
      return memory;
    }
    return nullptr;
  }
  bool keep(void* memory, std::size_t bytes) noexcept {
    const std::size_t size = piece_size(bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (count_ == kMostPieces || kept_ + size > kMostKept) return false;
    pieces_[count_++] = Piece{memory, size};
    kept_ += size;
    return true;
  }

 private:
  struct Piece {
    void* memory;
    std::size_t size;
  };
  std::mutex mutex_;
  Piece pieces_[kMostPieces];
  std::size_t count_ = 0;
  std::size_t kept_ = 0;
};

// Never destroyed: arrays that numpy owns may outlive everything else.
Recycler& recycler() {
  static auto* const one = new Recycler;
  return *one;
}

}  // namespace

void* allocate(std::size_t bytes) {
  count_allocation();
  const bool large = bytes >= kLarge;
  if (bytes >= kKept) {
    void* kept = recycler().take(bytes);
    if (kept != nullptr) return kept;
  }
  const std::size_t alignment = large ? kHugePage : kCacheLine;
  const std::size_t rounded = bytes >= kKept ? piece_size(bytes) : rounded_up(bytes, kCacheLine);
  if (rounded < bytes) throw std::bad_alloc();
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, rounded == 0 ? kCacheLine : rounded) != 0) throw std::bad_alloc();
  // Whole huge pages only: one that reaches beyond the end would fill memory that nobody asked for.
  if (large) (void)madvise(memory, rounded / kHugePage * kHugePage, MADV_HUGEPAGE);
  return memory;
}

void release(void* memory, std::size_t bytes) noexcept {
  if (bytes < kKept || !recycler().keep(memory, bytes)) std::free(memory);
}

void* map_pages(std::size_t bytes, bool huge) {
  count_allocation();
  const std::size_t wanted = huge ? bytes + kHugePage : bytes;
  if (wanted < bytes) throw std::bad_alloc();
  void* memory = mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  if (!huge) {
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE);
    return memory;
  }
  auto* begin = static_cast<unsigned char*>(memory);
  const std::size_t skipped = (kHugePage - reinterpret_cast<std::uintptr_t>(begin) % kHugePage) % kHugePage;
  if (skipped != 0) (void)munmap(begin, skipped);
  if (skipped != kHugePage) (void)munmap(begin + skipped + bytes, kHugePage - skipped);
  // Advice only: a kernel without huge pages ignores it.
  (void)madvise(begin + skipped, bytes, MADV_HUGEPAGE);
  return begin + skipped;
}

void* map_file(int file, std::size_t offset, std::size_t bytes) {
  count_allocation();
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, static_cast<off_t>(offset));
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return memory;
}

void unmap_pages(void* memory, std::size_t bytes) noexcept { (void)munmap(memory, bytes); }

void fail_allocation_after(std::int64_t count) noexcept { allocations_left.store(count); }

}  // namespace springtide
