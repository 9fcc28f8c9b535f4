// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "bindings.hpp"
#include "hash.hpp"

namespace springtide {
namespace {

constexpr std::uint64_t kStringSeed = 0;

// Strings i = bytes [offsets[i], offsets[i + 1]) of an Arrow data buffer.
template <class Offset>
nb::ndarray<nb::numpy, std::int64_t> hash_strings(const Vector<Offset>& offsets, const Vector<std::uint8_t>& data) {
  Array<std::int64_t> hashes;
  {
    const nb::gil_scoped_release released;
    if (offsets.shape(0) == 0) throw std::invalid_argument("an Arrow string array has at least one offset");
    const std::size_t count = offsets.shape(0) - 1;
    const Offset* begin = offsets.data();
    // Checked before anything is read: the buffers may come from a request.
    bool fits = begin[0] >= 0 && static_cast<std::size_t>(begin[count]) <= data.shape(0);
    for (std::size_t i = 0; i < count; ++i) fits = fits && begin[i] <= begin[i + 1];
    if (!fits) throw std::invalid_argument("string offsets must rise within the data buffer");
    hashes.resize(count);
    for (std::size_t i = 0; i < count; ++i)
      hashes[i] = static_cast<std::int64_t>(
          xxh64(data.data() + begin[i], static_cast<std::size_t>(begin[i + 1] - begin[i]), kStringSeed));
  }
  const std::size_t count = hashes.size();
  return to_numpy(std::move(hashes), {count});
}

}  // namespace

void bind_hashing(nb::module_& module) {
  module.def("hash_strings", &hash_strings<std::int32_t>, nb::arg("offsets").noconvert(), nb::arg("data").noconvert());
  module.def("hash_strings", &hash_strings<std::int64_t>, nb::arg("offsets").noconvert(), nb::arg("data").noconvert());
  module.def("xxh64", [](const nb::bytes& data, std::uint64_t seed) { return xxh64(data.c_str(), data.size(), seed); });
}

}  // namespace springtide
