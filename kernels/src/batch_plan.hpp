// What one batch asks for, de-duplicated: per table the unique keys, per column where each id went; changes no table.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "memory.hpp"
#include "row_kernels.hpp"
#include "table.hpp"

namespace springtide {

struct ColumnSettings {
  std::string name;
  std::size_t table;  // position among the tables
  Combiner combiner;
  std::size_t length = 0;  // kNone: positions of a sample's block
  bool keep_last = false;  // kNone: which ids stay where there are more
};

// One id column of a batch, borrowed. Without splits every row has exactly one id, without weights each counts 1.
struct IdsView {
  const std::int64_t* ids;
  std::size_t count;
  const std::int32_t* splits;  // [rows + 1] or null
  const float* weights;        // [count] or null; wants splits
};

// What is left of a column whose samples had too many ids.
struct CutIds {
  Array<std::int64_t> ids;
  Array<std::int32_t> splits;
  Array<float> weights;
};

struct ColumnIds {
  Array<std::uint32_t> inverse;    // [occurrences], positions in the table's unique keys
  Array<std::int32_t> splits;      // [rows + 1] when ragged
  Array<float> weights;            // [occurrences] when weighted
  bool ragged = false;
  bool weighted = false;
  CutIds cut;
};

class BatchPlan {
 public:
  // `columns_of` lists each table's columns in order.
  BatchPlan(std::size_t tables, std::size_t columns);

  // The parts of preparing, one unit per table: reads the columns, touches nothing shared.
  void deduplicate(std::size_t table, const std::vector<std::size_t>& columns, const std::vector<ColumnSettings>& settings,
                   const std::vector<IdsView>& ids, std::size_t rows);

  std::size_t rows = 0;
  std::vector<UniqueKeys> tables;  // in the order of first occurrence (column order, then batch order)
  std::vector<ColumnIds> columns;
  Array<float> numbers;            // [rows, numbers]

 private:
  // 16 bytes, so that the entries of a usual column fit the second cache.
  struct Entry {
    std::int64_t key;
    std::uint32_t stamp;
    std::uint32_t position;
  };
  struct Deduplicator {
    Array<Entry> entries;
    std::uint32_t stamp = 0;
  };
  void start(Deduplicator& with, std::size_t occurrences);

  std::vector<Deduplicator> deduplicators_;
};

}  // namespace springtide
