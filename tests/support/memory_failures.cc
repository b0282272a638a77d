// SPDX-License-Identifier: Apache-2.0
#include "support/memory_failures.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

std::atomic<unsigned> failing_one_in{0};
std::atomic<long> live{0};
std::atomic<long> failures{0};
std::atomic<std::uint64_t> allocations{0};

bool fails() {
  const unsigned one_in = failing_one_in.load(std::memory_order_relaxed);
  if (one_in == 0) return false;
  std::uint64_t hash = allocations.fetch_add(1, std::memory_order_relaxed) * 0x9E3779B97F4A7C15U;
  hash = (hash ^ (hash >> 29U)) * 0xBF58476D1CE4E5B9U;
  if ((hash >> 32U) % one_in != 0) return false;
  failures.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void* allocate(std::size_t bytes, std::size_t alignment) noexcept {
  if (fails()) return nullptr;
  void* const memory = alignment <= alignof(std::max_align_t)
                           ? std::malloc(bytes == 0 ? 1 : bytes)
                           : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory != nullptr) live.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

void release(void* memory) noexcept {
  if (memory != nullptr) live.fetch_sub(1, std::memory_order_relaxed);
  std::free(memory);
}

void* checked(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Not inlined: otherwise the compiler would warn that free() gets memory of operator new.
#define INFLIGHT_NOINLINE __attribute__((noinline))

INFLIGHT_NOINLINE void* operator new(std::size_t bytes) { return checked(allocate(bytes, 1)); }
INFLIGHT_NOINLINE void* operator new[](std::size_t bytes) { return checked(allocate(bytes, 1)); }
INFLIGHT_NOINLINE void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes, 1);
}
INFLIGHT_NOINLINE void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes, 1);
}
INFLIGHT_NOINLINE void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return checked(allocate(bytes, static_cast<std::size_t>(alignment)));
}
INFLIGHT_NOINLINE void* operator new(std::size_t bytes, std::align_val_t alignment,
                                     const std::nothrow_t&) noexcept {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
INFLIGHT_NOINLINE void operator delete(void* memory) noexcept { release(memory); }
INFLIGHT_NOINLINE void operator delete[](void* memory) noexcept { release(memory); }
INFLIGHT_NOINLINE void operator delete(void* memory, std::size_t) noexcept { release(memory); }
INFLIGHT_NOINLINE void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
INFLIGHT_NOINLINE void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
INFLIGHT_NOINLINE void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  release(memory);
}

namespace inflight::test {

void fail_allocations(unsigned one_in) noexcept { failing_one_in.store(one_in); }
long allocation_failures() noexcept { return failures.load(); }
long live_allocations() noexcept { return live.load(); }

}  // namespace inflight::test
