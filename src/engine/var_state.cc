// SPDX-License-Identifier: Apache-2.0
#include "inflight/internal/var_state.h"

#include "base/check.h"

namespace inflight::internal {

void VarState::grant(Access& access) noexcept {
  access.failed = !status_.ok();
  if (access.write) {
    writer_ = true;
  } else {
    ++readers_;
  }
}

bool VarState::acquire_locked(Access& access) noexcept {
  access.next = nullptr;
  access.calls_back = calls_back_;
  if (head_ == nullptr && (unclaimed() || (!writer_ && !access.write))) {
    if (unclaimed()) ref();
    grant(access);
    return true;
  }
  (head_ == nullptr ? head_ : tail_->next) = &access;
  tail_ = &access;
  return false;
}

Access* VarState::release(const Access& access, const Status& status) noexcept {
  Access* const taken = access.write ? access.next : nullptr;
  if (access.write && (access.failed || !status.ok())) set_status(status);
  if (taken != nullptr && taken->write) {
    // A writer holds the variable as before, with the same queue: no other thread sees a change.
    taken->failed = !status.ok();
    return taken;
  }
  Access* granted = nullptr;
  {
    const MutexLock lock(mutex_);
    INFLIGHT_CHECK(access.write ? writer_ && readers_ == 0 : !writer_ && readers_ > 0);
    if (access.write) {
      writer_ = false;
      if (taken != nullptr) {  // readers first: back to the head of the queue
        taken_tail_->next = head_;
        if (head_ == nullptr) tail_ = taken_tail_;
        head_ = taken;
      }
    } else {
      --readers_;
    }
    granted = grant_from_queue();
    if (granted != nullptr || !unclaimed()) return granted;
  }
  unref();
  return nullptr;
}

// The longest prefix of the queue that can hold the variable together.
Access* VarState::grant_from_queue() noexcept {
  Access* const first = head_;
  if (first == nullptr) return nullptr;
  if (first->write) {
    if (readers_ > 0) return nullptr;
    grant(*first);
    taken_tail_ = tail_;
    head_ = nullptr;
    return first;
  }
  Access* last = nullptr;
  while (head_ != nullptr && !head_->write) {
    grant(*head_);
    last = head_;
    head_ = head_->next;
  }
  last->next = nullptr;
  return first;
}

void VarState::set_status(const Status& status) noexcept {
  const MutexLock lock(mutex_);
  status_ = status;
}

Status VarState::status() noexcept {
  const MutexLock lock(mutex_);
  return status_;
}

bool VarState::idle() noexcept {
  const MutexLock lock(mutex_);
  return unclaimed() && head_ == nullptr;
}

bool VarState::awaited() noexcept {
  const MutexLock lock(mutex_);
  return head_ != nullptr;
}

bool VarState::one_reader_at_most() noexcept {
  const MutexLock lock(mutex_);
  return !writer_ && readers_ <= 1 && head_ == nullptr;
}

}  // namespace inflight::internal
