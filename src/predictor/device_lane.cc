// SPDX-License-Identifier: Apache-2.0
#include "predictor/device_lane.h"

#include <utility>

#include "predictor/predictor_core.h"

namespace inflight::internal {

DeviceLane::DeviceLane(PredictorCore& core, std::size_t index, DevicePart part, double its_weight,
                       double watch_share)
    : Lane(its_weight, watch_share),
      core_(core),
      index_(index),
      runtime_(std::move(part.runtime)),
      launch_blocks_(runtime_->backend().launch_blocks()),
      elastic_(part.width == WidthPolicy::kElastic),
      units_of_one_(part.units),
      slots_(part.slots),
      output_pool_(output_allocator(runtime_->backend(), core.options())),
      program_(std::move(part.program)) {}

std::shared_ptr<Allocator> output_allocator(Backend& backend, const PredictorOptions& options) {
  return options.outputs_on_device ? backend.device_allocator() : backend.output_allocator();
}

Status DeviceLane::enter() {
  INFLIGHT_TRY(runtime_->enter(*this));
  entered_ = true;
  return Status();
}

void DeviceLane::leave() noexcept {
  if (std::exchange(entered_, false)) runtime_->leave(*this);
}

bool DeviceLane::can_launch() const noexcept {
  core_.mutex_.assert_held();
  return core_.scheduler_.can_launch(index_);
}

int DeviceLane::next_units(bool alone) noexcept {
  core_.mutex_.assert_held();
  next_width_ = core_.scheduler_.next_width(index_, core_.options_.clock->now(), alone);
  if (!elastic_) return units_of_one_;
  // Launches of different widths would share processors, so one waits for the end of the others.
  if (alone && core_.scheduler_.runs_other_width(index_, next_width_)) return runtime_->capacity();
  return next_width_ == Width::kNarrow ? units_of_one_
                                       : runtime_->capacity() / core_.scheduler_.at_once(index_, next_width_);
}

Work& DeviceLane::take(int thread) noexcept {
  core_.mutex_.assert_held();
  return core_.take(index_, next_width_, thread);
}

// One lane keeps the predictor's time.
TimePoint DeviceLane::wake_at() const noexcept {
  core_.mutex_.assert_held();
  return index_ == 0 ? core_.wake_at() : TimePoint::max();
}

void DeviceLane::time_passed() noexcept { core_.time_passed(); }

void DeviceLane::lost(const Status& why) noexcept {
  core_.mutex_.assert_held();
  lost_ = why;
  core_.device_lost(index_, why);
}

void DeviceLane::after_loss() noexcept { core_.after_loss(); }

}  // namespace inflight::internal
