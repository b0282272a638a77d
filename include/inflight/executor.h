// SPDX-License-Identifier: Apache-2.0
// Executor: what runs a piece of work, on which thread. UniqueFunction: the piece of work. The library runs
// user callbacks on executors only, so the caller decides which thread they hold up.
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

// A callable that is moved, never copied: std::function for callables that hold a std::unique_ptr or another
// type that cannot be copied.
//   thread   one at a time; it may be moved between threads
template <typename R, typename... Args>
class UniqueFunction<R(Args...)> {
 public:
  // A callable of at most so many bytes, aligned no more strictly than a pointer and moved without
  // exceptions, is stored in place and costs no allocation.
  static constexpr std::size_t kInlineBytes = 48;

  // Holds nothing: only operator bool, reset() and assignment may be called. Not defaulted: the storage would
  // be zeroed.
  UniqueFunction() noexcept {}
  // Holds `callable`. Throws std::bad_alloc if it does not fit in place, and what its constructor throws.
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
  // Takes the callable of `other`, which then holds nothing.
  UniqueFunction(UniqueFunction&& other) noexcept { take(other); }
  // Destroys its own callable and takes that of `other`.
  UniqueFunction& operator=(UniqueFunction&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~UniqueFunction() { reset(); }

  // Whether it holds a callable.
  explicit operator bool() const noexcept { return table_ != nullptr; }
  // Destroys the callable, if there is one, on the calling thread.
  void reset() noexcept {
    if (table_ != nullptr) std::exchange(table_, nullptr)->destroy(storage_);
  }
  // Calls the callable, any number of times. Requires one: this is not checked. What it throws comes out.
  R operator()(Args... args) { return table_->call(storage_, std::forward<Args>(args)...); }

 private:
  // What depends on the type of the callable. Each function gets the storage of the callable.
  struct Table {
    R (*call)(std::byte*, Args&&...);
    // Moves the callable and destroys what is left at `from`.
    void (*move)(std::byte* from, std::byte* to) noexcept;
    void (*destroy)(std::byte*) noexcept;
  };

  // The callable: in the storage, or where the pointer in the storage leads.
  template <typename Callable, bool kInPlace>
  static Callable& target(std::byte* storage) {
    if constexpr (kInPlace)
      return *std::launder(reinterpret_cast<Callable*>(storage));
    else
      return **std::launder(reinterpret_cast<Callable**>(storage));
  }

  // One table for each type and place, made by the compiler.
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

  // Moves the callable of `other` here. Requires that this holds nothing.
  void take(UniqueFunction& other) noexcept {
    table_ = std::exchange(other.table_, nullptr);
    if (table_ != nullptr) table_->move(other.storage_, storage_);
  }

  const Table* table_ = nullptr;  // null: it holds nothing
  alignas(void*) std::byte storage_[kInlineBytes];
};

// A piece of work. It runs once.
using Task = UniqueFunction<void()>;

// Runs tasks, each exactly once, on a thread of its choosing. The caller keeps an executor alive until every
// task that it took has run. Implement it to run the library's callbacks on a loop or a thread pool of your
// own:
//
//   class LoopExecutor final : public Executor {
//     Status execute(Task task) override {
//       loop.post(std::move(task));
//       return Status();
//     }
//   };
class Executor {
 public:
  virtual ~Executor() = default;
  // Takes a task, and runs it before it returns (InlineExecutor) or later. A task that it refuses is
  // destroyed and never runs.
  //   task     it may call execute() again
  //   returns  ok: the task was taken
  //   thread   any, also a thread of the library; it should not block there
  //   errors   of the executors below: kInvalidArgument: an empty task; kOutOfMemory. An executor of the user
  //            may return any status, or throw, which means the same.
  virtual Status execute(Task task) = 0;
};

// Runs each task inside execute(), on the calling thread. What the task throws is dropped. Choose it on
// purpose: a callback that runs inline runs on one of the library's own threads and delays all that this
// thread does next.
//   thread   any; calls do not wait for each other
class InlineExecutor final : public Executor {
 public:
  //   errors   kInvalidArgument: an empty task
  Status execute(Task task) override;
};

// Keeps tasks until the owner runs them; for tests and for single-threaded loops. Its destructor destroys the
// tasks that have not run.
//   thread   any; a task runs on the thread that calls run_one() or run_all()
//   bound    none on the tasks that are kept
class ManualExecutor final : public Executor {
 public:
  // Keeps the task behind those that wait. Never blocks.
  //   errors   kInvalidArgument: an empty task; kOutOfMemory
  Status execute(Task task) override;
  // Runs the oldest task on the calling thread, without a lock. What the task throws comes out here.
  //   returns  false: there is none
  bool run_one();
  // Runs tasks until none is left, including those added meanwhile. A task that throws ends it; the others
  // stay.
  //   returns  how many ran
  std::size_t run_all();
  // How many tasks wait at this moment.
  std::size_t size() const;

 private:
  mutable internal::Mutex mutex_;
  std::deque<Task> tasks_ INFLIGHT_GUARDED_BY(mutex_);
};

// A fixed number of threads ("inflight-pool") that start tasks in the order in which they came. What a task
// throws is dropped.
//   thread   any
//   bound    none on the tasks that wait: callers limit themselves
class ThreadPool final : public Executor {
 public:
  static constexpr int kThreadsMax = 1024;

  // Starts the threads.
  //   threads   1 to kThreadsMax
  //   errors    kInvalidArgument: out of these bounds; kOutOfMemory: memory or threads ran out, and those
  //             that had started are joined
  static Result<std::unique_ptr<ThreadPool>> make(int threads);
  // Runs every task that waits, then joins the threads. Must not be called from one of its own tasks: that
  // stops the process.
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Queues the task and wakes one thread. Never waits for a task.
  //   errors   kInvalidArgument: an empty task; kOutOfMemory
  Status execute(Task task) override;

 private:
  ThreadPool() = default;
  // On each thread: runs tasks until the pool ends and none is left.
  void work() noexcept;

  internal::Mutex mutex_;
  // There is a task, or stopping_ is set.
  internal::CondVar wake_;
  std::deque<Task> tasks_ INFLIGHT_GUARDED_BY(mutex_);
  bool stopping_ INFLIGHT_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace inflight
