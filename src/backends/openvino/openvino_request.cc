// SPDX-License-Identifier: Apache-2.0
// OpenVINO has models for the caller (zero streams), but runs them in an arena of TBB's that binds the thread for each inference to
// the first hardware thread of each core. Where cores have two, launches on all processors then share half of them. There the
// model gets no executor of its own, and its requests bring an arena. Its kernels divide their work for all threads: a launch
// takes as long on two processors, and 1.2 (f32) to 1.4 (bf16) times as long on 16. So where nothing is bound, OpenVINO's own way
// is the better one.
#include "backends/openvino/openvino_request.h"

#include <exception>
#include <openvino/op/relu.hpp>
#include <openvino/runtime/properties.hpp>
#include <utility>

#include "base/in_parallel.h"
#include "base/scheduling.h"

namespace inflight::internal {
namespace {

// OpenVINO's internal name of "without an executor of its own". Its plugins for several devices set it.
constexpr const char* kExclusive = "EXCLUSIVE_ASYNC_REQUESTS";

ov::AnyMap for_caller(ov::AnyMap properties) {
  properties.insert(ov::hint::enable_cpu_pinning(false));
  properties.insert(ov::inference_num_threads(1));
  // With one stream the caller computes, too, but OpenVINO 2026.4 then loses what an inference throws, also that it was cancelled,
  // and has the next one on that thread run it again.
  properties.insert(ov::num_streams(0));
  return properties;
}

// Whether a thread has fewer processors while OpenVINO computes in it.
bool binds_the_caller(ov::Core& core) {
  const auto x = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::Shape{1});
  const auto network = std::make_shared<ov::Model>(ov::OutputVector{std::make_shared<ov::op::v0::Relu>(x)},
                                                   ov::ParameterVector{x});
  ov::InferRequest request = core.compile_model(network, "CPU", for_caller({})).create_infer_request();
  const int before = allowed_processors();
  int within = before;
  // The caller calls back, before it leaves the arena.
  request.set_callback([&](const std::exception_ptr&) { within = allowed_processors(); });
  request.start_async();
  request.wait();
  return within < before;
}

}  // namespace

ov::CompiledModel compile_for_caller(ov::Core& core, const std::shared_ptr<const ov::Model>& network,
                                     ov::AnyMap properties) {
  static const bool binds = binds_the_caller(core);
  properties = for_caller(std::move(properties));
  if (binds) properties[kExclusive] = true;
  return core.compile_model(network, "CPU", properties);
}

ov::CompiledModel CallerModels::get(std::size_t number) {
  Place& place = places_[number % places_.size()];
  std::call_once(place.once, [&] { place.model = compile_for_caller(core_, network_, properties_); });
  return place.model;
}

Status CallerModels::compile_all() {
  INFLIGHT_TRY(in_parallel(places_.size(), [this](std::size_t number) {
    get(number);
    return Status();
  }));
  network_ = nullptr;
  return {};
}

OpenVinoRequest::OpenVinoRequest(ov::CompiledModel model) : request_(model.create_infer_request()) {
  // OpenVINO tells the threads of a model without an executor, and zero of one without streams.
  if (model.get_property(ov::inference_num_threads) == 1) one_thread_ = std::make_unique<tbb::task_arena>(1);
}

void OpenVinoRequest::infer() {
  if (one_thread_ == nullptr) return request_.infer();
  one_thread_->execute([this] { request_.infer(); });
}

}  // namespace inflight::internal
