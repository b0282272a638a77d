// SPDX-License-Identifier: Apache-2.0
#include "backends/openvino/wide_pays.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <openvino/runtime/infer_request.hpp>

#include "inflight/clock.h"

namespace inflight::internal {
namespace {

constexpr int kRuns = 7;
constexpr Duration kBudget = std::chrono::milliseconds(100);

// The fastest of some runs, after one that is not counted.
Duration fastest_run(ov::CompiledModel model, const std::vector<OpenVinoPort>& inputs) {
  ov::InferRequest request = model.create_infer_request();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    ov::Tensor input = request.get_input_tensor(i);
    if (inputs[i].dynamic) input.set_shape(inputs[i].shape);
    std::memset(input.data(), 0, input.get_byte_size());
  }
  const TimePoint began = steady_clock().now();
  request.infer();
  Duration fastest = Duration::max();
  TimePoint last = steady_clock().now();
  for (int run = 0; run < kRuns && (run == 0 || last - began < kBudget); ++run) {
    request.infer();
    const TimePoint now = steady_clock().now();
    fastest = std::min(fastest, now - last);
    last = now;
  }
  return fastest;
}

}  // namespace

AloneDurations measure_alone(const OpenVinoCompiled& compiled) {
  AloneDurations alone{};
  try {
    for (std::size_t i = 0; i < kOpenVinoWidths; ++i)
      alone[i] = fastest_run(*compiled.models[i], compiled.inputs);
    return alone;
  } catch (const std::exception&) {
    return {};  // it refuses zeros: nothing tells that wide pays
  }
}

}  // namespace inflight::internal
