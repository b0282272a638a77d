// SPDX-License-Identifier: Apache-2.0
// Memory for operations.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "engine/op.h"

namespace inflight::internal {

// Those who push take from it, one at a time under a lock of theirs; those who finish give back whole
// bundles, without one. It grows to what was pending at once and keeps that until it goes.
class OpPool {
 public:
  // Pieces of memory without an operation in them, listed in the first of them: whoever takes them can fetch
  // some ahead without looking into any. One thread's.
  class Bundle {
   public:
    // Requires that it is not full.
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

  // Memory for one operation. One caller at a time.
  void* take();
  // Any thread. Leaves the bundle empty.
  void give_back(Bundle& bundle) noexcept;

 private:
  struct alignas(64) Piece {
    std::byte bytes[sizeof(Op)];
  };
  static constexpr std::size_t kPiecesPerSlab = 256;
  // How many pieces lie ready at least, and how many of them ahead the taker fetches what lies in another
  // core's cache: what was just given back is taken only after those, and has come by then.
  static constexpr std::size_t kReady = 16;
  static constexpr std::size_t kAhead = 8;
  static constexpr std::size_t kReadyMax = 64;  // a power of two, with room for a bundle

  void refill();
  void make_ready(void* piece) noexcept { ready_[(first_ready_ + ready_count_++) % kReadyMax] = piece; }

  // The taker's.
  std::array<void*, kReadyMax> ready_;  // a ring
  std::size_t first_ready_ = 0;
  std::size_t ready_count_ = 0;
  Bundle::List* free_ = nullptr;
  std::vector<std::unique_ptr<Piece[]>> slabs_;
  std::size_t used_ = kPiecesPerSlab;  // of the newest slab
  // Given back since the taker last looked; on a line of its own, away from the taker's.
  alignas(64) std::atomic<Bundle::List*> returned_{nullptr};
};

}  // namespace inflight::internal
