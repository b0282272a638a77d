// SPDX-License-Identifier: Apache-2.0
// DeviceLane: a predictor's part of one device.
#pragma once

#include <cstddef>
#include <memory>

#include "inflight/backend.h"
#include "inflight/buffer.h"
#include "inflight/predictor.h"
#include "predictor/width_rule.h"
#include "runtime/lane.h"
#include "runtime/runtime_core.h"

namespace inflight::internal {

class PredictorCore;

// What Predictor::create() finds out about one device.
struct DevicePart {
  std::shared_ptr<RuntimeCore> runtime;
  std::shared_ptr<Program> program;
  WidthPolicy width = WidthPolicy::kNarrow;
  int units = 1;  // of the device, that a launch takes; one whose width was chosen may take more
  int slots = 1;
  WidthOffer offer;
};

// What makes the memory for a predictor's outputs.
std::shared_ptr<Allocator> output_allocator(Backend& backend, const PredictorOptions& options);

// The program on that device, the memory for its outputs, and the lane by which the device's threads ask the
// predictor for work. It lives as long as the predictor's core.
class DeviceLane final : public Lane {
 public:
  DeviceLane(PredictorCore& core, std::size_t index, DevicePart part, double its_weight, double watch_share);

  PredictorCore& core() const noexcept { return core_; }
  RuntimeCore& runtime() const noexcept { return *runtime_; }
  Backend& backend() const noexcept { return runtime_->backend(); }
  int slots() const noexcept { return slots_; }
  bool launch_blocks() const noexcept { return launch_blocks_; }
  BufferPool& output_pool() noexcept { return output_pool_; }
  // Null once the predictor has been shut down.
  const std::shared_ptr<Program>& program() const noexcept { return program_; }

  // Enters the runtime. Once.
  //   errors   why the device is lost
  Status enter();
  // Leaves it, if it has entered. Requires that nothing waits and nothing runs.
  void leave() noexcept;
  void release_program() noexcept { program_.reset(); }

  // Under the runtime's mutex.
  using Lane::set_watch_share;
  // Under the runtime's mutex: why the device is lost.
  const Status& why_lost() const noexcept { return lost_; }

  // ---- Lane

  bool can_launch() const noexcept override;
  int next_units(bool alone) noexcept override;
  Work& take(int thread) noexcept override;
  TimePoint wake_at() const noexcept override;
  void time_passed() noexcept override;
  void lost(const Status& why) noexcept override;
  void after_loss() noexcept override;

 private:
  friend class PredictorCore;

  PredictorCore& core_;
  const std::size_t index_;  // among the predictor's devices
  const std::shared_ptr<RuntimeCore> runtime_;
  const bool launch_blocks_;
  const bool elastic_;
  const int units_of_one_;
  const int slots_;
  BufferPool output_pool_;
  std::shared_ptr<Program> program_;
  bool entered_ = false;
  // Under the runtime's mutex.
  Width next_width_ = Width::kNarrow;  // of the launch that take() makes
  Status lost_;
};

}  // namespace inflight::internal
