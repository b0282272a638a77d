// SPDX-License-Identifier: Apache-2.0
// Executor: who runs a piece of work. UniqueFunction: the piece of work.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "inflight/internal/mutex.h"
#include "inflight/status.h"

namespace inflight {

template <typename Signature>
class UniqueFunction;

// A callable that is moved, never copied. Callables of up to kInlineBytes that are aligned no more strictly
// than a pointer live in place and cost no allocation.
template <typename R, typename... Args>
class UniqueFunction<R(Args...)> {
 public:
  static constexpr std::size_t kInlineBytes = 48;

  UniqueFunction() noexcept {}  // not defaulted: the storage would be zeroed
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, UniqueFunction> && std::is_invocable_r_v<R, F&, Args...>)
      UniqueFunction(F&& callable) {  // NOLINT: implicit, as std::function
    using Callable = std::decay_t<F>;
    if constexpr (sizeof(Callable) <= kInlineBytes && alignof(Callable) <= alignof(void*) &&
                  std::is_nothrow_move_constructible_v<Callable>) {
      new (storage_) Callable(std::forward<F>(callable));
      table_ = &kTable<Callable, true>;
    } else {
      new (storage_) Callable*(new Callable(std::forward<F>(callable)));
      table_ = &kTable<Callable, false>;
    }
  }
  UniqueFunction(UniqueFunction&& other) noexcept { take(other); }
  UniqueFunction& operator=(UniqueFunction&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~UniqueFunction() { reset(); }

  explicit operator bool() const noexcept { return table_ != nullptr; }
  // Destroys the callable, if there is one.
  void reset() noexcept {
    if (table_ != nullptr) std::exchange(table_, nullptr)->destroy(storage_);
  }
  // Requires a callable.
  R operator()(Args... args) { return table_->call(storage_, std::forward<Args>(args)...); }

 private:
  struct Table {
    R (*call)(std::byte*, Args&&...);
    void (*move)(std::byte* from, std::byte* to) noexcept;  // and destroys what is left at `from`
    void (*destroy)(std::byte*) noexcept;
  };

  template <typename Callable, bool kInPlace>
  static Callable& target(std::byte* storage) {
    if constexpr (kInPlace)
      return *std::launder(reinterpret_cast<Callable*>(storage));
    else
      return **std::launder(reinterpret_cast<Callable**>(storage));
  }

  template <typename Callable, bool kInPlace>
  static constexpr Table kTable = {
      [](std::byte* storage, Args&&... args) -> R {
        if constexpr (std::is_void_v<R>) {
          std::invoke(target<Callable, kInPlace>(storage), std::forward<Args>(args)...);
        } else {
          return std::invoke(target<Callable, kInPlace>(storage), std::forward<Args>(args)...);
        }
      },
      [](std::byte* from, std::byte* to) noexcept {
        if constexpr (kInPlace) {
          Callable& callable = target<Callable, true>(from);
          new (to) Callable(std::move(callable));
          callable.~Callable();
        } else {
          new (to) Callable*(&target<Callable, false>(from));
        }
      },
      [](std::byte* storage) noexcept {
        if constexpr (kInPlace)
          target<Callable, true>(storage).~Callable();
        else
          delete &target<Callable, false>(storage);
      },
  };

  void take(UniqueFunction& other) noexcept {
    table_ = std::exchange(other.table_, nullptr);
    if (table_ != nullptr) table_->move(other.storage_, storage_);
  }

  const Table* table_ = nullptr;
  alignas(void*) std::byte storage_[kInlineBytes];
};

using Task = UniqueFunction<void()>;

// Runs tasks, each exactly once, on a thread of its choosing.
class Executor {
 public:
  virtual ~Executor() = default;
  // Takes a task, and runs it before it returns (InlineExecutor) or later. One that is refused is destroyed
  // and never runs.
  //   returns  ok: the task was taken
  //   thread   any
  //   errors   of those here: kInvalidArgument: an empty task; kOutOfMemory. An executor of the user's may
  //            answer anything, or throw, which means the same.
  virtual Status execute(Task task) = 0;
};

// Runs each task at once on the calling thread; what the task throws ends there. Choose it on purpose: a
// callback that runs inline runs on one of the library's own threads and holds up whatever that thread does
// next.
class InlineExecutor final : public Executor {
 public:
  Status execute(Task task) override;
};

// Keeps tasks until the owner runs them; for tests and for single-threaded loops.
//   thread   any; a task runs on the thread that calls run_one() or run_all()
//   bound    none on the tasks that are kept
class ManualExecutor final : public Executor {
 public:
  Status execute(Task task) override;
  // Runs the oldest task on the calling thread. What it throws comes out here.
  //   returns  false: there is none
  bool run_one();
  // Runs tasks until none is left, those added on the way included.
  //   returns  how many ran
  std::size_t run_all();
  std::size_t size() const;

 private:
  mutable internal::Mutex mutex_;
  std::deque<Task> tasks_ INFLIGHT_GUARDED_BY(mutex_);
};

// A fixed number of threads that run tasks in the order in which they came. What a task throws ends there.
//   thread   any
//   bound    none on the tasks that wait: callers limit themselves
class ThreadPool final : public Executor {
 public:
  static constexpr int kThreadsMax = 1024;

  // Starts the threads.
  //   threads   1 to kThreadsMax
  //   errors    kInvalidArgument: out of these bounds; kOutOfMemory: memory or threads ran out. Nothing is
  //             left behind then.
  static Result<std::unique_ptr<ThreadPool>> make(int threads);
  // Runs every task that waits, then joins. Must not be called from one of its own tasks.
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  Status execute(Task task) override;

 private:
  ThreadPool() = default;
  void work() noexcept;

  internal::Mutex mutex_;
  internal::CondVar wake_;
  std::deque<Task> tasks_ INFLIGHT_GUARDED_BY(mutex_);
  bool stopping_ INFLIGHT_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace inflight
