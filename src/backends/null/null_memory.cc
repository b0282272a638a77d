// SPDX-License-Identifier: Apache-2.0
#include "backends/null/null_memory.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "inflight/internal/mutex.h"

namespace inflight {
namespace internal {

struct NullMemoryState {
  explicit NullMemoryState(Device the_device) : device(the_device) {}
  const Device device;
  mutable Mutex mutex;
  Status lost INFLIGHT_GUARDED_BY(mutex);
  Status next_copy INFLIGHT_GUARDED_BY(mutex);
  bool held INFLIGHT_GUARDED_BY(mutex) = false;
  std::uint64_t copies INFLIGHT_GUARDED_BY(mutex) = 0;
  std::uint64_t marks_behind INFLIGHT_GUARDED_BY(mutex) = 0;
  std::uintptr_t last_behind INFLIGHT_GUARDED_BY(mutex) = 0;
  bool captures INFLIGHT_GUARDED_BY(mutex) = false;
};

namespace {

class NullAllocator final : public Allocator {
 public:
  explicit NullAllocator(Device device) : device_(device) {}
  Device device() const noexcept override { return device_; }
  Result<void*> allocate(std::size_t bytes) override { return host_->allocate(bytes); }
  void deallocate(void* memory, std::size_t bytes) noexcept override { host_->deallocate(memory, bytes); }

 private:
  const Device device_;
  const std::shared_ptr<Allocator> host_ = host_allocator();
};

class NullMark final : public DeviceMark {
 public:
  NullMark(std::shared_ptr<NullMemoryState> state, std::vector<MemoryCopy> copies)
      : state_(std::move(state)), copies_(std::move(copies)) {}
  Result<bool> passed() override {
    {
      const MutexLock lock(state_->mutex);
      if (!state_->lost.ok()) return state_->lost;
      if (state_->held) return false;
    }
    for (const MemoryCopy& copy : copies_) {
      if (copy.bytes != 0) std::memcpy(copy.to, copy.from, copy.bytes);
    }
    copies_.clear();
    return true;
  }

 private:
  const std::shared_ptr<NullMemoryState> state_;
  std::vector<MemoryCopy> copies_;
};

}  // namespace
}  // namespace internal

using internal::MutexLock;
using internal::NullMark;

std::shared_ptr<Allocator> null_allocator(Device device) {
  return std::make_shared<internal::NullAllocator>(device);
}

NullMemory::NullMemory(Device device) : state_(std::make_shared<internal::NullMemoryState>(device)) {}
Device NullMemory::device() const noexcept { return state_->device; }
std::shared_ptr<Allocator> NullMemory::allocator() { return null_allocator(device()); }

Status NullMemory::status() {
  const MutexLock lock(state_->mutex);
  return state_->lost;
}

Result<std::unique_ptr<DeviceMark>> NullMemory::copy(CopyWay, std::span<const MemoryCopy> copies) {
  {
    const MutexLock lock(state_->mutex);
    INFLIGHT_TRY(state_->lost);
    INFLIGHT_TRY(std::exchange(state_->next_copy, Status()));
    state_->copies += copies.size();
  }
  return std::unique_ptr<DeviceMark>(
      std::make_unique<NullMark>(state_, std::vector<MemoryCopy>(copies.begin(), copies.end())));
}

Result<std::unique_ptr<DeviceMark>> NullMemory::mark_stream() {
  INFLIGHT_TRY(status());
  return std::unique_ptr<DeviceMark>(std::make_unique<NullMark>(state_, std::vector<MemoryCopy>()));
}

Result<std::uintptr_t> NullMemory::remember_stream(std::intptr_t stream) {
  if (stream > 0) return static_cast<std::uintptr_t>(stream);
  return Status(StatusCode::kInvalidArgument, "stream: got " + std::to_string(stream) + ", want 1 or more");
}

Result<std::unique_ptr<DeviceMark>> NullMemory::mark_behind(std::uintptr_t stream) {
  {
    const MutexLock lock(state_->mutex);
    ++state_->marks_behind;
    state_->last_behind = stream;
    if (state_->captures) return std::unique_ptr<DeviceMark>();
  }
  return mark_stream();
}

void NullMemory::hold() {
  const MutexLock lock(state_->mutex);
  state_->held = true;
}
void NullMemory::go_on() {
  const MutexLock lock(state_->mutex);
  state_->held = false;
}
void NullMemory::lose(Status why) {
  const MutexLock lock(state_->mutex);
  state_->lost = std::move(why);
}
void NullMemory::fail_next_copy(Status why) {
  const MutexLock lock(state_->mutex);
  state_->next_copy = std::move(why);
}
std::uint64_t NullMemory::copies() const {
  const MutexLock lock(state_->mutex);
  return state_->copies;
}
std::uint64_t NullMemory::marks_behind() const {
  const MutexLock lock(state_->mutex);
  return state_->marks_behind;
}
std::uintptr_t NullMemory::last_behind() const {
  const MutexLock lock(state_->mutex);
  return state_->last_behind;
}
void NullMemory::capture(bool captures) {
  const MutexLock lock(state_->mutex);
  state_->captures = captures;
}

}  // namespace inflight
