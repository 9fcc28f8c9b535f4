// Compiled with the instructions that it needs, whatever the rest is compiled for (see CMakeLists.txt). No standard templates
// here: an inline function compiled for a newer machine could be the copy that the linker keeps for all.
// SPDX-License-Identifier: Apache-2.0
#include "tile_product.hpp"

#if defined(SPRINGTIDE_TILES)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace springtide::tiles {
namespace {

constexpr std::size_t kLanes = 16;
// Linux: ask for a part of the processor's state that is not there for everybody, and its number.
constexpr long kAskForState = 0x1023;
constexpr long kTileData = 18;

struct alignas(64) Shapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

__mmask16 lanes(std::size_t count) noexcept {
  return count >= kLanes ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1U << count) - 1);
}

// Stores the next part of each number, and returns what it leaves over.
__m512 store_part(__m512 numbers, std::uint16_t* part) noexcept {
  const auto kept = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(numbers));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(part), kept);
  return _mm512_sub_ps(numbers, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(kept), 16)));
}

bool may_use() noexcept {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c >> 27 & 1U) == 0) return false;  // no OSXSAVE
  const bool vectors = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl");
  if (!vectors || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  const bool matrices = (d >> 22 & 1U) != 0 && (d >> 24 & 1U) != 0;  // amx-bf16, amx-tile
  if (!matrices || __get_cpuid_count(7, 1, &a, &b, &c, &d) == 0 || (a >> 5 & 1U) == 0) return false;  // avx512-bf16
  return syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
}

}  // namespace

bool available() noexcept {
  static const bool may = may_use();
  return may;
}

namespace {

template <std::size_t kParts>
void split_into(const float* rows, std::size_t count, std::size_t width, std::size_t stride, std::size_t depth,
                std::uint16_t* cut) noexcept {
  for (std::size_t r = 0; r < count; ++r) {
    const float* row = rows + r * stride;
    for (std::size_t k = 0; k < depth; k += kLanes) {
      const __mmask16 there = k < width ? lanes(width - k) : static_cast<__mmask16>(0);
      __m512 left = _mm512_maskz_loadu_ps(there, row + (k < width ? k : 0));
      std::uint16_t* to = cut + (k / kDepth * kParts * kRows + r) * kDepth + k % kDepth;
      for (std::size_t part = 0; part < kParts; ++part) left = store_part(left, to + part * kRows * kDepth);
    }
  }
}

// Tiles 0 to 3 sum up [first rows, second rows] x [first columns, second columns]; 4 and 5 hold rows, 6 and 7 columns.
template <std::size_t kParts>
void product_of(const std::uint16_t* cut, std::size_t count, std::size_t depth, const std::uint16_t* packed,
                std::size_t columns, float* out) noexcept {
  const std::size_t upper = count < 16 ? count : 16;
  const std::size_t lower = count - upper;
  Shapes shapes;
  for (int tile = 0; tile < 8; ++tile) {
    shapes.row_bytes[tile] = 64;
    shapes.rows[tile] = 16;
  }
  shapes.rows[0] = shapes.rows[1] = shapes.rows[4] = static_cast<std::uint8_t>(upper);
  shapes.rows[2] = shapes.rows[3] = shapes.rows[5] = static_cast<std::uint8_t>(lower == 0 ? 1 : lower);
  // GCC 12 tells the optimiser of eight of the bytes that this reads.
  __asm__ volatile("" : : "r"(&shapes) : "memory");
  _tile_loadconfig(&shapes);
  const std::size_t blocks = depth / kDepth;
  const auto multiply = [lower]() noexcept __attribute__((always_inline)) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (lower == 0) return;
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  };
  for (std::size_t column = 0; column < columns; column += kColumns) {
    const std::uint16_t* left = packed + packed_at(depth, kParts, 0, column);
    const std::uint16_t* right = packed + packed_at(depth, kParts, 0, column + 16);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (std::size_t block = 0; block < blocks; ++block) {
      const auto take_rows = [=](std::size_t part) noexcept __attribute__((always_inline)) {
        const std::uint16_t* from = cut + (block * kParts + part) * kRows * kDepth;
        _tile_loadd(4, from, 64);
        if (lower != 0) _tile_loadd(5, from + 16 * kDepth, 64);
      };
      const auto take_columns = [=](std::size_t part) noexcept __attribute__((always_inline)) {
        _tile_loadd(6, left + (block * kParts + part) * kTile, 64);
        _tile_loadd(7, right + (block * kParts + part) * kTile, 64);
      };
      // In an order that loads little: each part of the columns once.
      take_columns(0);
      if constexpr (kParts == 3) {
        take_rows(2);
        multiply();
      }
      take_rows(1);
      multiply();
      take_rows(0);
      multiply();
      if constexpr (kParts == 3) {
        take_columns(2);
        multiply();
      }
      take_columns(1);
      multiply();
      if constexpr (kParts == 3) {
        take_rows(1);
        multiply();
      }
    }
    const auto out_bytes = static_cast<long>(columns * sizeof(float));
    _tile_stored(0, out + column, out_bytes);
    _tile_stored(1, out + column + 16, out_bytes);
    if (lower == 0) continue;
    _tile_stored(2, out + 16 * columns + column, out_bytes);
    _tile_stored(3, out + 16 * columns + column + 16, out_bytes);
  }
}

}  // namespace

void split(const float* rows, std::size_t count, std::size_t width, std::size_t stride, std::size_t depth,
           std::size_t parts, std::uint16_t* cut) noexcept {
  (parts == 2 ? split_into<2> : split_into<3>)(rows, count, width, stride, depth, cut);
}

void product(const std::uint16_t* cut, std::size_t count, std::size_t depth, std::size_t parts,
             const std::uint16_t* packed, std::size_t columns, float* out) noexcept {
  (parts == 2 ? product_of<2> : product_of<3>)(cut, count, depth, packed, columns, out);
}

void release() noexcept { _tile_release(); }

void add(float* rows, std::size_t count, std::size_t columns, const float* added, bool positive) noexcept {
  const __m512 least = positive ? _mm512_setzero_ps() : _mm512_set1_ps(-__builtin_inff());
  for (std::size_t r = 0; r < count; ++r) {
    float* row = rows + r * columns;
    for (std::size_t c = 0; c < columns; c += kLanes) {
      const __m512 sum = _mm512_add_ps(_mm512_loadu_ps(row + c), _mm512_loadu_ps(added + c));
      // In this order: of a number and none the second is taken, and none must stay none.
      _mm512_storeu_ps(row + c, _mm512_max_ps(least, sum));
    }
  }
}

void add_shared(const float* shared, std::size_t count, const float* weights, const float* bias, std::size_t columns,
                float* added) noexcept {
  // As many columns at once as registers hold sums of: the row of weights is read from end to end.
  constexpr std::size_t kAtOnce = 8;
  for (std::size_t begin = 0; begin < columns; begin += kAtOnce * kLanes) {
    const std::size_t end = columns - begin < kAtOnce * kLanes ? (columns - begin) / kLanes : kAtOnce;
    __m512 sums[kAtOnce];
    for (std::size_t i = 0; i < kAtOnce; ++i)
      sums[i] = i < end ? _mm512_loadu_ps(bias + begin + i * kLanes) : _mm512_setzero_ps();
    for (std::size_t s = 0; s < count; ++s) {
      const float* row = weights + s * columns + begin;
      const __m512 factor = _mm512_set1_ps(shared[s]);
      if (end == kAtOnce) {
        for (std::size_t i = 0; i < kAtOnce; ++i)
          sums[i] = _mm512_add_ps(sums[i], _mm512_mul_ps(factor, _mm512_loadu_ps(row + i * kLanes)));
      } else {
        for (std::size_t i = 0; i < end; ++i)
          sums[i] = _mm512_add_ps(sums[i], _mm512_mul_ps(factor, _mm512_loadu_ps(row + i * kLanes)));
      }
    }
    for (std::size_t i = 0; i < end; ++i) _mm512_storeu_ps(added + begin + i * kLanes, sums[i]);
  }
}

void narrow(const float* rows, std::size_t count, std::size_t width, std::size_t stride, const float* weights, float bias,
            float* out, std::size_t out_stride) noexcept {
  for (std::size_t r = 0; r < count; ++r) {
    __m512 sum = _mm512_setzero_ps();
    for (std::size_t k = 0; k < width; k += kLanes) {
      const __mmask16 there = lanes(width - k);
      sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(there, rows + r * stride + k), _mm512_maskz_loadu_ps(there, weights + k), sum);
    }
    out[r * out_stride] = bias + _mm512_reduce_add_ps(sum);
  }
}

}  // namespace springtide::tiles

#else

namespace springtide::tiles {

bool available() noexcept { return false; }
void split(const float*, std::size_t, std::size_t, std::size_t, std::size_t, std::size_t, std::uint16_t*) noexcept {}
void product(const std::uint16_t*, std::size_t, std::size_t, std::size_t, const std::uint16_t*, std::size_t,
             float*) noexcept {}
void release() noexcept {}
void add(float*, std::size_t, std::size_t, const float*, bool) noexcept {}
void add_shared(const float*, std::size_t, const float*, const float*, std::size_t, float*) noexcept {}
void narrow(const float*, std::size_t, std::size_t, std::size_t, const float*, float, float*, std::size_t) noexcept {}

}  // namespace springtide::tiles
#endif
