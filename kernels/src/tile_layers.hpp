// A chain of dense layers on the matrix unit, float32 in and out, and what rows have in common multiplied once; knows no graph.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "memory.hpp"

namespace springtide {

struct DenseLayer {
  const float* weights;  // [inputs, outputs]
  std::size_t inputs;
  std::size_t outputs;
  const float* bias;  // [outputs], or null
  bool positive;      // whether what is below zero is cut off
};

class TileLayers {
 public:
  // Copies the weights, of which each is the sum of so many `parts`, 2 or 3 (tile_product.hpp). `shared_weights` [shared, outputs
  // of the first layer] meet what all rows have in common. Throws std::invalid_argument where the layers do not fit each other,
  // std::runtime_error where there is no such unit.
  TileLayers(const std::vector<DenseLayer>& layers, const float* shared_weights, std::size_t shared, bool sigmoid,
             std::size_t parts);

  std::size_t inputs() const noexcept { return layers_.front().inputs; }
  std::size_t shared() const noexcept { return shared_; }
  std::size_t outputs() const noexcept { return layers_.back().outputs; }

  // rows [count, inputs], shared [shared] -> out [count, outputs]. Any number of threads.
  void run(const float* rows, std::size_t count, const float* shared, float* out) const;

 private:
  // So few columns at the end are summed up one by one, in float32.
  static constexpr std::size_t kNarrow = 8;

  struct Packed {
    std::size_t inputs;
    std::size_t outputs;
    std::size_t depth;    // inputs, rounded up
    std::size_t columns;  // outputs, rounded up
    bool positive;
    bool narrow;
    Array<std::uint16_t> tiles;
    Array<float> transposed;  // of a narrow layer [outputs, depth]
    Array<float> bias;        // [columns]
  };

  Packed packed(const DenseLayer& layer, bool last) const;
  void run_block(const float* rows, std::size_t count, const float* added, float* out) const;
  void finish(float* out, std::size_t count) const noexcept;

  std::size_t parts_;
  std::vector<Packed> layers_;
  std::size_t shared_;
  Array<float> shared_weights_;  // [shared, columns of the first layer]
  std::size_t widest_ = 0;
  bool sigmoid_;
};

}  // namespace springtide
