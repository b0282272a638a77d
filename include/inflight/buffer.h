// SPDX-License-Identifier: Apache-2.0
// Buffer: memory with an owner count. BufferPool: where buffers of a few sizes come from and go back to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace inflight {

namespace internal {
struct BufferBlock;
struct BufferPoolCore;
void buffer_ref(BufferBlock* block) noexcept;
void buffer_unref(BufferBlock* block) noexcept;
}  // namespace internal

// A share in a piece of host memory. Copies share the memory; the last one to go returns it to where it came
// from: its pool, the heap, or the function given to wrap(). The count is safe from any thread; the bytes are
// ordered by whoever hands the buffer over.
class Buffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  Buffer() noexcept = default;  // no memory
  Buffer(const Buffer& other) noexcept : block_(other.block_) { internal::buffer_ref(block_); }
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() { internal::buffer_unref(block_); }

  // Uninitialised memory, aligned to kAlignment.
  static Buffer allocate(std::size_t bytes);
  // Memory of the caller's, kept until the last share goes and `release` has run (on that share's thread).
  static Buffer wrap(void* memory, std::size_t bytes, std::function<void()> release);

  std::byte* bytes() const noexcept;
  std::size_t size() const noexcept;
  explicit operator bool() const noexcept { return block_ != nullptr; }
  // True when this is the only share: nobody else can see the memory, and nobody else can come to.
  bool unique() const noexcept;

 private:
  friend class BufferPool;
  explicit Buffer(internal::BufferBlock* block) noexcept : block_(block) {}
  internal::BufferBlock* block_ = nullptr;
};

// Hands out buffers and takes them back when their last share goes, so that a steady stream allocates
// nothing. Buffers may outlive the pool.
//   thread   any
//   bound    retained_bytes_max of idle memory; what comes back past it is freed
class BufferPool {
 public:
  static constexpr std::size_t kRetainedBytesMax = std::size_t{1} << 30;
  explicit BufferPool(std::size_t retained_bytes_max = kRetainedBytesMax);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // Uninitialised memory of exactly `bytes`, aligned to Buffer::kAlignment; a retained one where there is
  // one.
  Buffer acquire(std::size_t bytes);
  // Makes `count` buffers of `bytes` now and touches their memory, so that the first `count` to be out at
  // once cost neither an allocation nor a page fault, and a process does not grow when it is late for once.
  void reserve(std::size_t bytes, std::size_t count);
  // Idle memory held at this moment.
  std::size_t retained_bytes() const;

 private:
  std::shared_ptr<internal::BufferPoolCore> core_;
};

}  // namespace inflight
