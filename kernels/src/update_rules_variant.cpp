// The optimizers, compiled once per instruction set with SPRINGTIDE_VARIANT as its name (see CMakeLists.txt). No standard
// templates here: an inline function compiled for a newer machine could be the copy that the linker keeps for all.
// SPDX-License-Identifier: Apache-2.0
#include "row_kernels.hpp"

namespace springtide::SPRINGTIDE_VARIANT {
namespace {

// Far enough ahead to hide memory, near enough to stay in the first cache.
constexpr std::size_t kAhead = 8;

inline float root(float x) noexcept { return __builtin_sqrtf(x); }
// Nothing has pulled at a coordinate whose divisor is still 0.
inline float ratio(float x, float by) noexcept { return by > 0 ? x / by : 0.0F; }

inline void prefetch_row(const float* row, std::size_t floats) noexcept {
  const char* line = reinterpret_cast<const char*>(row);
  for (std::size_t byte = 0; byte < floats * sizeof(float) && byte < 512; byte += 64) __builtin_prefetch(line + byte, 1);
}

inline BiasCorrection correction(float t, const UpdateSettings& with) noexcept {
  const auto steps = static_cast<std::size_t>(t);
  return steps < with.correction_count ? with.corrections[steps]
                                       : bias_correction(steps, with.exact_beta1, with.exact_beta2);
}

// Sum of squares with eight running sums, so that every instruction set adds in the same order.
template <std::size_t kDim>
inline float sum_of_squares(const float* x, std::size_t n) noexcept {
  float sums[8] = {};
  std::size_t d = 0;
  for (; d + 8 <= n; d += 8)
    for (std::size_t i = 0; i < 8; ++i) sums[i] += x[d + i] * x[d + i];
  for (std::size_t i = 0; d + i < n; ++i) sums[i] += x[d + i] * x[d + i];
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

// kDim is the row width where it is known at compile time, else 0. Every rule updates one row: n = its width, g its
// gradient, w its values, s its state.
#define SPRINGTIDE_ROW                                                                                     \
  [[maybe_unused]] const std::size_t n, const float *__restrict g, float *__restrict w, float *__restrict s, \
      const UpdateSettings &with

// w <- w - rate g
struct Sgd {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    for (std::size_t d = 0; d < n; ++d) w[d] = w[d] - with.rate * g[d];
    (void)s;
  }
};

// Polyak, 1964: v <- b1 v + g; w <- w - rate v
struct Momentum {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    for (std::size_t d = 0; d < n; ++d) {
      s[d] = with.beta1 * s[d] + g[d];
      w[d] = w[d] - with.rate * s[d];
    }
  }
};

// Nesterov in the form of Sutskever et al., 2013, after a change of variables: v <- b1 v + g; w <- w - rate (g + b1 v)
struct Nesterov {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    for (std::size_t d = 0; d < n; ++d) {
      s[d] = with.beta1 * s[d] + g[d];
      w[d] = w[d] - with.rate * (g[d] + with.beta1 * s[d]);
    }
  }
};

// Duchi et al., 2011: a <- a + g^2; w <- w - rate g / (sqrt(a) + epsilon)
struct Adagrad {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    const float rate = with.rate;
    const float epsilon = with.epsilon;
    for (std::size_t d = 0; d < n; ++d) {
      const float accumulated = s[d] + g[d] * g[d];
      s[d] = accumulated;
      w[d] = w[d] - rate * g[d] / (root(accumulated) + epsilon);
    }
  }
};

// One accumulator per row: a <- a + mean(g^2)
struct RowWiseAdagrad {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    *s = *s + sum_of_squares<kDim>(g, n) / static_cast<float>(n);
    const float scale = with.rate / (root(*s) + with.epsilon);
    for (std::size_t d = 0; d < n; ++d) w[d] = w[d] - scale * g[d];
  }
};

// Adagrad whose accumulator is discounted once per period, a <- max(a0, decay a); periods that a row missed count at its
// next update. The row keeps the period of its last one, which lies ahead where a period has come to have more steps.
struct AdagradDecay {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    float& period = s[n];
    if (with.period > period) {
      const auto by =
          static_cast<float>(whole_power(with.decay_rate, static_cast<std::uint64_t>(with.period - period)));
      for (std::size_t d = 0; d < n; ++d) {
        const float decayed = by * s[d];
        s[d] = decayed > with.floor ? decayed : with.floor;
      }
    }
    period = with.period;
    Adagrad::row<kDim>(n, g, w, s, with);
  }
};

// Kingma and Ba, 2015, with the row's own step count t:
// m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; w <- w - rate / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon).
// AdamW (Loshchilov and Hutter, 2019) also takes rate decay w away.
// A float counts exactly to 2^24; by then both corrections are 1, so that staying there changes nothing.
template <bool kDecay>
struct AdamOf {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    float* __restrict m = s;
    float* __restrict v = s + n;
    s[2 * n] += 1.0F;
    const BiasCorrection by = correction(s[2 * n], with);
    const auto step_size = static_cast<float>(with.exact_rate * by.first);
    const float scale = by.second;
    const float beta1 = with.beta1;
    const float beta2 = with.beta2;
    const float rest1 = with.rest1;
    const float rest2 = with.rest2;
    const float epsilon = with.epsilon;
    const float decay = with.rate * with.weight_decay;
    for (std::size_t d = 0; d < n; ++d) {
      m[d] = beta1 * m[d] + rest1 * g[d];
      v[d] = beta2 * v[d] + rest2 * (g[d] * g[d]);
      const float step = step_size * m[d] / (root(v[d] * scale) + epsilon);
      w[d] = kDecay ? w[d] - (step + decay * w[d]) : w[d] - step;
    }
  }
};

// DeepRec's AdamAsync: the powers of b1 and b2 belong to the table and move once per step.
struct AdamAsync {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    float* __restrict m = s;
    float* __restrict v = s + n;
    for (std::size_t d = 0; d < n; ++d) {
      m[d] = with.beta1 * m[d] + with.rest1 * g[d];
      v[d] = with.beta2 * v[d] + with.rest2 * (g[d] * g[d]);
      w[d] = w[d] - with.async_scale * m[d] / (root(v[d]) + with.epsilon);
    }
  }
};

// Its option for sparse rows: v <- b2 v + (1 - b2) g^2; m <- b1 m + rate g / sqrt(v + epsilon); w <- w - m
struct RmsPropAsync {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    float* __restrict m = s;
    float* __restrict v = s + n;
    for (std::size_t d = 0; d < n; ++d) {
      v[d] = with.beta2 * v[d] + with.rest2 * (g[d] * g[d]);
      m[d] = with.beta1 * m[d] + with.rate * g[d] / root(v[d] + with.epsilon);
      w[d] = w[d] - m[d];
    }
  }
};

// FTRL-Proximal (McMahan et al., KDD 2013, algorithm 1): z <- z + g - sigma w with sigma = (sqrt(n + g^2) - sqrt(n)) / rate;
// w = 0 if |z| <= l1, else -(z - sign(z) l1) / ((beta + sqrt(n)) / rate + l2). z begins at -w times that divisor, so that the
// initial w is kept but for what l1 takes; with z = 0 the first update would forget it. GroupFtrl alike.
struct Ftrl {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    float* __restrict z = s;
    float* __restrict a = s + n;
    for (std::size_t d = 0; d < n; ++d) {
      const float before = root(a[d]);
      a[d] = a[d] + g[d] * g[d];
      const float now = root(a[d]);
      z[d] = z[d] + g[d] - (now - before) / with.rate * w[d];
      const float clipped = z[d] > with.l1 ? with.l1 : (z[d] < -with.l1 ? -with.l1 : z[d]);
      w[d] = ratio(clipped - z[d], (with.beta + now) / with.rate + with.l2);
    }
  }
};

// How much of u is left once its norm has paid l21 sqrt(dim).
template <std::size_t kDim>
inline float shrunk(const float* u, std::size_t n, const UpdateSettings& with) noexcept {
  const float norm = root(sum_of_squares<kDim>(u, n));
  return norm > with.l21_root ? 1.0F - with.l21_root / norm : 0.0F;
}

// Sparse group lasso on FTRL (Yue et al., arXiv 2107.14432): u = clip(z, -l1, l1) - z;
// w = u (1 - l21 sqrt(dim) / |u|) / (sqrt(n) / rate + 2 l2) where |u| > l21 sqrt(dim), else 0
struct GroupFtrl {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    float* __restrict z = s;
    float* __restrict a = s + n;
    for (std::size_t d = 0; d < n; ++d) {
      const float before = root(a[d]);
      a[d] = a[d] + g[d] * g[d];
      z[d] = z[d] + g[d] - (root(a[d]) - before) / with.rate * w[d];
      w[d] = (z[d] > with.l1 ? with.l1 : (z[d] < -with.l1 ? -with.l1 : z[d])) - z[d];
    }
    const float left = shrunk<kDim>(w, n, with);
    for (std::size_t d = 0; d < n; ++d) w[d] = ratio(left * w[d], root(a[d]) / with.rate + with.group_l2);
  }
};

// The same paper's Group Adam; with every l = 0 it is Adam. Q = sqrt(v / (1 - b2^t)) + epsilon, 0 before the first step;
// z <- z + m / (1 - b1^t) - (Q_t - Q_(t-1)) / rate w; then as above with Q for sqrt(n)
struct GroupAdam {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    float* __restrict m = s;
    float* __restrict v = s + n;
    float* __restrict z = s + 2 * n;
    const float t = s[3 * n];
    const BiasCorrection last = correction(t, with);
    const BiasCorrection by = correction(t + 1.0F, with);
    const auto first = static_cast<float>(by.first);
    s[3 * n] = t + 1.0F;
    for (std::size_t d = 0; d < n; ++d) {
      const float before = t > 0 ? root(v[d] * last.second) + with.epsilon : 0.0F;
      m[d] = with.beta1 * m[d] + with.rest1 * g[d];
      v[d] = with.beta2 * v[d] + with.rest2 * (g[d] * g[d]);
      const float now = root(v[d] * by.second) + with.epsilon;
      z[d] = z[d] + first * m[d] - (now - before) / with.rate * w[d];
      w[d] = (z[d] > with.l1 ? with.l1 : (z[d] < -with.l1 ? -with.l1 : z[d])) - z[d];
    }
    const float left = shrunk<kDim>(w, n, with);
    for (std::size_t d = 0; d < n; ++d)
      w[d] = left * w[d] / ((root(v[d] * by.second) + with.epsilon) / with.rate + with.group_l2);
  }
};

// Chen et al., 2023: c = b1 m + (1 - b1) g; w <- w - rate (sign(c) + decay w); m <- b2 m + (1 - b2) g
struct Lion {
  template <std::size_t kDim>
  static void row(SPRINGTIDE_ROW) {
    for (std::size_t d = 0; d < n; ++d) {
      const float c = with.beta1 * s[d] + with.rest1 * g[d];
      const float sign = c > 0 ? 1.0F : (c < 0 ? -1.0F : 0.0F);
      w[d] = w[d] - with.rate * (sign + with.weight_decay * w[d]);
      s[d] = with.beta2 * s[d] + with.rest2 * g[d];
    }
  }
};

#undef SPRINGTIDE_ROW

// kFloats: floats of a row per coordinate, for prefetching.
template <class Rule, std::size_t kDim, std::size_t kFloats>
void all_rows(float* const* rows, const float* gradients, std::size_t count, std::size_t dim, const UpdateSettings& with) {
  const std::size_t n = kDim != 0 ? kDim : dim;
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) prefetch_row(rows[i + kAhead], kFloats * n);
    Rule::template row<kDim>(n, gradients + i * n, rows[i], rows[i] + n, with);
  }
}

template <class Rule, std::size_t kFloats>
void rule(float* const* rows, const float* gradients, std::size_t count, std::size_t dim, const UpdateSettings& with) {
  switch (dim) {
    case 4:
      return all_rows<Rule, 4, kFloats>(rows, gradients, count, dim, with);
    case 8:
      return all_rows<Rule, 8, kFloats>(rows, gradients, count, dim, with);
    case 16:
      return all_rows<Rule, 16, kFloats>(rows, gradients, count, dim, with);
    case 32:
      return all_rows<Rule, 32, kFloats>(rows, gradients, count, dim, with);
    case 64:
      return all_rows<Rule, 64, kFloats>(rows, gradients, count, dim, with);
    default:
      return all_rows<Rule, 0, kFloats>(rows, gradients, count, dim, with);
  }
}

}  // namespace

// In the order of OptimizerKind.
extern const UpdateRule kRules[kOptimizerKinds];
const UpdateRule kRules[kOptimizerKinds] = {
    rule<Sgd, 1>,         rule<Momentum, 2>,  rule<Nesterov, 2>,     rule<Adagrad, 2>, rule<RowWiseAdagrad, 2>,
    rule<AdagradDecay, 3>, rule<AdamOf<false>, 3>, rule<AdamOf<true>, 3>, rule<AdamAsync, 3>, rule<RmsPropAsync, 3>,
    rule<Ftrl, 3>,        rule<GroupFtrl, 3>, rule<GroupAdam, 4>,    rule<Lion, 2>,
};

}  // namespace springtide::SPRINGTIDE_VARIANT
