// SPDX-License-Identifier: Apache-2.0
#include "reader.hpp"

#include <algorithm>

namespace springtide {

Reader::Reader(const Group& group)
    : group_(group),
      buffer_(group.max_batch(), group.layout().stride),
      plan_(group.table_count(), group.columns().size()) {}

std::size_t Reader::lookup(const BatchView& batch) {
  const std::lock_guard<std::mutex> lock(mutex_);
  group_.check(batch);
  std::size_t absent = 0;
  plan_.rows = batch.rows;
  for (std::size_t t = 0; t < group_.table_count(); ++t) {
    plan_.deduplicate(t, group_.columns_of()[t], group_.columns(), batch.ids, batch.rows);
    UniqueKeys& unique = plan_.tables[t];
    group_.table(t).read(unique, nullptr);
    absent += unique.created.size() + unique.refused.size();
    expand_columns(plan_, group_.columns_of()[t], group_.columns(), group_.column_dims(), group_.layout(), buffer_.data());
  }
  ensure(plan_.numbers, batch.rows * group_.layout().numbers);
  std::copy_n(batch.numbers, batch.rows * group_.layout().numbers, plan_.numbers.data());
  expand_numbers(plan_, group_.layout(), buffer_.data());
  absent_ = absent;
  return batch.rows;
}

}  // namespace springtide
