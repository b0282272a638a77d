// SPDX-License-Identifier: Apache-2.0
#include "engine/workers.h"

#include <algorithm>
#include <mutex>

#include "base/check.h"
#include "base/futex.h"

namespace inflight::internal {
namespace {

// How many a worker takes at a time, and one: enough that it meets those who add work rarely, few enough that
// one which is held up leaves little to be stolen. One alone takes all.
constexpr std::size_t kBatchMax = 32;
// How many operations a worker runs one out of another while others wait in the queue.
constexpr int kStreakMax = 64;
// A worker that has just run out lets work gather before it looks, for 0.2 us or so, and for one or two
// where several operations came together: each look takes a line of the cache from those who add work, and
// what gathers is fetched together.
constexpr int kGatherPauses = 12;
constexpr int kGatherPausesMany = 96;
// Between two further looks, and where others are at work and keep up: each look delays those who add it.
constexpr int kLookPauses = 6;
constexpr int kLookPausesMax = 192;
// How long those who are at work have to take what is there before one who looks for work does: the time of
// some ten short operations.
constexpr int kStallPauses = 48;
// Looks between two looks at the clock.
constexpr int kLooksPerRound = 8;

bool after(const Op* a, const Op* b) {
  return a->priority() != b->priority() ? a->priority() < b->priority()
                                        : a->extras->sequence > b->extras->sequence;
}

void pause(int times) noexcept {
  for (int i = 0; i < times; ++i) SpinLock::pause();
}

}  // namespace

void Workers::Queue::push(Op* op) noexcept {
  op->next = nullptr;
  (head_ == nullptr ? head_ : tail_->next) = op;
  tail_ = op;
  size_.store(size() + 1, std::memory_order_relaxed);
}

Op* Workers::Queue::pop() noexcept {
  Op* const op = head_;
  if (op == nullptr) return nullptr;
  head_ = op->next;
  if (head_ != nullptr) prefetch_op(head_);
  size_.store(size() - 1, std::memory_order_relaxed);
  taken_.store(taken() + 1, std::memory_order_relaxed);
  return op;
}

void Workers::Queue::move_to(Queue& other, std::size_t count) noexcept {
  if (count == 0) return;
  Op* const first = head_;
  Op* last = tail_;
  if (count < size()) {
    last = first;
    for (std::size_t i = 1; i < count; ++i) last = last->next;
  }
  head_ = last->next;
  last->next = nullptr;
  (other.head_ == nullptr ? other.head_ : other.tail_->next) = first;
  other.tail_ = last;
  size_.store(size() - count, std::memory_order_relaxed);
  other.size_.store(other.size() + count, std::memory_order_relaxed);
}

Workers::Workers(Runner& runner, int threads, Duration spin)
    : runner_(runner), spin_(spin), looking_max_(static_cast<std::size_t>(std::max(1, threads / 8))) {
  for (int i = 0; i < threads; ++i) {
    workers_.push_back(std::make_unique<Worker>());
    workers_.back()->marks.resize(static_cast<std::size_t>(threads) + 1);
  }
  for (std::size_t i = 0; i < workers_.size(); ++i) workers_[i]->thread = std::thread([this, i] { work(i); });
}

Workers::~Workers() {
  {
    const std::lock_guard lock(lock_);
    stopping_.store(true, std::memory_order_relaxed);
    calls_.fetch_add(static_cast<std::uint32_t>(asleep_), std::memory_order_release);
    looking_ += asleep_;
    asleep_ = 0;
  }
  futex_wake_all(calls_);
  for (const auto& worker : workers_) {
    INFLIGHT_CHECK(worker->thread.get_id() != std::this_thread::get_id());
    worker->thread.join();
  }
}

void Workers::add(Op* op) {
  bool wake = false;
  {
    const std::lock_guard lock(lock_);
    if (op->priority() == 0) {
      queue_.push(op);
    } else {
      add_ranked(op);
    }
    wake = call_one();
  }
  if (wake) futex_wake_one(calls_);
}

// Requires the lock.
void Workers::add_ranked(Op* op) {
  const bool urgent = op->priority() > 0;
  op->extras->sequence = sequence_++;
  Heap& heap = urgent ? urgent_ : deferred_;
  heap.push_back(op);
  std::push_heap(heap.begin(), heap.end(), after);
  (urgent ? urgent_size_ : deferred_size_).store(heap.size(), std::memory_order_relaxed);
}

void Workers::work(std::size_t self) {
  Op* next = nullptr;
  int streak = 0;
  while (true) {
    if (next != nullptr && (urgent_size_.load(std::memory_order_relaxed) > 0 || ++streak > kStreakMax)) {
      add(std::exchange(next, nullptr));
    }
    if (next == nullptr) {
      streak = 0;
      next = find(self);
      if (next == nullptr) return;
    }
    ++workers_[self]->ran;
    next = runner_.run(*next, self);
  }
}

Op* Workers::find(std::size_t self) {
  Op* op = take(self);
  if (op != nullptr) return op;
  runner_.out_of_work(self);
  // Briefly without a word to the others: who only just keeps up with those who add work is here all the
  // time.
  if (std::exchange(workers_[self]->woken, false)) std::this_thread::yield();
  pause(std::exchange(workers_[self]->ran, 0) > 1 ? kGatherPausesMany : kGatherPauses);
  for (int i = 0; i < kLooksPerRound; ++i) {
    op = take(self);
    if (op != nullptr) return op;
    pause(kLookPauses);
  }
  if (!start_looking()) sleep(self);
  while (true) {
    op = look(self);
    if (op != nullptr) {
      stop_looking();
      return op;
    }
    if (stopping_.load(std::memory_order_relaxed)) return nullptr;
    if (fall_asleep()) sleep(self);
  }
}

// What is a worker's own to take.
Op* Workers::take(std::size_t self) {
  if (urgent_size_.load(std::memory_order_relaxed) > 0) {
    if (Op* const op = take_ranked(urgent_, urgent_size_)) return op;
  }
  if (Op* const op = take_from(*workers_[self])) return op;
  if (Op* const op = take_batch(self)) return op;
  return deferred_size_.load(std::memory_order_relaxed) > 0 ? take_ranked(deferred_, deferred_size_)
                                                            : nullptr;
}

// That, or what is another's.
Op* Workers::steal(std::size_t self) {
  if (Op* const op = take(self)) return op;
  for (std::size_t i = 1; i < workers_.size(); ++i) {
    if (Op* const op = take_from(*workers_[(self + i) % workers_.size()])) return op;
  }
  return nullptr;
}

Op* Workers::take_ranked(Heap& heap, std::atomic<std::size_t>& size) {
  const std::lock_guard lock(lock_);
  if (heap.empty()) return nullptr;
  std::pop_heap(heap.begin(), heap.end(), after);
  Op* const op = heap.back();
  heap.pop_back();
  size.store(heap.size(), std::memory_order_relaxed);
  return op;
}

Op* Workers::take_from(Worker& worker) {
  if (worker.queue.size() == 0) return nullptr;
  const std::lock_guard lock(worker.lock);
  return worker.queue.pop();
}

// One to run now, and some more for later. Wakes nobody: whoever added them has woken somebody, or somebody
// is looking, who finds what is left and wakes the next.
Op* Workers::take_batch(std::size_t self) {
  if (queue_.size() == 0) return nullptr;
  const std::lock_guard lock(lock_);
  Op* const op = queue_.pop();
  if (const std::size_t left = queue_.size(); left > 0) {
    Worker& own = *workers_[self];
    const std::lock_guard own_lock(own.lock);
    queue_.move_to(own.queue, workers_.size() == 1 ? left : std::min(kBatchMax, left));
  }
  return op;
}

bool Workers::work_in_sight() const noexcept {
  return queue_.size() > 0 || urgent_size_.load(std::memory_order_relaxed) > 0 ||
         deferred_size_.load(std::memory_order_relaxed) > 0 ||
         std::any_of(workers_.begin(), workers_.end(),
                     [](const auto& worker) { return worker->queue.size() > 0; });
}

// Requires the lock. True: there is a sleeper to wake, which counts as looking from now on, so that what is
// added until it is up wakes no more of them.
bool Workers::call_one() noexcept {
  if (asleep_ == 0 || looking_ > 0) return false;
  --asleep_;
  ++looking_;
  calls_.fetch_add(1, std::memory_order_release);
  return true;
}

// False: it is to sleep, as enough others look. They do not stop without waking the next where there is work.
bool Workers::start_looking() noexcept {
  const std::lock_guard lock(lock_);
  const bool looks = looking_ < looking_max_ || stopping_.load(std::memory_order_relaxed);
  ++(looks ? looking_ : asleep_);
  idle_.store(asleep_ + looking_, std::memory_order_relaxed);
  return looks;
}

void Workers::stop_looking() noexcept {
  bool wake = false;
  {
    const std::lock_guard lock(lock_);
    --looking_;
    idle_.store(asleep_ + looking_, std::memory_order_relaxed);
    wake = work_in_sight() && call_one();
  }
  if (wake) futex_wake_one(calls_);
}

// Looks for work until there is some to take, or there has been none in sight for a while; null: that, or it
// is the end. What others are just working through is left to them: taking it from them costs more than such
// short operations do.
Op* Workers::look(std::size_t self) {
  TimePoint until{};
  bool was_empty = false;
  int pauses = kLookPauses;
  while (!stopping_.load(std::memory_order_relaxed)) {
    for (int i = 0; i < kLooksPerRound; ++i) {
      if (work_in_sight()) {
        was_empty = false;
        if (Op* const op = take_stalled(self)) return op;
        pauses = std::min(2 * pauses, kLookPausesMax);
      }
      pause(pauses);
    }
    const TimePoint now = steady_clock().now();
    if (!std::exchange(was_empty, true)) until = now + spin_;
    if (now >= until && !work_in_sight()) return nullptr;
    std::this_thread::yield();  // where there are more threads than processors
  }
  return nullptr;
}

// Takes from a queue that nobody takes from; at once where nobody is at work.
Op* Workers::take_stalled(std::size_t self) {
  if (idle_.load(std::memory_order_relaxed) >= workers_.size()) return steal(self);
  if (urgent_size_.load(std::memory_order_relaxed) > 0) return take_ranked(urgent_, urgent_size_);
  const auto count = [this](std::size_t queue) {
    const Queue& looked_at = queue == workers_.size() ? queue_ : workers_[queue]->queue;
    return looked_at.size() == 0 ? Mark{} : Mark{true, looked_at.taken()};
  };
  std::vector<Mark>& before = workers_[self]->marks;
  for (std::size_t i = 0; i <= workers_.size(); ++i) before[i] = count(i);
  pause(kStallPauses);
  for (std::size_t i = 0; i <= workers_.size(); ++i) {
    if (!before[i].some || before[i] != count(i)) continue;
    if (Op* const op = i == workers_.size() ? take_batch(self) : take_from(*workers_[i])) return op;
  }
  return deferred_size_.load(std::memory_order_relaxed) > 0 && queue_.size() == 0
             ? take_ranked(deferred_, deferred_size_)
             : nullptr;
}

// False: something came meanwhile. What comes later finds it asleep, because it is added under the same lock.
bool Workers::fall_asleep() noexcept {
  const std::lock_guard lock(lock_);
  if (work_in_sight() || stopping_.load(std::memory_order_relaxed)) return false;
  --looking_;
  ++asleep_;
  return true;
}

// Until somebody calls, who has counted it among those who look.
void Workers::sleep(std::size_t self) {
  std::uint32_t calls = calls_.load(std::memory_order_acquire);
  while (calls == 0 || !calls_.compare_exchange_weak(calls, calls - 1, std::memory_order_acquire)) {
    if (calls == 0) futex_wait(calls_, 0, nullptr);
    calls = calls_.load(std::memory_order_acquire);
  }
  workers_[self]->woken = true;
}

}  // namespace inflight::internal
