// SPDX-License-Identifier: Apache-2.0
#include "engine/workers.h"

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <system_error>

#include "base/check.h"
#include "base/futex.h"

namespace inflight::internal {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

// How many operations a worker runs in a row, each made runnable by the one before, while others wait.
constexpr int kStreakMax = 64;
// After so many operations of its own while others wait in the inbox, a worker adds what it makes runnable to
// the inbox.
constexpr std::size_t kRunMax = 64;
// How long a worker that has run out waits for work to gather before it looks: each look takes a line of the
// cache from the threads that add work, and what has gathered is taken together. The longer time is for a
// stream.
constexpr Duration kGather = nanoseconds(200);
constexpr Duration kGatherStream = microseconds(2);
// A looking worker leaves operations that take less than this to the workers that are running, ...
constexpr Duration kBrief = microseconds(1);
// ... unless one worker would need longer than this for all that wait.
constexpr Duration kShare = microseconds(20);
// A worker that makes no progress for so long counts as held up.
constexpr Duration kStall = microseconds(1);
// Pauses between two looks, and the most time between them while other workers run and keep up.
constexpr int kLookPauses = 6;
constexpr Duration kLookGapMax = microseconds(4);
// A worker that runs out takes from the inbox at once if so many operations are there.
constexpr std::size_t kWorthALook = 16;
// Of so many threads, one may look for work while it has none, and at least one may; the others sleep.
constexpr int kThreadsPerLooker = 8;
// Looks between two looks at the clock.
constexpr int kLooksPerRound = 8;

// "inflight-eng-7"; the kernel keeps 15 characters.
void name_this_thread(std::size_t worker) noexcept {
  char name[16];
  std::snprintf(name, sizeof(name), worker < 100 ? "inflight-eng-%zu" : "inflight-e-%zu", worker);
  pthread_setname_np(pthread_self(), name);
}

TimePoint now() noexcept { return std::chrono::steady_clock::now(); }

void pause(int times) noexcept {
  for (int i = 0; i < times; ++i) spin_pause();
}

template <typename Each>
void pause_for(Duration time, Each each) noexcept {
  const TimePoint until = now() + time;
  do {
    pause(kLookPauses);
    each();
  } while (now() < until);
}

}  // namespace

Op* Workers::Queue::pop() noexcept {
  if (size_ == 0) return nullptr;
  Op* const op = head_;
  if (--size_ > 0) {
    head_ = op->next;
    prefetch_op(head_);
  }
  return op;
}

void Workers::Inbox::push(Op* op) noexcept {
  op->next = nullptr;
  (head_ == nullptr ? head_ : tail_->next) = op;
  tail_ = op;
  ++size_;
  if (in_last_ < chunk_) {
    ++in_last_;
    return;
  }
  if (starts_count_ == kStartsMax) {
    // Every chunk is full: join them in pairs. The first chunk has no entry.
    for (std::size_t i = 0; i < kStartsMax / 2; ++i) {
      starts_[(first_start_ + i) % kStartsMax] = starts_[(first_start_ + 2 * i + 1) % kStartsMax];
    }
    starts_count_ = kStartsMax / 2;
    in_last_ = chunk_;
    chunk_ *= 2;
    ++in_last_;
    return;
  }
  starts_[(first_start_ + starts_count_++) % kStartsMax] = op;
  in_last_ = 1;
}

Workers::Queue Workers::Inbox::take_chunk(bool all) noexcept {
  if (!all && starts_count_ > 0) {
    const Queue chunk(head_, chunk_);
    head_ = starts_[first_start_];
    first_start_ = (first_start_ + 1) % kStartsMax;
    --starts_count_;
    size_ -= chunk_;
    return chunk;
  }
  const Queue chunk(head_, size_);
  head_ = nullptr;
  size_ = 0;
  in_last_ = 0;
  starts_count_ = 0;
  chunk_ = kChunk;
  return chunk;
}

Status Workers::start(int threads) {
  looking_max_ = static_cast<std::size_t>(std::max(1, threads / kThreadsPerLooker));
  try {
    for (int i = 0; i < threads; ++i) {
      workers_.push_back(std::make_unique<Worker>());
      workers_.back()->marks.resize(static_cast<std::size_t>(threads));
    }
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      workers_[i]->thread = std::thread([this, i] {
        name_this_thread(i);
        work(i);
      });
    }
    return Status();
  } catch (const std::bad_alloc&) {
  } catch (const std::system_error&) {  // there are no more threads
  }
  stop();
  return Status::out_of_memory("a thread of the engine");
}

Workers::~Workers() { stop(); }

void Workers::stop() noexcept {
  {
    const MutexLock lock(lock_);
    stopping_.store(true, std::memory_order_relaxed);
    calls_.fetch_add(static_cast<std::uint32_t>(asleep_), std::memory_order_release);
    looking_ += asleep_;
    asleep_ = 0;
  }
  futex_wake_all(calls_);
  for (const auto& worker : workers_) {
    if (!worker->thread.joinable()) continue;
    INFLIGHT_CHECK(worker->thread.get_id() != std::this_thread::get_id());
    worker->thread.join();
  }
}

void Workers::add(Op* op) noexcept {
  bool wake = false;
  {
    const MutexLock lock(lock_);
    if (op->priority() == 0) {
      inbox_.push(op);
      waiting_.store(inbox_.size(), std::memory_order_relaxed);
    } else {
      add_ranked(op);
    }
    wake = call_one();
  }
  if (wake) futex_wake_one(calls_);
}

void Workers::add_ranked(Op* op) noexcept {
  const bool urgent = op->priority() > 0;
  (urgent ? urgent_ : deferred_).push(op);
  std::atomic<std::size_t>& size = urgent ? urgent_size_ : deferred_size_;
  size.store(size.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void Workers::work(std::size_t self) noexcept {
  Op* next = nullptr;
  while (true) {
    if (next == nullptr) next = find(self);
    if (next == nullptr) return;
    ++workers_[self]->ran;
    Op* const freed = runner_.run(*next, self);
    next = freed == nullptr ? nullptr : keep(self, freed);
  }
}

Op* Workers::keep(std::size_t self, Op* freed) noexcept {
  Worker& me = *workers_[self];
  const bool inbox_waits = waiting_.load(std::memory_order_relaxed) > 0;
  const bool own_wait = me.queued.load(std::memory_order_relaxed) > 0;
  if (urgent_size_.load(std::memory_order_relaxed) > 0 ||
      (me.streak >= kStreakMax && (inbox_waits || own_wait))) {
    add_list(freed);
    return nullptr;
  }
  ++me.streak;
  if (Op* const rest = freed->next; rest != nullptr) {
    if (own_wait || (me.ran >= kRunMax && inbox_waits)) {
      add_list(rest);
    } else {
      fill(me, rest);
    }
  }
  return freed;
}

void Workers::add_list(Op* list) noexcept {
  bool wake = false;
  {
    const MutexLock lock(lock_);
    while (list != nullptr) {
      Op* const op = std::exchange(list, list->next);
      inbox_.push(op);
    }
    waiting_.store(inbox_.size(), std::memory_order_relaxed);
    wake = call_one();
  }
  if (wake) futex_wake_one(calls_);
}

// Puts the list into the worker's own queue, which is empty.
void Workers::fill(Worker& worker, Op* list) noexcept {
  std::size_t count = 0;
  for (const Op* op = list; op != nullptr; op = op->next) ++count;
  {
    const MutexLock lock(worker.lock);
    worker.queue = Queue(list, count);
    // Sequentially consistent, as in count_idle() and work_in_sight(): this thread sees the one that falls
    // asleep, or that one sees the work.
    worker.queued.store(count);
  }
  if (!may_call_.load()) return;
  bool wake = false;
  {
    const MutexLock lock(lock_);
    wake = call_one();
  }
  if (wake) futex_wake_one(calls_);
}

Op* Workers::find(std::size_t self) noexcept {
  Worker& me = *workers_[self];
  me.streak = 0;
  if (Op* const op = take_urgent()) return op;
  if (Op* const op = take_from(me)) {
    me.get_on();
    return op;
  }
  const bool stream = me.ran > 1;
  if (me.timed && me.ran > 0) {
    me.each = (now() - me.took_at) / static_cast<Duration::rep>(me.ran);
    me.brief = me.each < kBrief;
    me.timed = false;
  }
  me.ran = 0;
  if (me.left_some || !me.brief || waiting_.load(std::memory_order_relaxed) >= kWorthALook) {
    if (Op* const op = take_new(me)) return op;
  }
  runner_.out_of_work(self);
  // First without counting itself as idle, which takes the lock: a worker that just keeps up with the threads
  // that add work comes here often.
  if (std::exchange(me.woken, false)) std::this_thread::yield();
  pause_for(stream && me.brief ? kGatherStream : kGather, [&me] { me.get_on(); });
  for (int i = me.brief && others_work() ? kLooksPerRound - 1 : 0; i < kLooksPerRound; ++i) {
    if (Op* const op = take_new(me)) return op;
    pause(kLookPauses);
  }
  if (!start_looking()) sleep(me);
  while (true) {
    if (Op* const op = look(self)) {
      stop_looking();
      return op;
    }
    if (stopping_.load(std::memory_order_relaxed)) return nullptr;
    if (fall_asleep()) sleep(me);
  }
}

bool Workers::others_work() const noexcept {
  return idle_.load(std::memory_order_relaxed) + 1 < workers_.size();
}

bool Workers::worth_taking(const Worker& worker) const noexcept {
  const std::size_t waiting = waiting_.load(std::memory_order_relaxed);
  if (waiting == 0) return false;
  return !worker.brief || !others_work() || worker.each * static_cast<Duration::rep>(waiting) > kShare;
}

Op* Workers::take_urgent() noexcept {
  if (urgent_size_.load(std::memory_order_relaxed) == 0) return nullptr;
  const MutexLock lock(lock_);
  if (urgent_.empty()) return nullptr;
  urgent_size_.store(urgent_size_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  return urgent_.pop();
}

Op* Workers::take_deferred() noexcept {
  if (deferred_size_.load(std::memory_order_relaxed) == 0) return nullptr;
  const MutexLock lock(lock_);
  if (deferred_.empty()) return nullptr;
  deferred_size_.store(deferred_size_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  return deferred_.pop();
}

Op* Workers::take_from(Worker& worker) noexcept {
  if (worker.queued.load(std::memory_order_relaxed) == 0) return nullptr;
  const MutexLock lock(worker.lock);
  Op* const op = worker.queue.pop();
  worker.queued.store(worker.queue.size(), std::memory_order_relaxed);
  return op;
}

// One to run now, and some more for its own queue, which is empty. Wakes no worker: the thread that added
// them has woken one, or one looks, which finds what is left and wakes the next.
Op* Workers::take_chunk(Worker& worker) noexcept {
  if (waiting_.load(std::memory_order_relaxed) == 0) return nullptr;
  Queue chunk;
  {
    const MutexLock lock(lock_);
    chunk = inbox_.take_chunk(workers_.size() == 1);
    waiting_.store(inbox_.size(), std::memory_order_relaxed);
    worker.left_some = inbox_.size() > 0;
    if (chunk.size() > 1) {
      const MutexLock own_lock(worker.lock);
      worker.queue = chunk;
      worker.queued.store(chunk.size(), std::memory_order_relaxed);
    }
  }
  // A single operation is timed only if this may show that operations are not brief any more: reading the
  // clock twice costs as much as a short operation.
  worker.timed = chunk.size() > 1 || (chunk.size() == 1 && worker.brief);
  if (worker.timed) worker.took_at = now();
  return chunk.size() > 1 ? take_from(worker) : chunk.pop();
}

// The next operation for a worker whose own queue is empty, while others may run.
Op* Workers::take_new(Worker& worker) noexcept {
  if (Op* const op = take_urgent()) return op;
  if (worth_taking(worker)) return take_chunk(worker);
  return waiting_.load(std::memory_order_relaxed) == 0 ? take_deferred() : nullptr;
}

// The next operation for a worker while no other worker runs.
Op* Workers::take_any(std::size_t self) noexcept {
  if (Op* const op = take_urgent()) return op;
  if (Op* const op = take_chunk(*workers_[self])) return op;
  if (Op* const op = take_deferred()) return op;
  for (const auto& worker : workers_) {
    if (Op* const op = take_from(*worker)) return op;
  }
  return nullptr;
}

bool Workers::work_in_sight() const noexcept {
  return waiting_.load(std::memory_order_relaxed) > 0 || urgent_size_.load(std::memory_order_relaxed) > 0 ||
         deferred_size_.load(std::memory_order_relaxed) > 0 ||
         std::any_of(workers_.begin(), workers_.end(),
                     [](const auto& worker) { return worker->queued.load() > 0; });
}

void Workers::count_idle(int asleep, int looking) noexcept {
  asleep_ += static_cast<std::size_t>(asleep);
  looking_ += static_cast<std::size_t>(looking);
  if (asleep + looking != 0) idle_.store(asleep_ + looking_, std::memory_order_relaxed);
  const bool may_call = asleep_ > 0 && looking_ == 0;
  if (may_call_.load(std::memory_order_relaxed) != may_call) may_call_.store(may_call);
}

// True: the caller is to wake a sleeper. The sleeper counts as looking from now on, so that operations that
// are added before it runs wake no other.
bool Workers::call_one() noexcept {
  if (asleep_ == 0 || looking_ > 0) return false;
  count_idle(-1, 1);
  calls_.fetch_add(1, std::memory_order_release);
  return true;
}

// False: it is to sleep, because enough others look. Before they stop looking, they wake the next if there is
// work.
bool Workers::start_looking() noexcept {
  const MutexLock lock(lock_);
  const bool looks = looking_ < looking_max_ || stopping_.load(std::memory_order_relaxed);
  count_idle(looks ? 0 : 1, looks ? 1 : 0);
  return looks;
}

void Workers::stop_looking() noexcept {
  bool wake = false;
  {
    const MutexLock lock(lock_);
    count_idle(0, -1);
    wake = work_in_sight() && call_one();
  }
  if (wake) futex_wake_one(calls_);
}

// Looks for work until there is an operation to take. Null: no work was in sight for spin_, or the workers
// end.
Op* Workers::look(std::size_t self) noexcept {
  TimePoint until{};
  bool was_empty = false;
  Duration gap{};
  while (!stopping_.load(std::memory_order_relaxed)) {
    for (int i = 0; i < kLooksPerRound; ++i) {
      if (work_in_sight()) {
        was_empty = false;
        if (Op* const op = take_neglected(self)) return op;
        gap = std::min(2 * gap + kStall, kLookGapMax);
        pause_for(gap, [] {});
      } else {
        pause(kLookPauses);
      }
    }
    const TimePoint at = now();
    if (!std::exchange(was_empty, true)) until = at + spin_;
    if (at >= until && !work_in_sight()) return nullptr;
    std::this_thread::yield();  // where there are more threads than processors
  }
  return nullptr;
}

// Takes an operation that the running workers do not reach: from the queue of a worker that is held up, or
// from the inbox if no worker makes progress or if they would need too long for it.
Op* Workers::take_neglected(std::size_t self) noexcept {
  if (idle_.load(std::memory_order_relaxed) >= workers_.size()) return take_any(self);
  if (urgent_size_.load(std::memory_order_relaxed) > 0) return take_urgent();
  Worker& me = *workers_[self];
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    me.marks[i] = {workers_[i]->queued.load(std::memory_order_relaxed) > 0,
                   workers_[i]->progress.load(std::memory_order_relaxed)};
  }
  pause_for(kStall, [] {});
  std::uint32_t moved = 0;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const std::uint32_t moves = workers_[i]->progress.load(std::memory_order_relaxed) - me.marks[i].progress;
    moved += moves;
    if (moves != 0 || !me.marks[i].some) continue;
    if (Op* const op = take_from(*workers_[i])) return op;
  }
  const auto waiting = static_cast<Duration::rep>(waiting_.load(std::memory_order_relaxed));
  if (waiting == 0) return take_deferred();
  return moved == 0 || kStall * waiting > kShare * moved ? take_chunk(me) : nullptr;
}

// False: there is work. A thread that adds work later sees that this worker is asleep: add() takes the same
// lock, and fill() reads may_call_ after it has stored the work.
bool Workers::fall_asleep() noexcept {
  const MutexLock lock(lock_);
  count_idle(1, -1);
  if (!work_in_sight() && !stopping_.load(std::memory_order_relaxed)) return true;
  count_idle(-1, 1);
  return false;
}

// Sleeps until a thread calls. That thread has counted this worker as looking.
void Workers::sleep(Worker& worker) noexcept {
  std::uint32_t calls = calls_.load(std::memory_order_acquire);
  while (calls == 0 || !calls_.compare_exchange_weak(calls, calls - 1, std::memory_order_acquire)) {
    if (calls == 0) futex_wait(calls_, 0, nullptr);
    calls = calls_.load(std::memory_order_acquire);
  }
  worker.woken = true;
}

}  // namespace inflight::internal
