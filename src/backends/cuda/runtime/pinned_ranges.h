// SPDX-License-Identifier: Apache-2.0
// PinnedRanges: which host memory the device can read and write by itself.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace inflight::cuda {

// Each range is one atomic word, so a lookup takes no lock. A lookup is right for memory that stays allocated
// during the call; that of others may come and go meanwhile.
//   thread   any
//   bound    kRangesMax ranges of at most kBytesMax bytes each
class PinnedRanges {
 public:
  static constexpr std::size_t kRangesMax = 4096;
  static constexpr std::size_t kStartUnit = 64;     // bytes; a range starts at a multiple
  static constexpr std::size_t kLengthUnit = 4096;  // bytes; a range's length is a multiple
  static constexpr std::size_t kBytesMax = kLengthUnit * ((std::size_t{1} << 23U) - 1);

  // False: it does not fit the bounds above, and is not in the set.
  bool add(const void* start, std::size_t bytes) noexcept {
    const std::uint64_t word = encode(start, bytes);
    if (word == 0) return false;
    for (std::size_t i = 0; i < kRangesMax; ++i) {
      std::uint64_t expected = 0;
      if (!ranges_[i].compare_exchange_strong(expected, word, std::memory_order_acq_rel)) continue;
      std::size_t used = used_.load(std::memory_order_relaxed);
      while (used < i + 1 && !used_.compare_exchange_weak(used, i + 1, std::memory_order_release)) {
      }
      return true;
    }
    return false;
  }
  // Takes out what add(start, bytes) put in; nothing if it did not.
  void remove(const void* start, std::size_t bytes) noexcept {
    const std::uint64_t word = encode(start, bytes);
    if (word == 0) return;
    for (auto& range : ranges_) {
      std::uint64_t expected = word;
      if (range.compare_exchange_strong(expected, 0, std::memory_order_acq_rel)) return;
    }
  }
  // Whether all of these bytes lie in one range.
  bool contains(const void* memory, std::size_t bytes) const noexcept {
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    const std::size_t used = used_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < used; ++i) {
      const std::uint64_t word = ranges_[i].load(std::memory_order_acquire);
      const std::uintptr_t start = (word >> kLengthBits) * kStartUnit;
      const std::uintptr_t end = start + (word & kLengthMask) * kLengthUnit;
      if (begin >= start && begin + bytes <= end && word != 0) return true;
    }
    return false;
  }

 private:
  static constexpr unsigned kLengthBits = 23;
  static constexpr std::uint64_t kLengthMask = (std::uint64_t{1} << kLengthBits) - 1;
  static constexpr unsigned kAddressBits = 64 - kLengthBits + std::countr_zero(kStartUnit);  // 47

  static std::uint64_t encode(const void* start, std::size_t bytes) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(start);
    if (address % kStartUnit != 0 || address >> kAddressBits != 0) return 0;
    if (bytes % kLengthUnit != 0 || bytes == 0 || bytes > kBytesMax) return 0;
    return (address / kStartUnit) << kLengthBits | bytes / kLengthUnit;
  }

  std::array<std::atomic<std::uint64_t>, kRangesMax> ranges_{};
  std::atomic<std::size_t> used_{0};
};

}  // namespace inflight::cuda
