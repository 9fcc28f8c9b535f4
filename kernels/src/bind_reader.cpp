// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "batch_arrays.hpp"
#include "bindings.hpp"
#include "halves.hpp"
#include "reader.hpp"

namespace springtide {
namespace {

using Buffer = nb::ndarray<nb::numpy, float, nb::ndim<2>>;
using Block = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Row = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Ids of eight bytes each in whatever Python object has a buffer of them; held while this lives.
class BorrowedIds {
 public:
  explicit BorrowedIds(const nb::handle& from) {
    if (PyObject_GetBuffer(from.ptr(), &view_, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) throw nb::python_error();
    const std::string format = view_.format == nullptr ? "B" : view_.format;
    // The last is numpy's way of saying that they are not aligned.
    const bool ids = format == "l" || format == "q" || format == "=q";
    if ((!ids && format != "b" && format != "B") || static_cast<std::size_t>(view_.len) % sizeof(std::int64_t) != 0) {
      PyBuffer_Release(&view_);
      throw std::invalid_argument("ids must be int64, or bytes of such; got format " + format);
    }
    data_ = aligned_ids(view_.buf, count(), aligned_);
  }
  BorrowedIds(const BorrowedIds&) = delete;
  BorrowedIds& operator=(const BorrowedIds&) = delete;
  ~BorrowedIds() { PyBuffer_Release(&view_); }

  const std::int64_t* data() const noexcept { return data_; }
  std::size_t count() const noexcept { return static_cast<std::size_t>(view_.len) / sizeof(std::int64_t); }

 private:
  Py_buffer view_{};
  Array<std::int64_t> aligned_;
  const std::int64_t* data_ = nullptr;
};

void lookup_halves(Reader& self, std::size_t rows, const nb::list& ids, const Splits& splits, const Matrix<float>& numbers,
                   const Snapshot& snapshot, const Halves& halves, const Block& own, const Row& shared) {
  if (ids.size() != splits.size()) throw std::invalid_argument("wanted one entry of splits per id column");
  if (own.shape(0) != rows || own.shape(1) != halves.own_width || shared.shape(0) != halves.shared_width)
    throw std::invalid_argument("wanted room for [" + std::to_string(rows) + ", " + std::to_string(halves.own_width) +
                                "] own and [" + std::to_string(halves.shared_width) + "] shared floats; got [" +
                                std::to_string(own.shape(0)) + ", " + std::to_string(own.shape(1)) + "] and [" +
                                std::to_string(shared.shape(0)) + "]");
  check_fits(snapshot, self.group());
  std::vector<std::unique_ptr<BorrowedIds>> borrowed;
  BatchView batch = view_numbers(rows, numbers, self.group().layout());
  for (std::size_t c = 0; c < ids.size(); ++c) {
    borrowed.push_back(std::make_unique<BorrowedIds>(ids[c]));
    batch.ids.push_back(IdsView{borrowed[c]->data(), borrowed[c]->count(), splits_of(splits[c], rows), nullptr});
  }
  const nb::gil_scoped_release released;
  self.lookup_halves(batch, snapshot, halves, own.data(), shared.data());
}

}  // namespace

void bind_reader(nb::module_& module) {
  nb::class_<Halves>(module, "Halves")
      .def("__init__",
           [](Halves* self, const Group& group, const Vector<std::int64_t>& shared) {
             new (self) Halves(group.layout(), shared.data(), shared.shape(0));
           })
      .def_ro("own_width", &Halves::own_width)
      .def_ro("shared_width", &Halves::shared_width);
  nb::class_<Reader>(module, "Reader")
      .def(nb::init<const Group&>(), nb::arg("group"), nb::keep_alive<1, 2>())
      .def(
          "buffer",
          [](Reader& self) { return Buffer(self.buffer(), {self.group().max_batch(), self.group().layout().stride}); },
          nb::rv_policy::reference_internal)
      .def(
          "lookup",
          [](Reader& self, std::size_t rows, const Ids& ids, const Splits& splits, const Weights& weights,
             const Matrix<float>& numbers, const Snapshot* snapshot) {
            const BatchView batch = view_batch(rows, ids, splits, weights, numbers, self.group().layout());
            if (snapshot != nullptr) check_fits(*snapshot, self.group());
            const nb::gil_scoped_release released;
            return self.lookup(batch, snapshot);
          },
          nb::arg("rows"), nb::arg("ids"), nb::arg("splits"), nb::arg("weights"), nb::arg("numbers"),
          nb::arg("snapshot").none())
      .def("lookup_halves", &lookup_halves, nb::arg("rows"), nb::arg("ids"), nb::arg("splits"), nb::arg("numbers"),
           nb::arg("snapshot"), nb::arg("halves"), nb::arg("own").noconvert(), nb::arg("shared").noconvert())
      .def("absent", &Reader::absent);
}

}  // namespace springtide
