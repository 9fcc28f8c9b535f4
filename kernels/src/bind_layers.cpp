// SPDX-License-Identifier: Apache-2.0
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.hpp"
#include "tile_layers.hpp"
#include "tile_product.hpp"

namespace springtide {
namespace {

using Layer = std::tuple<Matrix<float>, std::optional<Vector<float>>, bool>;
using Out = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void make(TileLayers* self, const std::vector<Layer>& layers, const std::optional<Matrix<float>>& shared, bool sigmoid,
          std::size_t parts) {
  std::vector<DenseLayer> made;
  for (const auto& [weights, bias, positive] : layers) {
    if (bias && bias->shape(0) != weights.shape(1))
      throw std::invalid_argument("a bias of " + std::to_string(bias->shape(0)) + " numbers for a layer of " +
                                  std::to_string(weights.shape(1)));
    made.push_back(
        DenseLayer{weights.data(), weights.shape(0), weights.shape(1), bias ? bias->data() : nullptr, positive});
  }
  if (shared && !made.empty() && shared->shape(1) != made[0].outputs)
    throw std::invalid_argument("shared weights for " + std::to_string(shared->shape(1)) + " numbers; the first layer gives " +
                                std::to_string(made[0].outputs));
  // A large network takes tens of milliseconds, and requests are answered meanwhile.
  const nb::gil_scoped_release released;
  new (self) TileLayers(made, shared ? shared->data() : nullptr, shared ? shared->shape(0) : 0, sigmoid, parts);
}

void run(const TileLayers& self, const Matrix<float>& rows, const std::optional<Vector<float>>& shared, const Out& out) {
  const std::size_t count = rows.shape(0);
  const std::size_t common = shared ? shared->shape(0) : 0;
  if (rows.shape(1) != self.inputs() || common != self.shared() || out.shape(0) != count || out.shape(1) != self.outputs())
    throw std::invalid_argument("wanted rows of " + std::to_string(self.inputs()) + " numbers, " +
                                std::to_string(self.shared()) + " shared ones and room for " +
                                std::to_string(self.outputs()) + " a row; got " + std::to_string(rows.shape(1)) + ", " +
                                std::to_string(common) + " and " + std::to_string(out.shape(1)));
  const nb::gil_scoped_release released;
  self.run(rows.data(), count, shared ? shared->data() : nullptr, out.data());
}

}  // namespace

void bind_layers(nb::module_& module) {
  module.def("has_matrix_unit", &tiles::available);
  nb::class_<TileLayers>(module, "TileLayers")
      .def("__init__", &make, nb::arg("layers"), nb::arg("shared").none(), nb::arg("sigmoid"), nb::arg("parts"))
      .def("run", &run, nb::arg("rows"), nb::arg("shared").none(), nb::arg("out").noconvert())
      .def_prop_ro("inputs", &TileLayers::inputs)
      .def_prop_ro("outputs", &TileLayers::outputs);
}

}  // namespace springtide
