// SPDX-License-Identifier: Apache-2.0
#include "engine/op_pool.h"

#include <new>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) static_cast<void>(address)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) static_cast<void>(address)
#endif

namespace inflight::internal {

void OpPool::Bundle::add(void* piece) noexcept {
  if (list_ == nullptr) {
    list_ = new (piece) List;
    return;
  }
  list_->others[list_->count++] = piece;
  ASAN_POISON_MEMORY_REGION(piece, sizeof(Op));
}

// No lock: nothing else uses the pool any more.
OpPool::~OpPool() INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  while (slabs_ != nullptr) delete std::exchange(slabs_, slabs_->next);
}

void OpPool::taken(std::uint64_t number, void* memory, const std::atomic<std::uint64_t>& next) noexcept {
  const std::uint64_t end = ready_end_.load(std::memory_order_relaxed);
  if (number + kAhead < end) {
    prefetch_op(ready_[(number + kAhead) % kReadyMax].load(std::memory_order_relaxed));
  }
  ASAN_UNPOISON_MEMORY_REGION(memory, sizeof(Op));
  static_cast<void>(memory);
  if (number + kReady < end || !mutex_.try_lock()) return;
  refill_locked(next);
  mutex_.unlock();
}

bool OpPool::refill(const std::atomic<std::uint64_t>& next) noexcept {
  const MutexLock lock(mutex_);
  return refill_locked(next);
}

bool OpPool::refill_locked(const std::atomic<std::uint64_t>& next) noexcept {
  // An owner that closes meanwhile sets the bit: with it, every number would seem to be missing.
  const std::uint64_t first = next.load(std::memory_order_relaxed) & ~kClosed;
  std::uint64_t end = ready_end_.load(std::memory_order_relaxed);
  const auto make_ready = [this, &end](void* piece) {
    ready_[end++ % kReadyMax].store(piece, std::memory_order_relaxed);
  };
  while (end <= first + kReady) {
    if (free_ == nullptr) free_ = returned_.exchange(nullptr, std::memory_order_acquire);
    if (free_ != nullptr) {
      Bundle::List* const list = std::exchange(free_, free_->next);
      for (std::size_t i = 0; i < list->count; ++i) make_ready(list->others[i]);
      make_ready(list);
      continue;
    }
    if (used_ == kPiecesPerSlab) {
      // Not zeroed: the operations that use the memory write it first.
      Slab* const slab = new (std::nothrow) Slab;
      if (slab == nullptr) break;
      slab->next = std::exchange(slabs_, slab);
      used_ = 0;
    }
    for (std::size_t i = 0; i < kReady && used_ < kPiecesPerSlab; ++i)
      make_ready(slabs_->pieces[used_++].bytes);
  }
  ready_end_.store(end, std::memory_order_release);
  return end > first;
}

void OpPool::give_back(Bundle& bundle) noexcept {
  Bundle::List* const list = std::exchange(bundle.list_, nullptr);
  if (list == nullptr) return;
  list->next = returned_.load(std::memory_order_relaxed);
  while (!returned_.compare_exchange_weak(list->next, list, std::memory_order_release,
                                          std::memory_order_relaxed)) {
  }
}

}  // namespace inflight::internal
