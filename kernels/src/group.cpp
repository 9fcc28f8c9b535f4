// SPDX-License-Identifier: Apache-2.0
#include "group.hpp"

#include <algorithm>
#include <stdexcept>

#include "row_kernels.hpp"
#include "sequence.hpp"

namespace springtide {
AlignedBuffer::AlignedBuffer(std::size_t rows, std::size_t stride) : floats_(rows * stride, 0.0F) {
  const auto address = reinterpret_cast<std::uintptr_t>(floats_.data());
  if (address % kCacheLine != 0 || stride * sizeof(float) % kCacheLine != 0)
    throw std::logic_error("the buffer's address and stride must be multiples of 64 bytes, or TensorFlow aborts");
}

Layout make_layout(const std::vector<std::size_t>& widths, std::size_t numbers) {
  constexpr std::size_t kLine = kCacheLine / sizeof(float);
  Layout layout{};
  layout.widths = widths;
  for (const std::size_t width : widths) {
    layout.offsets.push_back(layout.width);
    layout.width += width;
  }
  layout.numbers_offset = layout.width;
  layout.numbers = numbers;
  layout.width += numbers;
  layout.stride = std::max((layout.width + kLine - 1) / kLine, std::size_t{1}) * kLine;
  return layout;
}

void expand_columns(const BatchPlan& plan, const std::vector<std::size_t>& which, const std::vector<ColumnSettings>& columns,
                    const std::vector<std::size_t>& dims, const Layout& layout, float* buffer) {
  const RowKernels& kernels = row_kernels();
  for (const std::size_t c : which) {
    const ColumnIds& ids = plan.columns[c];
    const float* values = plan.spaces[columns[c].space].values.data();
    float* out = buffer + layout.offsets[c];
    if (columns[c].combiner == Combiner::kNone) {
      write_sequences(values, ids, plan.rows, dims[c], columns[c].length, out, layout.stride);
    } else if (ids.ragged) {
      kernels.combine(values, ids.inverse.data(), ids.splits.data(), ids.weighted ? ids.weights.data() : nullptr, plan.rows,
                      dims[c], columns[c].combiner, out, layout.stride);
    } else {
      kernels.expand(values, ids.inverse.data(), plan.rows, dims[c], out, layout.stride);
    }
  }
}

void expand_numbers(const BatchPlan& plan, const Layout& layout, float* buffer) {
  if (layout.numbers == 0) return;
  for (std::size_t r = 0; r < plan.rows; ++r)
    std::copy_n(plan.numbers.data() + r * layout.numbers, layout.numbers,
                buffer + r * layout.stride + layout.numbers_offset);
}

Group::Group(std::vector<TableSettings> tables, const std::vector<SpaceSettings>& spaces,
             std::vector<ColumnSettings> columns, std::size_t numbers, std::size_t max_batch, unsigned threads,
             bool trainable)
    : columns_(std::move(columns)),
      columns_of_(spaces.size()),
      max_batch_(max_batch),
      pool_(threads),
      plans_{{spaces.size(), columns_.size()}, {spaces.size(), columns_.size()}} {
  for (TableSettings& settings : tables) tables_.push_back(std::make_unique<Table>(std::move(settings), trainable));
  for (const SpaceSettings& settings : spaces) {
    Table* second = settings.shape == RowShape::kOwn ? nullptr : tables_[settings.second].get();
    spaces_.emplace_back(settings, *tables_[settings.first], second);
  }
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    columns_of_[columns_[c].space].push_back(c);
    dims_.push_back(spaces_[columns_[c].space].dim());
    const bool sequence = columns_[c].combiner == Combiner::kNone;
    widths.push_back(sequence ? sequence_width(columns_[c].length, dims_[c]) : dims_[c]);
  }
  layout_ = make_layout(widths, numbers);
  if (trainable) buffer_ = std::make_unique<AlignedBuffer>(max_batch, layout_.stride);
}

void Group::check(const BatchView& batch, bool single_ids) const {
  if (batch.rows > max_batch_)
    throw std::invalid_argument("the batch has " + std::to_string(batch.rows) + " rows; wanted at most max_batch = " +
                                std::to_string(max_batch_));
  if (batch.ids.size() != columns_.size())
    throw std::invalid_argument("the batch has " + std::to_string(batch.ids.size()) + " id columns; wanted " +
                                std::to_string(columns_.size()));
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    const IdsView& view = batch.ids[c];
    const std::string where = "column '" + columns_[c].name + "': ";
    if (view.count >= kNoRow) throw std::invalid_argument(where + "more than 2^32 - 2 ids in one batch");
    if (view.weights != nullptr) {
      if (view.splits == nullptr) throw std::invalid_argument(where + "weights want splits beside them");
      if (!row_kernels().all_finite(view.weights, view.count)) throw std::invalid_argument(where + "weights must be finite");
    }
    if (view.splits == nullptr) {
      const bool single = single_ids && view.count == 1 && columns_[c].combiner != Combiner::kNone;
      if (view.count != batch.rows && !single)
        throw std::invalid_argument(where + std::to_string(view.count) + " ids without splits; wanted one per row, " +
                                    std::to_string(batch.rows));
      continue;
    }
    bool fits = view.splits[0] == 0 && static_cast<std::size_t>(view.splits[batch.rows]) == view.count;
    for (std::size_t r = 0; r < batch.rows; ++r) fits = fits && view.splits[r] <= view.splits[r + 1];
    if (!fits) throw std::invalid_argument(where + "splits must rise from 0 to the number of ids");
  }
  if (!row_kernels().all_finite(batch.numbers, batch.rows * layout_.numbers))
    throw std::invalid_argument("numbers must be finite; RunningStatistics.scale fills those that wait for scaling");
}

void Group::prepare(const BatchView& batch) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!trainable()) throw std::invalid_argument("tables that are not trainable are read through reader()");
  check(batch);
  BatchPlan& plan = plans_[1 - current_];
  prepared_ = false;
  pool_.run(spaces_.size(), [&](std::size_t s) { plan.deduplicate(s, columns_of_[s], columns_, batch.ids, batch.rows); });
  ensure(plan.numbers, batch.rows * layout_.numbers);
  std::copy_n(batch.numbers, batch.rows * layout_.numbers, plan.numbers.data());
  plan.rows = batch.rows;
  prepared_ = true;
}

std::size_t Group::lookup() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!prepared_) throw std::invalid_argument("lookup() wants a prepare() before it");
  BatchPlan& plan = plans_[1 - current_];
  looked_up_ = false;
  // The last unit is the numbers.
  pool_.run(spaces_.size() + 1, [&](std::size_t s) {
    if (s == spaces_.size()) return expand_numbers(plan, layout_, buffer());
    spaces_[s].read(plan.spaces[s], plan.parts[s], &now_);
    expand_columns(plan, columns_of_[s], columns_, dims_, layout_, buffer());
  });
  current_ = 1 - current_;
  prepared_ = false;
  looked_up_ = true;
  return plan.rows;
}

// Every key's sum is one chain of additions in column, then batch order, whatever the number of threads.
void Group::sum_gradients(BatchPlan& plan, std::size_t space, const float* gradient) const {
  const RowKernels& kernels = row_kernels();
  UniqueKeys& unique = plan.spaces[space];
  const std::size_t floats = unique.count * spaces_[space].dim();
  ensure(unique.sums, floats);
  std::fill_n(unique.sums.data(), floats, 0.0F);
  for (const std::size_t c : columns_of_[space]) {
    const ColumnIds& ids = plan.columns[c];
    const float* from = gradient + layout_.offsets[c];
    if (columns_[c].combiner == Combiner::kNone) {
      add_sequences(from, layout_.stride, ids, plan.rows, dims_[c], unique.sums.data());
    } else if (ids.ragged) {
      kernels.distribute(from, layout_.stride, ids.inverse.data(), ids.splits.data(),
                         ids.weighted ? ids.weights.data() : nullptr, plan.rows, dims_[c], columns_[c].combiner,
                         unique.sums.data());
    } else {
      kernels.add(from, layout_.stride, ids.inverse.data(), plan.rows, dims_[c], unique.sums.data());
    }
  }
  if (!kernels.all_finite(unique.sums.data(), floats))
    throw std::invalid_argument("the gradient for table '" + spaces_[space].name() +
                                "' is not finite; no row was changed. Lower the learning rate or look for bad inputs");
}

void Group::apply(const float* gradient, std::size_t rows, std::size_t stride, std::int64_t event_ms) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!looked_up_) throw std::invalid_argument("apply() wants a lookup() before it, once per batch");
  BatchPlan& plan = plans_[current_];
  if (rows != plan.rows || stride != layout_.stride)
    throw std::invalid_argument("the gradient has shape [" + std::to_string(rows) + ", " + std::to_string(stride) +
                                "]; wanted [" + std::to_string(plan.rows) + ", " + std::to_string(layout_.stride) + "]");
  // Everything that can fail comes first, for all tables.
  pool_.run(spaces_.size(), [&](std::size_t s) {
    sum_gradients(plan, s, gradient);
    spaces_[s].reserve_update(plan.spaces[s], plan.parts[s]);
  });
  pool_.run(spaces_.size(), [&](std::size_t s) { spaces_[s].update(plan.spaces[s], plan.parts[s], now_, event_ms); });
  ++now_.step;
  now_.clock_ms = std::max(now_.clock_ms, event_ms);
  looked_up_ = false;
}

std::vector<RowBlock> Group::capture() {
  const std::lock_guard<std::mutex> lock(mutex_);
  struct Part {
    std::size_t table;
    std::size_t begin;
    std::size_t end;
  };
  constexpr std::size_t kPart = 8192;  // rows; a single large table must keep all threads busy
  std::vector<Table::Copy> changed(tables_.size());
  pool_.run(tables_.size(), [&](std::size_t t) { changed[t] = tables_[t]->changes(); });
  std::vector<Part> parts;
  for (std::size_t t = 0; t < tables_.size(); ++t)
    for (std::size_t begin = 0; begin < changed[t].rows.size(); begin += kPart)
      parts.push_back(Part{t, begin, std::min(begin + kPart, changed[t].rows.size())});
  std::vector<RowBlock> blocks(tables_.size());
  pool_.run(parts.size(), [&](std::size_t p) {
    const Part& part = parts[p];
    tables_[part.table]->copy(changed[part.table], part.begin, part.end);
  });
  pool_.run(tables_.size(), [&](std::size_t t) {
    tables_[t]->forget_changes();
    blocks[t] = std::move(changed[t].block);
  });
  return blocks;
}

RowBlock Group::all(std::size_t table) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return tables_[table]->all();
}

void Group::mark_changed(std::size_t table, const std::int64_t* keys, std::size_t count, const std::int64_t* tombstones,
                         std::size_t tombstone_count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  tables_[table]->mark_changed(keys, count, tombstones, tombstone_count);
}

void Group::mark_counts_changed(std::size_t table, const std::int64_t* keys, std::size_t count,
                                const std::int64_t* tombstones, std::size_t tombstone_count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  tables_[table]->admission().mark_changed(keys, count, tombstones, tombstone_count);
}

// The rows of a batch between lookup() and apply() may be among those erased or imported away.
std::size_t Group::erase(std::size_t table, const std::int64_t* keys, std::size_t count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (looked_up_) throw std::invalid_argument("erase() wants the gradient of the last lookup() applied first");
  return tables_[table]->erase(keys, count);
}

void Group::import(std::size_t table, const RowBlockView& rows, const AdmissionBlockView& counts) {
  const std::lock_guard<std::mutex> lock(mutex_);
  looked_up_ = false;
  tables_[table]->admission().reserve_import(counts);
  tables_[table]->import(rows);
  tables_[table]->admission().import(counts);
}

void Group::import_counts(std::size_t table, const AdmissionBlockView& counts) {
  const std::lock_guard<std::mutex> lock(mutex_);
  looked_up_ = false;
  tables_[table]->admission().reserve_import(counts);
  tables_[table]->admission().import(counts);
}

Array<std::int64_t> Group::state() {
  const std::lock_guard<std::mutex> lock(mutex_);
  Array<std::int64_t> state{static_cast<std::int64_t>(now_.step), now_.clock_ms};
  for (const auto& table : tables_) {
    for (const Sweep* sweep : table->sweeps()) {
      state.push_back(sweep->cursor);
      state.push_back(static_cast<std::int64_t>(sweep->rows));
    }
  }
  return state;
}

void Group::restore(const std::int64_t* state, std::size_t count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (count != 2 + 6 * tables_.size())
    throw std::invalid_argument("the tables' state has " + std::to_string(count) + " numbers; wanted " +
                                std::to_string(2 + 6 * tables_.size()) + ": was it made by other tables?");
  looked_up_ = false;
  now_ = StepTime{static_cast<std::uint64_t>(state[0]), state[1]};
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const std::int64_t* of_table = state + 2 + 6 * t;
    for (Sweep* sweep : tables_[t]->sweeps()) {
      sweep->cursor = static_cast<std::uint32_t>(*of_table++);
      sweep->rows = static_cast<std::uint64_t>(*of_table++);
    }
  }
}

std::size_t Group::row_count(std::size_t table) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return tables_[table]->size();
}

std::size_t Group::table_bytes(std::size_t table) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return tables_[table]->bytes();
}

std::size_t Group::bytes() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::size_t total = buffer_ == nullptr ? 0 : buffer_->bytes();
  for (const auto& table : tables_) total += table->bytes();
  return total;
}

}  // namespace springtide
