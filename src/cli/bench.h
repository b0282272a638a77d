// SPDX-License-Identifier: Apache-2.0
// `inflight bench`: puts a model under load and says what its latency becomes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "inflight/backend.h"
#include "inflight/clock.h"
#include "inflight/model.h"
#include "inflight/predictor.h"
#include "inflight/status.h"
#include "load/plan.h"

namespace inflight::cli {

// The words as written; nothing where an option was not given.
struct BenchWords {
  std::optional<std::string> model, loads, rates, in_flight, duration, limit, widths, device, precision, tune,
      deadline_ms, seed, json, html;
  bool refuse_late = false;
  std::vector<std::string> plans, input_shapes;
};

struct BenchOptions {
  std::optional<std::string> model;  // nothing: the embedded default model
  std::map<std::string, Shape> input_shapes;
  std::vector<load::PlanKind> plans;
  std::vector<double> loads = {0.1, 0.3, 0.5, 0.7, 0.9};  // shares of the capacity
  std::vector<double> rates;                              // arrivals a second, in place of loads
  std::vector<int> in_flight;                   // of closed loops; empty: 1, 2, 4 ... to twice the slots
  Duration duration = std::chrono::seconds(5);  // of each run
  int limit = 256;
  std::vector<WidthPolicy> widths = {PredictorOptions().width};
  std::vector<Device> devices = {Device::cpu()};
  Precision precision = Precision::kAuto;
  TuneLevel tune = TuneLevel::kFast;
  std::optional<Duration> deadline;
  bool refuse_late = false;
  std::uint64_t seed = 1;
  std::optional<std::string> json, html;
};

// Checks every value and the combinations.
//   errors   kInvalidArgument: `--loads: got 0, want ...`; kNoSuchDevice
Result<BenchOptions> parse_bench(const BenchWords& words);

// Runs the command and says what went wrong on stderr, in one line.
//   returns   the exit code, as of run_command
int bench_command(const BenchWords& words);

}  // namespace inflight::cli
