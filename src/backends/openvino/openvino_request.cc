// SPDX-License-Identifier: Apache-2.0
// OpenVINO has models for the caller (zero streams). It runs them in an arena of TBB's that binds the thread for each inference to
// the first hardware thread of each core, which takes 4 us. Where cores have two hardware threads, launches on all processors then
// share half of them. A model without an executor of its own is not run in that arena; its requests bring one of ours. But its
// kernels divide their work for all threads, so on many processors larger networks take longer. So only tiny ones, and all where
// OpenVINO binds the thread, are made so.
//
//                                                 OpenVINO's arena   ours
//   the embedded classifier, 16 at once, f32         171 to 186 us   197 to 221 us   16 processors
//                                        bf16         86 to 108 us   119 to 143 us
//   a + b of f32[10,10] from Python, waited for             8 us           3.7 us     2 processors
#include "backends/openvino/openvino_request.h"

#include <cstddef>
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
// A network whose tensors have no more bytes in all has so little work that to divide it costs less than OpenVINO's arena: so it was
// measured on two processors, and is assumed of more.
constexpr std::size_t kTinyBytesMax = std::size_t{64} << 10;

ov::AnyMap for_caller(ov::AnyMap properties) {
  properties.insert(ov::hint::enable_cpu_pinning(false));
  properties.insert(ov::inference_num_threads(1));
  // With one stream the caller computes, too, but OpenVINO 2026.4 then loses what an inference throws, also that it was cancelled,
  // and has the next one on that thread run it again.
  properties.insert(ov::num_streams(0));
  return properties;
}

bool binds_here(ov::Core& core) {
  static const bool binds = binds_the_caller(core);  // on these processors
  return binds;
}

bool is_tiny(const ov::Model& network) {
  std::size_t bytes = 0;
  for (const auto& node : network.get_ops()) {
    for (const auto& output : node->outputs()) {
      if (output.get_partial_shape().is_dynamic()) return false;
      bytes += output.get_tensor().size();
      if (bytes > kTinyBytesMax) return false;
    }
  }
  return true;
}

}  // namespace

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

ov::CompiledModel compile_for_caller(ov::Core& core, const std::shared_ptr<const ov::Model>& network,
                                     ov::AnyMap properties) {
  properties = for_caller(std::move(properties));
  if (is_tiny(*network) || binds_here(core)) properties[kExclusive] = true;
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
