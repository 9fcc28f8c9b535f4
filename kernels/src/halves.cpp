// SPDX-License-Identifier: Apache-2.0
#include "halves.hpp"

#include <stdexcept>
#include <string>

namespace springtide {

Halves::Halves(const Layout& layout, const std::int64_t* shared, std::size_t count) : own_width(0), own_padding(0), shared_width(0) {
  std::vector<bool> is_shared(layout.stride, false);
  for (std::size_t i = 0; i < count; ++i) {
    if (shared[i] < 0 || static_cast<std::size_t>(shared[i]) >= layout.stride)
      throw std::invalid_argument("shared float " + std::to_string(shared[i]) + " is not in a row of " +
                                  std::to_string(layout.stride));
    is_shared[static_cast<std::size_t>(shared[i])] = true;
  }
  std::vector<Place> places;
  for (std::size_t at = 0; at < layout.stride; ++at)
    places.push_back(is_shared[at] ? Place{true, shared_width++} : Place{false, own_width++});
  for (std::size_t at = layout.width; at < layout.stride; ++at) own_padding += is_shared[at] ? 0 : 1;
  for (std::size_t c = 0; c < layout.offsets.size(); ++c) {
    const std::size_t begin = layout.offsets[c];
    for (std::size_t at = begin; at < begin + layout.widths[c]; ++at)
      if (is_shared[at] != is_shared[begin]) throw std::invalid_argument("column " + std::to_string(c) + " is shared in part");
    columns.push_back(places[begin]);
  }
  for (std::size_t n = 0; n < layout.numbers; ++n) numbers.push_back(places[layout.numbers_offset + n]);
}

}  // namespace springtide
