// Memory that is written once and then read by any number of processes, which get its descriptor; knows no row.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>

namespace springtide {

// A memory file whose size and bytes can no longer change once it is sealed. The kernel frees it when the last mapping and
// the last descriptor are gone, whoever held them and however they ended.
class SealedMemory {
 public:
  // `bytes` zero bytes, all of them there already: running out of memory is std::bad_alloc here and not a signal later.
  explicit SealedMemory(std::size_t bytes);
  ~SealedMemory();
  SealedMemory(const SealedMemory&) = delete;
  SealedMemory& operator=(const SealedMemory&) = delete;

  // Before seal() alone.
  unsigned char* writable() noexcept { return writable_; }
  // Ends writing, and maps the pages to be read without a fault. Throws std::bad_alloc.
  void seal();

  // After seal().
  const unsigned char* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::size_t bytes_;
  int descriptor_;
  unsigned char* writable_ = nullptr;
  const unsigned char* data_ = nullptr;
};

}  // namespace springtide
