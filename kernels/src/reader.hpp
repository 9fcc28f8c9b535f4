// Answers batches from tables that it never changes, with a buffer of its own; several may run while nobody writes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <mutex>
#include <vector>

#include "group.hpp"
#include "halves.hpp"
#include "snapshot.hpp"

namespace springtide {

class Reader {
 public:
  // `group` must outlive the reader.
  explicit Reader(const Group& group);

  // Fills the buffer from `rows`, or from the group's own tables where that is null, and returns the number of rows; an
  // absent key reads as its initial row or, where not every key is admitted, as the value for that.
  std::size_t lookup(const BatchView& batch, const Snapshot* rows);
  // The same in halves: to `own` [rows, halves.own_width] what differs from row to row, to `shared` [halves.shared_width] what
  // all rows have in common; of columns that are shared the first row decides.
  void lookup_halves(const BatchView& batch, const Snapshot& rows, const Halves& halves, float* own, float* shared);
  float* buffer() noexcept { return buffer_.data(); }
  // Unique keys of the last lookup that had no row.
  std::size_t absent() const noexcept { return absent_; }
  const Group& group() const noexcept { return group_; }

 private:
  bool takes(std::size_t space, const BatchView& batch) const noexcept;
  void read_space(std::size_t space, const BatchView& batch, const Snapshot* rows);
  void place_directly(std::size_t space, const BatchView& batch, const Halves& halves, float* own, float* shared);
  void copy_columns(std::size_t space, const Halves& halves, float* own, float* shared);
  void place_numbers(const BatchView& batch, const Halves& halves, float* own, float* shared) const;

  const Group& group_;
  AlignedBuffer buffer_;
  BatchPlan plan_;
  std::mutex mutex_;
  std::size_t absent_ = 0;
  std::vector<DirectColumn> direct_;
  Array<AbsentKey> absent_keys_;
};

}  // namespace springtide
