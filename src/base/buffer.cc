// SPDX-License-Identifier: Apache-2.0
#include "inflight/buffer.h"

#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "base/check.h"

namespace inflight {
namespace internal {

struct BufferBlock {
  std::atomic<std::uint32_t> refs{1};
  std::byte* memory = nullptr;
  std::size_t size = 0;
  std::shared_ptr<BufferPoolCore>
      pool;                       // set while a pooled block is out, so that the pool's memory outlives it
  std::function<void()> release;  // set for wrapped memory
};

struct BufferPoolCore {
  explicit BufferPoolCore(std::size_t max) : retained_max(max) {}
  ~BufferPoolCore();

  const std::size_t retained_max;
  std::mutex mutex;
  // Guarded by mutex.
  std::unordered_map<std::size_t, std::vector<BufferBlock*>> idle;
  std::size_t retained = 0;
};

namespace {

BufferBlock* new_block(std::size_t bytes) {
  auto* block = new BufferBlock;
  block->memory = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(Buffer::kAlignment)));
  block->size = bytes;
  return block;
}

void delete_block(BufferBlock* block) noexcept {
  if (block->release) {
    block->release();
  } else {
    ::operator delete(block->memory, std::align_val_t(Buffer::kAlignment));
  }
  delete block;
}

// True where the pool kept the block.
bool retain(BufferPoolCore& pool, BufferBlock* block) {
  const std::lock_guard lock(pool.mutex);
  if (pool.retained + block->size > pool.retained_max) return false;
  pool.retained += block->size;
  pool.idle[block->size].push_back(block);
  return true;
}

}  // namespace

BufferPoolCore::~BufferPoolCore() {
  for (auto& [size, blocks] : idle) {
    for (BufferBlock* block : blocks) delete_block(block);
  }
}

void buffer_ref(BufferBlock* block) noexcept {
  if (block != nullptr) block->refs.fetch_add(1, std::memory_order_relaxed);
}

void buffer_unref(BufferBlock* block) noexcept {
  if (block == nullptr || block->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  // Moved out first: when this was the pool's last share, the pool goes at the end of this scope.
  const std::shared_ptr<BufferPoolCore> pool = std::move(block->pool);
  if (pool == nullptr || !retain(*pool, block)) delete_block(block);
}

}  // namespace internal

Buffer Buffer::allocate(std::size_t bytes) { return Buffer(internal::new_block(bytes)); }

Buffer Buffer::wrap(void* memory, std::size_t bytes, std::function<void()> release) {
  INFLIGHT_CHECK(release != nullptr);
  auto* block = new internal::BufferBlock;
  block->memory = static_cast<std::byte*>(memory);
  block->size = bytes;
  block->release = std::move(release);
  return Buffer(block);
}

std::byte* Buffer::bytes() const noexcept { return block_ == nullptr ? nullptr : block_->memory; }

std::size_t Buffer::size() const noexcept { return block_ == nullptr ? 0 : block_->size; }

bool Buffer::unique() const noexcept {
  return block_ != nullptr && block_->refs.load(std::memory_order_acquire) == 1;
}

BufferPool::BufferPool(std::size_t retained_bytes_max)
    : core_(std::make_shared<internal::BufferPoolCore>(retained_bytes_max)) {}

BufferPool::~BufferPool() = default;

Buffer BufferPool::acquire(std::size_t bytes) {
  internal::BufferBlock* block = nullptr;
  {
    const std::lock_guard lock(core_->mutex);
    const auto found = core_->idle.find(bytes);
    if (found != core_->idle.end() && !found->second.empty()) {
      block = found->second.back();
      found->second.pop_back();
      core_->retained -= bytes;
    }
  }
  if (block == nullptr) {
    block = internal::new_block(bytes);
  } else {
    block->refs.store(1, std::memory_order_relaxed);
  }
  block->pool = core_;
  return Buffer(block);
}

void BufferPool::reserve(std::size_t bytes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    internal::BufferBlock* block = internal::new_block(bytes);
    std::memset(block->memory, 0, bytes);
    if (!internal::retain(*core_, block)) {
      internal::delete_block(block);
      return;
    }
  }
}

std::size_t BufferPool::retained_bytes() const {
  const std::lock_guard lock(core_->mutex);
  return core_->retained;
}

}  // namespace inflight
