// All tables of a model as one: prepare a batch, look it up into one aligned buffer, apply its gradient; knows no Python.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "batch_plan.hpp"
#include "memory.hpp"
#include "table.hpp"
#include "thread_pool.hpp"

namespace springtide {

// Where things stand in a row of the buffer, in floats; rows begin at multiples of 64 bytes.
struct Layout {
  std::vector<std::size_t> offsets;  // per column
  std::vector<std::size_t> widths;   // per column
  std::size_t numbers_offset;
  std::size_t numbers;
  std::size_t width;   // without padding
  std::size_t stride;  // with padding
};

struct BatchView {
  std::size_t rows;
  std::vector<IdsView> ids;
  const float* numbers;  // [rows, numbers]
  std::vector<Array<std::int64_t>> aligned = {};  // ids that lay where they could not be read
};

// A [max_batch, stride] float32 buffer of zeros. TensorFlow aborts the process when it is handed a DLPack buffer that is
// not 64-byte aligned, so both address and stride are checked here.
class AlignedBuffer {
 public:
  AlignedBuffer(std::size_t rows, std::size_t stride);
  float* data() noexcept { return floats_.data(); }
  std::size_t bytes() const noexcept { return floats_.capacity() * sizeof(float); }

 private:
  Array<float> floats_;
};

class Group {
 public:
  Group(std::vector<TableSettings> tables, const std::vector<SpaceSettings>& spaces, std::vector<ColumnSettings> columns,
        std::size_t numbers, std::size_t max_batch, unsigned threads, bool trainable);

  const Layout& layout() const noexcept { return layout_; }
  const std::vector<ColumnSettings>& columns() const noexcept { return columns_; }
  const std::vector<std::vector<std::size_t>>& columns_of() const noexcept { return columns_of_; }
  std::size_t max_batch() const noexcept { return max_batch_; }
  bool trainable() const noexcept { return buffer_ != nullptr; }
  float* buffer() noexcept { return buffer_->data(); }
  std::size_t table_count() const noexcept { return tables_.size(); }
  const Table& table(std::size_t at) const noexcept { return *tables_[at]; }
  const std::vector<IdSpace>& spaces() const noexcept { return spaces_; }
  const std::vector<std::size_t>& column_dims() const noexcept { return dims_; }

  // Throws std::invalid_argument where sizes, splits or numbers do not fit; shared with readers, which take a single id that
  // holds for all rows, too.
  void check(const BatchView& batch, bool single_ids = false) const;

  // Hashes and de-duplicates the next batch; changes no table. May run while an earlier batch still waits for apply().
  void prepare(const BatchView& batch);
  // Fills the buffer for the prepared batch and returns the number of rows; changes no table. Throws std::bad_alloc.
  std::size_t lookup();
  // The one change of a step, for the rows of the last lookup. Throws std::invalid_argument for a gradient that does not fit
  // or is not finite and std::bad_alloc, all tables as before.
  void apply(const float* gradient, std::size_t rows, std::size_t stride, std::int64_t event_ms);

  std::vector<RowBlock> capture();
  RowBlock all(std::size_t table);
  void mark_changed(std::size_t table, const std::int64_t* keys, std::size_t count, const std::int64_t* tombstones,
                    std::size_t tombstone_count);
  void mark_counts_changed(std::size_t table, const std::int64_t* keys, std::size_t count, const std::int64_t* tombstones,
                           std::size_t tombstone_count);
  std::size_t erase(std::size_t table, const std::int64_t* keys, std::size_t count);
  // Rows and counts, or neither; throws std::bad_alloc.
  void import(std::size_t table, const RowBlockView& rows, const AdmissionBlockView& counts);
  void import_counts(std::size_t table, const AdmissionBlockView& counts);
  // What beside rows and counts decides how training goes on: steps, newest event time, and where each table's sweeps stand.
  Array<std::int64_t> state();
  void restore(const std::int64_t* state, std::size_t count);
  std::size_t row_count(std::size_t table);
  std::size_t table_bytes(std::size_t table);
  std::size_t bytes();

 private:
  void sum_gradients(BatchPlan& plan, std::size_t space, const float* gradient) const;

  std::vector<std::unique_ptr<Table>> tables_;
  std::vector<IdSpace> spaces_;
  std::vector<ColumnSettings> columns_;
  std::vector<std::vector<std::size_t>> columns_of_;  // per id space, in column order
  std::vector<std::size_t> dims_;                     // per column, of its id space's rows
  Layout layout_;
  std::size_t max_batch_;
  std::unique_ptr<AlignedBuffer> buffer_;
  ThreadPool pool_;
  std::mutex mutex_;  // calls of several threads run one after the other
  BatchPlan plans_[2];
  StepTime now_;
  bool prepared_ = false;
  bool looked_up_ = false;
  unsigned current_ = 0;  // the plan of the last lookup; the other one is prepared
};

Layout make_layout(const std::vector<std::size_t>& widths, std::size_t numbers);

// Writes some columns of the buffer from the plan's values of their id spaces, column by column.
void expand_columns(const BatchPlan& plan, const std::vector<std::size_t>& which, const std::vector<ColumnSettings>& columns,
                    const std::vector<std::size_t>& dims, const Layout& layout, float* buffer);
void expand_numbers(const BatchPlan& plan, const Layout& layout, float* buffer);

}  // namespace springtide
