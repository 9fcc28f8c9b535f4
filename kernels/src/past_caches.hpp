// Stores that go past the caches, which would fetch every line before it is overwritten; knows no row.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace springtide {

// Static, since one of those who include this is compiled for newer machines than the others.

// Copies to memory that nobody will read soon; end_streaming() before anybody does.
static inline void stream_floats(const float* __restrict from, std::size_t count, float* __restrict to) noexcept {
  std::size_t i = 0;
#if defined(__SSE2__)
  if (reinterpret_cast<std::uintptr_t>(to) % 16 == 0)
    for (; i + 4 <= count; i += 4) _mm_stream_ps(to + i, _mm_loadu_ps(from + i));
#endif
  for (; i < count; ++i) to[i] = from[i];
}

static inline void end_streaming() noexcept {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace springtide
