// SPDX-License-Identifier: Apache-2.0
#include "row_kernels.hpp"

#include <atomic>
#include <cstring>

namespace springtide {

namespace portable {
extern const RowKernels kKernels;
}
#if defined(SPRINGTIDE_HAS_AVX2)
namespace avx2 {
extern const RowKernels kKernels;
}
#endif

namespace {

const RowKernels* fastest() noexcept {
#if defined(SPRINGTIDE_HAS_AVX2)
  if (__builtin_cpu_supports("avx2")) return &avx2::kKernels;
#endif
  return &portable::kKernels;
}

std::atomic<const RowKernels*> selected{nullptr};

}  // namespace

const RowKernels& row_kernels() noexcept {
  const RowKernels* kernels = selected.load(std::memory_order_relaxed);
  if (kernels == nullptr) selected.store(kernels = fastest(), std::memory_order_relaxed);
  return *kernels;
}

bool select_row_kernels(const char* name) noexcept {
  if (std::strcmp(name, "fastest") == 0) {
    selected.store(fastest());
    return true;
  }
  if (std::strcmp(name, portable::kKernels.name) == 0) {
    selected.store(&portable::kKernels);
    return true;
  }
  if (std::strcmp(name, fastest()->name) == 0) {
    selected.store(fastest());
    return true;
  }
  return false;
}

}  // namespace springtide
