// SPDX-License-Identifier: Apache-2.0
// SizedPredictors: one model on frames of changing size.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inflight/clock.h"
#include "inflight/predictor.h"
#include "inflight/status.h"

namespace inflight::cli {

// One predictor for the first size of frames, and others for other sizes, made when the first such frame
// comes: one for all of them where the model has a size of its own, else one for each. All are on one
// runtime, and to the caller they are one predictor with one limit and one set of books. Where frames keep
// their size, there is one, and nothing is in its way.
//   bound    kSizesMax predictors: then the one that was used least recently finishes what it has, and goes
//   thread   one
class SizedPredictors {
 public:
  static constexpr std::size_t kSizesMax = 8;
  struct Made {
    Predictor predictor;
    bool any_size;  // serves other sizes as well
  };
  // Makes a predictor for frames of a size. Takes as long as compiling does.
  using Make = std::function<Result<Made>(int height, int width)>;

  //   first    the predictor for frames of height x width
  //   limits   those that each of the predictors was told
  //   streams  of each predictor; empty: frames name none
  SizedPredictors(Predictor first, int height, int width, int in_flight_limit, int finished_limit, Make make,
                  std::vector<StreamOptions> streams = {});

  // Makes the predictor for frames of a size, where there is none yet.
  //   errors   what making it answers: the model cannot take frames of that size
  Status prepare(int height, int width);
  // Whether a frame would find a place now. The caller is the only one that submits, so a place that is free stays free.
  //   stream   as of submit()
  bool has_place(int height, int width, std::size_t stream = 0);
  // As Predictor::submit. The frame is one array of height x width, for which prepare() was ok.
  //   stream   which of the streams, if there are any
  Result<Prediction> submit(Frame&& frame, int height, int width, std::size_t stream = 0);
  // As of Predictor; what several predictors finished is in the order in which it finished.
  void take_finished(std::vector<Prediction>& finished);
  bool wait_any_until(TimePoint when);
  // The same, and ends if a descriptor can be read; -1: there is none.
  bool wait_any_until(TimePoint when, int descriptor);
  void shutdown(Shutdown how);
  Statistics statistics() const;
  StageLatencies latencies() const;
  // In the order of the devices.
  std::vector<DeviceStatistics> device_statistics() const;
  // Of one stream, all predictors together.
  struct StreamBooks {
    Statistics statistics;
    Histogram latency, age;
  };
  StreamBooks stream_books(std::size_t stream) const;

  // Of the first size's.
  std::span<const TensorSpec> outputs() const noexcept { return first_outputs_; }
  const std::string& device_description() const noexcept { return device_; }
  int slots() const noexcept { return slots_; }
  const std::optional<Tuning>& tuning() const noexcept { return tuning_; }
  // The most that may be in flight, all sizes together.
  int places() const noexcept { return in_flight_limit_; }

 private:
  struct Sized {
    int height;
    int width;
    Predictor predictor;
    bool any_size = false;
    std::uint64_t used = 0;
    std::vector<Stream> streams = {};
  };

  Sized* find(int height, int width);
  void retire(std::size_t index);
  bool is_full(std::uint64_t in_flight) const noexcept;
  bool too_many_untaken(std::uint64_t in_flight) const noexcept;
  bool poll_until(TimePoint when, int descriptor);
  Status open_streams(Sized& sized) const;

  const bool limit_auto_;
  const int in_flight_limit_;  // the most, if it is automatic
  const int finished_limit_;
  const Make make_;
  const std::vector<TensorSpec> first_outputs_;
  const std::string device_;
  const int slots_;
  const std::optional<Tuning> tuning_;
  std::vector<std::unique_ptr<Sized>> sized_;
  std::uint64_t uses_ = 0;
  Statistics own_;                    // of retired predictors, and of what was refused here
  StageLatencies retired_latencies_;  // of retired predictors
  std::vector<DeviceStatistics> retired_devices_;
  const std::vector<StreamOptions> stream_options_;
  std::vector<StreamBooks> own_streams_;  // as own_ and retired_latencies_
  std::vector<Prediction> retired_;       // finished and not taken when their predictor went
  std::vector<Prediction> taken_;         // for take_finished()
  std::uint64_t admitted_ = 0;
  std::uint64_t handed_out_ = 0;
};

}  // namespace inflight::cli
