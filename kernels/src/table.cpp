// SPDX-License-Identifier: Apache-2.0
#include "table.hpp"

#include <algorithm>

#include "hash.hpp"

namespace springtide {
namespace {

// Two-stage prefetch: the bucket's line first, then, once it has arrived, the line with the key.
constexpr std::size_t kBucketAhead = 24;
constexpr std::size_t kKeyAhead = 12;
constexpr std::size_t kRowAhead = 16;
constexpr std::size_t kImportChunk = 1024;

void prefetch_lines(const void* at, std::size_t bytes) {
  for (std::size_t byte = 0; byte < bytes && byte < 512; byte += kCacheLine)
    __builtin_prefetch(static_cast<const char*>(at) + byte);
}

}  // namespace

Table::Table(TableSettings settings, bool trainable)
    : settings_(std::move(settings)),
      trainable_(trainable),
      optimizer_(settings_.optimizer),
      initializer_(settings_.initializer, settings_.seed, settings_.name),
      slot_width_(trainable ? optimizer_.slot_width(settings_.dim) : 0),
      store_(settings_.dim + slot_width_, trainable),
      index_(store_) {}

std::uint64_t Table::hash_key_of(std::int64_t key) noexcept { return hash_key(key); }

std::size_t Table::bytes() const noexcept {
  return store_.bytes() + index_.bytes() + optimizer_.bytes() + touched_.capacity() * sizeof(touched_[0]) +
         erased_.capacity() * sizeof(erased_[0]);
}

void Table::find(const std::int64_t* keys, const std::uint64_t* hashes, std::size_t count,
                 std::uint32_t* rows) const noexcept {
  for (std::size_t i = 0; i < count + kBucketAhead; ++i) {
    if (i < count) index_.prefetch_bucket(hashes[i]);
    if (i >= kKeyAhead && i - kKeyAhead < count) index_.prefetch_key(hashes[i - kKeyAhead]);
    if (i >= kBucketAhead) {
      const std::size_t at = i - kBucketAhead;
      rows[at] = index_.find(hashes[at], keys[at]);
    }
  }
}

void Table::reserve(const std::uint64_t* hashes, std::size_t count) {
  store_.reserve(count);
  index_.reserve(hashes, count);
}

std::uint32_t Table::create(std::int64_t key, std::uint64_t hash) noexcept {
  const std::uint32_t r = store_.take(key);
  index_.insert(hash, r);
  float* row = store_.row(r);
  initializer_.fill(key, row, dim());
  if (slot_width_ != 0) optimizer_.fill_initial_slots(row + dim(), dim());
  return r;
}

void Table::update(const std::uint32_t* rows, float* const* addresses, const float* gradients,
                   const std::uint32_t* counts, std::size_t count, std::int64_t event_ms) noexcept {
  optimizer_.update(addresses, gradients, count, dim());
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kRowAhead < count) __builtin_prefetch(store_.key_address(rows[i + kRowAhead]), 1);
    store_.see(rows[i], counts[i], event_ms);
    if (store_.mark_touched(rows[i])) touched_.push_back(rows[i]);
  }
}

void Table::allocate(RowBlock& block, std::size_t count) const {
  block.keys.resize(count);
  block.values.resize(count * dim());
  block.slots.resize(count * slot_width_);
  block.frequency.resize(count);
  block.last_seen.resize(count);
}

void Table::copy_row(std::uint32_t r, RowBlock& to, std::size_t at) const noexcept {
  const float* row = store_.row(r);
  std::copy_n(row, dim(), to.values.data() + at * dim());
  std::copy_n(row + dim(), slot_width_, to.slots.data() + at * slot_width_);
  to.keys[at] = store_.key(r);
  to.frequency[at] = store_.frequency(r);
  to.last_seen[at] = store_.last_seen(r);
}

RowBlock Table::changes() {
  RowBlock block;
  block.tombstones.reserve(erased_.size());
  reserve_more(touched_, erased_.size());
  for (const std::int64_t key : erased_) {
    const std::uint32_t r = find_one(key);
    if (r == kNoRow) {
      block.tombstones.push_back(key);
    } else if (store_.mark_touched(r)) {
      touched_.push_back(r);  // erased and back at its initial row, which readers do not have
    }
  }
  std::sort(block.tombstones.begin(), block.tombstones.end());
  block.tombstones.erase(std::unique(block.tombstones.begin(), block.tombstones.end()), block.tombstones.end());
  allocate(block, touched_.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < touched_.size(); ++i) {
    if (i + kRowAhead < touched_.size()) {
      prefetch_lines(store_.row(touched_[i + kRowAhead]), store_.width() * sizeof(float));
      __builtin_prefetch(store_.key_address(touched_[i + kRowAhead]));
    }
    // A removed row that nobody has taken again is still in the list, and the index does not know it.
    if (removed_ && find_one(store_.key(touched_[i])) != touched_[i]) continue;
    copy_row(touched_[i], block, count++);
  }
  if (count != touched_.size()) allocate(block, count);
  return block;
}

void Table::forget_changes() noexcept {
  for (const std::uint32_t r : touched_) store_.clear_touched(r);
  touched_.clear();
  erased_.clear();
  removed_ = false;
}

RowBlock Table::all() const {
  RowBlock block;
  allocate(block, store_.size());
  std::size_t count = 0;
  store_.each([&](std::uint32_t r) { copy_row(r, block, count++); });
  return block;
}

void Table::mark_changed(const std::int64_t* keys, std::size_t count, const std::int64_t* tombstones,
                         std::size_t tombstone_count) {
  reserve_more(touched_, count);
  reserve_more(erased_, count + tombstone_count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t r = find_one(keys[i]);
    if (r == kNoRow) {
      erased_.push_back(keys[i]);
    } else if (store_.mark_touched(r)) {
      touched_.push_back(r);
    }
  }
  erased_.insert(erased_.end(), tombstones, tombstones + tombstone_count);
}

void Table::remove(std::int64_t key, std::uint32_t r) noexcept {
  // A touched row keeps its mark, so that whoever takes it next does not enter the touched list twice.
  removed_ = true;
  index_.erase(hash_key(key), r);
  store_.give_back(r);
}

std::size_t Table::erase(const std::int64_t* keys, std::size_t count) {
  reserve_more(erased_, count);
  std::size_t present = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t r = find_one(keys[i]);
    if (r == kNoRow) continue;
    remove(keys[i], r);
    erased_.push_back(keys[i]);
    ++present;
  }
  return present;
}

void Table::import(const RowBlockView& rows) {
  Array<std::uint64_t> hashes(rows.count, 0);
  Array<std::uint32_t> found(rows.count, 0);
  for (std::size_t i = 0; i < rows.count; ++i) hashes[i] = hash_key(rows.keys[i]);
  find(rows.keys, hashes.data(), rows.count, found.data());
  Array<std::uint64_t> missing;
  missing.reserve(rows.count);
  for (std::size_t i = 0; i < rows.count; ++i)
    if (found[i] == kNoRow) missing.push_back(hashes[i]);
  reserve(missing.data(), missing.size());
  // From here on nothing can fail. Erasing frees what the same key would take again, so the reserve still holds.
  for (std::size_t i = 0; i < rows.tombstone_count; ++i) {
    const std::uint32_t r = find_one(rows.tombstones[i]);
    if (r != kNoRow) remove(rows.tombstones[i], r);
  }
  for (std::size_t begin = 0; begin < rows.count; begin += kImportChunk) {
    const std::size_t count = std::min(kImportChunk, rows.count - begin);
    find(rows.keys + begin, hashes.data() + begin, count, found.data() + begin);
    for (std::size_t i = begin; i < begin + count; ++i) {
      std::uint32_t r = found[i];
      // Absent before this chunk; an equal key earlier in the chunk may have created it.
      if (r == kNoRow) r = index_.find(hashes[i], rows.keys[i]);
      if (r == kNoRow) {
        r = store_.take(rows.keys[i]);
        index_.insert(hashes[i], r);
      }
      float* row = store_.row(r);
      std::copy_n(rows.values + i * dim(), dim(), row);
      if (slot_width_ != 0) std::copy_n(rows.slots + i * slot_width_, slot_width_, row + dim());
      if (trainable_) store_.set_metadata(r, rows.frequency[i], rows.last_seen[i]);
    }
  }
}

}  // namespace springtide
