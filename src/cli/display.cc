// SPDX-License-Identifier: Apache-2.0
#include "cli/display.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string_view>

#include "base/scheduling.h"
#include "cli/console.h"
#include "cli/text.h"

namespace inflight::cli {
namespace {

// Back to the line's start, and clear it (ECMA-48 erase in line).
constexpr std::string_view kClearLine = "\r\x1b[K";

// A line longer than the terminal is wide would wrap, and then not be replaced.
std::size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

std::string progress_line(const Progress& progress) {
  return fmt::format("{:6.1f} s  {}/s  in flight {}  p50 {} us  p99 {} us  age {} us  refused {}",
                     std::chrono::duration<double>(progress.elapsed).count(),
                     fmt::format("{:.1f}", progress.rate), progress.in_flight, microseconds(progress.p50_ns),
                     microseconds(progress.p99_ns), microseconds(progress.age_ns),
                     with_commas(progress.refused));
}

Display::Display() : terminal_(isatty(STDOUT_FILENO) == 1) {
  thread_ = std::thread([this] { print_loop(); });
}

Display::~Display() { finish(); }

void Display::show(const Progress& progress) {
  const internal::MutexLock lock(mutex_);
  progress_ = progress;
  fresh_ = true;
}

void Display::finish() {
  if (!thread_.joinable()) return;
  {
    const internal::MutexLock lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
  if (terminal_) print_out(kClearLine);
}

void Display::print_loop() {
  const internal::BatchScheduling
      batch_thread;  // as for the writer of results: it must not be in the loop's way
  const Duration interval = terminal_ ? kRefresh : std::chrono::seconds(1);
  TimePoint next = steady_clock().now() + interval;
  while (true) {
    std::string line;
    {
      internal::MutexLock lock(mutex_);
      while (!ending_ && wake_.wait_until(lock, next)) {
      }
      if (ending_) return;
      if (fresh_) line = progress_line(progress_);
      fresh_ = false;
    }
    next += interval;
    if (line.empty()) continue;
    if (terminal_)
      print_out(fmt::format("{}{}", kClearLine, line.substr(0, terminal_columns() - 1)));
    else
      print_out(line + '\n');
  }
}

}  // namespace inflight::cli
