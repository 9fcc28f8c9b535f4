// What an optimizer is told and how much state a row keeps for it; knows no table. Formulas: row_kernels_variant.cpp.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>

#include "memory.hpp"

namespace springtide {

enum class OptimizerKind { kAdagrad, kAdam };

struct OptimizerSettings {
  OptimizerKind kind;
  double learning_rate;
  double initial_accumulator;
  double beta1;
  double beta2;
  double epsilon;
};

// Adam's bias correction after `t` steps of the row: step_size = rate / (1 - beta1^t), second_scale = 1 / (1 - beta2^t).
struct BiasCorrection {
  float step_size;
  float second_scale;
};

// The constants of one update, in the precision of the rows.
struct UpdateSettings {
  float learning_rate;
  float beta1;
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  float epsilon;
  const BiasCorrection* corrections;  // for t in [0, correction_count)
  std::size_t correction_count;
  double exact_learning_rate;
  double exact_beta1;
  double exact_beta2;
};

class Optimizer {
 public:
  explicit Optimizer(OptimizerSettings settings);

  // Slot floats per row: Adagrad [dim] accumulators; Adam [dim] m, [dim] v, [1] step count.
  std::size_t slot_width(std::size_t dim) const noexcept;
  void fill_initial_slots(float* slots, std::size_t dim) const noexcept;
  // Updates `count` rows (values, then slots) by their summed gradients [count, dim].
  void update(float* const* rows, const float* gradients, std::size_t count, std::size_t dim) const noexcept;
  std::size_t bytes() const noexcept { return corrections_.capacity() * sizeof(BiasCorrection); }

 private:
  OptimizerSettings settings_;
  Array<BiasCorrection> corrections_;
  UpdateSettings update_{};
};

}  // namespace springtide
