// SPDX-License-Identifier: Apache-2.0
// PlanTimer: how long a candidate of a plan takes on a device.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "backends/cuda/runtime/device.h"
#include "backends/cuda/runtime/step_plan.h"
#include "inflight/status.h"

namespace inflight::cuda {

class PlanTimer {
 public:
  virtual ~PlanTimer() = default;
  // What the times depend on beside the plan, in one line: the card, its driver, the libraries.
  virtual const std::string& versions() const noexcept = 0;
  // Makes the device the calling thread's. Before a thread prepares a plan or times it.
  virtual Status enter() = 0;
  // Not ok once the device is lost.
  virtual Status status() = 0;
  // Gets memory for the operands of these candidates, which time() is called with until the next begin().
  //   errors   kOutOfMemory, kDeviceError
  virtual Status begin(StepPlan& plan, std::span<const std::size_t> candidates) = 0;
  // Microseconds a step, with so many at a time: 1 to kTogetherMax. Requires that the candidate is prepared.
  //   errors   the candidate cannot be used, or (status()) the device is lost
  virtual Result<float> time(StepPlan& plan, std::size_t candidate, int together) = 0;

  static constexpr int kTogetherMax = 8;
};

// On a device, each candidate in a captured graph of several repeats.
std::unique_ptr<PlanTimer> make_plan_timer(std::shared_ptr<GpuDevice> device);

}  // namespace inflight::cuda
