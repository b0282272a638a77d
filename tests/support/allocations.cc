// SPDX-License-Identifier: Apache-2.0
#include "support/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<long> count{0};
}

// Not inlined: otherwise the compiler would warn that free() gets memory of operator new.
#define INFLIGHT_NOINLINE __attribute__((noinline))

INFLIGHT_NOINLINE void* operator new(std::size_t bytes) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  std::abort();
}
INFLIGHT_NOINLINE void* operator new(std::size_t bytes, std::align_val_t alignment) {
  count.fetch_add(1, std::memory_order_relaxed);
  const auto align = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(align, (bytes + align - 1) / align * align)) return memory;
  std::abort();
}
INFLIGHT_NOINLINE void operator delete(void* memory) noexcept { std::free(memory); }
INFLIGHT_NOINLINE void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
INFLIGHT_NOINLINE void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
INFLIGHT_NOINLINE void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace inflight::test {

long allocations() noexcept { return count; }

}  // namespace inflight::test
