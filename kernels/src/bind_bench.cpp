// The least that updating rows can cost, for benchmarks: rows whose places are known beforehand. Knows no key.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "bindings.hpp"
#include "memory.hpp"
#include "optimizer.hpp"

namespace springtide {
namespace {

class BareRows {
 public:
  // `count` rows of `dim` values and as many Adagrad sums, in huge pages.
  BareRows(std::size_t count, std::size_t dim)
      : dim_(dim),
        floats_(count * 2 * dim, 0.1F),
        optimizer_(OptimizerSettings{OptimizerKind::kAdagrad, 0.05, 0.1, 0.9, 0.999, 1e-8, 0, 0, 0, 0, 1, 0.9, 1, {}}) {}

  void update(const std::uint32_t* places, std::size_t count, const float* gradients) {
    ensure(addresses_, count);
    for (std::size_t i = 0; i < count; ++i) {
      if ((places[i] + std::size_t{1}) * 2 * dim_ > floats_.size()) throw std::invalid_argument("no such row");
      addresses_[i] = floats_.data() + places[i] * 2 * dim_;
    }
    optimizer_.update(addresses_.data(), gradients, count, dim_, optimizer_.settings_at(0, dim_));
  }
  std::size_t dim() const noexcept { return dim_; }

 private:
  std::size_t dim_;
  Array<float> floats_;
  Array<float*> addresses_;
  Optimizer optimizer_;
};

}  // namespace

void bind_bench(nb::module_& module) {
  nb::class_<BareRows>(module, "BareRows")
      .def(nb::init<std::size_t, std::size_t>(), nb::arg("count"), nb::arg("dim"))
      .def(
          "update",
          [](BareRows& self, const Vector<std::uint32_t>& places, const Matrix<float>& gradients) {
            if (gradients.shape(0) != places.shape(0) || gradients.shape(1) != self.dim())
              throw std::invalid_argument("wanted one gradient [dim] per place");
            const nb::gil_scoped_release released;
            self.update(places.data(), places.shape(0), gradients.data());
          },
          nb::arg("places").noconvert(), nb::arg("gradients").noconvert());
}

}  // namespace springtide
