// SPDX-License-Identifier: Apache-2.0
#include "group.hpp"

#include <algorithm>
#include <stdexcept>

#include "row_kernels.hpp"

namespace springtide {
namespace {

// Rows of the buffer per unit of work: with 26 columns of 16 floats a block stays in the second cache.
constexpr std::size_t kRowBlock = 64;
// Columns whose gradients are read in one pass over the batch.
constexpr std::size_t kColumnsTogether = 8;

std::size_t blocks(std::size_t rows) { return (rows + kRowBlock - 1) / kRowBlock; }

std::vector<std::size_t> dims_of(const std::vector<ColumnSettings>& columns,
                                 const std::vector<std::unique_ptr<Table>>& tables) {
  std::vector<std::size_t> dims;
  for (const ColumnSettings& column : columns) dims.push_back(tables[column.table]->dim());
  return dims;
}

}  // namespace

AlignedBuffer::AlignedBuffer(std::size_t rows, std::size_t stride) : floats_(rows * stride, 0.0F) {
  const auto address = reinterpret_cast<std::uintptr_t>(floats_.data());
  if (address % kCacheLine != 0 || stride * sizeof(float) % kCacheLine != 0)
    throw std::logic_error("the buffer's address and stride must be multiples of 64 bytes, or TensorFlow aborts");
}

Layout make_layout(const std::vector<std::size_t>& dims, std::size_t numbers) {
  constexpr std::size_t kLine = kCacheLine / sizeof(float);
  Layout layout{};
  for (const std::size_t dim : dims) {
    layout.offsets.push_back(layout.width);
    layout.width += dim;
  }
  layout.numbers_offset = layout.width;
  layout.numbers = numbers;
  layout.width += numbers;
  layout.stride = std::max((layout.width + kLine - 1) / kLine, std::size_t{1}) * kLine;
  return layout;
}

void expand_rows(const BatchPlan& plan, const std::vector<ColumnSettings>& columns, const std::vector<std::size_t>& dims,
                 const Layout& layout, std::size_t begin, std::size_t end, float* buffer) {
  const RowKernels& kernels = row_kernels();
  float* block = buffer + begin * layout.stride;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const ColumnIds& ids = plan.columns[c];
    const float* values = plan.tables[columns[c].table].values.data();
    float* out = block + layout.offsets[c];
    if (ids.ragged) {
      kernels.combine(values, ids.inverse.data(), ids.splits.data() + begin, end - begin, dims[c], columns[c].combiner,
                      out, layout.stride);
    } else {
      kernels.expand(values, ids.inverse.data() + begin, end - begin, dims[c], out, layout.stride);
    }
  }
  for (std::size_t r = begin; r < end; ++r)
    std::copy_n(plan.numbers.data() + r * layout.numbers, layout.numbers,
                buffer + r * layout.stride + layout.numbers_offset);
}

Group::Group(std::vector<TableSettings> tables, std::vector<ColumnSettings> columns, std::size_t numbers,
             std::size_t max_batch, unsigned threads, bool trainable)
    : columns_(std::move(columns)),
      columns_of_(tables.size()),
      max_batch_(max_batch),
      pool_(threads),
      plans_{{tables.size(), columns_.size()}, {tables.size(), columns_.size()}} {
  for (TableSettings& settings : tables) tables_.push_back(std::make_unique<Table>(std::move(settings), trainable));
  for (std::size_t c = 0; c < columns_.size(); ++c) columns_of_[columns_[c].table].push_back(c);
  layout_ = make_layout(dims_of(columns_, tables_), numbers);
  plan_gradient_units();
  if (trainable) buffer_ = std::make_unique<AlignedBuffer>(max_batch, layout_.stride);
}

// A table with several columns is a unit of its own, because its sums run in column order; the others share passes.
// Grouping cannot change a bit: every key's sum is one chain of additions in batch order.
void Group::plan_gradient_units() {
  std::vector<std::size_t> together;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    const std::vector<std::size_t>& siblings = columns_of_[columns_[c].table];
    if (siblings.size() > 1) {
      if (siblings.front() == c) gradient_units_.push_back(siblings);
      continue;
    }
    together.push_back(c);
    if (together.size() == kColumnsTogether) {
      gradient_units_.push_back(together);
      together.clear();
    }
  }
  if (!together.empty()) gradient_units_.push_back(together);
}

void Group::check(const BatchView& batch) const {
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
    if (view.splits == nullptr) {
      if (view.count != batch.rows)
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
  pool_.run(tables_.size(), [&](std::size_t t) { plan.deduplicate(t, columns_of_[t], batch.ids, batch.rows); });
  ensure(plan.numbers, batch.rows * layout_.numbers);
  std::copy_n(batch.numbers, batch.rows * layout_.numbers, plan.numbers.data());
  plan.rows = batch.rows;
  prepared_ = true;
}

std::size_t Group::lookup() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!prepared_) throw std::invalid_argument("lookup() wants a prepare() before it");
  BatchPlan& plan = plans_[1 - current_];
  // Everything that can fail comes first, for all tables; it changes nothing that can be seen.
  pool_.run(tables_.size(), [&](std::size_t t) {
    UniqueKeys& unique = plan.tables[t];
    Table& table = *tables_[t];
    ensure(unique.rows, unique.count);
    ensure(unique.addresses, unique.count);
    ensure(unique.values, unique.count * table.dim());
    table.find(unique.keys.data(), unique.hashes.data(), unique.count, unique.rows.data());
    unique.missing_hashes.clear();
    reserve_more(unique.missing_hashes, unique.count);
    for (std::size_t i = 0; i < unique.count; ++i)
      if (unique.rows[i] == kNoRow) unique.missing_hashes.push_back(unique.hashes[i]);
    table.reserve(unique.missing_hashes.data(), unique.missing_hashes.size());
  });
  pool_.run(tables_.size(), [&](std::size_t t) {
    UniqueKeys& unique = plan.tables[t];
    Table& table = *tables_[t];
    for (std::size_t i = 0; i < unique.count; ++i) {
      if (unique.rows[i] == kNoRow) unique.rows[i] = table.create(unique.keys[i], unique.hashes[i]);
      unique.addresses[i] = table.row(unique.rows[i]);
    }
    row_kernels().gather(unique.addresses.data(), unique.count, table.dim(), unique.values.data());
  });
  const std::vector<std::size_t> dims = dims_of(columns_, tables_);
  pool_.run(blocks(plan.rows), [&](std::size_t b) {
    expand_rows(plan, columns_, dims, layout_, b * kRowBlock, std::min(plan.rows, (b + 1) * kRowBlock), buffer());
  });
  current_ = 1 - current_;
  prepared_ = false;
  looked_up_ = true;
  return plan.rows;
}

void Group::sum_gradients(BatchPlan& plan, const std::vector<std::size_t>& unit, const float* gradient) const {
  const RowKernels& kernels = row_kernels();
  const bool shared = columns_of_[columns_[unit.front()].table].size() > 1;
  const std::size_t block = shared ? std::max(plan.rows, std::size_t{1}) : kRowBlock;
  for (std::size_t begin = 0; begin < plan.rows; begin += block) {
    const std::size_t count = std::min(block, plan.rows - begin);
    for (const std::size_t c : unit) {
      const ColumnIds& ids = plan.columns[c];
      const std::size_t dim = tables_[columns_[c].table]->dim();
      float* sums = plan.tables[columns_[c].table].sums.data();
      const float* from = gradient + begin * layout_.stride + layout_.offsets[c];
      if (ids.ragged) {
        kernels.distribute(from, layout_.stride, ids.inverse.data(), ids.splits.data() + begin, count, dim,
                           columns_[c].combiner, sums);
      } else {
        kernels.add(from, layout_.stride, ids.inverse.data() + begin, count, dim, sums);
      }
    }
  }
}

void Group::apply(const float* gradient, std::size_t rows, std::size_t stride, std::int64_t event_ms) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!looked_up_) throw std::invalid_argument("apply() wants a lookup() before it, once per batch");
  BatchPlan& plan = plans_[current_];
  if (rows != plan.rows || stride != layout_.stride)
    throw std::invalid_argument("the gradient has shape [" + std::to_string(rows) + ", " + std::to_string(stride) +
                                "]; wanted [" + std::to_string(plan.rows) + ", " + std::to_string(layout_.stride) + "]");
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    UniqueKeys& unique = plan.tables[t];
    ensure(unique.sums, unique.count * tables_[t]->dim());
    std::fill_n(unique.sums.data(), unique.count * tables_[t]->dim(), 0.0F);
    tables_[t]->reserve_touches(unique.count);
  }
  pool_.run(gradient_units_.size(), [&](std::size_t unit) { sum_gradients(plan, gradient_units_[unit], gradient); });
  for (std::size_t t = 0; t < tables_.size(); ++t)
    if (!row_kernels().all_finite(plan.tables[t].sums.data(), plan.tables[t].count * tables_[t]->dim()))
      throw std::invalid_argument("the gradient for table '" + tables_[t]->name() +
                                  "' is not finite; no row was changed. Lower the learning rate or look for bad inputs");
  pool_.run(tables_.size(), [&](std::size_t t) {
    UniqueKeys& unique = plan.tables[t];
    tables_[t]->update(unique.rows.data(), unique.addresses.data(), unique.sums.data(), unique.counts.data(), unique.count,
                       event_ms);
  });
  looked_up_ = false;
}

std::vector<RowBlock> Group::capture() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<RowBlock> changes(tables_.size());
  pool_.run(tables_.size(), [&](std::size_t t) { changes[t] = tables_[t]->changes(); });
  for (const auto& table : tables_) table->forget_changes();
  return changes;
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

// The rows of a batch between lookup() and apply() may be among those erased or, by a tombstone, imported away.
std::size_t Group::erase(std::size_t table, const std::int64_t* keys, std::size_t count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (looked_up_) throw std::invalid_argument("erase() wants the gradient of the last lookup() applied first");
  return tables_[table]->erase(keys, count);
}

void Group::import(std::size_t table, const RowBlockView& rows) {
  const std::lock_guard<std::mutex> lock(mutex_);
  looked_up_ = false;
  tables_[table]->import(rows);
}

std::size_t Group::row_count(std::size_t table) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return tables_[table]->size();
}

std::size_t Group::bytes() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::size_t total = buffer_ == nullptr ? 0 : buffer_->bytes();
  for (const auto& table : tables_) total += table->bytes();
  return total;
}

}  // namespace springtide
