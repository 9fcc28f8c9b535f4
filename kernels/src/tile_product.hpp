// Products of float32 matrices on the matrix unit of a processor (AMX), as sums of bfloat16 products; knows no layer.
//
// A float32 is the sum of three bfloat16, each of what the ones before it left over. Of the nine products of two such sums the six
// larger ones are added in float32: what is lost is about 2^-24 of each product's size, as in float32 itself. With two parts of
// each number and three products it is 2^-16, for half of the work.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

namespace springtide::tiles {

// Rows of one call, and what widths are rounded up to.
constexpr std::size_t kRows = 32;
constexpr std::size_t kDepth = 32;
constexpr std::size_t kColumns = 32;
// Most parts of one number; the fewest are two.
constexpr std::size_t kMostParts = 3;

// Whether this process may use the unit; asks the kernel for it once.
bool available() noexcept;

// The sum of cut[b, p, r, k] over p < parts is rows[r, b * kDepth + k], rows `stride` floats apart and `width` long, and zero up to
// `depth`, a multiple of kDepth. cut is [depth / kDepth, parts, kRows, kDepth].
void split(const float* rows, std::size_t count, std::size_t width, std::size_t stride, std::size_t depth,
           std::size_t parts, std::uint16_t* cut) noexcept;

// Where the largest part of one number of a matrix [depth, columns] stands among the packed ones; each of the others is kTile
// further.
constexpr std::size_t kTile = 16 * 32;
static constexpr std::size_t packed_at(std::size_t depth, std::size_t parts, std::size_t row, std::size_t column) noexcept {
  const std::size_t block = column / 16 * (depth / kDepth) + row / kDepth;
  return block * parts * kTile + row % kDepth / 2 * 32 + column % 16 * 2 + row % 2;
}

// out[r, :] = the rows of `cut` @ packed, for at most kRows rows; `columns` is a multiple of kColumns and the stride of `out`,
// whose rows up to the next multiple of 16 need not be there.
void product(const std::uint16_t* cut, std::size_t count, std::size_t depth, std::size_t parts,
             const std::uint16_t* packed, std::size_t columns, float* out) noexcept;

// Lets go of the unit's registers, which the kernel saves and loads with a thread as long as they hold something.
void release() noexcept;

// rows[r, c] = act(rows[r, c] + added[c]); act(x) = max(x, 0) or x. `columns` is a multiple of 16.
void add(float* rows, std::size_t count, std::size_t columns, const float* added, bool positive) noexcept;
// added[c] = bias[c] + sum of shared[s] * weights[s, c]. `columns` is a multiple of 32.
void add_shared(const float* shared, std::size_t count, const float* weights, const float* bias, std::size_t columns,
                float* added) noexcept;
// out[r * out_stride] = bias + sum of rows[r, k] * weights[k], rows `stride` floats apart and `width` long.
void narrow(const float* rows, std::size_t count, std::size_t width, std::size_t stride, const float* weights, float bias,
            float* out, std::size_t out_stride) noexcept;

}  // namespace springtide::tiles
