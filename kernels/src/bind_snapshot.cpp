// SPDX-License-Identifier: Apache-2.0
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "bindings.hpp"
#include "group.hpp"
#include "snapshot.hpp"

namespace springtide {
namespace {

// Per table: keys [n], values [n, dim], tombstones [m].
using PythonBlocks = std::vector<nb::tuple>;

// Keeps the arrays alive while they are read.
struct BorrowedBlocks {
  std::vector<Vector<std::int64_t>> keys;
  std::vector<Matrix<float>> values;
  std::vector<Vector<std::int64_t>> tombstones;
  Snapshot::Blocks views;
};

template <class Array>
Array taken(const nb::handle& from, const char* what) {
  Array array;
  if (!nb::try_cast<Array>(from, array, false))
    throw std::invalid_argument(std::string(what) + " of another type or shape than wanted");
  return array;
}

BorrowedBlocks borrow(const PythonBlocks& blocks, const std::vector<std::size_t>& dims) {
  if (blocks.size() != dims.size()) throw std::invalid_argument("wanted one block per table");
  BorrowedBlocks borrowed;
  for (std::size_t t = 0; t < blocks.size(); ++t) {
    const auto keys = taken<Vector<std::int64_t>>(blocks[t][0], "keys");
    const auto values = taken<Matrix<float>>(blocks[t][1], "values");
    const auto tombstones = taken<Vector<std::int64_t>>(blocks[t][2], "tombstones");
    if (values.shape(0) != keys.shape(0) || values.shape(1) != dims[t])
      throw std::invalid_argument("table " + std::to_string(t) + ": values have shape [" + std::to_string(values.shape(0)) +
                                  ", " + std::to_string(values.shape(1)) + "]; wanted [" + std::to_string(keys.shape(0)) +
                                  ", " + std::to_string(dims[t]) + "]");
    if (keys.shape(0) + tombstones.shape(0) >= kNoRow) throw std::invalid_argument("more than 2^32 - 2 rows in one block");
    borrowed.views.push_back(RowBlockView{keys.data(), values.data(), nullptr, nullptr, nullptr, keys.shape(0),
                                          tombstones.data(), tombstones.shape(0)});
    borrowed.keys.push_back(keys);
    borrowed.values.push_back(values);
    borrowed.tombstones.push_back(tombstones);
  }
  return borrowed;
}

// What the system refuses other than memory becomes an OSError with its number.
void to_os_error(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::system_error& error) {
    PyObject* const arguments = Py_BuildValue("(is)", error.code().value(), error.what());
    if (arguments == nullptr) return;  // the error of that is set instead
    PyErr_SetObject(PyExc_OSError, arguments);
    Py_DECREF(arguments);
  }
}

std::vector<std::size_t> dims_of(const Snapshot& snapshot) {
  std::vector<std::size_t> dims;
  for (std::size_t t = 0; t < snapshot.table_count(); ++t) dims.push_back(snapshot.dim(t));
  return dims;
}

std::vector<RowFormat> formats_of(const Group& group) {
  std::vector<RowFormat> formats;
  for (std::size_t t = 0; t < group.table_count(); ++t) formats.push_back(snapshot_format(group.table(t)));
  return formats;
}

std::unique_ptr<Snapshot> make(const Group& group, const PythonBlocks& blocks) {
  std::vector<std::size_t> dims;
  for (std::size_t t = 0; t < group.table_count(); ++t) dims.push_back(group.table(t).dim());
  const BorrowedBlocks borrowed = borrow(blocks, dims);
  std::vector<RowFormat> formats = formats_of(group);
  const nb::gil_scoped_release released;
  return std::make_unique<Snapshot>(std::move(formats), borrowed.views);
}

std::unique_ptr<Snapshot> open(const Group& group, const std::vector<std::uint64_t>& layout, const std::vector<int>& files,
                               const std::vector<const Snapshot*>& known) {
  std::vector<RowFormat> formats = formats_of(group);
  const nb::gil_scoped_release released;
  return Snapshot::opened(std::move(formats), layout, files, known);
}

std::unique_ptr<Snapshot> extend(const Snapshot& self, const PythonBlocks& blocks) {
  const BorrowedBlocks borrowed = borrow(blocks, dims_of(self));
  const nb::gil_scoped_release released;
  return self.extended(borrowed.views);
}

}  // namespace

void check_fits(const Snapshot& snapshot, const Group& group) {
  bool fits = snapshot.table_count() == group.table_count();
  for (std::size_t t = 0; fits && t < group.table_count(); ++t) fits = snapshot.dim(t) == group.table(t).dim();
  if (!fits) throw std::invalid_argument("the snapshot was made of other tables than the reader's");
}

void bind_snapshot(nb::module_& module) {
  nb::register_exception_translator(to_os_error);
  nb::class_<Snapshot>(module, "Snapshot")
      .def("extended", &extend, nb::arg("blocks"))
      .def("compaction_due", &Snapshot::compaction_due)
      .def("compacted", &Snapshot::compacted, nb::call_guard<nb::gil_scoped_release>())
      .def("row_count", &Snapshot::row_count, nb::arg("table"))
      .def("changed_count", &Snapshot::changed_count, nb::arg("table"))
      .def("memory_bytes", &Snapshot::bytes)
      .def("files", &Snapshot::files)
      .def("layout", &Snapshot::layout);
  module.def("make_snapshot", &make, nb::arg("group"), nb::arg("blocks"));
  module.def("open_snapshot", &open, nb::arg("group"), nb::arg("layout"), nb::arg("files"), nb::arg("known"));
}

}  // namespace springtide
