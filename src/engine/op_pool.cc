// SPDX-License-Identifier: Apache-2.0
#include "engine/op_pool.h"

#include <new>

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

void* OpPool::take() {
  if (ready_count_ < kReady) refill();
  void* const piece = ready_[first_ready_++ % kReadyMax];
  --ready_count_;
  if (ready_count_ > kAhead) prefetch_op(ready_[(first_ready_ + kAhead) % kReadyMax]);
  ASAN_UNPOISON_MEMORY_REGION(piece, sizeof(Op));
  return piece;
}

void OpPool::refill() {
  while (ready_count_ < kReady) {
    if (free_ == nullptr) free_ = returned_.exchange(nullptr, std::memory_order_acquire);
    if (free_ != nullptr) {
      Bundle::List* const list = std::exchange(free_, free_->next);
      for (std::size_t i = 0; i < list->count; ++i) make_ready(list->others[i]);
      make_ready(list);
    } else {
      if (used_ == kPiecesPerSlab) {
        slabs_.push_back(std::make_unique_for_overwrite<Piece[]>(kPiecesPerSlab));
        used_ = 0;
      }
      make_ready(slabs_.back()[used_++].bytes);
    }
  }
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
