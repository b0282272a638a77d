// SPDX-License-Identifier: Apache-2.0
#include "inflight/executor.h"

#include "base/check.h"

namespace inflight {

void ManualExecutor::execute(Task task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
}

bool ManualExecutor::run_one() {
  Task task;
  {
    const std::lock_guard lock(mutex_);
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
  const std::lock_guard lock(mutex_);
  return tasks_.size();
}

ThreadPool::ThreadPool(int threads) {
  INFLIGHT_CHECK(threads >= 1);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) {
    INFLIGHT_CHECK(thread.get_id() != std::this_thread::get_id());
    thread.join();
  }
}

void ThreadPool::execute(Task task) {
  // Told with the lock held: once the task has run, its owner may destroy the pool.
  const std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  wake_.notify_one();
}

void ThreadPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
    lock.lock();
  }
}

}  // namespace inflight
