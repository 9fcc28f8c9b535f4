// SPDX-License-Identifier: Apache-2.0
#include "sealed_memory.hpp"

#include <sys/mman.h>

#include <new>

#include "memory.hpp"

namespace springtide {

namespace {

constexpr std::size_t kPage = 4096;

}  // namespace

SealedMemory::SealedMemory(std::size_t bytes)
    : bytes_((bytes + kPage - 1) / kPage * kPage),
      memory_(static_cast<unsigned char*>(map_pages(bytes_, bytes_ >= kHugePage))) {}

SealedMemory::~SealedMemory() { unmap_pages(memory_, bytes_); }

void SealedMemory::seal() {
  if (mprotect(memory_, bytes_, PROT_READ) != 0) throw std::bad_alloc();
}

}  // namespace springtide
