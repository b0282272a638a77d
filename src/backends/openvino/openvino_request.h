// SPDX-License-Identifier: Apache-2.0
// Models that compute in the thread that calls, and requests of these and of other models.
#pragma once

#include <tbb/task_arena.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <openvino/core/model.hpp>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/infer_request.hpp>
#include <utility>
#include <vector>

#include "inflight/status.h"

namespace inflight::internal {

// Compiles a model of one thread, the one that calls OpenVinoRequest::infer(): no other one is woken. One request of it computes at
// a time; a second one waits. The caller may run on all processors that its affinity allows.
//   properties   of OpenVINO, but no threads or streams
//   throws       std::exception: OpenVINO cannot compile it
ov::CompiledModel compile_for_caller(ov::Core& core, const std::shared_ptr<const ov::Model>& network,
                                     ov::AnyMap properties);

// Whether a thread has fewer processors while OpenVINO computes in it, in its own arena. Throws as compile_for_caller().
bool binds_the_caller(ov::Core& core);

// Models for the caller of one network, one for each launch that runs at once. Each is compiled when it is first asked for.
//   thread   any
class CallerModels {
 public:
  CallerModels(ov::Core& core, std::shared_ptr<const ov::Model> network, ov::AnyMap properties,
               std::size_t count)
      : core_(core), network_(std::move(network)), properties_(std::move(properties)), places_(count) {}

  // The same one for numbers that are `count` apart. Throws std::exception: OpenVINO cannot compile it.
  ov::CompiledModel get(std::size_t number);
  // Compiles all of them, several at once, and needs the network no longer. Before other threads use this.
  //   errors   kException: OpenVINO cannot compile one
  Status compile_all();

 private:
  struct Place {
    std::once_flag once;
    ov::CompiledModel model;
  };

  ov::Core& core_;
  std::shared_ptr<const ov::Model> network_;
  const ov::AnyMap properties_;
  std::vector<Place> places_;
};

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
