// SPDX-License-Identifier: Apache-2.0
// Executor: who runs a piece of work. UniqueFunction: the piece of work.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

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
  // Lets go of the callable.
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
  // Takes the task; may run it before returning (InlineExecutor) or later. Any thread may call.
  virtual void execute(Task task) = 0;
};

// Runs each task at once on the calling thread. Choose it on purpose: a callback that runs inline runs on one
// of the library's own threads and holds up whatever that thread does next.
class InlineExecutor final : public Executor {
 public:
  void execute(Task task) override { task(); }
};

// Keeps tasks until the owner runs them; for tests and for single-threaded loops.
class ManualExecutor final : public Executor {
 public:
  void execute(Task task) override;
  // Runs the oldest task on the calling thread. False where there is none.
  bool run_one();
  // Runs tasks until none is left, those added on the way included; returns how many ran.
  std::size_t run_all();
  std::size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::deque<Task> tasks_;  // guarded by mutex_
};

// A fixed number of threads that run tasks in the order they came.
//   bound    none on tasks waiting: whoever feeds it limits itself
class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(int threads);
  // Runs what is waiting, then joins. Must not be called from one of its own tasks.
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  void execute(Task task) override;

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;  // guarded by mutex_
  bool stopping_ = false;   // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace inflight
