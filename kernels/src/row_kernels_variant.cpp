// Compiled once per instruction set with SPRINGTIDE_VARIANT as its name (see CMakeLists.txt). No standard templates here:
// an inline function compiled for a newer machine could be the copy that the linker keeps for all.
// SPDX-License-Identifier: Apache-2.0
#include "row_kernels.hpp"

#define SPRINGTIDE_TEXT(x) #x
#define SPRINGTIDE_NAME(x) SPRINGTIDE_TEXT(x)

namespace springtide::SPRINGTIDE_VARIANT {
namespace {

// Far enough ahead to hide memory, near enough to stay in the first cache.
constexpr std::size_t kAhead = 16;

inline void prefetch_row(const float* row, std::size_t floats) noexcept {
  const char* line = reinterpret_cast<const char*>(row);
  for (std::size_t byte = 0; byte < floats * sizeof(float) && byte < 512; byte += 64) __builtin_prefetch(line + byte);
}

inline float root(float x) noexcept { return __builtin_sqrtf(x); }

inline float weight(Combiner combiner, std::int32_t n) noexcept {
  switch (combiner) {
    case Combiner::kSum:
      return 1.0F;
    case Combiner::kMean:
      return 1.0F / static_cast<float>(n);
    case Combiner::kSqrtn:
      return 1.0F / root(static_cast<float>(n));
  }
  return 1.0F;
}

// kDim is the row width where it is known at compile time, else 0.
template <std::size_t kDim>
struct Loops {
  static std::size_t width(std::size_t dim) noexcept { return kDim != 0 ? kDim : dim; }

  static void gather(const float* const* rows, std::size_t count, std::size_t dim, float* out) {
    const std::size_t n = width(dim);
    for (std::size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) prefetch_row(rows[i + kAhead], n);
      const float* from = rows[i];
      float* to = out + i * n;
      for (std::size_t d = 0; d < n; ++d) to[d] = from[d];
    }
  }

  static void expand(const float* values, const std::uint32_t* inverse, std::size_t count, std::size_t dim, float* out,
                     std::size_t stride) {
    const std::size_t n = width(dim);
    for (std::size_t r = 0; r < count; ++r, out += stride) {
      const float* from = values + inverse[r] * n;
      for (std::size_t d = 0; d < n; ++d) out[d] = from[d];
    }
  }

  static void combine(const float* values, const std::uint32_t* inverse, const std::int32_t* splits, std::size_t count,
                      std::size_t dim, Combiner combiner, float* out, std::size_t stride) {
    const std::size_t n = width(dim);
    for (std::size_t r = 0; r < count; ++r, out += stride) {
      for (std::size_t d = 0; d < n; ++d) out[d] = 0;
      for (std::int32_t j = splits[r]; j < splits[r + 1]; ++j) {
        const float* from = values + inverse[j] * n;
        for (std::size_t d = 0; d < n; ++d) out[d] += from[d];
      }
      if (combiner == Combiner::kSum || splits[r + 1] - splits[r] < 2) continue;
      const float by = weight(combiner, splits[r + 1] - splits[r]);
      for (std::size_t d = 0; d < n; ++d) out[d] *= by;
    }
  }

  static void add(const float* gradient, std::size_t stride, const std::uint32_t* inverse, std::size_t count,
                  std::size_t dim, float* sums) {
    const std::size_t n = width(dim);
    for (std::size_t r = 0; r < count; ++r, gradient += stride) {
      float* to = sums + inverse[r] * n;
      for (std::size_t d = 0; d < n; ++d) to[d] += gradient[d];
    }
  }

  static void distribute(const float* gradient, std::size_t stride, const std::uint32_t* inverse,
                         const std::int32_t* splits, std::size_t count, std::size_t dim, Combiner combiner, float* sums) {
    const std::size_t n = width(dim);
    for (std::size_t r = 0; r < count; ++r, gradient += stride) {
      const float by = weight(combiner, splits[r + 1] - splits[r]);
      for (std::int32_t j = splits[r]; j < splits[r + 1]; ++j) {
        float* to = sums + inverse[j] * n;
        for (std::size_t d = 0; d < n; ++d) to[d] += gradient[d] * by;
      }
    }
  }

  // Adagrad (Duchi et al., 2011): a <- a + g^2; w <- w - rate g / (sqrt(a) + epsilon).
  static void adagrad(float* const* rows, const float* gradients, std::size_t count, std::size_t dim,
                      const UpdateSettings& with) {
    const std::size_t n = width(dim);
    const float rate = with.learning_rate;
    const float epsilon = with.epsilon;
    for (std::size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) prefetch_row(rows[i + kAhead], 2 * n);
      const float* __restrict g = gradients + i * n;
      float* __restrict w = rows[i];
      float* __restrict a = rows[i] + n;
      for (std::size_t d = 0; d < n; ++d) {
        const float accumulated = a[d] + g[d] * g[d];
        a[d] = accumulated;
        w[d] = w[d] - rate * g[d] / (root(accumulated) + epsilon);
      }
    }
  }

  // Adam (Kingma and Ba, 2015) with the row's own step count t:
  // m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; w <- w - rate / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon).
  // A float counts exactly to 2^24; by then both corrections are 1, so that staying there changes nothing.
  static void adam(float* const* rows, const float* gradients, std::size_t count, std::size_t dim,
                   const UpdateSettings& with) {
    const std::size_t n = width(dim);
    const float beta1 = with.beta1;
    const float beta2 = with.beta2;
    const float rest1 = with.one_minus_beta1;
    const float rest2 = with.one_minus_beta2;
    const float epsilon = with.epsilon;
    for (std::size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) prefetch_row(rows[i + kAhead], 3 * n + 1);
      const float* __restrict g = gradients + i * n;
      float* __restrict w = rows[i];
      float* __restrict m = rows[i] + n;
      float* __restrict v = rows[i] + 2 * n;
      float* t = rows[i] + 3 * n;
      *t += 1.0F;
      const auto steps = static_cast<std::size_t>(*t);
      const BiasCorrection by =
          steps < with.correction_count
              ? with.corrections[steps]
              : bias_correction(static_cast<double>(*t), with.exact_learning_rate, with.exact_beta1, with.exact_beta2);
      for (std::size_t d = 0; d < n; ++d) {
        m[d] = beta1 * m[d] + rest1 * g[d];
        v[d] = beta2 * v[d] + rest2 * (g[d] * g[d]);
        w[d] = w[d] - by.step_size * m[d] / (root(v[d] * by.second_scale) + epsilon);
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
SPRINGTIDE_CALL(gather)
SPRINGTIDE_CALL(expand)
SPRINGTIDE_CALL(combine)
SPRINGTIDE_CALL(add)
SPRINGTIDE_CALL(distribute)
SPRINGTIDE_CALL(adagrad)
SPRINGTIDE_CALL(adam)

void gather(const float* const* rows, std::size_t count, std::size_t dim, float* out) {
  by_width<Call_gather>(dim, rows, count, dim, out);
}
void expand(const float* values, const std::uint32_t* inverse, std::size_t count, std::size_t dim, float* out,
            std::size_t stride) {
  by_width<Call_expand>(dim, values, inverse, count, dim, out, stride);
}
void combine(const float* values, const std::uint32_t* inverse, const std::int32_t* splits, std::size_t count,
             std::size_t dim, Combiner combiner, float* out, std::size_t stride) {
  by_width<Call_combine>(dim, values, inverse, splits, count, dim, combiner, out, stride);
}
void add(const float* gradient, std::size_t stride, const std::uint32_t* inverse, std::size_t count, std::size_t dim,
         float* sums) {
  by_width<Call_add>(dim, gradient, stride, inverse, count, dim, sums);
}
void distribute(const float* gradient, std::size_t stride, const std::uint32_t* inverse, const std::int32_t* splits,
                std::size_t count, std::size_t dim, Combiner combiner, float* sums) {
  by_width<Call_distribute>(dim, gradient, stride, inverse, splits, count, dim, combiner, sums);
}
void adagrad(float* const* rows, const float* gradients, std::size_t count, std::size_t dim, const UpdateSettings& with) {
  by_width<Call_adagrad>(dim, rows, gradients, count, dim, with);
}
void adam(float* const* rows, const float* gradients, std::size_t count, std::size_t dim, const UpdateSettings& with) {
  by_width<Call_adam>(dim, rows, gradients, count, dim, with);
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

extern const RowKernels kKernels;
const RowKernels kKernels = {SPRINGTIDE_NAME(SPRINGTIDE_VARIANT), gather, expand, combine, add, distribute, all_finite,
                             adagrad, adam};

}  // namespace springtide::SPRINGTIDE_VARIANT
