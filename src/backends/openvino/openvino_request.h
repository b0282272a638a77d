// SPDX-License-Identifier: Apache-2.0
// Models that compute in the thread that calls, and requests of these and of other models.
#pragma once

#include <tbb/task_arena.h>

#include <memory>
#include <openvino/core/model.hpp>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/infer_request.hpp>

namespace inflight::internal {

// Compiles a model of one thread, the one that calls OpenVinoRequest::infer(): no other one is woken. One request of it computes at
// a time; a second one waits. The caller may run on all processors that its affinity allows.
//   properties   of OpenVINO, but no threads or streams
//   throws       std::exception: OpenVINO cannot compile it
ov::CompiledModel compile_for_caller(ov::Core& core, const std::shared_ptr<const ov::Model>& network,
                                     ov::AnyMap properties);

// A request of a compiled model, for one thread at a time.
class OpenVinoRequest {
 public:
  // Throws std::exception: OpenVINO cannot make it.
  explicit OpenVinoRequest(ov::CompiledModel model);

  // Returns when the inference is done. Throws what OpenVINO throws.
  void infer();

  // For its tensors, and to start and cancel it: of a model for the caller only infer() may start it.
  ov::InferRequest& get() noexcept { return request_; }

 private:
  ov::InferRequest request_;
  std::unique_ptr<tbb::task_arena> one_thread_;  // null: OpenVINO has one itself
};

}  // namespace inflight::internal
