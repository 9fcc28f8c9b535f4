// SPDX-License-Identifier: Apache-2.0
#include "optimizer.hpp"

#include <algorithm>

#include "row_kernels.hpp"

namespace springtide {
namespace {

// Rows with more steps than this are few; theirs is computed on the spot.
constexpr std::size_t kCorrections = 4096;

}  // namespace

Optimizer::Optimizer(OptimizerSettings settings) : settings_(settings) {
  if (settings_.kind == OptimizerKind::kAdam) {
    corrections_.reserve(kCorrections);
    for (std::size_t t = 0; t < kCorrections; ++t)
      corrections_.push_back(
          bias_correction(static_cast<double>(t), settings_.learning_rate, settings_.beta1, settings_.beta2));
  }
  update_.learning_rate = static_cast<float>(settings_.learning_rate);
  update_.beta1 = static_cast<float>(settings_.beta1);
  update_.one_minus_beta1 = static_cast<float>(1 - settings_.beta1);
  update_.beta2 = static_cast<float>(settings_.beta2);
  update_.one_minus_beta2 = static_cast<float>(1 - settings_.beta2);
  update_.epsilon = static_cast<float>(settings_.epsilon);
  update_.exact_learning_rate = settings_.learning_rate;
  update_.exact_beta1 = settings_.beta1;
  update_.exact_beta2 = settings_.beta2;
}

std::size_t Optimizer::slot_width(std::size_t dim) const noexcept {
  return settings_.kind == OptimizerKind::kAdagrad ? dim : 2 * dim + 1;
}

void Optimizer::fill_initial_slots(float* slots, std::size_t dim) const noexcept {
  const float value = settings_.kind == OptimizerKind::kAdagrad ? static_cast<float>(settings_.initial_accumulator) : 0.0F;
  std::fill(slots, slots + slot_width(dim), value);
}

void Optimizer::update(float* const* rows, const float* gradients, std::size_t count, std::size_t dim) const noexcept {
  UpdateSettings with = update_;
  with.corrections = corrections_.data();
  with.correction_count = corrections_.size();
  const RowKernels& kernels = row_kernels();
  (settings_.kind == OptimizerKind::kAdagrad ? kernels.adagrad : kernels.adam)(rows, gradients, count, dim, with);
}

}  // namespace springtide
