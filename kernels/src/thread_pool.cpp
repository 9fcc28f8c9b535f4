// SPDX-License-Identifier: Apache-2.0
#include "thread_pool.hpp"

namespace springtide {
namespace {

// apply()'s two rounds follow each other within microseconds, which is less than waking a thread takes. Between calls lie
// milliseconds of a model's own work: then the spins end, and threads sleep.
constexpr int kSpins = 4000;

void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(unsigned threads) {
  try {
    for (unsigned i = 1; i < threads; ++i) helpers_.emplace_back([this] { serve(); });
  } catch (...) {
    // The destructor of a half-built object never runs, and a joinable thread may not be destroyed.
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    begin_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  begin_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadPool::run_units(std::size_t count, Call call, void* with) {
  if (helpers_.empty() || count < 2) {
    std::exception_ptr failure;
    for (std::size_t unit = 0; unit < count; ++unit) {
      try {
        call(with, unit);
      } catch (...) {
        if (failure == nullptr) failure = std::current_exception();
      }
    }
    if (failure != nullptr) std::rethrow_exception(failure);
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    call_ = call;
    with_ = with;
    count_ = count;
    next_.store(0);
    failure_ = nullptr;
    busy_ = helpers_.size();
    still_busy_.store(busy_);
    announced_.store(++round_);
  }
  begin_.notify_all();
  drain();
  for (int spin = 0; spin < kSpins && still_busy_.load() != 0; ++spin) pause();
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, [this] { return busy_ == 0; });
  if (failure_ != nullptr) {
    const std::exception_ptr failure = failure_;
    failure_ = nullptr;
    lock.unlock();
    std::rethrow_exception(failure);
  }
}

void ThreadPool::drain() noexcept {
  for (std::size_t unit; (unit = next_.fetch_add(1)) < count_;) {
    try {
      call_(with_, unit);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (failure_ == nullptr) failure_ = std::current_exception();
    }
  }
}

void ThreadPool::serve() {
  std::uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < kSpins && announced_.load() == seen; ++spin) pause();
    {
      std::unique_lock<std::mutex> lock(mutex_);
      begin_.wait(lock, [&] { return stop_ || round_ != seen; });
      if (stop_) return;
      seen = round_;
    }
    drain();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      still_busy_.store(--busy_);
    }
    done_.notify_one();
  }
}

}  // namespace springtide
