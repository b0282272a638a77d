// SPDX-License-Identifier: Apache-2.0
#include "inflight/internal/var_state.h"

#include <mutex>

#include "base/check.h"

namespace inflight::internal {

void VarState::grant(const Access& access) noexcept {
  if (access.write) {
    writer_ = true;
  } else {
    ++readers_;
  }
}

bool VarState::acquire(Access& access) {
  access.next = nullptr;
  if (head_ == nullptr && can_grant(access)) {
    grant(access);
    return true;
  }
  (head_ == nullptr ? head_ : tail_->next) = &access;
  tail_ = &access;
  return false;
}

Access* VarState::release(const Access& access, const Status& status) {
  const std::lock_guard lock(mutex_);
  if (access.write) {
    INFLIGHT_CHECK(writer_ && readers_ == 0);
    writer_ = false;
    status_ = status;
  } else {
    INFLIGHT_CHECK(!writer_ && readers_ > 0);
    --readers_;
  }
  // The longest prefix of the queue that can hold the variable together; it stays linked and is cut off.
  Access* const first = head_;
  Access* last = nullptr;
  while (head_ != nullptr && can_grant(*head_)) {
    grant(*head_);
    last = head_;
    head_ = head_->next;
  }
  if (last == nullptr) return nullptr;
  last->next = nullptr;
  return first;
}

void VarState::set_status(const Status& status) {
  const std::lock_guard lock(mutex_);
  status_ = status;
}

Status VarState::status() {
  const std::lock_guard lock(mutex_);
  return status_;
}

bool VarState::idle() {
  const std::lock_guard lock(mutex_);
  return !writer_ && readers_ == 0 && head_ == nullptr;
}

}  // namespace inflight::internal
