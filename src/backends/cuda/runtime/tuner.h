// SPDX-License-Identifier: Apache-2.0
// Chooses, for each convolution and matmul, the plan that is fastest alone and the one that is fastest while eight
// run together. They differ more often than not: what fills the device alone stands in the way of the others.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/runtime/device.h"
#include "backends/cuda/runtime/disk_cache.h"
#include "backends/cuda/runtime/step_plan.h"

namespace inflight::cuda {

// kOff: the libraries' own choice. kFast: their first few, within kFastSeconds in all. kFull: all, within
// kFullSeconds.
enum class TuneLevel { kOff, kFast, kFull };
//   errors   kInvalidArgument: another word than "off", "fast", "full"
Result<TuneLevel> parse_tune_level(std::string_view text);

struct TuneChoice {
  std::size_t wide = 0;
  std::size_t narrow = 0;
  float wide_us = 0;        // measured: alone; 0 where it was not
  float narrow_us = 0;      // each of eight
  float first_wide_us = 0;  // of the library's own choice
  float first_narrow_us = 0;
  std::size_t tried = 0;
};

struct TuneReport {
  std::size_t plans = 0;
  std::size_t measured = 0;
  std::size_t cached = 0;
  std::size_t untuned = 0;  // the time was up, or tuning is off
  double prepare_seconds = 0;
  double measure_seconds = 0;
};

class Tuner {
 public:
  static constexpr int kTogether = 8;
  static constexpr std::size_t kFastCandidates = 10;
  static constexpr double kFastSeconds = 30;
  static constexpr double kFullSeconds = 120;

  using Progress = std::function<void(std::size_t done, std::size_t of)>;

  //   progress   called now and then from the calling thread; may be null
  Tuner(std::shared_ptr<GpuDevice> device, const DiskCache& cache, TuneLevel level, Progress progress = {});
  ~Tuner();
  Tuner(const Tuner&) = delete;
  Tuner& operator=(const Tuner&) = delete;

  // One choice for each plan; the chosen candidates are prepared.
  //   errors   kUnsupported: no candidate of a plan can be prepared, with the last reason; kOutOfMemory;
  //            kDeviceError
  Result<std::vector<TuneChoice>> choose(std::span<const std::shared_ptr<StepPlan>> plans);
  const TuneReport& report() const noexcept { return report_; }

 private:
  struct Candidates {
    std::vector<std::size_t> ready;
    Status refused;  // the last reason
    bool cached = false;
    TuneChoice choice;
  };
  struct Memory;

  std::string key_of(const StepPlan& plan) const;
  bool choose_cached(StepPlan& plan, Candidates& candidates);
  void prepare(StepPlan& plan, Candidates& candidates);
  // Where none of those that are ready runs: one of the next kind. False: there is none.
  bool prepare_next_kind(StepPlan& plan, Candidates& candidates);
  Status measure(StepPlan& plan, Candidates& candidates);
  // Microseconds a step, `together` at a time; a failure means that this candidate cannot be used.
  Result<float> time(StepPlan& plan, std::size_t candidate, int together, const Memory& memory);
  Status capture(StepPlan& plan, std::size_t candidate, int together, const Memory& memory, CUgraph& graph);
  Result<float> replay(CUgraph graph, int together);
  void remember(const StepPlan& plan, const TuneChoice& choice);
  Status make_streams();
  bool time_is_up() const;

  const std::shared_ptr<GpuDevice> device_;
  const DiskCache cache_;
  const TuneLevel level_;
  const Progress progress_;
  const std::string versions_;
  TimePoint deadline_;
  std::vector<CUstream> streams_;
  std::vector<CUevent> joins_;
  CUevent fork_ = nullptr, begin_ = nullptr, end_ = nullptr;
  TuneReport report_;
};

}  // namespace inflight::cuda
