// SPDX-License-Identifier: Apache-2.0
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "batch_arrays.hpp"
#include "bindings.hpp"
#include "group.hpp"

namespace springtide {
namespace {

nb::tuple block_to_numpy(RowBlock&& block, const Table& table) {
  const std::size_t n = block.keys.size();
  const std::size_t tombstones = block.tombstones.size();
  AdmissionBlock& counts = block.admission;
  const std::size_t counted = counts.keys.size();
  return nb::make_tuple(
      to_numpy(std::move(block.keys), {n}), to_numpy(std::move(block.values), {n, table.dim()}),
      to_numpy(std::move(block.slots), {n, table.slot_width()}), to_numpy(std::move(block.frequency), {n}),
      to_numpy(std::move(block.last_seen), {n}), to_numpy(std::move(block.tombstones), {tombstones}),
      nb::make_tuple(to_numpy(std::move(counts.keys), {counted}),
                     to_numpy(std::move(counts.counters), {counted, table.counter_width()}),
                     to_numpy(std::move(counts.occurrences), {counted}), to_numpy(std::move(counts.last_seen), {counted})));
}

AdmissionBlockView view_counts(const Table& table, const Vector<std::int64_t>& keys, const Matrix<std::uint8_t>& counters,
                               const Vector<std::uint32_t>& occurrences, const Vector<std::int64_t>& last_seen) {
  const std::size_t n = keys.shape(0);
  if (counters.shape(0) != n || counters.shape(1) != table.counter_width() || occurrences.shape(0) != n ||
      last_seen.shape(0) != n)
    throw std::invalid_argument("table '" + table.name() + "': counts of " + std::to_string(counters.shape(1)) +
                                " bytes per key; wanted " + std::to_string(table.counter_width()) +
                                " and as many of everything as keys: was another admission set?");
  return AdmissionBlockView{keys.data(), counters.data(), occurrences.data(), last_seen.data(), n};
}

void import_counts(Group& group, std::size_t at, const Vector<std::int64_t>& keys, const Matrix<std::uint8_t>& counters,
                   const Vector<std::uint32_t>& occurrences, const Vector<std::int64_t>& last_seen) {
  const AdmissionBlockView view = view_counts(group.table(at), keys, counters, occurrences, last_seen);
  const nb::gil_scoped_release released;
  group.import_counts(at, view);
}

void import_rows(Group& group, std::size_t at, const Vector<std::int64_t>& keys, const Matrix<float>& values,
                 const Matrix<float>& slots, const Vector<std::uint32_t>& frequency,
                 const Vector<std::int64_t>& last_seen, const Vector<std::int64_t>& tombstones,
                 const Vector<std::int64_t>& count_keys, const Matrix<std::uint8_t>& counters,
                 const Vector<std::uint32_t>& occurrences, const Vector<std::int64_t>& counts_last_seen) {
  const Table& table = group.table(at);
  const std::size_t n = keys.shape(0);
  const std::string where = "table '" + table.name() + "': ";
  if (values.shape(0) != n || values.shape(1) != table.dim())
    throw std::invalid_argument(where + "values have shape [" + std::to_string(values.shape(0)) + ", " +
                                std::to_string(values.shape(1)) + "]; wanted [" + std::to_string(n) + ", " +
                                std::to_string(table.dim()) + "]");
  RowBlockView view{keys.data(), values.data(), nullptr, nullptr, nullptr, n, tombstones.data(), tombstones.shape(0)};
  if (group.trainable()) {
    if (slots.shape(0) != n || slots.shape(1) != table.slot_width())
      throw std::invalid_argument(where + "slots have shape [" + std::to_string(slots.shape(0)) + ", " +
                                  std::to_string(slots.shape(1)) + "]; wanted [" + std::to_string(n) + ", " +
                                  std::to_string(table.slot_width()) + "]: were they made by another optimizer?");
    if (frequency.shape(0) != n || last_seen.shape(0) != n)
      throw std::invalid_argument(where + "frequency and last_seen must have one entry per key");
    view.slots = slots.data();
    view.frequency = frequency.data();
    view.last_seen = last_seen.data();
  }
  const AdmissionBlockView counts = view_counts(table, count_keys, counters, occurrences, counts_last_seen);
  const nb::gil_scoped_release released;
  group.import(at, view, counts);
}

using Buffer = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

}  // namespace

void bind_tables(nb::module_& module) {
  nb::class_<Group>(module, "Group")
      .def(nb::init<std::vector<TableSettings>, const std::vector<SpaceSettings>&, std::vector<ColumnSettings>, std::size_t,
                    std::size_t, unsigned, bool>(),
           nb::arg("tables"), nb::arg("spaces"), nb::arg("columns"), nb::arg("numbers"), nb::arg("max_batch"), nb::arg("threads"),
           nb::arg("trainable"))
      .def("offsets", [](const Group& self) { return self.layout().offsets; })
      .def("widths", [](const Group& self) { return self.layout().widths; })
      .def("numbers_offset", [](const Group& self) { return self.layout().numbers_offset; })
      .def("width", [](const Group& self) { return self.layout().width; })
      .def("stride", [](const Group& self) { return self.layout().stride; })
      .def("slot_width", [](const Group& self, std::size_t table) { return self.table(table).slot_width(); })
      .def(
          "buffer", [](Group& self) { return Buffer(self.buffer(), {self.max_batch(), self.layout().stride}); },
          nb::rv_policy::reference_internal)
      .def(
          "prepare",
          [](Group& self, std::size_t rows, const Ids& ids, const Splits& splits, const Weights& weights,
             const Matrix<float>& numbers) {
            const BatchView batch = view_batch(rows, ids, splits, weights, numbers, self.layout());
            const nb::gil_scoped_release released;
            self.prepare(batch);
          },
          nb::arg("rows"), nb::arg("ids"), nb::arg("splits"), nb::arg("weights"), nb::arg("numbers"))
      .def("lookup", &Group::lookup, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "apply",
          [](Group& self, const Matrix<float>& gradient, std::int64_t event_ms) {
            const nb::gil_scoped_release released;
            self.apply(gradient.data(), gradient.shape(0), gradient.shape(1), event_ms);
          },
          nb::arg("gradient").noconvert(), nb::arg("event_ms"))
      .def("capture",
           [](Group& self) {
             std::vector<RowBlock> blocks;
             {
               const nb::gil_scoped_release released;
               blocks = self.capture();
             }
             nb::list captured;
             for (std::size_t t = 0; t < blocks.size(); ++t)
               captured.append(block_to_numpy(std::move(blocks[t]), self.table(t)));
             return captured;
           })
      .def(
          "export_rows",
          [](Group& self, std::size_t table) {
            RowBlock block;
            {
              const nb::gil_scoped_release released;
              block = self.all(table);
            }
            return block_to_numpy(std::move(block), self.table(table));
          },
          nb::arg("table"))
      .def(
          "put_back",
          [](Group& self, std::size_t table, const Vector<std::int64_t>& keys, const Vector<std::int64_t>& tombstones) {
            const nb::gil_scoped_release released;
            self.mark_changed(table, keys.data(), keys.shape(0), tombstones.data(), tombstones.shape(0));
          },
          nb::arg("table"), nb::arg("keys").noconvert(), nb::arg("tombstones").noconvert())
      .def(
          "put_back_counts",
          [](Group& self, std::size_t table, const Vector<std::int64_t>& keys, const Vector<std::int64_t>& tombstones) {
            const nb::gil_scoped_release released;
            self.mark_counts_changed(table, keys.data(), keys.shape(0), tombstones.data(), tombstones.shape(0));
          },
          nb::arg("table"), nb::arg("keys").noconvert(), nb::arg("tombstones").noconvert())
      .def("import_counts", &import_counts, nb::arg("table"), nb::arg("keys").noconvert(), nb::arg("counters").noconvert(),
           nb::arg("occurrences").noconvert(), nb::arg("last_seen").noconvert())
      .def("counter_width", [](const Group& self, std::size_t table) { return self.table(table).counter_width(); })
      .def("state",
           [](Group& self) {
             Array<std::int64_t> state = self.state();
             const std::size_t n = state.size();
             return to_numpy(std::move(state), {n});
           })
      .def(
          "restore", [](Group& self, const Vector<std::int64_t>& state) { self.restore(state.data(), state.shape(0)); },
          nb::arg("state").noconvert())
      .def(
          "erase",
          [](Group& self, std::size_t table, const Vector<std::int64_t>& keys) {
            const nb::gil_scoped_release released;
            return self.erase(table, keys.data(), keys.shape(0));
          },
          nb::arg("table"), nb::arg("keys").noconvert())
      .def("import_rows", &import_rows, nb::arg("table"), nb::arg("keys").noconvert(), nb::arg("values").noconvert(),
           nb::arg("slots").noconvert(), nb::arg("frequency").noconvert(), nb::arg("last_seen").noconvert(),
           nb::arg("tombstones").noconvert(), nb::arg("count_keys").noconvert(), nb::arg("counters").noconvert(),
           nb::arg("occurrences").noconvert(), nb::arg("counts_last_seen").noconvert())
      .def("row_count", &Group::row_count, nb::arg("table"), nb::call_guard<nb::gil_scoped_release>())
      .def("table_bytes", &Group::table_bytes, nb::arg("table"), nb::call_guard<nb::gil_scoped_release>())
      .def("memory_bytes", &Group::bytes, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace springtide
