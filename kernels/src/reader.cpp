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
  absent_ = 0;
  plan_.rows = batch.rows;
  for (std::size_t s = 0; s < group_.spaces().size(); ++s) read_space(s, batch, rows);
  ensure(plan_.numbers, batch.rows * group_.layout().numbers);
  std::copy_n(batch.numbers, batch.rows * group_.layout().numbers, plan_.numbers.data());
  expand_numbers(plan_, group_.layout(), buffer_.data());
  return batch.rows;
}

void Reader::read_space(std::size_t s, const BatchView& batch, const Snapshot* rows) {
  plan_.deduplicate(s, group_.columns_of()[s], group_.columns(), batch.ids, batch.rows);
  for (const std::size_t c : group_.columns_of()[s]) {
    if (batch.ids[c].splits != nullptr || batch.ids[c].count == batch.rows) continue;
    const std::uint32_t only = plan_.columns[c].inverse.front();
    ensure(plan_.columns[c].inverse, batch.rows);
    std::fill_n(plan_.columns[c].inverse.begin(), batch.rows, only);
  }
  absent_ += group_.spaces()[s].read(plan_.spaces[s], plan_.parts[s], nullptr, rows);
  expand_columns(plan_, group_.columns_of()[s], group_.columns(), group_.column_dims(), group_.layout(), buffer_.data());
}

void Reader::lookup_halves(const BatchView& batch, const Snapshot& rows, const Halves& halves, float* own, float* shared) {
  const std::lock_guard<std::mutex> lock(mutex_);
  group_.check(batch, true);
  absent_ = 0;
  plan_.rows = batch.rows;
  if (batch.rows == 0) return;
  direct_.clear();
  absent_keys_.clear();
  std::fill_n(shared, halves.shared_width, 0.0F);
  for (std::size_t r = 1; r <= batch.rows; ++r)
    std::fill_n(own + r * halves.own_width - halves.own_padding, halves.own_padding, 0.0F);
  for (std::size_t s = 0; s < group_.spaces().size(); ++s) {
    if (takes(s, batch)) {
      place_directly(s, batch, halves, own, shared);
    } else {
      read_space(s, batch, &rows);
      copy_columns(s, halves, own, shared);
    }
  }
  for (const DirectColumn& column : direct_)
    if (column.count == 1) rows.ask_for_bucket(column);
  for (const DirectColumn& column : direct_)
    if (column.count == 1) rows.ask_for_row(column);
  for (const DirectColumn& column : direct_) {
    rows.read_column(column, absent_keys_);
    // A single id that holds for all rows without being shared.
    if (column.stride == 0 || column.count == batch.rows) continue;
    const std::size_t dim = column.settings->dim();
    for (std::size_t r = 1; r < batch.rows; ++r) std::copy_n(column.out, dim, column.out + r * column.stride);
  }
  place_numbers(batch, halves, own, shared);
  std::sort(absent_keys_.begin(), absent_keys_.end(), [](const AbsentKey& a, const AbsentKey& b) {
    return a.table != b.table ? a.table < b.table : a.key < b.key;
  });
  const auto last = std::unique(absent_keys_.begin(), absent_keys_.end(),
                                [](const AbsentKey& a, const AbsentKey& b) { return a.table == b.table && a.key == b.key; });
  absent_ += static_cast<std::size_t>(last - absent_keys_.begin());
}

// Whether every key of the space in this batch is one row of one table, to be copied as it is.
bool Reader::takes(std::size_t s, const BatchView& batch) const noexcept {
  if (group_.spaces()[s].only() == nullptr) return false;
  for (const std::size_t c : group_.columns_of()[s])
    if (batch.ids[c].splits != nullptr || group_.columns()[c].combiner == Combiner::kNone) return false;
  return true;
}

void Reader::place_directly(std::size_t s, const BatchView& batch, const Halves& halves, float* own, float* shared) {
  const IdSpace& space = group_.spaces()[s];
  for (const std::size_t c : group_.columns_of()[s]) {
    const Halves::Place& place = halves.columns[c];
    const std::size_t count = place.shared ? 1 : batch.ids[c].count;
    float* const out = place.shared ? shared + place.at : own + place.at;
    direct_.push_back(DirectColumn{space.position(), space.only(), batch.ids[c].ids, count, out,
                                   place.shared ? 0 : halves.own_width});
  }
}

void Reader::copy_columns(std::size_t s, const Halves& halves, float* own, float* shared) {
  const Layout& layout = group_.layout();
  for (const std::size_t c : group_.columns_of()[s]) {
    const Halves::Place& place = halves.columns[c];
    const float* from = buffer_.data() + layout.offsets[c];
    if (place.shared) {
      std::copy_n(from, layout.widths[c], shared + place.at);
      continue;
    }
    float* to = own + place.at;
    for (std::size_t r = 0; r < plan_.rows; ++r, from += layout.stride, to += halves.own_width)
      std::copy_n(from, layout.widths[c], to);
  }
}

void Reader::place_numbers(const BatchView& batch, const Halves& halves, float* own, float* shared) const {
  const std::size_t count = halves.numbers.size();
  for (std::size_t n = 0; n < count; ++n) {
    const Halves::Place& place = halves.numbers[n];
    if (place.shared) {
      shared[place.at] = batch.numbers[n];
      continue;
    }
    for (std::size_t r = 0; r < batch.rows; ++r) own[r * halves.own_width + place.at] = batch.numbers[r * count + n];
  }
}

}  // namespace springtide
