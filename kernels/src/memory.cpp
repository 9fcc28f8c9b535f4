// SPDX-License-Identifier: Apache-2.0
#include "memory.hpp"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>

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

}  // namespace

void* allocate(std::size_t bytes) {
  count_allocation();
  const std::size_t rounded = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  if (rounded < bytes) throw std::bad_alloc();
  void* memory = std::aligned_alloc(kCacheLine, rounded == 0 ? kCacheLine : rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void release(void* memory) noexcept { std::free(memory); }

void* map_pages(std::size_t bytes, bool huge) {
  count_allocation();
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // Advice only: a kernel without huge pages ignores it.
  (void)madvise(memory, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  return memory;
}

void unmap_pages(void* memory, std::size_t bytes) noexcept { (void)munmap(memory, bytes); }

void fail_allocation_after(std::int64_t count) noexcept { allocations_left.store(count); }

}  // namespace springtide
