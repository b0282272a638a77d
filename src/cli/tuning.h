// SPDX-License-Identifier: Apache-2.0
// What the program says of tuning: while it goes on, and what came of it.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "inflight/backend.h"
#include "inflight/clock.h"

namespace inflight::cli {

// "[####................] tuned 13 of 53 steps, 18% faster".
std::string tuning_line(const TuneProgress& progress);

// One line on a terminal that says how far tuning is, and is taken away at the end. Elsewhere nothing.
class TuningBar {
 public:
  using Print = std::function<void(std::string_view text)>;
  // What is over sooner shows nothing.
  static constexpr Duration kAfter = std::chrono::milliseconds(300);
  static constexpr Duration kRefresh = std::chrono::milliseconds(100);

  // On the standard error, if that is a terminal.
  TuningBar();
  //   columns   of the terminal; 0: there is none
  TuningBar(std::size_t columns, Print print, const Clock& clock);
  ~TuningBar() { finish(); }
  TuningBar(const TuningBar&) = delete;
  TuningBar& operator=(const TuningBar&) = delete;

  // For PredictorOptions::tune_progress, as long as this lives; null where there is no terminal.
  std::function<void(const TuneProgress&)> callback();
  // Takes the line away.
  void finish();

 private:
  void show(const TuneProgress& progress);

  const std::size_t columns_;
  const Print print_;
  const Clock& clock_;
  TimePoint next_;  // not shown again before
  bool shown_ = false;
};

// "full, 18% faster, in 12.3 s" or "full, 18% faster, known from an earlier load".
std::string tuning_text(const Tuning& tuning);
// {"level", "seconds", "gain", "cached"}; null where the device does not tune.
nlohmann::ordered_json tuning_json(const std::optional<Tuning>& tuning);

}  // namespace inflight::cli
