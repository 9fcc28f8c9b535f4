// How one row's values, optimizer state and step stamp stand in its bytes, for every precision and rung; knows no key.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "half.hpp"
#include "memory.hpp"
#include "optimizer.hpp"

namespace springtide {

// Row of rung q: values [dims[q]] in `precision`, padded to 4 bytes; state [slots.width(dims[q])] float32; the step of the
// last update where `stamped`. Outside a table every row is float32 and as wide as the last rung, zeros beyond its own.
struct RowFormat {
  std::vector<std::size_t> dims;
  Precision precision;
  SlotLayout slots;
  bool stamped;

  std::size_t dim() const noexcept { return dims.back(); }
  std::size_t value_part(unsigned rung) const noexcept { return (dims[rung] * value_bytes(precision) + 3) / 4 * 4; }
  std::size_t state_width(unsigned rung) const noexcept { return slots.width(dims[rung]); }
  std::size_t row_bytes(unsigned rung) const noexcept {
    return value_part(rung) + (state_width(rung) + (stamped ? 1 : 0)) * sizeof(float);
  }
  // Floats of state per row outside a table.
  std::size_t slot_width() const noexcept { return slots.width(dim()) + (stamped ? 1 : 0); }
  bool plain() const noexcept { return precision == Precision::kFloat32 && dims.size() == 1; }

  Array<std::size_t> all_row_bytes() const {
    Array<std::size_t> bytes;
    for (unsigned q = 0; q < dims.size(); ++q) bytes.push_back(row_bytes(q));
    return bytes;
  }
  std::uint32_t stamp(const unsigned char* row, unsigned rung) const noexcept {
    std::uint32_t step;
    std::memcpy(&step, row + row_bytes(rung) - 4, sizeof step);
    return step;
  }
  void set_stamp(unsigned char* row, unsigned rung, std::uint32_t step) const noexcept {
    std::memcpy(row + row_bytes(rung) - 4, &step, sizeof step);
  }
  // The row's own values as floats [dims[rung]].
  void read_values(const unsigned char* row, unsigned rung, float* out) const noexcept {
    if (precision == Precision::kFloat32) {
      std::memcpy(out, row, dims[rung] * sizeof(float));
    } else {
      widen(reinterpret_cast<const std::uint16_t*>(row), dims[rung], precision, out);
    }
  }
  // Values that this precision can hold exactly, such as those read before.
  void write_values(unsigned char* row, unsigned rung, const float* values) const noexcept {
    if (precision == Precision::kFloat32) {
      std::memcpy(row, values, dims[rung] * sizeof(float));
    } else {
      narrow_to_nearest(values, dims[rung], precision, reinterpret_cast<std::uint16_t*>(row));
    }
  }
  // To and from the form outside a table: values [dim], state [slot_width].
  void export_row(const unsigned char* row, unsigned rung, float* values, float* state) const noexcept {
    const std::size_t own = dims[rung];
    read_values(row, rung, values);
    std::memset(values + own, 0, (dim() - own) * sizeof(float));
    const unsigned char* from = row + value_part(rung);
    for (std::size_t part = 0; part < slots.wide; ++part, state += dim(), from += own * sizeof(float)) {
      std::memcpy(state, from, own * sizeof(float));
      std::memset(state + own, 0, (dim() - own) * sizeof(float));
    }
    // A table without state has no array for it, either, and not even nothing may be copied to null.
    const std::size_t rest = slots.scalars + (stamped ? 1 : 0);
    if (rest != 0) std::memcpy(state, from, rest * sizeof(float));
  }
  void import_row(unsigned char* row, unsigned rung, const float* values, const float* state) const noexcept {
    const std::size_t own = dims[rung];
    write_values(row, rung, values);
    if (state == nullptr) return;
    unsigned char* to = row + value_part(rung);
    for (std::size_t part = 0; part < slots.wide; ++part, state += dim(), to += own * sizeof(float))
      std::memcpy(to, state, own * sizeof(float));
    std::memcpy(to, state, (slots.scalars + (stamped ? 1 : 0)) * sizeof(float));
  }
};

}  // namespace springtide
