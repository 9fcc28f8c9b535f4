// Initial rows from a counter-based generator of (seed, table, key, coordinate); knows neither order nor thread.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace springtide {

enum class InitializerKind { kNormal, kTruncatedNormal, kUniform, kConstant };

struct InitializerSettings {
  InitializerKind kind;
  double scale;
};

// Quantile function of the standard normal distribution (Wichura, AS 241, PPND7; absolute error below 1e-6), built
// from + - * / and square root only: libm differs between machines, and a replica must draw what the learner drew.
double normal_quantile(double probability) noexcept;

class Initializer {
 public:
  Initializer(InitializerSettings settings, std::uint64_t seed, const std::string& table);

  // Writes coordinates [begin, end) of `key`'s initial row to row[begin ... end).
  void fill(std::int64_t key, float* row, std::size_t begin, std::size_t end) const noexcept;
  // What (seed, table) decide.
  std::uint64_t stream() const noexcept { return stream_; }

 private:
  InitializerSettings settings_;
  std::uint64_t stream_;
};

}  // namespace springtide
