// Compiled once per instruction set with SPRINGTIDE_VARIANT as its name (see CMakeLists.txt). No standard templates here:
// an inline function compiled for a newer machine could be the copy that the linker keeps for all.
// SPDX-License-Identifier: Apache-2.0
#include "past_caches.hpp"
#include "row_kernels.hpp"

#define SPRINGTIDE_TEXT(x) #x
#define SPRINGTIDE_NAME(x) SPRINGTIDE_TEXT(x)

namespace springtide::SPRINGTIDE_VARIANT {
namespace {

// Far enough ahead to hide memory, near enough to stay in the first cache.
constexpr std::size_t kAhead = 16;
// A column of the buffer is read and written in strides that no hardware follows across pages.
constexpr std::size_t kStridesAhead = 16;
// So large a buffer is read from memory anyway.
constexpr std::size_t kPastCaches = std::size_t{4} << 20;
constexpr std::size_t kLineFloats = 64 / sizeof(float);

inline void prefetch_row(const float* row, std::size_t floats) noexcept {
  const char* line = reinterpret_cast<const char*>(row);
  for (std::size_t byte = 0; byte < floats * sizeof(float) && byte < 512; byte += 64) __builtin_prefetch(line + byte);
}

inline float root(float x) noexcept { return __builtin_sqrtf(x); }

// What a sum over the occurrences [begin, end) is multiplied by. With weights, mean divides by their sum and sqrtn by the
// root of the sum of their squares; where that is zero, nothing is left of the row.
inline float weight(Combiner combiner, std::int32_t begin, std::int32_t end, const float* weights) noexcept {
  if (combiner == Combiner::kSum) return 1.0F;
  if (weights == nullptr) {
    const auto n = static_cast<float>(end - begin);
    return 1.0F / (combiner == Combiner::kMean ? n : root(n));
  }
  float total = 0;
  for (std::int32_t j = begin; j < end; ++j) total += combiner == Combiner::kMean ? weights[j] : weights[j] * weights[j];
  if (total == 0) return 0.0F;
  return 1.0F / (combiner == Combiner::kMean ? total : root(total));
}

// kDim is the row width where it is known at compile time, else 0.
template <std::size_t kDim>
struct Loops {
  static std::size_t width(std::size_t dim) noexcept { return kDim != 0 ? kDim : dim; }

  static void expand(const float* values, const std::uint32_t* inverse, std::size_t count, std::size_t dim, float* out,
                     std::size_t stride) {
    const std::size_t n = width(dim);
    if (count * stride * sizeof(float) >= kPastCaches && n % kLineFloats == 0 && stride % kLineFloats == 0) {
      for (std::size_t r = 0; r < count; ++r, out += stride) stream_floats(values + inverse[r] * n, n, out);
      return end_streaming();
    }
    for (std::size_t r = 0; r < count; ++r, out += stride) {
      if (r + kStridesAhead < count) __builtin_prefetch(out + kStridesAhead * stride, 1);
      const float* __restrict from = values + inverse[r] * n;
      float* __restrict to = out;
      for (std::size_t d = 0; d < n; ++d) to[d] = from[d];
    }
  }

  static void combine(const float* values, const std::uint32_t* inverse, const std::int32_t* splits, const float* weights,
                      std::size_t count, std::size_t dim, Combiner combiner, float* out, std::size_t stride) {
    const std::size_t n = width(dim);
    for (std::size_t r = 0; r < count; ++r, out += stride) {
      float* __restrict to = out;
      for (std::size_t d = 0; d < n; ++d) to[d] = 0;
      for (std::int32_t j = splits[r]; j < splits[r + 1]; ++j) {
        const float* __restrict from = values + inverse[j] * n;
        const float by = weights == nullptr ? 1.0F : weights[j];
        for (std::size_t d = 0; d < n; ++d) to[d] += by * from[d];
      }
      if (combiner == Combiner::kSum || (weights == nullptr && splits[r + 1] - splits[r] < 2)) continue;
      const float by = weight(combiner, splits[r], splits[r + 1], weights);
      for (std::size_t d = 0; d < n; ++d) to[d] *= by;
    }
  }

  static void add(const float* gradient, std::size_t stride, const std::uint32_t* inverse, std::size_t count,
                  std::size_t dim, float* sums) {
    const std::size_t n = width(dim);
    for (std::size_t r = 0; r < count; ++r, gradient += stride) {
      if (r + kStridesAhead < count) __builtin_prefetch(gradient + kStridesAhead * stride);
      const float* __restrict from = gradient;
      float* __restrict to = sums + inverse[r] * n;
      for (std::size_t d = 0; d < n; ++d) to[d] += from[d];
    }
  }

  static void distribute(const float* gradient, std::size_t stride, const std::uint32_t* inverse,
                         const std::int32_t* splits, const float* weights, std::size_t count, std::size_t dim,
                         Combiner combiner, float* sums) {
    const std::size_t n = width(dim);
    for (std::size_t r = 0; r < count; ++r, gradient += stride) {
      const float of_row = weight(combiner, splits[r], splits[r + 1], weights);
      for (std::int32_t j = splits[r]; j < splits[r + 1]; ++j) {
        const float* __restrict from = gradient;
        float* __restrict to = sums + inverse[j] * n;
        const float by = weights == nullptr ? of_row : of_row * weights[j];
        for (std::size_t d = 0; d < n; ++d) to[d] += from[d] * by;
      }
    }
  }
};

template <template <std::size_t> class Call, class... Arguments>
inline void by_width(std::size_t dim, Arguments... arguments) {
  switch (dim) {
    case 4:
      return Call<4>::run(arguments...);
    case 8:
      return Call<8>::run(arguments...);
    case 16:
      return Call<16>::run(arguments...);
    case 32:
      return Call<32>::run(arguments...);
    case 64:
      return Call<64>::run(arguments...);
    default:
      return Call<0>::run(arguments...);
  }
}

#define SPRINGTIDE_CALL(verb)                                     \
  template <std::size_t kDim>                                     \
  struct Call_##verb {                                            \
    template <class... Arguments>                                 \
    static void run(Arguments&... arguments) {                    \
      Loops<kDim>::verb(arguments...);                            \
    }                                                             \
  };
SPRINGTIDE_CALL(expand)
SPRINGTIDE_CALL(combine)
SPRINGTIDE_CALL(add)
SPRINGTIDE_CALL(distribute)

void expand(const float* values, const std::uint32_t* inverse, std::size_t count, std::size_t dim, float* out,
            std::size_t stride) {
  by_width<Call_expand>(dim, values, inverse, count, dim, out, stride);
}
void combine(const float* values, const std::uint32_t* inverse, const std::int32_t* splits, const float* weights,
             std::size_t count, std::size_t dim, Combiner combiner, float* out, std::size_t stride) {
  by_width<Call_combine>(dim, values, inverse, splits, weights, count, dim, combiner, out, stride);
}
void add(const float* gradient, std::size_t stride, const std::uint32_t* inverse, std::size_t count, std::size_t dim,
         float* sums) {
  by_width<Call_add>(dim, gradient, stride, inverse, count, dim, sums);
}
void distribute(const float* gradient, std::size_t stride, const std::uint32_t* inverse, const std::int32_t* splits,
                const float* weights, std::size_t count, std::size_t dim, Combiner combiner, float* sums) {
  by_width<Call_distribute>(dim, gradient, stride, inverse, splits, weights, count, dim, combiner, sums);
}

// Neither infinite nor NaN: not all exponent bits set. Integer arithmetic, so that the loop becomes vector code.
bool all_finite(const float* values, std::size_t count) {
  std::uint32_t bad = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, values + i, sizeof bits);
    bad |= static_cast<std::uint32_t>((bits & 0x7f800000U) == 0x7f800000U);
  }
  return bad == 0;
}

}  // namespace

extern const UpdateRule kRules[kOptimizerKinds];
extern const RowKernels kKernels;
const RowKernels kKernels = {
    SPRINGTIDE_NAME(SPRINGTIDE_VARIANT), expand, combine, add, distribute, all_finite, kRules};

}  // namespace springtide::SPRINGTIDE_VARIANT
