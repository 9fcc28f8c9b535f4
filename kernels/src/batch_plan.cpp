// SPDX-License-Identifier: Apache-2.0
#include "batch_plan.hpp"

#include <algorithm>

#include "hash.hpp"
#include "sequence.hpp"

namespace springtide {
namespace {

constexpr std::size_t kHashBlock = 256;

}  // namespace

BatchPlan::BatchPlan(std::size_t table_count, std::size_t column_count)
    : tables(table_count), columns(column_count), deduplicators_(table_count) {}

void BatchPlan::start(Deduplicator& with, std::size_t occurrences) {
  std::size_t size = 64;
  while (size < 2 * occurrences) size *= 2;
  if (with.entries.size() < size || ++with.stamp == 0) {
    with.entries.assign(std::max(size, with.entries.size()), Entry{0, 0, 0});
    with.stamp = 1;
  }
}

void BatchPlan::deduplicate(std::size_t table, const std::vector<std::size_t>& of_table,
                            const std::vector<ColumnSettings>& settings, const std::vector<IdsView>& ids,
                            std::size_t row_count) {
  std::size_t occurrences = 0;
  for (const std::size_t column : of_table) occurrences += ids[column].count;
  UniqueKeys& unique = tables[table];
  unique.count = 0;
  ensure(unique.keys, occurrences);
  ensure(unique.hashes, occurrences);
  ensure(unique.counts, occurrences);
  Deduplicator& with = deduplicators_[table];
  start(with, occurrences);

  Entry* entries = with.entries.data();
  const std::uint32_t stamp = with.stamp;
  const std::size_t mask = with.entries.size() - 1;
  std::uint32_t count = 0;
  std::uint64_t hashes[kHashBlock];
  for (const std::size_t column : of_table) {
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
        // Bits that neither the shard, the bucket nor the tag uses much.
        for (std::size_t at = hashes[i] >> 20 & mask;; at = (at + 1) & mask) {
          Entry& entry = entries[at];
          if (entry.stamp != stamp) {
            entry = Entry{key, stamp, count};
            unique.keys[count] = key;
            unique.hashes[count] = hashes[i];
            unique.counts[count] = 1;
            to.inverse[begin + i] = count++;
            break;
          }
          if (entry.key == key) {
            ++unique.counts[entry.position];
            to.inverse[begin + i] = entry.position;
            break;
          }
        }
      }
    }
  }
  unique.count = count;
}

}  // namespace springtide
