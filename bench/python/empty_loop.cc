// SPDX-License-Identifier: Apache-2.0
// What a turn of a loop costs on this machine if it does nothing: the control of `loop_cpu_us_max` in
// examples/forum_async_predictions. 60 times a second the loop wakes a batch thread, which computes for 10 ms.
//
// usage: bench_empty_loop [SECONDS]
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "inflight/histogram.h"

namespace {

using Clock = std::chrono::steady_clock;

std::int64_t thread_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

void compute(std::int64_t ns) {
  const std::int64_t end = thread_ns() + ns;
  while (thread_ns() < end) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 60;
  std::atomic<int> frames{0};
  std::atomic<bool> ended{false};
  std::thread worker([&] {
    const sched_param parameters{};
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &parameters);
    for (int seen = 0; !ended; seen = frames) {
      frames.wait(seen);
      compute(10'000'000);
    }
  });
  inflight::Histogram turns;
  inflight::Histogram wakes;
  const Clock::time_point end =
      Clock::now() + std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
  Clock::time_point due = Clock::now();
  while (Clock::now() < end) {
    const std::int64_t began = thread_ns();
    if (Clock::now() >= due) {
      due += std::chrono::nanoseconds(16'666'667);
      const std::int64_t before = thread_ns();
      ++frames;
      frames.notify_one();
      wakes.add(thread_ns() - before);
    }
    turns.add(thread_ns() - began);
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  ended = true;
  ++frames;
  frames.notify_one();
  worker.join();
  const auto us = [](std::int64_t ns) { return static_cast<double>(ns) / 1e3; };
  std::printf(
      "a turn: p50 %.1f us, p99 %.1f, p99.99 %.1f, max %.1f, in %llu; a wake: p50 %.1f, p99 %.1f, max %.1f\n",
      us(turns.quantile(0.5)), us(turns.quantile(0.99)), us(turns.quantile(0.9999)), us(turns.max()),
      static_cast<unsigned long long>(turns.count()), us(wakes.quantile(0.5)), us(wakes.quantile(0.99)),
      us(wakes.max()));
  return 0;
}
