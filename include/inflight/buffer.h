// SPDX-License-Identifier: Apache-2.0
// Buffer: memory that counts its references. Allocator: what makes memory. BufferPool: keeps buffers of a few
// sizes for reuse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight {

namespace internal {
struct BufferBlock;
struct BufferPoolCore;
void buffer_ref(BufferBlock* block) noexcept;
void buffer_unref(BufferBlock* block) noexcept;
}  // namespace internal

// Makes memory of one place: pageable host memory, pinned host memory, a device's memory.
//   thread   any
class Allocator {
 public:
  virtual ~Allocator() = default;
  // Where its memory is; the same each time. Pinned memory of the host is on the device "cpu".
  virtual Device device() const noexcept = 0;
  // Uninitialised memory, aligned to Buffer::kAlignment.
  //   bytes    may be 0
  //   errors   kOutOfMemory, with how much was wanted; other failures of the place's runtime
  virtual Result<void*> allocate(std::size_t bytes) = 0;
  // Takes back what allocate(bytes) returned. Needs no memory.
  virtual void deallocate(void* memory, std::size_t bytes) noexcept = 0;
};

// Makes pageable host memory. There is one, and it lives for ever.
std::shared_ptr<Allocator> host_allocator() noexcept;

// A reference to a piece of memory. Copies refer to the same memory. When the last one goes, the memory
// returns to where it came from: a pool, an allocator, or the function given to wrap().
//   thread   any for the count. The bytes have no lock: the code that passes the buffer on orders reads and
//            writes.
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
  //   bytes       may be 0
  //   allocator   kept as long as memory of it is in use
  //   errors      kOutOfMemory, with how much was wanted; kInvalidArgument: a null allocator; what the
  //               allocator returns
  static Result<Buffer> allocate(std::size_t bytes);
  static Result<Buffer> allocate(std::size_t bytes, std::shared_ptr<Allocator> allocator);
  // Memory of the caller, which must stay valid until the last reference goes.
  //   release   called once, on the thread that drops the last reference; what it throws is dropped. It may
  //             drop buffers and arrays, but must not wait.
  //   device    where the memory is
  //   errors    kInvalidArgument: an empty `release`, or null memory of more than 0 bytes; kOutOfMemory. Then
  //             `release` is not called.
  static Result<Buffer> wrap(void* memory, std::size_t bytes, std::function<void()> release,
                             Device device = Device::cpu());

  // Null for an empty buffer. Only device() can read what is there.
  std::byte* bytes() const noexcept;
  std::size_t size() const noexcept;
  // Where the memory is; the host for an empty buffer.
  Device device() const noexcept;
  explicit operator bool() const noexcept { return block_ != nullptr; }
  // True if this is the only reference: no other code can see the memory, or come to see it. False for an
  // empty buffer.
  bool unique() const noexcept;

 private:
  friend class BufferPool;
  explicit Buffer(internal::BufferBlock* block) noexcept : block_(block) {}
  internal::BufferBlock* block_ = nullptr;
};

// Hands out buffers of one allocator and takes them back when their last reference goes, so that a steady
// stream allocates nothing. Buffers may outlive the pool.
//   thread   any
//   bound    retained_bytes_max of idle memory; a buffer that comes back past it is freed. Taking a buffer
//            back needs no memory.
class BufferPool {
 public:
  static constexpr std::size_t kRetainedBytesMax = std::size_t{1} << 30;

  // Throws std::bad_alloc if there is no memory for the pool itself.
  //   allocator   null: the host's
  explicit BufferPool(std::shared_ptr<Allocator> allocator = host_allocator(),
                      std::size_t retained_bytes_max = kRetainedBytesMax);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // Uninitialised memory of exactly `bytes`, aligned to Buffer::kAlignment: an idle buffer of that size, one
  // that came back lately, or else a new one.
  //   errors   kOutOfMemory, with how much was wanted; what the allocator returns
  Result<Buffer> acquire(std::size_t bytes);
  // Makes `count` buffers of `bytes` now, and touches their memory if it is the host's. Up to `count` buffers
  // in use at a time then cost neither an allocation nor a page fault.
  //   bound    retained_bytes_max; buffers past it are not made
  //   errors   as acquire(); then none was made
  Status reserve(std::size_t bytes, std::size_t count);
  // Idle memory held at this moment.
  std::size_t retained_bytes() const;
  // Where its memory is.
  Device device() const noexcept;

 private:
  std::shared_ptr<internal::BufferPoolCore> core_;
};

}  // namespace inflight
