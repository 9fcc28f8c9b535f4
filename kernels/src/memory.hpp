// The one door to memory: every engine allocation passes here, so that failure can be tested; knows no table.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

namespace springtide {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

constexpr std::size_t rounded_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

// GCC takes a function that does nothing but prefetch for one without effect, and drops its calls unless they are inlined
// before it looks.
#define SPRINGTIDE_PREFETCHES __attribute__((always_inline)) inline

// Asks for the lines of [at, at + bytes), but of much only the first eight: the hardware follows from there.
SPRINGTIDE_PREFETCHES void prefetch_lines(const void* at, std::size_t bytes) noexcept {
  const char* begin = static_cast<const char*>(at);
  const std::size_t most = bytes < 8 * kCacheLine ? bytes : 8 * kCacheLine;
  for (std::size_t byte = 0; byte < most; byte += kCacheLine) __builtin_prefetch(begin + byte);
  __builtin_prefetch(begin + (most - 1));
}

// Cache-line aligned memory, from 1 MiB on in huge pages where the kernel has them; throws std::bad_alloc. Large pieces that
// are released serve the next such requests: a capture that had to clear fresh pages took several times as long.
void* allocate(std::size_t bytes);
void release(void* memory, std::size_t bytes) noexcept;

// Fresh zero pages from the kernel, aligned to a huge page if `huge`; a page costs nothing before its first write. Throws
// std::bad_alloc.
void* map_pages(std::size_t bytes, bool huge);
// Pages of a file, shared with it. Throws std::bad_alloc.
void* map_file(int file, std::size_t offset, std::size_t bytes);
void unmap_pages(void* memory, std::size_t bytes) noexcept;

// For tests: the `count`-th allocation from now fails, and every later one until this is called again; negative = never.
void fail_allocation_after(std::int64_t count) noexcept;

template <class T>
struct Allocator {
  using value_type = T;
  Allocator() noexcept = default;
  template <class U>
  Allocator(const Allocator<U>&) noexcept {}
  T* allocate(std::size_t n) {
    if (n > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_alloc();
    return static_cast<T*>(springtide::allocate(n * sizeof(T)));
  }
  void deallocate(T* memory, std::size_t n) noexcept { springtide::release(memory, n * sizeof(T)); }
  // resize() leaves new elements as they are: every user writes them first, and zeroing was a visible cost.
  template <class U>
  void construct(U* place) noexcept {
    ::new (static_cast<void*>(place)) U;
  }
  template <class U, class... Arguments>
  void construct(U* place, Arguments&&... arguments) {
    ::new (static_cast<void*>(place)) U(std::forward<Arguments>(arguments)...);
  }
  template <class U>
  bool operator==(const Allocator<U>&) const noexcept {
    return true;
  }
  template <class U>
  bool operator!=(const Allocator<U>&) const noexcept {
    return false;
  }
};

template <class T>
using Array = std::vector<T, Allocator<T>>;

// Makes `array` at least `size` long without copying what was in it; scratch space only.
template <class T>
void ensure(Array<T>& array, std::size_t size) {
  if (array.size() >= size) return;
  Array<T> larger;
  larger.resize(size + size / 4);
  array.swap(larger);
}

// Makes room for `extra` more elements, growing geometrically; after it, push_back cannot throw.
template <class T>
void reserve_more(Array<T>& array, std::size_t extra) {
  const std::size_t needed = array.size() + extra;
  if (needed > array.capacity()) array.reserve(needed + needed / 2);
}

}  // namespace springtide
