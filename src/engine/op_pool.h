// SPDX-License-Identifier: Apache-2.0
// Memory for operations.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "engine/op.h"
#include "inflight/internal/mutex.h"

namespace inflight::internal {

// Threads that push take memory without a lock; threads that finish operations give whole bundles back
// without a lock. It grows to the largest number that was pending at once, and keeps that memory until it is
// destroyed.
//
// Pushes are numbered by their owner's counter, and each number has its piece of memory: the thread whose
// compare-and-swap takes a number has taken the piece with it.
class OpPool {
 public:
  // The bit of the owner's counter that is no part of the number: no more are taken.
  static constexpr std::uint64_t kClosed = std::uint64_t{1} << 63U;

  // Pieces of memory without an operation, listed in the first of them, so that the taker can prefetch pieces
  // without reading any. It belongs to one thread.
  class Bundle {
   public:
    // Requires that the bundle is not full.
    void add(void* piece) noexcept;
    bool full() const noexcept { return list_ != nullptr && list_->count == kOthers; }

   private:
    friend class OpPool;
    static constexpr std::size_t kOthers = sizeof(Op) / sizeof(void*) - 2;
    struct List {
      List* next = nullptr;  // another bundle
      std::size_t count = 0;
      void* others[kOthers];
    };
    static_assert(sizeof(List) <= sizeof(Op));
    List* list_ = nullptr;
  };

  OpPool() noexcept = default;
  ~OpPool();
  OpPool(const OpPool&) = delete;
  OpPool& operator=(const OpPool&) = delete;

  // The memory that goes with this number; null: none is ready. Call it before the number is taken:
  // afterwards the place in the ring may be used again.
  void* ready(std::uint64_t number) const noexcept {
    if (number >= ready_end_.load(std::memory_order_acquire)) return nullptr;
    return ready_[number % kReadyMax].load(std::memory_order_relaxed);
  }
  // To be called by the thread that took the number, before it writes the memory.
  void taken(std::uint64_t number, void* memory, const std::atomic<std::uint64_t>& next) noexcept;
  // Makes memory ready for the numbers from `next` on.
  //   returns   false: there is no memory for the first of them
  bool refill(const std::atomic<std::uint64_t>& next) noexcept;
  // Leaves the bundle empty. Any thread.
  void give_back(Bundle& bundle) noexcept;

 private:
  static constexpr std::size_t kPiecesPerSlab = 256;
  struct alignas(64) Piece {
    std::byte bytes[sizeof(Op)];
  };
  struct Slab {
    Slab* next = nullptr;
    Piece pieces[kPiecesPerSlab];
  };
  // Keep kReady pieces ready and prefetch the one kAhead ahead, so that a recycled piece is in this core's
  // cache before use.
  static constexpr std::size_t kReady = 16;
  static constexpr std::size_t kAhead = 8;
  static constexpr std::size_t kReadyMax = 64;  // a power of two, with room for kReady and a bundle

  bool refill_locked(const std::atomic<std::uint64_t>& next) noexcept INFLIGHT_REQUIRES(mutex_);

  // The piece of number n is at n % kReadyMax. A place is written again only once its number has been taken.
  std::array<std::atomic<void*>, kReadyMax> ready_{};
  std::atomic<std::uint64_t> ready_end_{0};  // numbers before it have memory; written under mutex_
  Mutex mutex_;
  Bundle::List* free_ INFLIGHT_GUARDED_BY(mutex_) = nullptr;
  Slab* slabs_ INFLIGHT_GUARDED_BY(mutex_) = nullptr;              // the newest first
  std::size_t used_ INFLIGHT_GUARDED_BY(mutex_) = kPiecesPerSlab;  // of the newest slab
  // Given back since the last look; on a cache line of its own, away from those of the threads that push.
  alignas(64) std::atomic<Bundle::List*> returned_{nullptr};
};

}  // namespace inflight::internal
