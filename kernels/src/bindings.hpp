// What the binding files share: array types and how engine arrays become numpy arrays without a copy.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <initializer_list>
#include <utility>

#include "memory.hpp"

namespace springtide {

namespace nb = nanobind;

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Matrix = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// Hands `array` to numpy; numpy frees it.
template <class T, class U = T>
nb::ndarray<nb::numpy, U> to_numpy(Array<T>&& array, std::initializer_list<std::size_t> shape) {
  auto* owned = new Array<T>(std::move(array));
  nb::capsule owner(owned, [](void* memory) noexcept { delete static_cast<Array<T>*>(memory); });
  return nb::ndarray<nb::numpy, U>(static_cast<void*>(owned->data()), shape, owner);
}

class Group;
class Snapshot;
// Throws std::invalid_argument where `snapshot` was made of other tables than those of `group`.
void check_fits(const Snapshot& snapshot, const Group& group);

void bind_bench(nb::module_& module);
void bind_hashing(nb::module_& module);
void bind_layers(nb::module_& module);
void bind_reader(nb::module_& module);
void bind_settings(nb::module_& module);
void bind_snapshot(nb::module_& module);
void bind_tables(nb::module_& module);
void bind_window(nb::module_& module);

}  // namespace springtide
