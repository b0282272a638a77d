// SPDX-License-Identifier: Apache-2.0
#include "inflight/executor.h"

#include <fmt/format.h>

#include <system_error>

#include "base/check.h"
#include "base/scheduling.h"
#include "base/user_code.h"

namespace inflight {

using internal::MutexLock;

namespace {

Status empty_task() { return Status(StatusCode::kInvalidArgument, "execute: the task is empty"); }

// Adds a task, or leaves the queue as it was.
Status push_back(std::deque<Task>& tasks, Task task) noexcept {
  try {
    tasks.push_back(std::move(task));
    return Status();
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("execute", sizeof(Task));
  }
}

}  // namespace

Status InlineExecutor::execute(Task task) {
  if (!task) return empty_task();
  static_cast<void>(internal::call_user(task));  // it was taken, and ran
  return Status();
}

Status ManualExecutor::execute(Task task) {
  if (!task) return empty_task();
  const MutexLock lock(mutex_);
  return push_back(tasks_, std::move(task));
}

bool ManualExecutor::run_one() {
  Task task;
  {
    const MutexLock lock(mutex_);
    if (tasks_.empty()) return false;
    task = std::move(tasks_.front());
    tasks_.pop_front();
  }
  task();
  return true;
}

std::size_t ManualExecutor::run_all() {
  std::size_t ran = 0;
  while (run_one()) ++ran;
  return ran;
}

std::size_t ManualExecutor::size() const {
  const MutexLock lock(mutex_);
  return tasks_.size();
}

Result<std::unique_ptr<ThreadPool>> ThreadPool::make(int threads) {
  if (threads < 1 || threads > kThreadsMax) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("threads: got {}, want 1 to {}", threads, kThreadsMax));
  }
  try {
    std::unique_ptr<ThreadPool> pool(new ThreadPool);
    pool->threads_.reserve(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i) pool->threads_.emplace_back([&pool = *pool] { pool.work(); });
    return pool;
  } catch (const std::system_error&) {  // those that have started are joined by now
    return Status(StatusCode::kOutOfMemory, fmt::format("thread pool: {} threads cannot be had", threads));
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("thread pool");
  }
}

ThreadPool::~ThreadPool() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) {
    INFLIGHT_CHECK(thread.get_id() != std::this_thread::get_id());
    thread.join();
  }
}

Status ThreadPool::execute(Task task) {
  if (!task) return empty_task();
  // Notified with the lock held: once the task has run, its owner may destroy the pool.
  const MutexLock lock(mutex_);
  INFLIGHT_TRY(push_back(tasks_, std::move(task)));
  wake_.notify_one();
  return Status();
}

void ThreadPool::work() noexcept {
  internal::name_thread("inflight-pool");
  MutexLock lock(mutex_);
  while (true) {
    while (!stopping_ && tasks_.empty()) wake_.wait(lock);
    if (tasks_.empty()) return;
    {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      static_cast<void>(internal::call_user(task));
    }
    lock.lock();
  }
}

}  // namespace inflight
