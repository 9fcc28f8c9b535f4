// SPDX-License-Identifier: Apache-2.0
#include "eviction.hpp"

#include <algorithm>

namespace springtide {
namespace {

// Of how many rows, per row too many, the worst goes: the sample's worst eighth.
constexpr std::uint64_t kSample = 8;
constexpr std::uint64_t kSmallestSample = 64;

}  // namespace

Sweep::Slice Sweep::slice(std::uint64_t wanted, std::uint64_t size) const noexcept {
  constexpr std::uint64_t kAll = std::uint64_t{1} << 32;
  const std::uint64_t left = kAll - cursor;
  if (cursor != 0) size = std::max(size, rows);
  const std::uint64_t width = size <= wanted ? kAll : std::max<std::uint64_t>(1, kAll / size * wanted);
  return Slice{cursor, static_cast<std::uint32_t>(cursor + std::min(left, width) - 1), size};
}

EvictionPlan Eviction::plan(KeyedRows& rows, std::size_t created) {
  EvictionPlan plan;
  const std::size_t after = rows.store.size() + created;
  std::size_t most = 0;
  if (settings_.sweeps()) {
    plan.sweeps = true;
    plan.slice = sweep.slice(settings_.slice, after);
    most = rows.index.count_in(plan.slice.first, plan.slice.last) + created;
  }
  if (settings_.max_rows != 0 && after > settings_.max_rows) {
    plan.overflows = true;
    plan.excess = after - settings_.max_rows;
    // The sweep may take some of the sample's rows, and as many less must go then.
    std::uint64_t wanted = std::max(kSmallestSample, kSample * plan.excess);
    plan.sample = sample.slice(wanted, after);
    std::size_t there = rows.index.count_in(plan.sample.first, plan.sample.last);
    while (there < plan.excess + most && !(plan.sample.first == 0 && plan.sample.last == 0xffffffffU)) {
      // Too few: at the end of a round, or keys that avoid this range. Wider, and from the start if need be.
      wanted *= 2;
      plan.sample = (plan.sample.last == 0xffffffffU ? Sweep{} : sample).slice(wanted, after);
      there = rows.index.count_in(plan.sample.first, plan.sample.last);
    }
    ensure(candidates_, there + created);
    most = std::max(most, plan.excess);
    rows.reserve_erased(most + plan.excess);
  } else {
    rows.reserve_erased(most);
  }
  ensure(victims_, most);
  return plan;
}

std::size_t Eviction::choose_worst(const KeyedRows& rows, const EvictionPlan& plan, std::size_t count) noexcept {
  std::size_t there = 0;
  rows.index.each_in(plan.sample.first, plan.sample.last, [&](std::uint32_t r, std::uint64_t hash) {
    const auto frequency = static_cast<std::int64_t>(rows.store.frequency(r));
    const std::int64_t seen = rows.store.last_seen(r);
    const bool by_frequency = settings_.order == EvictionOrder::kLeastFrequent;
    candidates_[there++] = Candidate{by_frequency ? frequency : seen, by_frequency ? seen : frequency, hash, r};
  });
  count = std::min(count, there);
  Candidate* begin = candidates_.data();
  const auto worse = [](const Candidate& a, const Candidate& b) {
    if (a.first != b.first) return a.first < b.first;
    if (a.second != b.second) return a.second < b.second;
    return a.hash < b.hash;
  };
  if (count < there) std::nth_element(begin, begin + count, begin + there, worse);
  for (std::size_t i = 0; i < count; ++i) victims_[i] = begin[i].row;
  return count;
}

}  // namespace springtide
