// SPDX-License-Identifier: Apache-2.0
#include "sequence.hpp"

#include <algorithm>
#include <cstdint>

namespace springtide {
namespace {

struct Span {
  std::size_t begin;
  std::size_t end;
};

Span ids_of(const ColumnIds& ids, std::size_t row) noexcept {
  if (!ids.ragged) return {row, row + 1};
  return {static_cast<std::size_t>(ids.splits[row]), static_cast<std::size_t>(ids.splits[row + 1])};
}

}  // namespace

IdsView cut_sequences(const IdsView& view, std::size_t rows, std::size_t length, bool keep_last, CutIds& kept) {
  if (view.splits == nullptr) return view;
  ensure(kept.splits, rows + 1);
  std::size_t total = 0;
  kept.splits[0] = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    total += std::min(static_cast<std::size_t>(view.splits[r + 1] - view.splits[r]), length);
    kept.splits[r + 1] = static_cast<std::int32_t>(total);
  }
  if (total == view.count) return view;
  ensure(kept.ids, total);
  if (view.weights != nullptr) ensure(kept.weights, total);
  for (std::size_t r = 0; r < rows; ++r) {
    const auto to = static_cast<std::size_t>(kept.splits[r]);
    const std::size_t count = static_cast<std::size_t>(kept.splits[r + 1]) - to;
    const auto from = static_cast<std::size_t>(view.splits[keep_last ? r + 1 : r]) - (keep_last ? count : 0);
    std::copy_n(view.ids + from, count, kept.ids.data() + to);
    if (view.weights != nullptr) std::copy_n(view.weights + from, count, kept.weights.data() + to);
  }
  return IdsView{kept.ids.data(), total, kept.splits.data(), view.weights == nullptr ? nullptr : kept.weights.data()};
}

void write_sequences(const float* values, const ColumnIds& ids, std::size_t rows, std::size_t dim, std::size_t length,
                     float* out, std::size_t stride) {
  for (std::size_t r = 0; r < rows; ++r, out += stride) {
    const Span span = ids_of(ids, r);
    float* __restrict to = out;
    for (std::size_t j = span.begin; j < span.end; ++j, to += dim) {
      const float* __restrict from = values + ids.inverse[j] * dim;
      const float by = ids.weighted ? ids.weights[j] : 1.0F;
      for (std::size_t d = 0; d < dim; ++d) to[d] = by * from[d];
    }
    const std::size_t positions = span.end - span.begin;
    std::fill_n(to, (length - positions) * dim, 0.0F);
    out[length * dim] = static_cast<float>(positions);
  }
}

void add_sequences(const float* gradient, std::size_t stride, const ColumnIds& ids, std::size_t rows, std::size_t dim,
                   float* sums) {
  for (std::size_t r = 0; r < rows; ++r, gradient += stride) {
    const Span span = ids_of(ids, r);
    const float* from = gradient;
    for (std::size_t j = span.begin; j < span.end; ++j, from += dim) {
      float* __restrict to = sums + ids.inverse[j] * dim;
      const float by = ids.weighted ? ids.weights[j] : 1.0F;
      for (std::size_t d = 0; d < dim; ++d) to[d] += from[d] * by;
    }
  }
}

}  // namespace springtide
