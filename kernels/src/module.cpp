// The extension module kernels._core; kernels/_core.pyi gives its types to Python.
// SPDX-License-Identifier: Apache-2.0
#include "bindings.hpp"
#include <nanobind/stl/string.h>

#include "row_kernels.hpp"
#include "slab_memory.hpp"

NB_MODULE(_core, module) {
  namespace st = springtide;
  st::bind_bench(module);
  st::bind_hashing(module);
  st::bind_layers(module);
  st::bind_settings(module);
  st::bind_snapshot(module);
  st::bind_tables(module);
  st::bind_reader(module);
  st::bind_window(module);
  module.def("instruction_set", [] { return st::row_kernels().name; });
  module.def("select_instruction_set", [](const char* name) { return st::select_row_kernels(name); });
  module.def("fail_allocation_after", &st::fail_allocation_after);
  module.def("keep_slabs_in_files", &st::keep_slabs_in_files);
}
