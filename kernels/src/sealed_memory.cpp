// SPDX-License-Identifier: Apache-2.0
#include "sealed_memory.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <new>
#include <stdexcept>
#include <system_error>

#include "memory.hpp"

namespace springtide {

namespace {

constexpr std::size_t kPage = 4096;
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
#ifdef MADV_COLLAPSE
constexpr int kCollapse = MADV_COLLAPSE;
#else
constexpr int kCollapse = 25;
#endif

// A file in memory gets huge pages of itself only where the machine's settings say so; asked for outright, it gets them
// from Linux 6.1 on. A page must be there to be made part of a huge one. Filled so, a piece costs a third.
void in_huge_pages(unsigned char* memory, std::size_t bytes) noexcept {
  const std::size_t whole = bytes / kHugePage * kHugePage;
  if (whole == 0) return;
  (void)madvise(memory, whole, MADV_HUGEPAGE);
  for (std::size_t at = 0; at < whole; at += kHugePage) *static_cast<volatile unsigned char*>(memory + at) = 0;
  (void)madvise(memory, whole, kCollapse);
}

[[noreturn]] void fail(const char* what) {
  if (errno == ENOMEM) throw std::bad_alloc();
  throw std::system_error(errno, std::generic_category(), what);
}

// Something else in this process or the kernel may hold a page for a moment, which the kernel calls busy.
bool sealed(int file) noexcept {
  constexpr int kAttempts = 1000;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (fcntl(file, F_ADD_SEALS, kSeals) == 0) return true;
    if (errno != EBUSY) return false;
    (void)sched_yield();
  }
  return false;
}

struct stat status_of(int file) {
  struct stat status;
  if (fstat(file, &status) != 0) throw std::invalid_argument("no such file descriptor");
  return status;
}

}  // namespace

SealedMemory::SealedMemory(std::size_t bytes) : bytes_((bytes + kPage - 1) / kPage * kPage) {
  memory_ = static_cast<unsigned char*>(map_pages(bytes_, bytes_ >= kHugePage));
  file_ = memfd_create("springtide-rows", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  try {
    if (file_ < 0) fail("no file for the rows");
    if (ftruncate(file_, static_cast<off_t>(bytes_)) != 0) fail("no room in the file for the rows");
    identity_ = identity_of(file_);
    if (mmap(memory_, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file_, 0) == MAP_FAILED) fail("the rows");
  } catch (...) {
    unmap_pages(memory_, bytes_);
    if (file_ >= 0) (void)close(file_);
    throw;
  }
  in_huge_pages(memory_, bytes_);
}

SealedMemory* SealedMemory::opened(int file) {
  const int seals = fcntl(file, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) throw std::invalid_argument("the memory is not sealed");
  std::unique_ptr<SealedMemory> made(new SealedMemory);
  const auto bytes = static_cast<std::size_t>(status_of(file).st_size);
  if (bytes == 0) throw std::invalid_argument("the memory is empty");
  made->identity_ = identity_of(file);
  made->memory_ = static_cast<unsigned char*>(map_pages(bytes, bytes >= kHugePage));
  made->bytes_ = bytes;
  made->map_to_read(file);
  return made.release();
}

SealedMemory::~SealedMemory() {
  if (memory_ != nullptr) unmap_pages(memory_, bytes_);
  if (file_ >= 0) (void)close(file_);
}

void SealedMemory::seal() {
  // As long as anything maps it that might be let write, the kernel refuses the seal; the place stays reserved.
  constexpr int kReserved = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  if (mmap(memory_, bytes_, PROT_NONE, kReserved, -1, 0) == MAP_FAILED) fail("the rows");
  if (!sealed(file_)) fail("the rows cannot be sealed");
  map_to_read(file_);
}

// What is there already is mapped at once: no request pays for it. Private, since before Linux 6.7 sealed files could not be
// mapped otherwise; as nothing is ever written, the pages are the file's own.
void SealedMemory::map_to_read(int file) {
  if (mmap(memory_, bytes_, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, file, 0) == MAP_FAILED) throw std::bad_alloc();
}

std::uint64_t identity_of(int file) { return status_of(file).st_ino; }

}  // namespace springtide
