// SPDX-License-Identifier: Apache-2.0
#include "early_pages.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace springtide {
namespace {

#ifndef MADV_POPULATE_WRITE
constexpr int MADV_POPULATE_WRITE = 23;  // Linux 5.14; what an older kernel refuses comes with the first write
#endif

class Worker {
 public:
  // Never waits: a table has better things to do. A forked child has the lock as it was and no thread; it loses nothing else.
  void ask(unsigned char* page) noexcept {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock || count_ == kMost || !start()) return;
    pages_[(first_ + count_++) % kMost] = page;
    asked_.notify_one();
  }

 private:
  bool start() noexcept {
    if (started_) return true;
    // Signals belong to the interpreter's threads.
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([this] { run(); }).detach();
      started_ = true;
    } catch (const std::system_error&) {
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started_;
  }

  // A page whose region has gone meanwhile is an error that nobody needs to hear of; whatever stands there now keeps its bytes.
  [[noreturn]] void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      asked_.wait(lock, [this] { return count_ != 0; });
      unsigned char* const page = pages_[first_];
      first_ = (first_ + 1) % kMost;
      --count_;
      lock.unlock();
      (void)madvise(page, kHugePage, MADV_POPULATE_WRITE);
      lock.lock();
    }
  }

  static constexpr std::size_t kMost = 64;
  std::mutex mutex_;
  std::condition_variable asked_;
  unsigned char* pages_[kMost] = {};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  bool started_ = false;
};

// Never destroyed: its thread may be at work when the process ends.
Worker& worker() {
  static auto* const one = new Worker;
  return *one;
}

}  // namespace

void EarlyPages::ask(unsigned char* page) noexcept { worker().ask(page); }

}  // namespace springtide
