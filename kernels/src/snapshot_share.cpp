// How a snapshot reaches other processes; how it is made is in snapshot.cpp.
// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "snapshot.hpp"
#include "snapshot_build.hpp"

namespace springtide {
namespace {

// The numbers of a layout, taken one by one.
class Numbers {
 public:
  explicit Numbers(const std::vector<std::uint64_t>& numbers) : numbers_(numbers) {}
  std::size_t next() {
    if (at_ == numbers_.size()) throw std::invalid_argument("the layout ends too early");
    return numbers_[at_++];
  }
  bool done() const noexcept { return at_ == numbers_.size(); }

 private:
  const std::vector<std::uint64_t>& numbers_;
  std::size_t at_ = 0;
};

// Where `count` things of `size` bytes begin.
const unsigned char* within(const SealedMemory& memory, std::size_t offset, std::size_t count, std::size_t size) {
  if (offset % kCacheLine != 0 || offset > memory.bytes() || count > (memory.bytes() - offset) / std::max(size, std::size_t{1}))
    throw std::invalid_argument("the layout reaches beyond the memory");
  return memory.data() + offset;
}

template <class Entry>
HashOrder<Entry> read_entries(const SealedMemory& memory, Numbers& numbers) {
  EntrySections<Entry> sections;
  sections.count = numbers.next();
  sections.buckets = numbers.next();
  sections.entries = numbers.next();
  if (sections.count >= kNoRow) throw std::invalid_argument("the layout has too many rows");
  (void)within(memory, sections.entries, sections.count, sizeof(Entry));
  (void)within(memory, sections.buckets, HashOrder<Entry>::buckets_for(sections.count) + 1, sizeof(HashBucket));
  return sections.view(memory.data());
}

template <class Entry>
void write_entries(const SealedMemory& memory, const HashOrder<Entry>& entries, std::vector<std::uint64_t>& numbers) {
  numbers.push_back(entries.size());
  numbers.push_back(static_cast<std::uint64_t>(reinterpret_cast<const unsigned char*>(entries.buckets()) - memory.data()));
  numbers.push_back(static_cast<std::uint64_t>(reinterpret_cast<const unsigned char*>(entries.entries()) - memory.data()));
}

}  // namespace

std::vector<int> Snapshot::files() const {
  std::vector<int> files{base_->file()};
  if (overlay_ != nullptr) files.push_back(overlay_->file());
  for (const Memory& segment : segments_) files.push_back(segment->file());
  return files;
}

std::vector<std::uint64_t> Snapshot::layout() const {
  std::vector<std::uint64_t> numbers;
  for (const TableView& view : tables_) {
    numbers.push_back(view.rows);
    write_entries(*base_, view.base, numbers);
    numbers.push_back(static_cast<std::uint64_t>(view.base_values - base_->data()));
    if (overlay_ == nullptr) continue;
    write_entries(*overlay_, view.overlay, numbers);
    for (std::size_t s = 0; s < segments_.size(); ++s)
      numbers.push_back(static_cast<std::uint64_t>(view.segments[s] - segments_[s]->data()));
  }
  return numbers;
}

Snapshot::Memory Snapshot::piece(std::uint64_t identity) const noexcept {
  if (base_->identity() == identity) return base_;
  if (overlay_ != nullptr && overlay_->identity() == identity) return overlay_;
  for (const Memory& segment : segments_)
    if (segment->identity() == identity) return segment;
  return nullptr;
}

std::unique_ptr<Snapshot> Snapshot::opened(std::vector<RowFormat> formats, const std::vector<std::uint64_t>& layout,
                                           const std::vector<int>& files, const std::vector<const Snapshot*>& known) {
  std::vector<Memory> pieces;
  for (const int file : files) {
    const std::uint64_t identity = identity_of(file);
    Memory found;
    for (const Snapshot* other : known)
      if (found == nullptr && other != nullptr) found = other->piece(identity);
    if (found == nullptr) found.reset(SealedMemory::opened(file));
    pieces.push_back(std::move(found));
  }
  if (pieces.empty() || pieces.size() == 2) throw std::invalid_argument("wanted a base, or a base, an overlay and its segments");
  std::unique_ptr<Snapshot> made(new Snapshot);
  made->base_ = pieces[0];
  if (pieces.size() > 1) made->overlay_ = pieces[1];
  for (std::size_t s = 2; s < pieces.size(); ++s) made->segments_.push_back(pieces[s]);
  made->tables_.resize(formats.size());
  Numbers numbers(layout);
  for (std::size_t t = 0; t < formats.size(); ++t) {
    TableView& view = made->tables_[t];
    const std::size_t row_bytes = formats[t].row_bytes(0);
    view.rows = numbers.next();
    view.base = read_entries<std::int64_t>(*made->base_, numbers);
    view.base_values = within(*made->base_, numbers.next(), view.base.size(), row_bytes);
    if (made->overlay_ == nullptr) continue;
    view.overlay = read_entries<OverlayEntry>(*made->overlay_, numbers);
    for (const Memory& segment : made->segments_) view.segments.push_back(within(*segment, numbers.next(), 0, row_bytes));
  }
  if (!numbers.done()) throw std::invalid_argument("the layout says more than the tables have");
  made->formats_ = std::move(formats);
  return made;
}

}  // namespace springtide
