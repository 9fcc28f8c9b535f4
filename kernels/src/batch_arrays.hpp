// A batch's arrays as the engine reads them, checked against each other; borrowed, so the caller keeps them alive.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "group.hpp"

namespace springtide {

using Ids = std::vector<Vector<std::int64_t>>;
using Splits = std::vector<std::optional<Vector<std::int32_t>>>;
using Weights = std::vector<std::optional<Vector<float>>>;

// `count` ids at `from`; copied to `room` where they are not aligned, as in a part of a request's body.
inline const std::int64_t* aligned_ids(const void* from, std::size_t count, Array<std::int64_t>& room) {
  if (reinterpret_cast<std::uintptr_t>(from) % alignof(std::int64_t) == 0) return static_cast<const std::int64_t*>(from);
  room.resize(count);
  std::memcpy(room.data(), from, count * sizeof(std::int64_t));
  return room.data();
}

inline BatchView view_numbers(std::size_t rows, const Matrix<float>& numbers, const Layout& layout) {
  if (numbers.shape(0) != rows || numbers.shape(1) != layout.numbers)
    throw std::invalid_argument("numbers has shape [" + std::to_string(numbers.shape(0)) + ", " +
                                std::to_string(numbers.shape(1)) + "]; wanted [" + std::to_string(rows) + ", " +
                                std::to_string(layout.numbers) + "]");
  return BatchView{rows, {}, numbers.data()};
}

inline const std::int32_t* splits_of(const std::optional<Vector<std::int32_t>>& splits, std::size_t rows) {
  if (!splits.has_value()) return nullptr;
  if (splits->shape(0) != rows + 1) throw std::invalid_argument("splits must have rows + 1 entries");
  return splits->data();
}

inline BatchView view_batch(std::size_t rows, const Ids& ids, const Splits& splits, const Weights& weights,
                            const Matrix<float>& numbers, const Layout& layout) {
  if (!weights.empty() && ids.size() != weights.size())
    throw std::invalid_argument("wanted one entry of weights per id column, or none at all");
  if (ids.size() != splits.size()) throw std::invalid_argument("wanted one entry of splits per id column");
  BatchView view = view_numbers(rows, numbers, layout);
  for (std::size_t c = 0; c < ids.size(); ++c) {
    const std::int32_t* const offsets = splits_of(splits[c], rows);
    const float* of_ids = nullptr;
    if (!weights.empty() && weights[c].has_value()) {
      if (weights[c]->shape(0) != ids[c].shape(0)) throw std::invalid_argument("weights must have one entry per id");
      of_ids = weights[c]->data();
    }
    const std::size_t count = ids[c].shape(0);
    view.ids.push_back(IdsView{aligned_ids(ids[c].data(), count, view.aligned.emplace_back()), count, offsets, of_ids});
  }
  return view;
}

}  // namespace springtide
