// SPDX-License-Identifier: Apache-2.0
#include "reader.hpp"

#include <algorithm>

namespace springtide {

Reader::Reader(const Group& group)
    : group_(group),
      buffer_(group.max_batch(), group.layout().stride),
      plan_(group.spaces().size(), group.columns().size()) {}

std::size_t Reader::lookup(const BatchView& batch, const Snapshot* rows) {
  const std::lock_guard<std::mutex> lock(mutex_);
  group_.check(batch, true);
  std::size_t absent = 0;
  plan_.rows = batch.rows;
  for (std::size_t s = 0; s < group_.spaces().size(); ++s) {
    plan_.deduplicate(s, group_.columns_of()[s], group_.columns(), batch.ids, batch.rows);
    for (const std::size_t c : group_.columns_of()[s]) {
      if (batch.ids[c].splits != nullptr || batch.ids[c].count == batch.rows) continue;
      const std::uint32_t only = plan_.columns[c].inverse.front();
      ensure(plan_.columns[c].inverse, batch.rows);
      std::fill_n(plan_.columns[c].inverse.begin(), batch.rows, only);
    }
    absent += group_.spaces()[s].read(plan_.spaces[s], plan_.parts[s], nullptr, rows);
    expand_columns(plan_, group_.columns_of()[s], group_.columns(), group_.column_dims(), group_.layout(), buffer_.data());
  }
  ensure(plan_.numbers, batch.rows * group_.layout().numbers);
  std::copy_n(batch.numbers, batch.rows * group_.layout().numbers, plan_.numbers.data());
  expand_numbers(plan_, group_.layout(), buffer_.data());
  absent_ = absent;
  return batch.rows;
}

}  // namespace springtide
