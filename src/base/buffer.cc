// SPDX-License-Identifier: Apache-2.0
#include "inflight/buffer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <limits>
#include <new>

#include "base/user_code.h"
#include "inflight/internal/mutex.h"

namespace inflight {

namespace {

class HostAllocator final : public Allocator {
 public:
  Device device() const noexcept override { return Device::cpu(); }
  Result<void*> allocate(std::size_t bytes) override {
    // operator new rounds up to the alignment, and must not wrap around.
    constexpr std::size_t kMax = std::numeric_limits<std::ptrdiff_t>::max() - Buffer::kAlignment;
    void* const memory =
        bytes > kMax ? nullptr : ::operator new(bytes, std::align_val_t(Buffer::kAlignment), std::nothrow);
    if (memory == nullptr) return Status::out_of_memory("buffer", bytes);
    return memory;
  }
  void deallocate(void* memory, std::size_t) noexcept override {
    ::operator delete(memory, std::align_val_t(Buffer::kAlignment));
  }
};

}  // namespace

std::shared_ptr<Allocator> host_allocator() noexcept {
  // Never destroyed, as buffers may outlive every other static; and not counted, so that buffers on many
  // threads do not write to one count.
  alignas(HostAllocator) static std::byte storage[sizeof(HostAllocator)];
  static HostAllocator* const allocator = new (storage) HostAllocator;
  return {std::shared_ptr<Allocator>(), allocator};
}

namespace internal {

struct BufferBlock {
  std::atomic<std::uint32_t> refs{1};
  std::byte* memory = nullptr;
  std::size_t size = 0;
  Device device;
  std::shared_ptr<Allocator> allocator;  // null for wrapped memory
  std::function<void()> release;         // of wrapped memory
  std::shared_ptr<BufferPoolCore> pool;  // while a pooled block is out: the pool's memory outlives it
  // While it is idle (IdleBlocks).
  BufferBlock* next_of_size = nullptr;
  BufferBlock* next_size = nullptr;
};

namespace {

// Calls code that takes memory back. An exception of it is dropped: there is no caller to report it to.
template <typename Function>
void call_release(Function& function) noexcept {
  static_cast<void>(call_user(function));
}

Result<BufferBlock*> new_block(std::size_t bytes, std::shared_ptr<Allocator> allocator) {
  auto* const block = new (std::nothrow) BufferBlock;
  if (block == nullptr) return Status::out_of_memory("buffer", bytes);
  void* memory = nullptr;
  const Status got = call_user([&]() -> Status {
    INFLIGHT_TRY_ASSIGN(memory, allocator->allocate(bytes));
    return Status();
  });
  if (!got.ok()) {
    delete block;
    return got;
  }
  block->memory = static_cast<std::byte*>(memory);
  block->size = bytes;
  block->device = allocator->device();
  block->allocator = std::move(allocator);
  return block;
}

void delete_one(BufferBlock* block) noexcept {
  if (block->allocator != nullptr) {
    block->allocator->deallocate(block->memory, block->size);
  } else {
    call_release(block->release);
  }
  delete block;
}

// A release function may drop other buffers, as that of a view of other memory does, and their release
// functions may drop more. The outermost call on a thread deletes them all, one after the other, so a long
// chain needs no deep stack.
void delete_block(BufferBlock* block) noexcept {
  static thread_local BufferBlock** later = nullptr;  // linked by next_of_size
  if (later != nullptr) {
    block->next_of_size = std::exchange(*later, block);
    return;
  }
  BufferBlock* list = nullptr;
  later = &list;
  for (; block != nullptr; block = list, list = list == nullptr ? nullptr : list->next_of_size)
    delete_one(block);
  later = nullptr;
}

// Idle blocks by size, without memory of its own: the first block of each size is in the list of its bucket,
// and the others of that size are in a list behind it.
class IdleBlocks {
 public:
  void push(BufferBlock* block) noexcept {
    BufferBlock** const place = find(block->size);
    BufferBlock* const first = *place;
    if (first == nullptr) {
      block->next_of_size = block->next_size = nullptr;
      *place = block;
    } else {
      block->next_of_size = first->next_of_size;
      first->next_of_size = block;
    }
  }
  // A block of that size: the newest of those behind the first, else the first; null: there is none.
  BufferBlock* pop(std::size_t size) noexcept {
    BufferBlock** const place = find(size);
    BufferBlock* const first = *place;
    if (first == nullptr) return nullptr;
    if (BufferBlock* const second = first->next_of_size; second != nullptr) {
      first->next_of_size = second->next_of_size;
      return second;
    }
    *place = first->next_size;
    return first;
  }
  // A block of any size; null: there is none.
  BufferBlock* pop_any() noexcept {
    for (BufferBlock* const first : buckets_) {
      if (first != nullptr) return pop(first->size);
    }
    return nullptr;
  }

 private:
  static constexpr int kBucketsBits = 6;

  // The pointer to the first block of this size, or the place where that pointer would be.
  BufferBlock** find(std::size_t size) noexcept {
    // The top bits of a product with 2^64 divided by the golden ratio (Knuth): sizes are often multiples of
    // each other.
    const std::size_t hash = (size * 0x9E3779B97F4A7C15U) >> (64 - kBucketsBits);
    BufferBlock** place = &buckets_[hash];
    while (*place != nullptr && (*place)->size != size) place = &(*place)->next_size;
    return place;
  }

  std::array<BufferBlock*, std::size_t{1} << kBucketsBits> buckets_{};
};

}  // namespace

struct BufferPoolCore {
  BufferPoolCore(std::shared_ptr<Allocator> the_allocator, std::size_t max)
      : allocator(std::move(the_allocator)), retained_max(max) {}
  ~BufferPoolCore() {
    while (BufferBlock* const block = idle.pop_any()) delete_block(block);
  }
  BufferPoolCore(const BufferPoolCore&) = delete;
  BufferPoolCore& operator=(const BufferPoolCore&) = delete;

  // True: the pool keeps the block.
  bool retain(BufferBlock* block) noexcept {
    const MutexLock lock(mutex);
    if (block->size > retained_max - retained) return false;
    retained += block->size;
    idle.push(block);
    return true;
  }

  const std::shared_ptr<Allocator> allocator;
  const std::size_t retained_max;
  mutable Mutex mutex;
  IdleBlocks idle INFLIGHT_GUARDED_BY(mutex);
  std::size_t retained INFLIGHT_GUARDED_BY(mutex) = 0;  // bytes; at most retained_max
};

void buffer_ref(BufferBlock* block) noexcept {
  if (block != nullptr) block->refs.fetch_add(1, std::memory_order_relaxed);
}

void buffer_unref(BufferBlock* block) noexcept {
  if (block == nullptr || block->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  // Moved out first: if this is the last reference to the pool, the pool ends with this scope.
  const std::shared_ptr<BufferPoolCore> pool = std::move(block->pool);
  if (pool == nullptr || !pool->retain(block)) delete_block(block);
}

}  // namespace internal

Result<Buffer> Buffer::allocate(std::size_t bytes) { return allocate(bytes, host_allocator()); }

Result<Buffer> Buffer::allocate(std::size_t bytes, std::shared_ptr<Allocator> allocator) {
  if (allocator == nullptr) return Status(StatusCode::kInvalidArgument, "buffer: the allocator is null");
  INFLIGHT_TRY_ASSIGN(internal::BufferBlock* const block, internal::new_block(bytes, std::move(allocator)));
  return Buffer(block);
}

Result<Buffer> Buffer::wrap(void* memory, std::size_t bytes, std::function<void()> release, Device device) {
  if (release == nullptr) return Status(StatusCode::kInvalidArgument, "wrap: the release function is empty");
  if (memory == nullptr && bytes > 0) {
    return Status(StatusCode::kInvalidArgument, "wrap: the memory is null, and its size is not 0");
  }
  auto* const block = new (std::nothrow) internal::BufferBlock;
  if (block == nullptr) return Status::out_of_memory("wrap");
  block->memory = static_cast<std::byte*>(memory);
  block->size = bytes;
  block->device = device;
  block->release = std::move(release);
  return Buffer(block);
}

std::byte* Buffer::bytes() const noexcept { return block_ == nullptr ? nullptr : block_->memory; }

std::size_t Buffer::size() const noexcept { return block_ == nullptr ? 0 : block_->size; }

Device Buffer::device() const noexcept { return block_ == nullptr ? Device::cpu() : block_->device; }

bool Buffer::unique() const noexcept {
  return block_ != nullptr && block_->refs.load(std::memory_order_acquire) == 1;
}

BufferPool::BufferPool(std::shared_ptr<Allocator> allocator, std::size_t retained_bytes_max)
    : core_(std::make_shared<internal::BufferPoolCore>(
          allocator != nullptr ? std::move(allocator) : host_allocator(), retained_bytes_max)) {}

BufferPool::~BufferPool() = default;

Result<Buffer> BufferPool::acquire(std::size_t bytes) {
  internal::BufferBlock* block = nullptr;
  {
    const internal::MutexLock lock(core_->mutex);
    block = core_->idle.pop(bytes);
    if (block != nullptr) core_->retained -= bytes;
  }
  if (block == nullptr) {
    INFLIGHT_TRY_ASSIGN(block, internal::new_block(bytes, core_->allocator));
  } else {
    block->refs.store(1, std::memory_order_relaxed);
  }
  block->pool = core_;
  return Buffer(block);
}

Status BufferPool::reserve(std::size_t bytes, std::size_t count) {
  if (bytes > 0) count = std::min(count, (core_->retained_max - retained_bytes()) / bytes);
  internal::BufferBlock* made = nullptr;  // linked by next_size
  Status failed;
  for (std::size_t i = 0; i < count; ++i) {
    Result<internal::BufferBlock*> block = internal::new_block(bytes, core_->allocator);
    if (!block.ok()) {
      failed = block.status();
      break;
    }
    if ((*block)->device.is_host()) std::memset((*block)->memory, 0, bytes);
    (*block)->next_size = made;
    made = *block;
  }
  while (made != nullptr) {
    internal::BufferBlock* const block = std::exchange(made, made->next_size);
    if (!failed.ok() || !core_->retain(block)) internal::delete_block(block);
  }
  return failed;
}

std::size_t BufferPool::retained_bytes() const {
  const internal::MutexLock lock(core_->mutex);
  return core_->retained;
}

Device BufferPool::device() const noexcept { return core_->allocator->device(); }

}  // namespace inflight
