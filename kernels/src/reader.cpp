// SPDX-License-Identifier: Apache-2.0
#include "reader.hpp"

#include <algorithm>

#include "row_kernels.hpp"

namespace springtide {

Reader::Reader(const Group& group)
    : group_(group),
      buffer_(group.max_batch(), group.layout().stride),
      plan_(group.table_count(), group.columns().size()) {
  for (const ColumnSettings& column : group.columns()) dims_.push_back(group.table(column.table).dim());
}

std::size_t Reader::lookup(const BatchView& batch) {
  const std::lock_guard<std::mutex> lock(mutex_);
  group_.check(batch);
  std::size_t absent = 0;
  for (std::size_t t = 0; t < group_.table_count(); ++t) {
    plan_.deduplicate(t, group_.columns_of()[t], batch.ids, batch.rows);
    const Table& table = group_.table(t);
    UniqueKeys& unique = plan_.tables[t];
    ensure(unique.rows, unique.count);
    ensure(unique.addresses, unique.count);
    ensure(unique.values, unique.count * table.dim());
    table.find(unique.keys.data(), unique.hashes.data(), unique.count, unique.rows.data());
    for (std::size_t i = 0; i < unique.count; ++i) {
      if (unique.rows[i] != kNoRow) {
        unique.addresses[i] = table.row(unique.rows[i]);
      } else {
        // Gathering from its own place leaves the initial row where it is.
        unique.addresses[i] = unique.values.data() + i * table.dim();
        table.fill_initial_values(unique.keys[i], unique.addresses[i]);
        ++absent;
      }
    }
    row_kernels().gather(unique.addresses.data(), unique.count, table.dim(), unique.values.data());
  }
  ensure(plan_.numbers, batch.rows * group_.layout().numbers);
  std::copy_n(batch.numbers, batch.rows * group_.layout().numbers, plan_.numbers.data());
  expand_rows(plan_, group_.columns(), dims_, group_.layout(), 0, batch.rows, buffer_.data());
  absent_ = absent;
  return batch.rows;
}

}  // namespace springtide
