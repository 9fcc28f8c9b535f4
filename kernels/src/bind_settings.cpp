// SPDX-License-Identifier: Apache-2.0
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "group.hpp"

namespace springtide {
namespace {

void bind_kinds(nb::module_& module) {
  nb::enum_<InitializerKind>(module, "InitializerKind")
      .value("normal", InitializerKind::kNormal)
      .value("truncated_normal", InitializerKind::kTruncatedNormal)
      .value("uniform", InitializerKind::kUniform)
      .value("constant", InitializerKind::kConstant);
  nb::enum_<OptimizerKind>(module, "OptimizerKind")
      .value("sgd", OptimizerKind::kSgd)
      .value("momentum", OptimizerKind::kMomentum)
      .value("nesterov", OptimizerKind::kNesterov)
      .value("adagrad", OptimizerKind::kAdagrad)
      .value("rowwise_adagrad", OptimizerKind::kRowWiseAdagrad)
      .value("adagrad_decay", OptimizerKind::kAdagradDecay)
      .value("adam", OptimizerKind::kAdam)
      .value("adamw", OptimizerKind::kAdamW)
      .value("adam_async", OptimizerKind::kAdamAsync)
      .value("rmsprop_async", OptimizerKind::kRmsPropAsync)
      .value("ftrl", OptimizerKind::kFtrl)
      .value("group_ftrl", OptimizerKind::kGroupFtrl)
      .value("group_adam", OptimizerKind::kGroupAdam)
      .value("lion", OptimizerKind::kLion);
  nb::enum_<ScheduleKind>(module, "ScheduleKind")
      .value("constant", ScheduleKind::kConstant)
      .value("exponential", ScheduleKind::kExponential)
      .value("linear", ScheduleKind::kLinear)
      .value("cosine", ScheduleKind::kCosine)
      .value("inverse_sqrt", ScheduleKind::kInverseSqrt);
  nb::enum_<Combiner>(module, "Combiner")
      .value("sum", Combiner::kSum)
      .value("mean", Combiner::kMean)
      .value("sqrtn", Combiner::kSqrtn)
      .value("none", Combiner::kNone);
  nb::enum_<RowShape>(module, "RowShape")
      .value("own", RowShape::kOwn)
      .value("adaptive", RowShape::kAdaptive)
      .value("add", RowShape::kAdd)
      .value("multiply", RowShape::kMultiply)
      .value("concat", RowShape::kConcatenate);
  nb::enum_<Precision>(module, "Precision")
      .value("float32", Precision::kFloat32)
      .value("bfloat16", Precision::kBfloat16)
      .value("float16", Precision::kFloat16);
  nb::enum_<AdmissionKind>(module, "AdmissionKind")
      .value("always", AdmissionKind::kAlways)
      .value("counter", AdmissionKind::kCounter)
      .value("bloom", AdmissionKind::kBloom)
      .value("probability", AdmissionKind::kProbability);
  nb::enum_<EvictionOrder>(module, "EvictionOrder")
      .value("lfu", EvictionOrder::kLeastFrequent)
      .value("lru", EvictionOrder::kLeastRecent);
}

}  // namespace

void bind_settings(nb::module_& module) {
  bind_kinds(module);
  nb::class_<OptimizerSettings>(module, "OptimizerSettings")
      .def("__init__",
           [](OptimizerSettings* self, OptimizerKind kind, double learning_rate, double initial_accumulator, double beta1,
              double beta2, double epsilon, double weight_decay, double l1, double l2, double l21, double beta,
              double decay_rate, double decay_steps, ScheduleKind schedule, double warmup, double steps, double factor) {
             new (self) OptimizerSettings{kind, learning_rate, initial_accumulator, beta1, beta2, epsilon, weight_decay, l1,
                                          l2, l21, beta, decay_rate, decay_steps,
                                          ScheduleSettings{schedule, warmup, steps, factor}};
           },
           nb::arg("kind"), nb::arg("learning_rate"), nb::arg("initial_accumulator"), nb::arg("beta1"), nb::arg("beta2"),
           nb::arg("epsilon"), nb::arg("weight_decay"), nb::arg("l1"), nb::arg("l2"), nb::arg("l21"), nb::arg("beta"),
           nb::arg("decay_rate"), nb::arg("decay_steps"), nb::arg("schedule"), nb::arg("warmup"), nb::arg("steps"),
           nb::arg("factor"));
  nb::class_<Optimizer>(module, "DenseRule")
      .def(nb::init<OptimizerSettings>(), nb::arg("settings"))
      .def("begin",
           [](const Optimizer& self, const Vector<float>& values) {
             const std::size_t size = values.shape(0);
             const std::size_t width = self.slots().width(size);
             Array<float> slots(width, 0.0F);
             self.fill_initial_slots(slots.data(), values.data(), size);
             return to_numpy(std::move(slots), {width});
           },
           nb::arg("values").noconvert())
      .def("update",
           [](const Optimizer& self, nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu> row,
              const Vector<float>& gradient, std::uint64_t step) {
             const std::size_t size = gradient.shape(0);
             if (row.shape(0) != size + self.slots().width(size))
               throw std::invalid_argument("a weight of " + std::to_string(size) + " elements and its state take " +
                                           std::to_string(size + self.slots().width(size)) + " floats; got " +
                                           std::to_string(row.shape(0)));
             float* values = row.data();
             const nb::gil_scoped_release released;
             self.update(&values, gradient.data(), size == 0 ? 0 : 1, size, self.settings_at(step, size));
           },
           nb::arg("row").noconvert(), nb::arg("gradient").noconvert(), nb::arg("step"));
  nb::class_<AdmissionSettings>(module, "AdmissionSettings")
      .def("__init__",
           [](AdmissionSettings* self, AdmissionKind kind, std::uint32_t occurrences, std::uint64_t blocks,
              std::uint32_t hashes, std::int64_t period_ms, double probability, float not_admitted) {
             new (self) AdmissionSettings{kind, occurrences, blocks, hashes, period_ms, probability, not_admitted};
           },
           nb::arg("kind"), nb::arg("occurrences"), nb::arg("blocks"), nb::arg("hashes"), nb::arg("period_ms"),
           nb::arg("probability"), nb::arg("not_admitted"));
  nb::class_<EvictionSettings>(module, "EvictionSettings")
      .def("__init__",
           [](EvictionSettings* self, std::uint64_t step_ttl, std::int64_t time_ttl_ms, double half_norm,
              std::uint64_t max_rows, EvictionOrder order, std::uint32_t slice) {
             new (self) EvictionSettings{step_ttl, time_ttl_ms, half_norm, max_rows, order, slice};
           },
           nb::arg("step_ttl"), nb::arg("time_ttl_ms"), nb::arg("half_norm"), nb::arg("max_rows"), nb::arg("order"),
           nb::arg("slice"));
  nb::class_<TableSettings>(module, "TableSettings")
      .def("__init__",
           [](TableSettings* self, std::string name, std::vector<std::size_t> dims, std::vector<std::uint32_t> thresholds,
              std::uint64_t seed, Precision precision, InitializerKind initializer, double scale,
              const OptimizerSettings& optimizer, const AdmissionSettings& admission, const EvictionSettings& eviction) {
             if (dims.empty() || dims.size() > kMaxRungs || thresholds.size() + 1 != dims.size())
               throw std::invalid_argument("wanted 1 to 4 dims and one threshold less");
             new (self) TableSettings{std::move(name), std::move(dims), std::move(thresholds), seed, precision,
                                      InitializerSettings{initializer, scale}, optimizer, admission, eviction};
           },
           nb::arg("name"), nb::arg("dims"), nb::arg("thresholds"), nb::arg("seed"), nb::arg("precision"),
           nb::arg("initializer"), nb::arg("scale"), nb::arg("optimizer"), nb::arg("admission"), nb::arg("eviction"));
  nb::class_<SpaceSettings>(module, "SpaceSettings")
      .def("__init__",
           [](SpaceSettings* self, RowShape shape, std::size_t first, std::size_t second, std::uint64_t divisor,
              std::uint64_t quotients) { new (self) SpaceSettings{shape, first, second, divisor, quotients}; },
           nb::arg("shape"), nb::arg("first"), nb::arg("second"), nb::arg("divisor"), nb::arg("quotients"));
  nb::class_<ColumnSettings>(module, "ColumnSettings")
      .def("__init__",
           [](ColumnSettings* self, std::string name, std::size_t space, Combiner combiner, std::size_t length,
              bool keep_last) { new (self) ColumnSettings{std::move(name), space, combiner, length, keep_last}; },
           nb::arg("name"), nb::arg("space"), nb::arg("combiner"), nb::arg("length"), nb::arg("keep_last"));
}

}  // namespace springtide
