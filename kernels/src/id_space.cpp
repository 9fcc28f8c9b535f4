// SPDX-License-Identifier: Apache-2.0
#include "id_space.hpp"

#include "snapshot.hpp"

#include <algorithm>
#include <stdexcept>

#include "hash.hpp"
#include "row_kernels.hpp"

namespace springtide {
namespace {

constexpr std::uint64_t kSharedDomain = 0x7368617265642d72ULL;

// Makes room for the keys of up to `most` others.
Deduplicator::Pass start(PartKeys& part, std::size_t most) {
  part.unique.count = 0;
  ensure(part.unique.keys, most);
  ensure(part.unique.hashes, most);
  ensure(part.unique.counts, most);
  ensure(part.inverse, most);
  return part.deduplicator.start(most);
}

// Key `of` of the whole asks the part for `key`, `occurrences` times.
void ask(PartKeys& part, const Deduplicator::Pass& pass, std::size_t of, std::int64_t key, std::uint32_t occurrences) {
  UniqueKeys& unique = part.unique;
  const std::uint64_t hash = hash_key(key);
  const std::uint32_t position = pass.number(key, hash, static_cast<std::uint32_t>(unique.count));
  if (position == unique.count) {
    unique.keys[position] = key;
    unique.hashes[position] = hash;
    unique.counts[position] = 0;
    ++unique.count;
  }
  unique.counts[position] += occurrences;
  part.inverse[of] = position;
}

float* clear_sums(UniqueKeys& unique, std::size_t dim) {
  ensure(unique.sums, unique.count * dim);
  std::fill_n(unique.sums.data(), unique.count * dim, 0.0F);
  return unique.sums.data();
}

void check_finite(const UniqueKeys& unique, const Table& table) {
  if (!row_kernels().all_finite(unique.sums.data(), unique.count * table.dim()))
    throw std::invalid_argument("the gradient for table '" + table.name() +
                                "' is not finite; no row was changed. Lower the learning rate or look for bad inputs");
}

}  // namespace

IdSpace::IdSpace(SpaceSettings settings, Table& first, Table* second)
    : settings_(settings), first_(first), second_(second) {}

std::size_t IdSpace::dim() const noexcept {
  return first_.dim() + (settings_.shape == RowShape::kConcatenate ? second_->dim() : 0);
}

void IdSpace::read_table(const Table& table, std::size_t position, UniqueKeys& unique, const StepTime* now,
                         const Snapshot* rows) {
  if (rows == nullptr) return table.read(unique, now);
  rows->read(position, table, unique);
}

std::size_t IdSpace::read(UniqueKeys& unique, SpaceParts& parts, const StepTime* now, const Snapshot* rows) const {
  if (settings_.shape != RowShape::kOwn && settings_.shape != RowShape::kAdaptive) return read_parts(unique, parts, now, rows);
  read_table(first_, settings_.first, unique, now, rows);
  if (settings_.shape == RowShape::kAdaptive) take_shared(unique, parts.second, now, rows);
  return unique.created.size() + unique.refused.size();
}

// A cold key reads as its shared row, and one that gets a row of its own in this step begins with that.
void IdSpace::take_shared(UniqueKeys& unique, PartKeys& shared, const StepTime* now, const Snapshot* rows) const {
  const Deduplicator::Pass pass = start(shared, unique.created.size() + unique.refused.size());
  std::size_t asked = 0;
  const auto ask_for = [&](std::uint32_t i, std::uint32_t occurrences) {
    const std::uint64_t mixed = mix(unique.hashes[i] ^ kSharedDomain);
    ask(shared, pass, asked++, static_cast<std::int64_t>((mixed >> 32) * settings_.divisor >> 32), occurrences);
  };
  for (const std::uint32_t i : unique.refused) ask_for(i, unique.counts[i]);
  const std::size_t learning = shared.unique.count;
  for (const std::uint32_t i : unique.created) ask_for(i, 0);
  read_table(*second_, settings_.second, shared.unique, now, rows);
  const std::size_t own = second_->dim();
  asked = 0;
  const auto copy_to = [&](std::uint32_t i) {
    float* to = unique.values.data() + i * dim();
    std::copy_n(shared.unique.values.data() + shared.inverse[asked++] * own, own, to);
    std::fill(to + own, to + dim(), 0.0F);
  };
  for (const std::uint32_t i : unique.refused) copy_to(i);
  for (const std::uint32_t i : unique.created) copy_to(i);
  // What was only read learns nothing.
  shared.unique.count = learning;
  while (!shared.unique.created.empty() && shared.unique.created.back() >= learning) shared.unique.created.pop_back();
}

std::size_t IdSpace::read_parts(UniqueKeys& unique, SpaceParts& parts, const StepTime* now, const Snapshot* rows) const {
  const Deduplicator::Pass quotients = start(parts.first, unique.count);
  const Deduplicator::Pass remainders = start(parts.second, unique.count);
  for (std::size_t i = 0; i < unique.count; ++i) {
    const std::uint64_t key = static_cast<std::uint64_t>(unique.keys[i]) % (settings_.quotients * settings_.divisor);
    ask(parts.first, quotients, i, static_cast<std::int64_t>(key / settings_.divisor), unique.counts[i]);
    ask(parts.second, remainders, i, static_cast<std::int64_t>(key % settings_.divisor), unique.counts[i]);
  }
  read_table(first_, settings_.first, parts.first.unique, now, rows);
  read_table(*second_, settings_.second, parts.second.unique, now, rows);
  ensure(unique.values, unique.count * dim());
  unique.created.clear();
  unique.refused.clear();
  const std::size_t a = first_.dim();
  const std::size_t b = second_->dim();
  std::size_t absent = 0;
  for (std::size_t i = 0; i < unique.count; ++i) {
    const std::uint32_t q = parts.first.inverse[i];
    const std::uint32_t r = parts.second.inverse[i];
    absent += parts.first.unique.rows[q] == kNoRow || parts.second.unique.rows[r] == kNoRow ? 1 : 0;
    const float* left = parts.first.unique.values.data() + q * a;
    const float* right = parts.second.unique.values.data() + r * b;
    float* to = unique.values.data() + i * dim();
    if (settings_.shape == RowShape::kConcatenate) {
      std::copy_n(right, b, std::copy_n(left, a, to));
    } else if (settings_.shape == RowShape::kAdd) {
      for (std::size_t d = 0; d < a; ++d) to[d] = left[d] + right[d];
    } else {
      for (std::size_t d = 0; d < a; ++d) to[d] = left[d] * right[d];
    }
  }
  return absent;
}

void IdSpace::share_gradient(const UniqueKeys& unique, PartKeys& shared) const {
  const std::size_t own = second_->dim();
  float* sums = clear_sums(shared.unique, own);
  for (std::size_t j = 0; j < unique.refused.size(); ++j) {
    const float* from = unique.sums.data() + unique.refused[j] * dim();
    float* to = sums + shared.inverse[j] * own;
    for (std::size_t d = 0; d < own; ++d) to[d] += from[d];
  }
  check_finite(shared.unique, *second_);
}

// Of a product, each factor's gradient is the product's times the other factor.
void IdSpace::split_gradient(const UniqueKeys& unique, SpaceParts& parts) const {
  const std::size_t a = first_.dim();
  const std::size_t b = second_->dim();
  float* left_sums = clear_sums(parts.first.unique, a);
  float* right_sums = clear_sums(parts.second.unique, b);
  const bool multiply = settings_.shape == RowShape::kMultiply;
  for (std::size_t i = 0; i < unique.count; ++i) {
    const std::uint32_t q = parts.first.inverse[i];
    const std::uint32_t r = parts.second.inverse[i];
    const float* from = unique.sums.data() + i * dim();
    const float* from_right = from + (settings_.shape == RowShape::kConcatenate ? a : 0);
    const float* left = parts.first.unique.values.data() + q * a;
    const float* right = parts.second.unique.values.data() + r * b;
    for (std::size_t d = 0; d < a; ++d) left_sums[q * a + d] += multiply ? from[d] * right[d] : from[d];
    for (std::size_t d = 0; d < b; ++d) right_sums[r * b + d] += multiply ? from[d] * left[d] : from_right[d];
  }
  check_finite(parts.first.unique, first_);
  check_finite(parts.second.unique, *second_);
}

void IdSpace::reserve_update(UniqueKeys& unique, SpaceParts& parts) {
  switch (settings_.shape) {
    case RowShape::kOwn:
      return first_.reserve_update(unique);
    case RowShape::kAdaptive:
      share_gradient(unique, parts.second);
      first_.reserve_update(unique);
      return second_->reserve_update(parts.second.unique);
    default:
      split_gradient(unique, parts);
      first_.reserve_update(parts.first.unique);
      return second_->reserve_update(parts.second.unique);
  }
}

void IdSpace::update(UniqueKeys& unique, SpaceParts& parts, const StepTime& now, std::int64_t event_ms) noexcept {
  const bool parted = settings_.shape != RowShape::kOwn && settings_.shape != RowShape::kAdaptive;
  first_.update(parted ? parts.first.unique : unique, now, event_ms);
  if (second_ != nullptr) second_->update(parts.second.unique, now, event_ms);
}

}  // namespace springtide
