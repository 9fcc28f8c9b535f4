// Memory that is written once and then only read, by any process that is given its file; knows no row.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

namespace springtide {

// Pages of a file in memory that has no name, in huge ones where the kernel has them; they go with the last process that
// has the file or maps it, however that process ends.
class SealedMemory {
 public:
  // `bytes` zero bytes. Throws std::bad_alloc, or std::system_error where it is files and not memory that lacks.
  explicit SealedMemory(std::size_t bytes);
  // What another process sealed; `file` stays the caller's. Throws std::invalid_argument where it is not sealed.
  static SealedMemory* opened(int file);
  ~SealedMemory();
  SealedMemory(const SealedMemory&) = delete;
  SealedMemory& operator=(const SealedMemory&) = delete;

  unsigned char* writable() noexcept { return memory_; }
  // From here on nobody can write to it, in whatever process, and a write is a fault. Throws as above.
  void seal();

  const unsigned char* data() const noexcept { return memory_; }
  std::size_t bytes() const noexcept { return bytes_; }
  // To be sent to other processes; -1 in those.
  int file() const noexcept { return file_; }
  // The same in all processes, and no other's while one of them has it.
  std::uint64_t identity() const noexcept { return identity_; }

 private:
  SealedMemory() = default;
  void map_to_read(int file);

  std::size_t bytes_ = 0;
  unsigned char* memory_ = nullptr;
  int file_ = -1;
  std::uint64_t identity_ = 0;
};

// The number by which `SealedMemory::identity` tells the file. Throws std::invalid_argument where it is none.
std::uint64_t identity_of(int file);

}  // namespace springtide
