// Which sample ids were admitted within a horizon of stream time; knows hashes and times, no strings and no samples.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "memory.hpp"

namespace springtide {

// One admitted id and the stream time (newest known_ms so far) at which it was admitted. Hash 0 is no id: it only says that
// the stream time reached `clock_ms`.
struct SeenEntry {
  std::int64_t clock_ms;
  std::uint64_t hash;
};
static_assert(sizeof(SeenEntry) == 16, "entries pass to numpy as [n, 2] int64");

class SeenWindow {
 public:
  explicit SeenWindow(std::int64_t horizon_ms);

  // admitted[i] = id i is not remembered; a repeat within the call is not admitted either. Returns how many were admitted
  // although they are older than the horizon, so that an earlier copy could be forgotten. Throws std::bad_alloc, the window
  // as before.
  std::size_t admit(const std::uint64_t* hashes, const std::int64_t* known_ms, std::size_t count, bool* admitted);

  // Entries since the last capture, in order.
  Array<SeenEntry> capture();
  void put_back(const SeenEntry* entries, std::size_t count);
  // Everything still remembered, in order.
  Array<SeenEntry> all() const;
  void import(const SeenEntry* entries, std::size_t count);

  std::size_t size() const noexcept { return used_; }
  std::int64_t clock_ms() const noexcept { return clock_ms_; }
  std::size_t bytes() const noexcept;

 private:
  bool contains(std::uint64_t hash) const noexcept;
  void insert(std::uint64_t hash) noexcept;
  void erase(std::uint64_t hash) noexcept;
  void reserve(std::size_t extra);
  void advance(std::int64_t clock_ms) noexcept;
  void remember(std::uint64_t hash) noexcept;

  std::int64_t horizon_ms_;
  std::int64_t clock_ms_;
  std::int64_t captured_clock_ms_;
  Array<SeenEntry> queue_;        // in order of admission, hence of clock; the first `gone_` are forgotten
  std::size_t gone_ = 0;
  Array<std::uint64_t> places_;   // open addressing, 0 = empty
  std::size_t used_ = 0;
  Array<SeenEntry> increment_;
};

}  // namespace springtide
