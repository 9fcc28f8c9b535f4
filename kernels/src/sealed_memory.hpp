// Memory that is written once and then only read; knows no row.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>

namespace springtide {

// Pages of its own, in huge ones where the kernel has them; given back whole when this goes.
class SealedMemory {
 public:
  // `bytes` zero bytes. Throws std::bad_alloc.
  explicit SealedMemory(std::size_t bytes);
  ~SealedMemory();
  SealedMemory(const SealedMemory&) = delete;
  SealedMemory& operator=(const SealedMemory&) = delete;

  unsigned char* writable() noexcept { return memory_; }
  // From here on a write is a fault. Throws std::bad_alloc.
  void seal();

  const unsigned char* data() const noexcept { return memory_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::size_t bytes_;
  unsigned char* memory_;
};

}  // namespace springtide
