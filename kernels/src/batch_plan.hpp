// What one batch asks for, de-duplicated: per id space the unique keys, per column where each id went; changes no table.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "deduplicator.hpp"
#include "id_space.hpp"
#include "memory.hpp"
#include "row_kernels.hpp"

namespace springtide {

struct ColumnSettings {
  std::string name;
  std::size_t space;  // position among the id spaces
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
  Array<std::uint32_t> inverse;    // [occurrences], positions in the id space's unique keys
  Array<std::int32_t> splits;      // [rows + 1] when ragged
  Array<float> weights;            // [occurrences] when weighted
  bool ragged = false;
  bool weighted = false;
  CutIds cut;
};

class BatchPlan {
 public:
  BatchPlan(std::size_t spaces, std::size_t columns);

  // The parts of preparing, one unit per id space with its columns in order: reads those, touches nothing shared.
  void deduplicate(std::size_t space, const std::vector<std::size_t>& columns, const std::vector<ColumnSettings>& settings,
                   const std::vector<IdsView>& ids, std::size_t rows);

  std::size_t rows = 0;
  std::vector<UniqueKeys> spaces;  // in the order of first occurrence (column order, then batch order)
  std::vector<SpaceParts> parts;   // per id space
  std::vector<ColumnIds> columns;
  Array<float> numbers;            // [rows, numbers]

 private:
  std::vector<Deduplicator> deduplicators_;
};

}  // namespace springtide
