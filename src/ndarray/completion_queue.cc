// SPDX-License-Identifier: Apache-2.0
#include "inflight/completion_queue.h"

#include <utility>

#include "base/check.h"

namespace inflight {

using internal::Ref;
using internal::Version;
using internal::Waiter;

// One addition, on its way from pending_ to ready_ to idle_.
class CompletionQueue::Entry final : public Waiter {
 public:
  explicit Entry(CompletionQueue& queue) noexcept : queue_(queue) {}
  ~Entry() override = default;
  void completed() override { queue_.became_ready(*this); }

  Ref<Version> version;  // while it is pending: it is in this one's list
  std::uint64_t tag = 0;
  Entry* previous = nullptr;
  Entry* next = nullptr;

 private:
  CompletionQueue& queue_;
};

void CompletionQueue::push_back(EntryList& list, Entry& entry) noexcept {
  entry.previous = list.tail;
  entry.next = nullptr;
  (list.tail == nullptr ? list.head : list.tail->next) = &entry;
  list.tail = &entry;
}

void CompletionQueue::remove(EntryList& list, Entry& entry) noexcept {
  (entry.previous == nullptr ? list.head : entry.previous->next) = entry.next;
  (entry.next == nullptr ? list.tail : entry.next->previous) = entry.previous;
}

CompletionQueue::~CompletionQueue() {
  EntryList taken_back;
  {
    std::unique_lock lock(mutex_);
    ending_ = true;
    for (Entry* entry = pending_.head; entry != nullptr;) {
      Entry& looked_at = *std::exchange(entry, entry->next);
      // A completion's lock is never held while ours is asked for, so this order is the only one.
      if (!looked_at.version->completion.remove(looked_at)) continue;
      remove(pending_, looked_at);
      push_back(taken_back, looked_at);
    }
    // What could not be taken back is just being told by another thread.
    changed_.wait(lock, [this] { return pending_.head == nullptr; });
  }
  // Without the lock: the last share of a version may run the code that takes its memory back.
  for (const EntryList& list : {taken_back, ready_, idle_}) {
    for (Entry* entry = list.head; entry != nullptr;) delete std::exchange(entry, entry->next);
  }
}

void CompletionQueue::add_version(Version& version, std::uint64_t tag) {
  std::unique_lock lock(mutex_);
  Entry* entry = idle_.head;
  if (entry != nullptr) {
    remove(idle_, *entry);
  } else {
    lock.unlock();
    entry = new Entry(*this);
    lock.lock();
  }
  entry->version = Ref<Version>::share(&version);
  entry->tag = tag;
  push_back(pending_, *entry);
  ++size_;
  lock.unlock();
  // From here on it may be told, taken and used again by others.
  if (!version.completion.add(*entry)) became_ready(*entry);
}

void CompletionQueue::became_ready(Entry& entry) noexcept {
  // Let go of last, without the lock, and without touching the queue, which may be gone by then.
  Ref<Version> version;
  const std::lock_guard lock(mutex_);
  version = std::move(entry.version);
  remove(pending_, entry);
  const bool first = ready_.head == nullptr;
  push_back(ready_, entry);
  // Told with the lock held: without it, a taker could end the queue between our unlock and the telling. And
  // so the descriptor says at every instant what a taker would find.
  if (first) event_fd_.raise();
  if (first || ending_) changed_.notify_all();
}

std::uint64_t CompletionQueue::take_front() noexcept {
  Entry& entry = *ready_.head;
  remove(ready_, entry);
  push_back(idle_, entry);
  --size_;
  if (ready_.head == nullptr) event_fd_.lower();
  return entry.tag;
}

void CompletionQueue::take(std::vector<std::uint64_t>& tags) {
  tags.clear();
  const std::lock_guard lock(mutex_);
  while (ready_.head != nullptr) tags.push_back(take_front());
}

std::optional<std::uint64_t> CompletionQueue::take_one() {
  const std::lock_guard lock(mutex_);
  if (ready_.head == nullptr) return std::nullopt;
  return take_front();
}

void CompletionQueue::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ready_.head != nullptr; });
}

bool CompletionQueue::wait_until(TimePoint when) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, when, [this] { return ready_.head != nullptr; });
}

std::size_t CompletionQueue::size() const {
  const std::lock_guard lock(mutex_);
  return size_;
}

Result<int> CompletionQueue::event_fd() {
  const std::lock_guard lock(mutex_);
  return event_fd_.open(ready_.head != nullptr);
}

}  // namespace inflight
