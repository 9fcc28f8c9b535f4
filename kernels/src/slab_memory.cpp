// SPDX-License-Identifier: Apache-2.0
#include "slab_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <mutex>

#include "arena.hpp"

namespace springtide {
namespace {

class Memory final : public SlabMemory {
 public:
  unsigned char* take(std::size_t bytes) override { return arena_.take(bytes); }
  bool tiered() const noexcept override { return false; }
  void reach(const unsigned char* const*, std::size_t, std::size_t) noexcept override {}

 private:
  Arena arena_;
};

class Files final : public SlabMemory {
 public:
  explicit Files(std::string name) : file_(mkostemp((name += "/slabs-XXXXXX").data(), O_CLOEXEC)) {
    if (file_ < 0) throw std::bad_alloc();
    (void)unlink(name.c_str());
  }
  ~Files() override {
    for (const Piece& piece : pieces_) unmap_pages(piece.memory, piece.bytes);
    (void)close(file_);
  }
  unsigned char* take(std::size_t bytes) override {
    reserve_more(pieces_, 1);
    bytes = (bytes + kPage - 1) / kPage * kPage;
    if (ftruncate(file_, static_cast<off_t>(size_ + bytes)) != 0) throw std::bad_alloc();
    auto* memory = static_cast<unsigned char*>(map_file(file_, size_, bytes));
    pieces_.push_back(Piece{memory, bytes});
    size_ += bytes;
    return memory;
  }
  bool tiered() const noexcept override { return true; }
  void reach(const unsigned char* const* places, std::size_t count, std::size_t bytes) noexcept override {
    for (const Piece& piece : pieces_) (void)madvise(piece.memory, piece.bytes, MADV_DONTNEED);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t into = reinterpret_cast<std::uintptr_t>(places[i]) % kPage;
      (void)madvise(const_cast<unsigned char*>(places[i]) - into, into + bytes, MADV_WILLNEED);
    }
  }

 private:
  static constexpr std::size_t kPage = 4096;
  struct Piece {
    unsigned char* memory;
    std::size_t bytes;
  };
  int file_;
  std::size_t size_ = 0;
  Array<Piece> pieces_;
};

std::mutex folder_mutex;
std::string& folder_of_files() {
  static auto* const folder = new std::string;
  return *folder;
}

}  // namespace

std::unique_ptr<SlabMemory> make_slab_memory() {
  const std::lock_guard<std::mutex> lock(folder_mutex);
  if (folder_of_files().empty()) return std::make_unique<Memory>();
  return std::make_unique<Files>(folder_of_files());
}

void keep_slabs_in_files(const std::string& folder) {
  const std::lock_guard<std::mutex> lock(folder_mutex);
  folder_of_files() = folder;
}

}  // namespace springtide
