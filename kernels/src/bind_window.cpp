// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "bindings.hpp"
#include "seen_window.hpp"

namespace springtide {
namespace {

using Entries = nb::ndarray<nb::numpy, std::int64_t>;

Entries entries_to_numpy(Array<SeenEntry>&& entries) {
  const std::size_t count = entries.size();
  return to_numpy<SeenEntry, std::int64_t>(std::move(entries), {count, 2});
}

const SeenEntry* check_entries(const Matrix<std::int64_t>& entries) {
  if (entries.shape(1) != 2) throw std::invalid_argument("window entries have shape [n, 2]: clock_ms, hash");
  return reinterpret_cast<const SeenEntry*>(entries.data());
}

}  // namespace

void bind_window(nb::module_& module) {
  nb::class_<SeenWindow>(module, "SeenWindow")
      .def(nb::init<std::int64_t>(), nb::arg("horizon_ms"))
      .def("admit",
           [](SeenWindow& self, const Vector<std::int64_t>& hashes, const Vector<std::int64_t>& known_ms) {
             const std::size_t count = hashes.shape(0);
             if (known_ms.shape(0) != count)
               throw std::invalid_argument("known_ms must have one entry per sample id");
             Array<std::uint8_t> admitted(count, 0);
             std::size_t beyond = 0;
             {
               const nb::gil_scoped_release released;
               beyond = self.admit(reinterpret_cast<const std::uint64_t*>(hashes.data()), known_ms.data(), count,
                                   reinterpret_cast<bool*>(admitted.data()));
             }
             return nb::make_tuple(to_numpy<std::uint8_t, bool>(std::move(admitted), {count}), beyond);
           },
           nb::arg("hashes").noconvert(), nb::arg("known_ms").noconvert())
      .def("size", &SeenWindow::size)
      .def("clock_ms", &SeenWindow::clock_ms)
      .def("memory_bytes", &SeenWindow::bytes)
      .def("capture", [](SeenWindow& self) { return entries_to_numpy(self.capture()); })
      .def("put_back", [](SeenWindow& self,
                          const Matrix<std::int64_t>& entries) { self.put_back(check_entries(entries), entries.shape(0)); })
      .def("export_entries", [](const SeenWindow& self) { return entries_to_numpy(self.all()); })
      .def("import_entries", [](SeenWindow& self, const Matrix<std::int64_t>& entries) {
        self.import(check_entries(entries), entries.shape(0));
      });
}

}  // namespace springtide
