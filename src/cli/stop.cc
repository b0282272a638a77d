// SPDX-License-Identifier: Apache-2.0
#include "cli/stop.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>

namespace inflight::cli {
namespace {

constexpr std::array<int, 3> kStopSignals = {SIGINT, SIGTERM, SIGHUP};

std::atomic<std::int64_t> stop_ns{0};  // when the first signal came; 0: none has
std::atomic<int> stop_number{0};       // its number; set after stop_ns
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free,
              "a signal handler may touch nothing else");

extern "C" void end_now(int number) { _exit(128 + number); }

extern "C" void request_stop(int number) {
  const std::int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
  std::int64_t first = 0;
  if (stop_ns.compare_exchange_strong(first, now, std::memory_order_relaxed)) {
    stop_number.store(number, std::memory_order_release);
  } else if (now - first >= kSecondSignalAfter.count()) {
    _exit(128 + number);
  }
}

void install(void (*function)(int)) {
  struct sigaction action {};
  action.sa_handler = function;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int number : kStopSignals) sigaddset(&action.sa_mask, number);
  for (const int number : kStopSignals) {
    struct sigaction before {};
    sigaction(number, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
  }
}

}  // namespace

void ignore_write_signals() {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  sigemptyset(&action.sa_mask);
  sigaction(SIGPIPE, &action, nullptr);
  sigaction(SIGXFSZ, &action, nullptr);
}

void end_on_signals() { install(end_now); }

void watch_signals() { install(request_stop); }

int stop_signal() { return stop_number.load(std::memory_order_acquire); }

std::optional<TimePoint> stop_time() {
  if (stop_signal() == 0) return std::nullopt;
  return TimePoint(Duration(stop_ns.load(std::memory_order_relaxed)));
}

}  // namespace inflight::cli
