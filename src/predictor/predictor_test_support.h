// SPDX-License-Identifier: Apache-2.0
// What the predictor's tests share: a model for the null device, frames for it, and a gate that holds
// launches.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

#include "backends/null/null_backend.h"
#include "inflight/predictor.h"

namespace inflight {

// Holds threads until it is opened, or lets them through one at a time.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_ || permits_ > 0; });
    if (!open_) --permits_;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void let_through(int count) {
    const std::lock_guard lock(mutex_);
    permits_ += count;
    changed_.notify_all();
  }
  // Waits until `count` have come to the gate since it was made.
  void await_arrivals(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int permits_ = 0;
  int arrived_ = 0;
};

inline Model byte_model(std::int64_t bytes = 4) {
  return *Model::opaque("bytes", {{"x", DType::kU8, {bytes}}}, {{"y", DType::kU8, {bytes}}});
}

// A frame whose first byte is `mark`; the null device copies that into its output.
inline Frame byte_frame(std::uint8_t mark, std::int64_t bytes = 4) {
  Buffer buffer = Buffer::allocate(static_cast<std::size_t>(bytes)).value();
  for (std::size_t i = 0; i < buffer.size(); ++i) buffer.bytes()[i] = std::byte{mark};
  return Frame::of(*NDArray::from_buffer(std::move(buffer), DType::kU8, {bytes}), mark);
}

inline std::uint8_t mark_of(const Prediction& prediction) {
  return (*(*prediction.output(0).read()).as<std::uint8_t>())[0];
}

inline Runtime null_runtime(NullScript script) {
  return *Runtime::over(std::make_shared<NullBackend>(std::move(script)));
}

inline Predictor null_predictor(NullScript script, PredictorOptions options = {}, std::int64_t bytes = 4) {
  options.runtime = null_runtime(std::move(script));
  return *Predictor::create(byte_model(bytes), std::move(options));
}

// A script whose launches wait at the gate.
inline NullScript gated(Gate& gate) {
  NullScript script;
  script.service_time = [&gate](std::uint64_t, Width) {
    gate.pass();
    return Duration(0);
  };
  return script;
}

inline bool law_holds(const Statistics& s) {
  return s.submitted ==
         s.completed + s.failed + s.rejected + s.dropped + s.expired + s.cancelled + s.in_flight;
}

}  // namespace inflight
