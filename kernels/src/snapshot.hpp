// The rows of all tables at one version, never changed: a base and one overlay over everything that came after it. The next
// version shares both but for what changed; knows no batch, no file and who reads.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "hash_order.hpp"
#include "memory.hpp"
#include "row_format.hpp"
#include "sealed_memory.hpp"
#include "table.hpp"

namespace springtide {

// Where the row of a changed key stands; one whose row is gone hides that of the base.
struct OverlayEntry {
  static constexpr std::uint32_t kInBase = 0x80000000U;
  static constexpr std::uint32_t kGone = 0x7fffffffU;
  std::int64_t key;
  std::uint32_t segment;  // number, or kGone; kInBase is set where the base has the key, too
  std::uint32_t row;

  bool in_base() const noexcept { return (segment & kInBase) != 0; }
  bool gone() const noexcept { return (segment & kGone) == kGone; }
  std::uint32_t number() const noexcept { return segment & kGone; }
};

// Keys of one table and where their values go, one every `stride` floats.
struct DirectColumn {
  std::size_t table;
  const Table* settings;
  const std::int64_t* keys;
  std::size_t count;
  float* out;
  std::size_t stride;
};
struct AbsentKey {
  std::size_t table;
  std::int64_t key;
};

class Snapshot {
 public:
  // One block per table, in any order of rows; where they are in hash order (as in a pack) nothing is sorted.
  using Blocks = std::vector<RowBlockView>;

  // These rows are all there are; tombstones mean nothing. Throws std::bad_alloc.
  Snapshot(std::vector<RowFormat> formats, const Blocks& all);

  // This with rows replaced and deleted; takes time with what changed since the base, not with the base. Throws std::bad_alloc.
  std::unique_ptr<Snapshot> extended(const Blocks& changes) const;
  // Whether the overlay has grown past a tenth of the base or lies in too many pieces.
  bool compaction_due() const noexcept;
  // The same rows in fewer pieces: as a base without overlay, or with an overlay of one piece. Throws std::bad_alloc.
  std::unique_ptr<Snapshot> compacted() const;

  // For another process: the files of the pieces, which stay this one's, and the numbers that say what lies where in them.
  std::vector<int> files() const;
  std::vector<std::uint64_t> layout() const;
  // What another process told so; pieces that one of `known` has already are not mapped again. Throws std::invalid_argument
  // where the numbers do not fit the pieces, std::bad_alloc.
  static std::unique_ptr<Snapshot> opened(std::vector<RowFormat> formats, const std::vector<std::uint64_t>& layout,
                                          const std::vector<int>& files, const std::vector<const Snapshot*>& known);

  // Reads the values of the unique keys as Table::read does; `settings` says how a key without a row reads.
  void read(std::size_t table, const Table& settings, UniqueKeys& unique) const;

  // Reads the values of keys to where they are wanted, equal keys as often as they come; adds keys without a row to `absent`.
  // Throws std::bad_alloc.
  void read_column(const DirectColumn& column, Array<AbsentKey>& absent) const;
  // For a column of one key, which has no others to wait with: asks for its bucket, then, some keys later, for its row.
  void ask_for_bucket(const DirectColumn& column) const noexcept;
  void ask_for_row(const DirectColumn& column) const noexcept;

  std::size_t table_count() const noexcept { return tables_.size(); }
  std::size_t dim(std::size_t table) const noexcept { return formats_[table].dim(); }
  std::size_t row_count(std::size_t table) const noexcept { return tables_[table].rows; }
  std::size_t changed_count(std::size_t table) const noexcept { return tables_[table].overlay.size(); }
  // Of the memory behind it; versions that share pieces each count them.
  std::size_t bytes() const noexcept;

 private:
  using Memory = std::shared_ptr<const SealedMemory>;
  struct TableView {
    HashOrder<std::int64_t> base;
    const unsigned char* base_values = nullptr;
    HashOrder<OverlayEntry> overlay;
    std::vector<const unsigned char*> segments;  // where each segment's values begin
    std::size_t rows = 0;
  };

  Snapshot() = default;
  Memory piece(std::uint64_t identity) const noexcept;
  // Entries of all tables.
  struct Sizes {
    std::size_t base;
    std::size_t overlay;
  };
  Sizes sizes() const noexcept;
  std::unique_ptr<Snapshot> rebased() const;
  std::unique_ptr<Snapshot> folded() const;
  const unsigned char* place(std::size_t table, const OverlayEntry& entry) const noexcept {
    return tables_[table].segments[entry.number()] + std::size_t{entry.row} * formats_[table].row_bytes(0);
  }
  const unsigned char* resolve(const TableView& view, std::uint64_t hash, std::int64_t key, std::size_t row_bytes) const noexcept;
  template <std::size_t kDim, class Take>
  void find_each(std::size_t table, const std::int64_t* keys, std::size_t count, const Take& take) const;
  template <std::size_t kDim>
  void read_column(const DirectColumn& column, Array<AbsentKey>& absent) const;
  template <std::size_t kDim>
  void read_rows(std::size_t table, const Table& settings, UniqueKeys& unique) const;

  std::vector<RowFormat> formats_;  // one rung, no state
  Memory base_;
  Memory overlay_;
  std::vector<Memory> segments_;
  std::vector<TableView> tables_;
};

// How a snapshot keeps a table's rows.
RowFormat snapshot_format(const Table& table);

}  // namespace springtide
