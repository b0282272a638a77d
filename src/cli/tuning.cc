// SPDX-License-Identifier: Apache-2.0
#include "cli/tuning.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/console.h"

namespace inflight::cli {
namespace {

constexpr std::size_t kBarWidth = 20;
// Back to the line's start, and clear it (ECMA-48 erase in line).
constexpr std::string_view kClearLine = "\r\x1b[K";

// Of the standard error; 0: it is no terminal.
std::size_t error_columns() {
  if (isatty(STDERR_FILENO) != 1) return 0;
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

// ", 18% faster"; nothing for less than half of a percent.
std::string gain_text(double gain) { return gain < 0.005 ? "" : fmt::format(", {:.0f}% faster", 100 * gain); }

}  // namespace

std::string tuning_line(const TuneProgress& progress) {
  const std::size_t steps = std::max<std::size_t>(progress.steps, 1);
  const std::size_t full = std::min(progress.done, steps) * kBarWidth / steps;
  return fmt::format("[{}{}] {} {} of {} steps{}", std::string(full, '#'), std::string(kBarWidth - full, '.'),
                     progress.timing ? "tuned" : "tuning: prepared", progress.done, progress.steps,
                     progress.timing ? gain_text(progress.gain) : "");
}

TuningBar::TuningBar() : TuningBar(error_columns(), print_live, steady_clock()) {}

TuningBar::TuningBar(std::size_t columns, Print print, const Clock& clock)
    : columns_(columns), print_(std::move(print)), clock_(clock), next_(clock.now() + kAfter) {}

std::function<void(const TuneProgress&)> TuningBar::callback() {
  if (columns_ == 0) return nullptr;
  return [this](const TuneProgress& progress) { show(progress); };
}

void TuningBar::show(const TuneProgress& progress) {
  const TimePoint now = clock_.now();
  if (now < next_) return;
  next_ = now + kRefresh;
  shown_ = true;
  // A line longer than the terminal is wide would wrap, and then not be replaced.
  print_(fmt::format("{}{}", kClearLine, tuning_line(progress).substr(0, columns_ - 1)));
}

void TuningBar::finish() {
  if (std::exchange(shown_, false)) print_(kClearLine);
}

std::string tuning_text(const Tuning& tuning) {
  const std::string_view level = tune_level_name(tuning.level);
  if (tuning.level == TuneLevel::kOff) return std::string(level);
  return fmt::format(
      "{}{}, {}", level, gain_text(tuning.gain),
      tuning.cached ? "known from an earlier load" : fmt::format("in {:.1f} s", tuning.seconds));
}

nlohmann::ordered_json tuning_json(const std::optional<Tuning>& tuning) {
  if (!tuning) return nullptr;
  return {{"level", tune_level_name(tuning->level)},
          {"seconds", tuning->seconds},
          {"gain", tuning->gain},
          {"cached", tuning->cached}};
}

}  // namespace inflight::cli
