// Random inserts, erasures, searches and captures against std::unordered_map; a program of its own: fuzz_keyed_rows SEED STEPS.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "keyed_rows.hpp"

namespace springtide {
namespace {

// Reproducible on every machine, which the standard library's distributions are not.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() noexcept { return mix(state_ += kGolden); }
  std::uint64_t below(std::uint64_t limit) noexcept { return next() % limit; }

 private:
  std::uint64_t state_;
};

void expect(bool holds, const char* what, std::uint64_t step) {
  if (holds) return;
  std::fprintf(stderr, "step %llu: %s\n", static_cast<unsigned long long>(step), what);
  std::exit(1);
}

class Fuzz {
 public:
  explicit Fuzz(std::uint64_t seed)
      : draws_(seed),
        keys_(std::uint64_t{1} << (4 + draws_.below(14))),
        pattern_(draws_.below(4)),
        rows_(Array<std::size_t>(1, 8), true) {}

  void step() {
    ++step_;
    switch (draws_.below(8)) {
      case 0:
        return erase();
      case 1:
        return search();
      case 2:
        if (draws_.below(8) == 0) return capture();
        [[fallthrough]];
      default:
        return insert_or_touch();
    }
  }
  void finish() {
    capture();
    std::size_t live = 0;
    rows_.store.each([&](std::uint32_t r) {
      ++live;
      const auto found = model_.find(rows_.store.key(r));
      expect(found != model_.end() && found->second == r, "a live row that the model does not know", step_);
    });
    expect(live == model_.size() && rows_.store.size() == model_.size(), "as many rows as keys", step_);
  }

 private:
  // Few keys, so that they come back: in a row, spread, alike in their upper bits, or the borders of int64.
  std::int64_t key() {
    const std::uint64_t at = draws_.below(keys_);
    constexpr std::int64_t kBorders[] = {0, -1, INT64_MAX, INT64_MIN};
    if (at < 4) return kBorders[at];
    const std::uint64_t by[] = {at, mix(at), at << 45, at * 4096};
    return static_cast<std::int64_t>(by[pattern_]);
  }
  void insert_or_touch() {
    std::vector<std::int64_t> batch(1 + draws_.below(600));
    for (std::int64_t& one : batch) one = key();
    std::sort(batch.begin(), batch.end());
    batch.erase(std::unique(batch.begin(), batch.end()), batch.end());
    std::vector<std::uint64_t> missing;
    for (const std::int64_t one : batch)
      if (model_.count(one) == 0) missing.push_back(hash_key(one));
    rows_.reserve(0, missing.data(), missing.size());
    rows_.reserve_touches(batch.size());
    for (const std::int64_t one : batch) {
      const auto found = model_.find(one);
      const std::uint32_t r = found == model_.end() ? rows_.take(0, one, hash_key(one)) : rows_.find(one);
      if (found == model_.end()) {
        model_.emplace(one, r);
      } else {
        expect(found->second == r, "a row moved", step_);
      }
      rows_.touch(r);
      changed_.insert(one);
      gone_.erase(one);
    }
  }
  void erase() {
    std::vector<std::int64_t> batch(1 + draws_.below(300));
    for (std::int64_t& one : batch) one = key();
    std::size_t present = 0;
    for (const std::int64_t one : batch) {
      if (model_.erase(one) == 0) continue;
      ++present;
      changed_.erase(one);
      gone_.insert(one);
    }
    expect(rows_.erase(batch.data(), batch.size()) == present, "erased as many as were there", step_);
  }
  void search() {
    std::vector<std::int64_t> batch(1 + draws_.below(2000));
    std::vector<std::uint64_t> hashes;
    for (std::int64_t& one : batch) hashes.push_back(hash_key(one = key()));
    std::size_t visited = 0;
    rows_.find_each(batch.data(), hashes.data(), batch.size(), 8, [&](std::size_t at, std::uint32_t r) {
      expect(at == visited++, "visited in turn", step_);
      const auto found = model_.find(batch[at]);
      expect(r == (found == model_.end() ? kNoRow : found->second), "found what the model has", step_);
    });
    expect(visited == batch.size(), "visited all", step_);
    // A slice of the sweep order holds exactly the keys whose hash is in it.
    const auto first = static_cast<std::uint32_t>(draws_.next());
    const std::uint32_t last = first + static_cast<std::uint32_t>(draws_.below(UINT32_MAX - first + std::uint64_t{1}));
    std::size_t in_slice = 0;
    for (const auto& [one, r] : model_) {
      const auto low = static_cast<std::uint32_t>(hash_key(one));
      in_slice += static_cast<std::size_t>(low >= first && low <= last);
    }
    expect(rows_.index.count_in(first, last) == in_slice, "a slice as large as the model's", step_);
  }
  void capture() {
    const KeyedRows::Changes changes = rows_.changes();
    std::unordered_set<std::int64_t> told;
    for (const std::uint32_t r : changes.rows) {
      const std::int64_t one = rows_.store.key(r);
      expect(changed_.count(one) != 0 && told.insert(one).second, "a change that was none, or told twice", step_);
    }
    expect(told.size() == changed_.size(), "every change told", step_);
    for (const std::int64_t one : changes.tombstones) expect(gone_.count(one) != 0, "a tombstone of a key that is here", step_);
    expect(changes.tombstones.size() == gone_.size(), "every erasure told", step_);
    rows_.forget_changes();
    changed_.clear();
    gone_.clear();
  }

  Draws draws_;
  std::uint64_t keys_;
  std::uint64_t pattern_;
  KeyedRows rows_;
  std::uint64_t step_ = 0;
  std::unordered_map<std::int64_t, std::uint32_t> model_;
  std::unordered_set<std::int64_t> changed_;
  std::unordered_set<std::int64_t> gone_;
};

}  // namespace
}  // namespace springtide

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "wanted: fuzz_keyed_rows SEED STEPS\n");
    return 2;
  }
  springtide::Fuzz fuzz(std::strtoull(arguments[1], nullptr, 10));
  const std::uint64_t steps = std::strtoull(arguments[2], nullptr, 10);
  for (std::uint64_t step = 0; step < steps; ++step) fuzz.step();
  fuzz.finish();
  return 0;
}
