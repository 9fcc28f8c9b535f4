// SPDX-License-Identifier: Apache-2.0
#include "row_kernels.hpp"

#include <atomic>
#include <cstring>

namespace springtide {

namespace portable {
extern const RowKernels kKernels;
}
#if defined(SPRINGTIDE_X86)
namespace avx2 {
extern const RowKernels kKernels;
}
namespace avx512 {
extern const RowKernels kKernels;
}
#endif

namespace {

bool can_run(const RowKernels* kernels) noexcept {
#if defined(SPRINGTIDE_X86)
  if (kernels == &avx512::kKernels) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
  if (kernels == &avx2::kKernels) return __builtin_cpu_supports("avx2");
#endif
  return kernels == &portable::kKernels;
}

// The fastest first.
constexpr const RowKernels* kSets[] = {
#if defined(SPRINGTIDE_X86)
    &avx512::kKernels,
    &avx2::kKernels,
#endif
    &portable::kKernels,
};

const RowKernels* fastest() noexcept {
  for (const RowKernels* kernels : kSets)
    if (can_run(kernels)) return kernels;
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
  for (const RowKernels* kernels : kSets) {
    if (std::strcmp(name, kernels->name) != 0 || !can_run(kernels)) continue;
    selected.store(kernels);
    return true;
  }
  return false;
}

}  // namespace springtide
