// Where the columns of a row stand once those that all rows of a batch have in common are taken out; knows no batch.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "group.hpp"

namespace springtide {

struct Halves {
  // In the one row of what is shared, or in each row of the block of what is not.
  struct Place {
    bool shared;
    std::size_t at;  // floats
  };

  // `shared` are floats of a row as `layout` has it. Throws std::invalid_argument where a column is shared in part.
  Halves(const Layout& layout, const std::int64_t* shared, std::size_t count);

  std::vector<Place> columns;  // per id column
  std::vector<Place> numbers;  // per number
  std::size_t own_width;       // of a row of the block, padding included
  std::size_t own_padding;     // floats at the end of each
  std::size_t shared_width;
};

}  // namespace springtide
