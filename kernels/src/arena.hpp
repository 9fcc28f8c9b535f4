// Pieces of memory for what grows and is given back as a whole; knows no row.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "early_pages.hpp"
#include "memory.hpp"

namespace springtide {

// Zeroed pieces of a few large mappings, which huge pages fill without gaps; nothing is given back before the end.
class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // A multiple of a cache line, aligned to one. Throws std::bad_alloc.
  unsigned char* take(std::size_t bytes);

 private:
  struct Region {
    unsigned char* memory;
    std::size_t bytes;
  };
  Array<Region> regions_;
  EarlyPages early_;
  std::size_t left_ = 0;  // in the last region
};

}  // namespace springtide
