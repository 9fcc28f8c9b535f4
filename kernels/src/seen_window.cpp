// SPDX-License-Identifier: Apache-2.0
#include "seen_window.hpp"

#include <algorithm>
#include <limits>

#include "hash.hpp"

namespace springtide {
namespace {

constexpr std::size_t kSmallest = 64;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::min();

// clock - horizon, without overflow.
std::int64_t cutoff(std::int64_t clock_ms, std::int64_t horizon_ms) noexcept {
  return clock_ms < kNever + horizon_ms ? kNever : clock_ms - horizon_ms;
}

}  // namespace

SeenWindow::SeenWindow(std::int64_t horizon_ms)
    : horizon_ms_(horizon_ms), clock_ms_(kNever), captured_clock_ms_(kNever), places_(kSmallest, 0) {}

bool SeenWindow::contains(std::uint64_t hash) const noexcept {
  const std::size_t mask = places_.size() - 1;
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    if (places_[at] == hash) return true;
    if (places_[at] == 0) return false;
  }
}

void SeenWindow::insert(std::uint64_t hash) noexcept {
  const std::size_t mask = places_.size() - 1;
  std::size_t at = hash & mask;
  while (places_[at] != 0) at = (at + 1) & mask;
  places_[at] = hash;
  ++used_;
}

// Linear probing with backward shift: later keys of the same run move up, so that no marker is needed.
void SeenWindow::erase(std::uint64_t hash) noexcept {
  const std::size_t mask = places_.size() - 1;
  std::size_t hole = hash & mask;
  while (places_[hole] != hash) hole = (hole + 1) & mask;
  for (std::size_t at = (hole + 1) & mask; places_[at] != 0; at = (at + 1) & mask) {
    const std::size_t home = places_[at] & mask;
    if (((at - home) & mask) < ((at - hole) & mask)) continue;  // the hole lies before its home
    places_[hole] = places_[at];
    hole = at;
  }
  places_[hole] = 0;
  --used_;
}

void SeenWindow::reserve(std::size_t extra) {
  // Forgotten entries leave the queue when they are most of it: constant work per entry in the long run.
  if (gone_ > queue_.size() / 2) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(gone_));
    gone_ = 0;
  }
  reserve_more(queue_, extra);
  reserve_more(increment_, extra + 1);
  if ((used_ + extra) * 10 <= places_.size() * 7) return;
  std::size_t size = places_.size();
  while ((used_ + extra) * 10 > size * 7) size *= 2;
  Array<std::uint64_t> larger(size, 0);
  places_.swap(larger);
  used_ = 0;
  for (const std::uint64_t hash : larger)
    if (hash != 0) insert(hash);
}

void SeenWindow::advance(std::int64_t clock_ms) noexcept {
  if (clock_ms <= clock_ms_) return;
  clock_ms_ = clock_ms;
  const std::int64_t oldest = cutoff(clock_ms_, horizon_ms_);
  while (gone_ < queue_.size() && queue_[gone_].clock_ms < oldest) erase(queue_[gone_++].hash);
}

void SeenWindow::remember(std::uint64_t hash) noexcept {
  insert(hash);
  queue_.push_back(SeenEntry{clock_ms_, hash});
}

std::size_t SeenWindow::admit(const std::uint64_t* hashes, const std::int64_t* known_ms, std::size_t count,
                              bool* admitted) {
  reserve(count);
  std::size_t beyond = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t hash = hashes[i] == 0 ? 1 : hashes[i];
    advance(known_ms[i]);
    admitted[i] = !contains(hash);
    if (!admitted[i]) continue;
    remember(hash);
    increment_.push_back(queue_.back());
    if (known_ms[i] < cutoff(clock_ms_, horizon_ms_)) ++beyond;
  }
  return beyond;
}

Array<SeenEntry> SeenWindow::capture() {
  reserve_more(increment_, 1);
  // Repeats may have moved the clock; whoever restores this window must forget what it forgot.
  if (clock_ms_ != captured_clock_ms_ && (increment_.empty() || increment_.back().clock_ms != clock_ms_))
    increment_.push_back(SeenEntry{clock_ms_, 0});
  Array<SeenEntry> entries;
  entries.swap(increment_);
  captured_clock_ms_ = clock_ms_;
  return entries;
}

void SeenWindow::put_back(const SeenEntry* entries, std::size_t count) {
  increment_.insert(increment_.begin(), entries, entries + count);
}

Array<SeenEntry> SeenWindow::all() const {
  Array<SeenEntry> entries;
  entries.reserve(queue_.size() - gone_ + 1);
  entries.insert(entries.end(), queue_.begin() + static_cast<std::ptrdiff_t>(gone_), queue_.end());
  if (clock_ms_ != kNever && (entries.empty() || entries.back().clock_ms != clock_ms_))
    entries.push_back(SeenEntry{clock_ms_, 0});
  return entries;
}

void SeenWindow::import(const SeenEntry* entries, std::size_t count) {
  reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    advance(entries[i].clock_ms);
    if (entries[i].hash == 0 || entries[i].clock_ms < cutoff(clock_ms_, horizon_ms_) || contains(entries[i].hash)) continue;
    insert(entries[i].hash);
    queue_.push_back(entries[i]);
  }
  captured_clock_ms_ = clock_ms_;
}

std::size_t SeenWindow::bytes() const noexcept {
  return (queue_.capacity() + increment_.capacity()) * sizeof(SeenEntry) + places_.capacity() * sizeof(std::uint64_t);
}

}  // namespace springtide
