// SPDX-License-Identifier: Apache-2.0
#include "cli/stop.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace inflight::cli {
namespace {

std::atomic<int> stop_requested{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch nothing else");

extern "C" void end_now(int number) { _exit(128 + number); }
extern "C" void set_flag(int number) { stop_requested.store(number, std::memory_order_relaxed); }

// With SA_RESETHAND the second signal of a kind finds the default again, which ends the process.
void install(void (*function)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = function;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

void end_on_signals() { install(end_now, 0); }

void watch_signals() { install(set_flag, static_cast<int>(SA_RESETHAND) | SA_RESTART); }

int stop_signal() { return stop_requested.load(std::memory_order_relaxed); }

}  // namespace inflight::cli
