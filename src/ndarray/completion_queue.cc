// SPDX-License-Identifier: Apache-2.0
#include "inflight/completion_queue.h"

#include <utility>

namespace inflight {

using internal::ListLink;
using internal::MutexLock;
using internal::Ref;
using internal::Version;
using internal::Waiter;

// One addition. It moves from pending_ to ready_ to idle_.
class CompletionQueue::Entry final : public Waiter, public ListLink<Entry> {
 public:
  explicit Entry(CompletionQueue& queue) noexcept : queue_(queue) {}
  ~Entry() override = default;
  void completed() noexcept override { queue_.became_ready(*this); }

  Ref<Version> version;  // while it is pending: the version whose list it is in
  std::uint64_t tag = 0;

 private:
  CompletionQueue& queue_;
};

CompletionQueue::~CompletionQueue() {
  EntryList to_delete;
  {
    MutexLock lock(mutex_);
    ending_ = true;
    for (Entry* entry = pending_.front(); entry != nullptr;) {
      Entry& looked_at = *std::exchange(entry, pending_.after(*entry));
      // No thread takes the queue's lock while it holds a completion's, so this order cannot deadlock.
      if (!looked_at.version->completion.remove(looked_at)) continue;
      pending_.remove(looked_at);
      to_delete.push_back(looked_at);
    }
    // Another thread is calling the entries that could not be removed.
    while (!pending_.empty()) changed_.wait(lock);
    to_delete.append(ready_);
    to_delete.append(idle_);
  }
  // Without the lock: dropping the last reference to a version may run user code that takes its memory back.
  while (Entry* const entry = to_delete.pop_front()) delete entry;
}

void CompletionQueue::add_version(Version& version, std::uint64_t tag) {
  MutexLock lock(mutex_);
  Entry* entry = idle_.pop_front();
  if (entry == nullptr) {
    lock.unlock();
    entry = new Entry(*this);  // the one step that can fail, and the first
    lock.lock();
  }
  entry->version = Ref<Version>::share(&version);
  entry->tag = tag;
  pending_.push_back(*entry);
  ++size_;
  lock.unlock();
  // From here on other threads may call the entry, take it and use it again.
  if (!version.completion.add(*entry)) became_ready(*entry);
}

void CompletionQueue::became_ready(Entry& entry) noexcept {
  // Destroyed last, without the lock and without using the queue, which may be gone by then.
  Ref<Version> version;
  const MutexLock lock(mutex_);
  version = std::move(entry.version);
  pending_.remove(entry);
  const bool first = ready_.empty();
  ready_.push_back(entry);
  ++ready_count_;
  // With the lock held: otherwise a thread could take the tag and destroy the queue before the notification.
  // It also keeps the descriptor equal to what take() would find.
  if (first) event_fd_.raise();
  if (first || ending_) changed_.notify_all();
}

std::uint64_t CompletionQueue::take_front() noexcept {
  Entry& entry = *ready_.pop_front();
  idle_.push_back(entry);
  --size_;
  --ready_count_;
  if (ready_.empty()) event_fd_.lower();
  return entry.tag;
}

void CompletionQueue::take(std::vector<std::uint64_t>& tags) {
  tags.clear();
  const MutexLock lock(mutex_);
  if (tags.capacity() < ready_count_) tags.reserve(ready_count_ * 2);
  while (!ready_.empty()) tags.push_back(take_front());
}

std::optional<std::uint64_t> CompletionQueue::take_one() {
  const MutexLock lock(mutex_);
  if (ready_.empty()) return std::nullopt;
  return take_front();
}

void CompletionQueue::wait() {
  MutexLock lock(mutex_);
  while (ready_.empty()) changed_.wait(lock);
}

bool CompletionQueue::wait_until(TimePoint when) {
  MutexLock lock(mutex_);
  while (ready_.empty()) {
    if (!changed_.wait_until(lock, when)) break;
  }
  return !ready_.empty();
}

std::size_t CompletionQueue::size() const {
  const MutexLock lock(mutex_);
  return size_;
}

Result<int> CompletionQueue::event_fd() {
  const MutexLock lock(mutex_);
  return event_fd_.open(!ready_.empty());
}

}  // namespace inflight
