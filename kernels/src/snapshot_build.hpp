// What building a snapshot is made of: changes in hash order, and writers of sections; knows no snapshot.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "hash_order.hpp"
#include "snapshot.hpp"

namespace springtide {

// A row of a block, or from `count` on one of its tombstones.
struct Change {
  std::uint64_t hash;
  std::uint32_t at;
};

// Every key of `rows` once, in hash order; a row wins over a tombstone, a later row over an earlier one.
Array<Change> in_hash_order(const RowBlockView& rows);

inline bool is_gone(const RowBlockView& rows, const Change& change) noexcept { return change.at >= rows.count; }
inline std::int64_t key_of(const RowBlockView& rows, const Change& change) noexcept {
  return is_gone(rows, change) ? rows.tombstones[change.at - rows.count] : rows.keys[change.at];
}

// Hands out 64-byte aligned pieces of one memory before it is there.
class Sections {
 public:
  std::size_t take(std::size_t bytes) noexcept {
    const std::size_t begin = bytes_;
    bytes_ += (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
    return begin;
  }
  // An empty file cannot be mapped.
  std::size_t bytes() const noexcept { return std::max(bytes_, kCacheLine); }

 private:
  std::size_t bytes_ = 0;
};

// Keys with their buckets: where both begin, and writing them in hash order.
template <class Entry>
struct EntrySections {
  std::size_t count = 0;
  std::size_t buckets = 0;
  std::size_t entries = 0;

  static EntrySections plan(Sections& sections, std::size_t count) noexcept {
    EntrySections planned{count, 0, 0};
    planned.buckets = sections.take(HashOrder<Entry>::bytes_for(count));
    planned.entries = sections.take(count * sizeof(Entry));
    return planned;
  }
  HashOrder<Entry> view(const unsigned char* memory) const noexcept {
    return {reinterpret_cast<const HashBucket*>(memory + buckets), reinterpret_cast<const Entry*>(memory + entries), count};
  }
};

template <class Entry>
class EntryWriter {
 public:
  EntryWriter(const EntrySections<Entry>& sections, unsigned char* memory) noexcept
      : order_(reinterpret_cast<HashBucket*>(memory + sections.buckets), HashOrder<Entry>::buckets_for(sections.count)),
        entries_(reinterpret_cast<Entry*>(memory + sections.entries)) {}

  void add(std::uint64_t hash, const Entry& entry) noexcept {
    order_.add(hash);
    entries_[count_++] = entry;
  }
  void finish() noexcept { order_.finish(); }

 private:
  HashOrderWriter order_;
  Entry* entries_;
  std::size_t count_ = 0;
};

// Walks entries and changes together, in hash order: visit(entry or null, change or null).
template <class Entry, class Visit>
void walk(const HashOrder<Entry>& entries, const Array<Change>& changes, Visit visit) {
  std::size_t next = 0;
  for (std::uint32_t at = 0; at < entries.size(); ++at) {
    const Entry& entry = entries[at];
    const std::uint64_t hash = pack_hash(*reinterpret_cast<const std::int64_t*>(&entry));
    for (; next < changes.size() && changes[next].hash < hash; ++next) visit(nullptr, &changes[next]);
    const bool both = next < changes.size() && changes[next].hash == hash;
    visit(&entry, both ? &changes[next++] : nullptr);
  }
  for (; next < changes.size(); ++next) visit(nullptr, &changes[next]);
}

}  // namespace springtide
