// SPDX-License-Identifier: Apache-2.0
#include "batch_plan.hpp"

#include <algorithm>

#include "hash.hpp"
#include "sequence.hpp"

namespace springtide {
namespace {

constexpr std::size_t kHashBlock = 256;

}  // namespace

BatchPlan::BatchPlan(std::size_t space_count, std::size_t column_count)
    : spaces(space_count), parts(space_count), columns(column_count), deduplicators_(space_count) {}

void BatchPlan::deduplicate(std::size_t space, const std::vector<std::size_t>& of_space,
                            const std::vector<ColumnSettings>& settings, const std::vector<IdsView>& ids,
                            std::size_t row_count) {
  std::size_t occurrences = 0;
  for (const std::size_t column : of_space) occurrences += ids[column].count;
  UniqueKeys& unique = spaces[space];
  unique.count = 0;
  ensure(unique.keys, occurrences);
  ensure(unique.hashes, occurrences);
  ensure(unique.counts, occurrences);
  const Deduplicator::Pass pass = deduplicators_[space].start(occurrences);
  std::uint32_t count = 0;
  std::uint64_t hashes[kHashBlock];
  for (const std::size_t column : of_space) {
    ColumnIds& to = columns[column];
    const ColumnSettings& asked = settings[column];
    const IdsView view = asked.combiner == Combiner::kNone
                             ? cut_sequences(ids[column], row_count, asked.length, asked.keep_last, to.cut)
                             : ids[column];
    ensure(to.inverse, view.count);
    to.ragged = view.splits != nullptr;
    if (to.ragged) {
      ensure(to.splits, row_count + 1);
      std::copy_n(view.splits, row_count + 1, to.splits.data());
    }
    to.weighted = view.weights != nullptr;
    if (to.weighted) {
      ensure(to.weights, view.count);
      std::copy_n(view.weights, view.count, to.weights.data());
    }
    for (std::size_t begin = 0; begin < view.count; begin += kHashBlock) {
      const std::size_t block = std::min(kHashBlock, view.count - begin);
      for (std::size_t i = 0; i < block; ++i) hashes[i] = hash_key(view.ids[begin + i]);
      for (std::size_t i = 0; i < block; ++i) {
        const std::int64_t key = view.ids[begin + i];
        const std::uint32_t position = pass.number(key, hashes[i], count);
        if (position == count) {
          unique.keys[count] = key;
          unique.hashes[count] = hashes[i];
          unique.counts[count++] = 1;
        } else {
          ++unique.counts[position];
        }
        to.inverse[begin + i] = position;
      }
    }
  }
  unique.count = count;
}

}  // namespace springtide
