// SPDX-License-Identifier: Apache-2.0
// What a run shows while it runs.
#pragma once

#include <cstdint>
#include <string>
#include <thread>

#include "inflight/clock.h"
#include "inflight/internal/mutex.h"

namespace inflight::cli {

// A run at one moment.
struct Progress {
  Duration elapsed{0};
  double rate = 0;  // completed a second, over the last second
  std::uint64_t in_flight = 0;
  std::int64_t p50_ns = 0;  // latency, since the start
  std::int64_t p99_ns = 0;
  std::int64_t age_ns = 0;  // of the newest result, not exceeded for 99% of the time
  std::uint64_t refused = 0;
};

// The line, without its end.
std::string progress_line(const Progress& progress);

// Prints to stdout from a thread of its own, for a terminal may stop taking text (^S) while frames keep
// coming. On a terminal one line is kept up to date; elsewhere there is a line each second.
class Display {
 public:
  static constexpr Duration kRefresh = std::chrono::milliseconds(100);

  Display();
  ~Display();
  Display(const Display&) = delete;
  Display& operator=(const Display&) = delete;

  // Remembers what to print next. Never waits for the terminal.
  void show(const Progress& progress);
  // Takes the live line away and ends the thread.
  void finish();

 private:
  void print_loop();

  const bool terminal_;
  internal::Mutex mutex_;
  internal::CondVar wake_;
  Progress progress_ INFLIGHT_GUARDED_BY(mutex_);
  bool fresh_ INFLIGHT_GUARDED_BY(mutex_) = false;  // not printed yet
  bool ending_ INFLIGHT_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace inflight::cli
