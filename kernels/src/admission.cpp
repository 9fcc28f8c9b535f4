// SPDX-License-Identifier: Apache-2.0
#include "admission.hpp"

#include <algorithm>
#include <cstring>

#include "optimizer.hpp"

namespace springtide {
namespace {

constexpr std::uint64_t kDomain = 0x61646d697373696fULL;  // keeps these draws apart from those of initial rows

// Six bits of it per counter, ten counters per word.
class Places {
 public:
  explicit Places(std::uint64_t mixed) noexcept : word_(mix(mixed)) {}
  std::size_t next() noexcept {
    if (taken_++ == 10) {
      word_ = mix(word_ + kGolden);
      taken_ = 1;
    }
    const auto place = static_cast<std::size_t>(word_ & 63);
    word_ = word_ >> 6 | word_ << 58;
    return place;
  }

 private:
  std::uint64_t word_;
  int taken_ = 0;
};

unsigned halvings(std::int64_t now, std::int64_t then) noexcept {
  if (now <= then) return 0;
  // Modulo 2^64, as the difference of two periods may be more than an int64 holds.
  return static_cast<unsigned>(std::min<std::uint64_t>(static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(then), 8));
}

}  // namespace

Admission::Admission(AdmissionSettings settings, std::uint64_t seed, const std::string& table)
    : settings_(settings), stream_(mix(mix(seed + kGolden) ^ xxh64(table.data(), table.size(), 0)) ^ kDomain) {
  if (settings_.kind != AdmissionKind::kCounter && settings_.kind != AdmissionKind::kBloom) return;
  rows_ = std::make_unique<KeyedRows>(Array<std::size_t>(1, counter_width()), true);
}

std::int64_t Admission::block_of(std::uint64_t mixed) const noexcept {
  return static_cast<std::int64_t>((mixed >> 32) * settings_.blocks >> 32);
}

std::int64_t Admission::period(std::int64_t clock_ms) const noexcept {
  if (settings_.period_ms == 0) return 0;
  const std::int64_t whole = clock_ms / settings_.period_ms;
  return clock_ms % settings_.period_ms < 0 ? whole - 1 : whole;
}

bool Admission::admits(std::int64_t key, std::uint64_t hash, std::uint32_t occurrences, std::uint64_t step,
                       std::int64_t clock_ms) const noexcept {
  switch (settings_.kind) {
    case AdmissionKind::kAlways:
      return true;
    case AdmissionKind::kProbability: {
      const std::uint64_t drawn = mix(mix(stream_ ^ mix(static_cast<std::uint64_t>(key) + kGolden)) + (step + 1) * kGolden);
      const double unit = static_cast<double>(drawn >> 11) * 0x1p-53;
      return unit < 1 - whole_power(1 - settings_.probability, occurrences);
    }
    case AdmissionKind::kCounter: {
      const std::uint32_t r = rows_->index.find(hash, key);
      const std::uint64_t before = r == kNoRow ? 0 : rows_->store.frequency(r);
      return before + occurrences >= settings_.occurrences;
    }
    case AdmissionKind::kBloom: {
      const std::uint64_t mixed = mix(hash ^ stream_);
      const std::uint32_t r = rows_->find(block_of(mixed));
      std::uint32_t least = 0;
      if (r != kNoRow) {
        const unsigned by = halvings(period(clock_ms), rows_->store.last_seen(r));
        const unsigned char* counters = rows_->store.row(r);
        least = 255;
        Places places(mixed);
        for (std::uint32_t i = 0; i < settings_.hashes; ++i) least = std::min<std::uint32_t>(least, counters[places.next()] >> by);
      }
      return std::uint64_t{least} + occurrences >= settings_.occurrences;
    }
  }
  return true;
}

void Admission::reserve(const std::int64_t* keys, const std::uint64_t* hashes, std::size_t count, std::size_t admitted) {
  if (rows_ == nullptr) return;
  missing_.clear();
  reserve_more(missing_, count);
  for (std::size_t i = 0; i < count; ++i) {
    const bool bloom = settings_.kind == AdmissionKind::kBloom;
    const std::int64_t key = bloom ? block_of(mix(hashes[i] ^ stream_)) : keys[i];
    const std::uint64_t hash = bloom ? hash_key(key) : hashes[i];
    if (rows_->index.find(hash, key) == kNoRow) missing_.push_back(hash);
  }
  rows_->reserve(0, missing_.data(), missing_.size());
  rows_->reserve_touches(count);
  admitted_ = admitted;
  rows_->reserve_erased(admitted);
}

void Admission::count(std::int64_t key, std::uint64_t hash, std::uint32_t occurrences, std::int64_t clock_ms,
                      std::int64_t event_ms) noexcept {
  if (rows_ == nullptr) return;
  RowStore& store = rows_->store;
  if (settings_.kind == AdmissionKind::kCounter) {
    std::uint32_t r = rows_->index.find(hash, key);
    if (r == kNoRow) {
      r = rows_->take(0, key, hash);
      store.set_metadata(r, 0, event_ms);
    }
    store.see(r, occurrences, event_ms);
    rows_->touch(r);
    return;
  }
  const std::uint64_t mixed = mix(hash ^ stream_);
  const std::int64_t block = block_of(mixed);
  const std::int64_t now = period(clock_ms);
  std::uint32_t r = rows_->find(block);
  if (r == kNoRow) {
    r = rows_->take(0, block, hash_key(block));
    std::memset(store.row(r), 0, kFilterBlock);
    store.set_metadata(r, 1, now);
  }
  unsigned char* counters = store.row(r);
  const unsigned by = halvings(now, store.last_seen(r));
  if (by != 0) {
    for (std::size_t i = 0; i < kFilterBlock; ++i) counters[i] = static_cast<unsigned char>(counters[i] >> by);
    store.set_metadata(r, 1, now);
  }
  // Conservative update (Estan and Varghese, 2002): no counter is raised beyond what the smallest one proves.
  std::uint32_t least = 255;
  Places places(mixed);
  for (std::uint32_t i = 0; i < settings_.hashes; ++i) least = std::min<std::uint32_t>(least, counters[places.next()]);
  const auto raised = static_cast<unsigned char>(std::min<std::uint64_t>(255, std::uint64_t{least} + occurrences));
  places = Places(mixed);
  for (std::uint32_t i = 0; i < settings_.hashes; ++i) {
    unsigned char& counter = counters[places.next()];
    counter = std::max(counter, raised);
  }
  rows_->touch(r);
}

void Admission::forget(std::int64_t key, std::uint64_t hash) noexcept {
  if (settings_.kind != AdmissionKind::kCounter) return;
  const std::uint32_t r = rows_->index.find(hash, key);
  if (r == kNoRow) return;
  rows_->remove(r, hash);
  rows_->note_erased(key);
}

std::size_t Admission::count_in(std::uint32_t first, std::uint32_t last) const noexcept {
  return settings_.kind == AdmissionKind::kCounter ? rows_->index.count_in(first, last) : 0;
}

void Admission::reserve_expiry(std::size_t count) {
  if (settings_.kind != AdmissionKind::kCounter) return;
  ensure(expired_, count);
  rows_->reserve_erased(admitted_ + count);
}

void Admission::expire(std::uint32_t first, std::uint32_t last, std::int64_t oldest_ms) noexcept {
  if (settings_.kind != AdmissionKind::kCounter) return;
  std::size_t count = 0;
  rows_->index.each_in(first, last, [&](std::uint32_t r, std::uint64_t) {
    if (rows_->store.last_seen(r) < oldest_ms) expired_[count++] = r;
  });
  rows_->evict(expired_.data(), count);
}

AdmissionBlock Admission::copy(const Array<std::uint32_t>& rows, const Array<std::int64_t>& tombstones) const {
  AdmissionBlock block;
  const std::size_t width = counter_width();
  const std::size_t gone = tombstones.size();
  const std::size_t count = gone + rows.size();
  block.keys.resize(count);
  block.counters.resize(count * width);
  block.occurrences.resize(count);
  block.last_seen.resize(count);
  std::copy(tombstones.begin(), tombstones.end(), block.keys.begin());
  std::fill_n(block.counters.begin(), gone * width, std::uint8_t{0});
  std::fill_n(block.occurrences.begin(), gone, 0U);
  std::fill_n(block.last_seen.begin(), gone, 0);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t at = gone + i;
    block.keys[at] = rows_->store.key(rows[i]);
    if (width != 0) std::memcpy(block.counters.data() + at * width, rows_->store.row(rows[i]), width);
    block.occurrences[at] = rows_->store.frequency(rows[i]);
    block.last_seen[at] = rows_->store.last_seen(rows[i]);
  }
  return block;
}

AdmissionBlock Admission::changes() {
  if (rows_ == nullptr) return {};
  const KeyedRows::Changes changed = rows_->changes();
  return copy(changed.rows, changed.tombstones);
}

void Admission::forget_changes() noexcept {
  if (rows_ != nullptr) rows_->forget_changes();
}

AdmissionBlock Admission::all() const {
  if (rows_ == nullptr) return {};
  Array<std::uint32_t> rows;
  rows.reserve(rows_->store.size());
  rows_->store.each([&](std::uint32_t r) { rows.push_back(r); });
  return copy(rows, {});
}

void Admission::mark_changed(const std::int64_t* keys, std::size_t count, const std::int64_t* tombstones,
                             std::size_t tombstone_count) {
  if (rows_ != nullptr) rows_->mark_changed(keys, count, tombstones, tombstone_count);
}

void Admission::reserve_import(const AdmissionBlockView& block) {
  if (rows_ == nullptr) return;
  missing_.clear();
  reserve_more(missing_, block.count);
  for (std::size_t i = 0; i < block.count; ++i)
    if (rows_->find(block.keys[i]) == kNoRow) missing_.push_back(hash_key(block.keys[i]));
  rows_->reserve(0, missing_.data(), missing_.size());
}

void Admission::import(const AdmissionBlockView& block) noexcept {
  if (rows_ == nullptr) return;
  for (std::size_t i = 0; i < block.count; ++i) {
    const std::uint64_t hash = hash_key(block.keys[i]);
    std::uint32_t r = rows_->index.find(hash, block.keys[i]);
    if (block.occurrences[i] == 0) {
      if (r != kNoRow) rows_->remove(r, hash);
      continue;
    }
    if (r == kNoRow) r = rows_->take_unchanged(0, block.keys[i], hash);
    const std::size_t width = counter_width();
    if (width != 0) std::memcpy(rows_->store.row(r), block.counters + i * width, width);
    rows_->store.set_metadata(r, block.occurrences[i], block.last_seen[i]);
  }
}

}  // namespace springtide
