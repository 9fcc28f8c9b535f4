// Where slabs of rows lie: the seam at which a tier of memory and disk takes the place of memory alone; knows no row.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <memory>
#include <string>

#include "memory.hpp"

namespace springtide {

// A tier moves pages behind addresses that stay, so that finding, reading and updating a row costs no call. It is asked once
// per slab and told once per call on a table.
class SlabMemory {
 public:
  SlabMemory() = default;
  virtual ~SlabMemory() = default;
  SlabMemory(const SlabMemory&) = delete;
  SlabMemory& operator=(const SlabMemory&) = delete;

  // A zeroed piece, aligned to a cache line, whose address stays until this object ends. Throws std::bad_alloc.
  virtual unsigned char* take(std::size_t bytes) = 0;
  // Whether pieces may be far away. Only then is reach() called.
  virtual bool tiered() const noexcept = 0;
  // What the next call is about to touch: `count` places of `bytes` each. What was near before may go.
  virtual void reach(const unsigned char* const* places, std::size_t count, std::size_t bytes) noexcept = 0;
};

// Memory, unless keep_slabs_in_files() was called.
std::unique_ptr<SlabMemory> make_slab_memory();
// For tests: slabs made from now on lie in files without a name below `folder`, their pages dropped at every reach(); with an
// empty name, in memory again.
void keep_slabs_in_files(const std::string& folder);

}  // namespace springtide
