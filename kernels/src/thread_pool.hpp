// Runs numbered units of work on a fixed number of threads, the caller being one; knows no table. Which thread runs which
// unit is chance, so a unit must not depend on it.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace springtide {

class ThreadPool {
 public:
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls work(unit) for every unit in [0, count) and waits for all; the first exception is thrown again here.
  template <class Work>
  void run(std::size_t count, Work work) {
    run_units(count, [](void* with, std::size_t unit) { (*static_cast<Work*>(with))(unit); }, &work);
  }

 private:
  using Call = void (*)(void*, std::size_t);
  void run_units(std::size_t count, Call call, void* with);
  void drain() noexcept;
  void serve();

  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable begin_;
  std::condition_variable done_;
  std::uint64_t round_ = 0;
  std::size_t busy_ = 0;
  bool stop_ = false;
  std::atomic<std::uint64_t> announced_{0};  // round_, for those who spin
  std::atomic<std::size_t> still_busy_{0};   // busy_, for the caller who spins
  Call call_ = nullptr;
  void* with_ = nullptr;
  std::size_t count_ = 0;
  std::atomic<std::size_t> next_{0};
  std::exception_ptr failure_;
};

}  // namespace springtide
