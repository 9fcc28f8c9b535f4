// Asks the kernel for the page after the last one in use before anybody needs it; knows regions of memory, not what is in them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "memory.hpp"

namespace springtide {

// Clearing a fresh huge page takes a millisecond or two, and a table that grows writes to one every few calls: a thread of the
// process, shared by all tables, does it meanwhile. Where the page comes too late, or never, its first write brings it as ever.
class EarlyPages {
 public:
  // A region shorter than this would gain less than the page that is held ready costs it.
  static constexpr std::size_t kLeastRegion = 8 * kHugePage;

  // What lies before `used` in the region [begin, begin + bytes) is in use or will be at once.
  void note(unsigned char* begin, std::size_t bytes, const unsigned char* used) noexcept {
    if (bytes < kLeastRegion) return;
    const std::size_t next = rounded_up(static_cast<std::size_t>(used - begin), kHugePage);
    unsigned char* const page = begin + next;
    if (next + kHugePage > bytes || page == asked_) return;
    asked_ = page;
    ask(page);
  }

 private:
  static void ask(unsigned char* page) noexcept;

  unsigned char* asked_ = nullptr;
};

}  // namespace springtide
