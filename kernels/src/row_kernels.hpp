// The inner loops over rows of floats, one set per instruction set, all rounding alike; knows no table and no key.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "optimizer.hpp"

namespace springtide {

enum class Combiner { kSum, kMean, kSqrtn, kNone };

// rows[i] = values [dim], then slots; gradients [count, dim]
using UpdateRule = void (*)(float* const* rows, const float* gradients, std::size_t count, std::size_t dim,
                            const UpdateSettings&);

struct RowKernels {
  const char* name;
  // out[r, :] = values[inverse[r], :], rows of `out` `stride` floats apart
  void (*expand)(const float* values, const std::uint32_t* inverse, std::size_t count, std::size_t dim, float* out,
                 std::size_t stride);
  // out[r, :] = weight(n) * sum of weights[j] * values[inverse[j], :] over the n occurrences j in [splits[r], splits[r + 1]);
  // without weights each is 1
  void (*combine)(const float* values, const std::uint32_t* inverse, const std::int32_t* splits, const float* weights,
                  std::size_t count, std::size_t dim, Combiner combiner, float* out, std::size_t stride);
  // The transposes of expand and combine: sums[inverse[...], :] += the gradient of row r, in batch order
  void (*add)(const float* gradient, std::size_t stride, const std::uint32_t* inverse, std::size_t count, std::size_t dim,
              float* sums);
  void (*distribute)(const float* gradient, std::size_t stride, const std::uint32_t* inverse, const std::int32_t* splits,
                     const float* weights, std::size_t count, std::size_t dim, Combiner combiner, float* sums);
  bool (*all_finite)(const float* values, std::size_t count);
  const UpdateRule* rules;  // by OptimizerKind
};

// The fastest set that this machine can run.
const RowKernels& row_kernels() noexcept;
// For tests: selects a set by name; false where this machine cannot run it.
bool select_row_kernels(const char* name) noexcept;

inline BiasCorrection bias_correction(std::uint64_t t, double beta1, double beta2) noexcept {
  return BiasCorrection{1 / (1 - whole_power(beta1, t)), static_cast<float>(1 / (1 - whole_power(beta2, t)))};
}

}  // namespace springtide
