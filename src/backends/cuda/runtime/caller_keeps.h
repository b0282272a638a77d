// SPDX-License-Identifier: Apache-2.0
// CallerKeeps: what a thread of another library has of the driver, and keeps while we call it.
#pragma once

#include "backends/cuda/runtime/vendor.h"

namespace inflight::cuda {

// While it lives, calls of the driver on this thread end no capture of a stream by another library, even one that forbids
// them (CU_STREAM_CAPTURE_MODE_GLOBAL); and afterwards the thread has the context that it had.
class CallerKeeps {
 public:
  explicit CallerKeeps(const DriverApi& api) : api_(api) {
    api_.cuThreadExchangeStreamCaptureMode(&mode_);
    api_.cuCtxGetCurrent(&context_);
  }
  ~CallerKeeps() {
    api_.cuCtxSetCurrent(context_);
    api_.cuThreadExchangeStreamCaptureMode(&mode_);
  }
  CallerKeeps(const CallerKeeps&) = delete;
  CallerKeeps& operator=(const CallerKeeps&) = delete;

 private:
  const DriverApi& api_;
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
  CUcontext context_ = nullptr;
};

}  // namespace inflight::cuda
