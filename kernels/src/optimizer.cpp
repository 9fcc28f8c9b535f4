// SPDX-License-Identifier: Apache-2.0
#include "optimizer.hpp"

#include <algorithm>
#include <cmath>

#include "row_kernels.hpp"

namespace springtide {
namespace {

// Rows with more steps than this are few; theirs is computed on the spot.
constexpr std::size_t kCorrections = 4096;

bool corrects_bias(OptimizerKind kind) {
  return kind == OptimizerKind::kAdam || kind == OptimizerKind::kAdamW || kind == OptimizerKind::kGroupAdam;
}

// cos(pi x) for x in [0, 1], as sin(pi (1/2 - x)) by its Taylor series to the 19th power; error below 1e-15.
double cosine(double x) noexcept {
  const double y = 3.14159265358979324 * (0.5 - x);
  const double square = y * y;
  double term = y;
  double sum = y;
  for (int k = 1; k < 10; ++k) {
    term *= -square / ((2 * k) * (2 * k + 1));
    sum += term;
  }
  return sum;
}

}  // namespace

double scheduled_rate(const OptimizerSettings& settings, std::uint64_t step) noexcept {
  const ScheduleSettings& by = settings.schedule;
  const auto s = static_cast<double>(step);
  if (s < by.warmup) return settings.learning_rate * ((s + 1) / by.warmup);
  const double x = (s - by.warmup) / by.steps;
  switch (by.kind) {
    case ScheduleKind::kConstant:
      break;
    case ScheduleKind::kExponential:
      return settings.learning_rate * whole_power(by.factor, static_cast<std::uint64_t>(x));
    case ScheduleKind::kLinear:
      return settings.learning_rate * (1 + std::min(x, 1.0) * (by.factor - 1));
    case ScheduleKind::kCosine:
      return settings.learning_rate * (by.factor + (1 - by.factor) * 0.5 * (1 + cosine(std::min(x, 1.0))));
    case ScheduleKind::kInverseSqrt:
      return settings.learning_rate / std::sqrt(1 + x);
  }
  return settings.learning_rate;
}

Optimizer::Optimizer(OptimizerSettings settings) : settings_(settings) {
  if (!corrects_bias(settings_.kind)) return;
  corrections_.reserve(kCorrections);
  for (std::size_t t = 0; t < kCorrections; ++t)
    corrections_.push_back(bias_correction(t, settings_.beta1, settings_.beta2));
}

SlotLayout Optimizer::slots() const noexcept {
  switch (settings_.kind) {
    case OptimizerKind::kSgd:
      return {0, 0};
    case OptimizerKind::kMomentum:
    case OptimizerKind::kNesterov:
    case OptimizerKind::kAdagrad:
    case OptimizerKind::kLion:
      return {1, 0};
    case OptimizerKind::kRowWiseAdagrad:
      return {0, 1};
    case OptimizerKind::kAdagradDecay:
      return {1, 1};
    case OptimizerKind::kAdamAsync:
    case OptimizerKind::kRmsPropAsync:
    case OptimizerKind::kFtrl:
    case OptimizerKind::kGroupFtrl:
      return {2, 0};
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamW:
      return {2, 1};
    case OptimizerKind::kGroupAdam:
      return {3, 1};
  }
  return {0, 0};
}

void Optimizer::fill_initial_linear(float* z, const float* values, std::size_t count) const noexcept {
  const auto root = std::sqrt(static_cast<float>(settings_.initial_accumulator));
  const auto rate = static_cast<float>(settings_.learning_rate);
  const bool group = settings_.kind == OptimizerKind::kGroupFtrl;
  const float by = group ? root / rate + static_cast<float>(2 * settings_.l2)
                         : (static_cast<float>(settings_.beta) + root) / rate + static_cast<float>(settings_.l2);
  for (std::size_t d = 0; d < count; ++d) z[d] = -(by * values[d]);
}

void Optimizer::fill_initial_slots(float* slots, const float* values, std::size_t dim) const noexcept {
  std::fill(slots, slots + this->slots().width(dim), 0.0F);
  const auto accumulator = static_cast<float>(settings_.initial_accumulator);
  switch (settings_.kind) {
    case OptimizerKind::kAdagrad:
    case OptimizerKind::kAdagradDecay:
      std::fill(slots, slots + dim, accumulator);
      return;
    case OptimizerKind::kRowWiseAdagrad:
      *slots = accumulator;
      return;
    case OptimizerKind::kFtrl:
    case OptimizerKind::kGroupFtrl:
      fill_initial_linear(slots, values, dim);
      std::fill(slots + dim, slots + 2 * dim, accumulator);
      return;
    default:
      return;
  }
}

void Optimizer::widen(float* row, const float* added, std::size_t from, std::size_t to) const noexcept {
  const SlotLayout layout = slots();
  // From the end, as every part moves up.
  std::copy_backward(row + from + layout.wide * from, row + from + layout.width(from), row + to + layout.width(to));
  const bool linear = settings_.kind == OptimizerKind::kFtrl || settings_.kind == OptimizerKind::kGroupFtrl;
  const bool fills = linear || settings_.kind == OptimizerKind::kAdagrad || settings_.kind == OptimizerKind::kAdagradDecay;
  for (std::size_t part = layout.wide; part > 0; --part) {
    float* place = row + part * to;
    std::copy_backward(row + part * from, row + (part + 1) * from, place + from);
    // The accumulator is the last array of all rules that have one.
    std::fill(place + from, place + to, fills && part == layout.wide ? static_cast<float>(settings_.initial_accumulator) : 0.0F);
  }
  std::copy_n(added, to - from, row + from);
  if (linear) fill_initial_linear(row + to + from, added, to - from);
}

UpdateSettings Optimizer::settings_at(std::uint64_t step, std::size_t dim) const noexcept {
  const OptimizerSettings& from = settings_;
  UpdateSettings with{};
  with.exact_rate = scheduled_rate(from, step);
  with.rate = static_cast<float>(with.exact_rate);
  with.beta1 = static_cast<float>(from.beta1);
  with.rest1 = static_cast<float>(1 - from.beta1);
  with.beta2 = static_cast<float>(from.beta2);
  with.rest2 = static_cast<float>(1 - from.beta2);
  with.epsilon = static_cast<float>(from.epsilon);
  with.weight_decay = static_cast<float>(from.weight_decay);
  with.l1 = static_cast<float>(from.l1);
  with.l2 = static_cast<float>(from.l2);
  with.group_l2 = static_cast<float>(2 * from.l2);
  with.l21_root = static_cast<float>(from.l21 * std::sqrt(static_cast<double>(dim)));
  with.beta = static_cast<float>(from.beta);
  with.floor = static_cast<float>(from.initial_accumulator);
  with.period = static_cast<float>(step / static_cast<std::uint64_t>(from.decay_steps));
  with.async_scale = static_cast<float>(with.exact_rate * std::sqrt(1 - whole_power(from.beta2, step + 1)) /
                                        (1 - whole_power(from.beta1, step + 1)));
  with.decay_rate = from.decay_rate;
  with.exact_beta1 = from.beta1;
  with.exact_beta2 = from.beta2;
  with.corrections = corrections_.data();
  with.correction_count = corrections_.size();
  return with;
}

void Optimizer::update(float* const* rows, const float* gradients, std::size_t count, std::size_t dim,
                       const UpdateSettings& with) const noexcept {
  row_kernels().rules[static_cast<std::size_t>(settings_.kind)](rows, gradients, count, dim, with);
}

}  // namespace springtide
