// How the keys of one id space are kept: in a table, in one beside shared rows for cold keys, or as two parts in two small
// tables; knows no column and no file. Formulas: kernels/ROW_SHAPES.md.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "deduplicator.hpp"
#include "memory.hpp"
#include "table.hpp"

namespace springtide {

enum class RowShape { kOwn, kAdaptive, kAdd, kMultiply, kConcatenate };

struct SpaceSettings {
  RowShape shape;
  std::size_t first;         // position of the table; of the quotients' one
  std::size_t second;        // adaptive: of the shared rows; multi-hash: of the remainders
  std::uint64_t divisor;     // adaptive: how many shared rows; multi-hash: how many remainders
  std::uint64_t quotients;   // multi-hash
};

// What a batch asks of a table whose keys are made from others.
struct PartKeys {
  UniqueKeys unique;
  Array<std::uint32_t> inverse;  // per key that it was made from, its position in `unique`
  Deduplicator deduplicator;
};

struct SpaceParts {
  PartKeys first;   // quotients
  PartKeys second;  // remainders or shared rows
};

class Snapshot;

class IdSpace {
 public:
  // `second` is null for kOwn. The tables must outlive this.
  IdSpace(SpaceSettings settings, Table& first, Table* second);

  const std::string& name() const noexcept { return first_.name(); }
  std::size_t dim() const noexcept;
  // The table that a key's row is in, where that is all there is to it, and its position; null for shapes of several tables.
  const Table* only() const noexcept { return settings_.shape == RowShape::kOwn ? &first_ : nullptr; }
  std::size_t position() const noexcept { return settings_.first; }
  // Finds and reads what a batch's keys read as, and returns how many of them had no row; see Table::read(). The rows are
  // those of `rows` where that is not null, and then nobody learns.
  std::size_t read(UniqueKeys& unique, SpaceParts& parts, const StepTime* now, const Snapshot* rows = nullptr) const;
  // Hands the gradients of the keys on to the parts that they were made from and makes room for update(). Throws
  // std::bad_alloc, and std::invalid_argument where a part's gradient is not finite; changes nothing that can be seen.
  void reserve_update(UniqueKeys& unique, SpaceParts& parts);
  void update(UniqueKeys& unique, SpaceParts& parts, const StepTime& now, std::int64_t event_ms) noexcept;

 private:
  void take_shared(UniqueKeys& unique, PartKeys& shared, const StepTime* now, const Snapshot* rows) const;
  std::size_t read_parts(UniqueKeys& unique, SpaceParts& parts, const StepTime* now, const Snapshot* rows) const;
  static void read_table(const Table& table, std::size_t position, UniqueKeys& unique, const StepTime* now, const Snapshot* rows);
  void share_gradient(const UniqueKeys& unique, PartKeys& shared) const;
  void split_gradient(const UniqueKeys& unique, SpaceParts& parts) const;

  SpaceSettings settings_;
  Table& first_;
  Table* second_;
};

}  // namespace springtide
