// SPDX-License-Identifier: Apache-2.0
// Models from memory, a slot to run them on, and where threads run, for the tests of the CPU's backend.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "backends/openvino/openvino_backend.h"
#include "base/scheduling.h"
#include "inflight/clock.h"
#include "onnx_writer.h"

namespace inflight::testing {

inline Model load(const OnnxModel& onnx, const ModelOptions& options = {}) {
  const std::string bytes = onnx.bytes();
  return Model::load_bytes(std::as_bytes(std::span(bytes.data(), bytes.size())), "m", options).value();
}

// A failure of that code, which says what is wanted and nothing of OpenVINO's sources.
inline void expect_clear(const Status& status, StatusCode code, std::string_view wanted) {
  const std::string message(status.message());
  EXPECT_EQ(status.code(), code) << message;
  EXPECT_NE(message.find(wanted), std::string::npos) << message << "\nwants: " << wanted;
  for (const char* noise : {"\n", ".cpp", ".hpp", "Exception from", "failed at"}) {
    EXPECT_EQ(message.find(noise), std::string::npos) << message;
  }
}

inline CompileOptions f32_both() { return {Precision::kF32, {Width::kWide, Width::kNarrow}, 0}; }

inline std::shared_ptr<Program> compile(const Model& model, const CompileOptions& options = {}) {
  return make_openvino_backend().value()->compile(model, options).value();
}

// One bound program with memory for its inputs and static outputs.
class Slot {
 public:
  explicit Slot(const std::shared_ptr<Program>& program)
      : program_(program), bound_(program->bind().value()) {
    for (const TensorSpec& spec : program->inputs()) {
      memory_.emplace_back(spec.bytes() + 1);
      inputs_.push_back({memory_.back().data(), spec.dtype, spec.shape});
    }
    for (const TensorSpec& spec : program->outputs()) {
      memory_.emplace_back(spec.shape.is_static() ? spec.bytes() + 1 : 0);
      outputs_.push_back({spec.shape.is_static() ? memory_.back().data() : nullptr, spec.dtype, spec.shape});
    }
  }
  // Launches and expects that it ended well.
  void run(Width width = Width::kNarrow) {
    const Status launched = bound_->launch(launch(width));
    ASSERT_TRUE(launched.ok()) << launched.to_string();
    ASSERT_EQ(bound_->completion_word().load(std::memory_order_acquire), generation_);
    ASSERT_TRUE(bound_->outcome().ok()) << bound_->outcome().to_string();
  }
  Launch launch(Width width = Width::kNarrow) { return {inputs_, outputs_, width, ++generation_}; }
  template <typename T>
  T* input(std::size_t index = 0) {
    return reinterpret_cast<T*>(memory_[index].data());
  }
  template <typename T>
  std::vector<T> output(std::size_t index = 0) {
    const auto* data = static_cast<const T*>(outputs_[index].data);
    return {data, data + outputs_[index].shape.elements()};
  }
  BoundProgram& bound() { return *bound_; }

  std::vector<TensorView> inputs_;
  std::vector<MutableTensorView> outputs_;

 private:
  std::shared_ptr<Program> program_;
  std::unique_ptr<BoundProgram> bound_;
  std::vector<std::vector<std::byte>> memory_;
  std::uint64_t generation_ = 0;
};

// The fewest processors that a thread of this process may run on.
inline int fewest_processors() {
  int fewest = internal::allowed_processors();
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    const int thread = std::stoi(task.path().filename());
    if (sched_getaffinity(thread, sizeof allowed, &allowed) == 0)
      fewest = std::min(fewest, CPU_COUNT(&allowed));
  }
  return fewest;
}

// The fewest processors that a thread is seen to have while launches run. Looks until it is `enough` or less.
inline int fewest_while_it_runs(const std::shared_ptr<Program>& program, Width width, int enough,
                                std::chrono::seconds within) {
  int fewest = internal::allowed_processors();
  std::jthread launches([&](const std::stop_token& stop) {
    Slot slot(program);
    while (!stop.stop_requested()) slot.run(width);
  });
  const TimePoint deadline = steady_clock().now() + within;
  while (fewest > enough && steady_clock().now() < deadline) fewest = std::min(fewest, fewest_processors());
  return fewest;
}

}  // namespace inflight::testing
