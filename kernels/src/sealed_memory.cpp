// SPDX-License-Identifier: Apache-2.0
#include "sealed_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "memory.hpp"

namespace springtide {
namespace {

#ifdef MADV_COLLAPSE
constexpr int kCollapse = MADV_COLLAPSE;
#else
constexpr int kCollapse = 25;
#endif

void* mapped(int descriptor, std::size_t bytes, int protection, int flags) {
  void* memory = mmap(nullptr, bytes, protection, MAP_SHARED | flags, descriptor, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return memory;
}

}  // namespace

SealedMemory::SealedMemory(std::size_t bytes) : bytes_(bytes), descriptor_(-1) {
  // Every engine allocation can be made to fail in a test; this is the cheapest one.
  release(allocate(1), 1);
  descriptor_ = memfd_create("springtide-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor_ < 0) throw std::bad_alloc();
  try {
    if (posix_fallocate(descriptor_, 0, static_cast<off_t>(bytes)) != 0) throw std::bad_alloc();
    writable_ = static_cast<unsigned char*>(mapped(descriptor_, bytes, PROT_READ | PROT_WRITE, MAP_POPULATE));
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

SealedMemory::~SealedMemory() {
  if (writable_ != nullptr) munmap(writable_, bytes_);
  if (data_ != nullptr) munmap(const_cast<unsigned char*>(data_), bytes_);
  close(descriptor_);
}

void SealedMemory::seal() {
  munmap(writable_, bytes_);
  writable_ = nullptr;
  if (fcntl(descriptor_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) throw std::bad_alloc();
  data_ = static_cast<const unsigned char*>(mapped(descriptor_, bytes_, PROT_READ, MAP_POPULATE));
  // Rows are read at random: with small pages the walk through the page tables costs as much as the row. Where the kernel
  // does not know this call or has no huge page left, the small pages stay.
  if (bytes_ >= 4 * kHugePage) madvise(const_cast<unsigned char*>(data_), bytes_, kCollapse);
}

}  // namespace springtide
