// What an optimizer is told, how much state a row keeps for it, and its constants in one step; knows no table. Formulas:
// update_rules_variant.cpp.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "memory.hpp"

namespace springtide {

enum class OptimizerKind {
  kSgd,
  kMomentum,
  kNesterov,
  kAdagrad,
  kRowWiseAdagrad,
  kAdagradDecay,
  kAdam,
  kAdamW,
  kAdamAsync,
  kRmsPropAsync,
  kFtrl,
  kGroupFtrl,
  kGroupAdam,
  kLion,
};
constexpr std::size_t kOptimizerKinds = 14;

enum class ScheduleKind { kConstant, kExponential, kLinear, kCosine, kInverseSqrt };

// The learning rate at step s (0 = the first), times min(1, (s + 1) / warmup) while warming up; then, with x = s - warmup:
// exponential: factor^floor(x / steps); linear and cosine: from 1 to factor over `steps`; inverse_sqrt: 1 / sqrt(1 + x / steps).
struct ScheduleSettings {
  ScheduleKind kind = ScheduleKind::kConstant;
  double warmup = 0;
  double steps = 1;
  double factor = 1;
};

struct OptimizerSettings {
  OptimizerKind kind;
  double learning_rate;
  double initial_accumulator;  // Adagrad's and FTRL's n at the start
  double beta1;                // also momentum's
  double beta2;
  double epsilon;
  double weight_decay;
  double l1;
  double l2;
  double l21;
  double beta;                 // FTRL's
  double decay_rate;           // AdagradDecay's
  double decay_steps;
  ScheduleSettings schedule;
};

// How a row's state stands after its values: `wide` arrays [dim], then `scalars` single floats.
struct SlotLayout {
  std::size_t wide;
  std::size_t scalars;
  std::size_t width(std::size_t dim) const noexcept { return wide * dim + scalars; }
};

// Adam's bias correction after `t` steps of the row: 1 / (1 - beta^t).
struct BiasCorrection {
  double first;
  float second;
};

// The constants of one update, in the precision of the rows.
struct UpdateSettings {
  double exact_rate;
  float rate;
  float beta1;
  float rest1;  // 1 - beta1
  float beta2;
  float rest2;
  float epsilon;
  float weight_decay;
  float l1;
  float l2;
  float group_l2;     // 2 * l2
  float l21_root;     // l21 * sqrt(dim)
  float beta;
  float floor;        // initial accumulator
  float period;       // of AdagradDecay, now
  float async_scale;  // rate * sqrt(1 - beta2^(s + 1)) / (1 - beta1^(s + 1)) at step s
  double decay_rate;
  double exact_beta1;
  double exact_beta2;
  const BiasCorrection* corrections;  // for t in [0, correction_count)
  std::size_t correction_count;
};

// The learning rate at a step, in double and without the C library's mathematics, which differ between machines.
double scheduled_rate(const OptimizerSettings& settings, std::uint64_t step) noexcept;

// base^exponent by repeated squaring, since libm's pow differs between machines.
inline double whole_power(double base, std::uint64_t exponent) noexcept {
  double result = 1;
  for (; exponent != 0; exponent >>= 1, base *= base)
    if ((exponent & 1) != 0) result *= base;
  return result;
}

class Optimizer {
 public:
  explicit Optimizer(OptimizerSettings settings);

  SlotLayout slots() const noexcept;
  // State [width] of a row with these values [dim] that was never updated.
  void fill_initial_slots(float* slots, const float* values, std::size_t dim) const noexcept;
  // A row of `from` coordinates becomes one of `to`: values and state move apart in place of `row` [to + width(to)], whose
  // first floats hold the old row. `added` [to - from] are the new values; their state begins as a fresh row's.
  void widen(float* row, const float* added, std::size_t from, std::size_t to) const noexcept;
  // The constants of an update of rows [dim]; `step` counts the updates before.
  UpdateSettings settings_at(std::uint64_t step, std::size_t dim) const noexcept;
  // Updates `count` rows (values, then slots) by their summed gradients [count, dim].
  void update(float* const* rows, const float* gradients, std::size_t count, std::size_t dim,
              const UpdateSettings& with) const noexcept;
  std::size_t bytes() const noexcept { return corrections_.capacity() * sizeof(BiasCorrection); }

 private:
  // FTRL's z for values that were never updated; see update_rules_variant.cpp.
  void fill_initial_linear(float* z, const float* values, std::size_t count) const noexcept;

  OptimizerSettings settings_;
  Array<BiasCorrection> corrections_;
};

}  // namespace springtide
