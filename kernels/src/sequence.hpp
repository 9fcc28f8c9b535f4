// Ids of a sample side by side instead of pooled: the combiner `none`; knows no table and no key.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>

#include "batch_plan.hpp"

namespace springtide {

// Floats of one sample's block: a row per position, then how many positions it has.
inline std::size_t sequence_width(std::size_t length, std::size_t dim) noexcept { return length * dim + 1; }

// `view` without the ids beyond a sample's first or last `length`; borrows from `kept` where there are any. Throws
// std::bad_alloc.
IdsView cut_sequences(const IdsView& view, std::size_t rows, std::size_t length, bool keep_last, CutIds& kept);

// Every sample's values, times their weights, position by position; zeros beyond, then the number of positions.
void write_sequences(const float* values, const ColumnIds& ids, std::size_t rows, std::size_t dim, std::size_t length,
                     float* out, std::size_t stride);
// The transpose: sums[inverse[j], :] += weight * the gradient of its position, in batch order.
void add_sequences(const float* gradient, std::size_t stride, const ColumnIds& ids, std::size_t rows, std::size_t dim,
                   float* sums);

}  // namespace springtide
