// SPDX-License-Identifier: Apache-2.0
// What a program of the CPU is compiled to, and the slots that run it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/infer_request.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backends/openvino/openvino_request.h"
#include "inflight/backend.h"
#include "inflight/tensor.h"

namespace inflight::internal {

// OpenVINO's core and what is known of the processor. Programs share it, so they may outlive the backend.
struct OpenVinoCpu {
  ov::Core core;
  std::string name;                       // "AMD EPYC"
  std::vector<std::string> capabilities;  // "FP32", "BF16", ...
  int cores = 1;
};

// One input or output as the compiled model has it.
struct OpenVinoPort {
  ov::element::Type type;
  ov::Shape shape;  // where static; of an image input of any size, one that it can have
  TensorSpec spec;  // what a launch brings
  bool dynamic = false;
};

// Where to copy an output from that is also another tensor of the model. OpenVINO tells tensors apart by
// name, so setting the memory of such an output can set that of the other one. Such an output keeps
// OpenVINO's memory, and we copy it.
struct OutputAlias {
  enum class Of : std::uint8_t { kNothing, kInput, kOutput };
  Of of = Of::kNothing;
  std::size_t index = 0;  // of the input, or of the earlier output
};

// How long a launch of each width takes; 0: it was not measured.
using WidthTimes = std::array<Duration, kWidthCount>;

// What all slots of a program share; only `callers` changes.
struct OpenVinoCompiled {
  std::shared_ptr<OpenVinoCpu> cpu;
  std::vector<OpenVinoPort> inputs;
  std::vector<OpenVinoPort> outputs;
  std::vector<OutputAlias> aliases;  // one an output
  // Outlives the models. Null: their threads go where the kernel puts them.
  std::shared_ptr<const void> right_to_pin;
  std::array<std::optional<ov::CompiledModel>, kWidthCount> models;
  // Where narrow launches compute in the thread that calls: a model for each that runs at once, the first of which is the narrow one of
  // `models`. Null: OpenVINO's threads compute.
  std::unique_ptr<CallerModels> callers;
  // Of each width of a slot. A launch takes the one that points at its memory, if there is one.
  int requests = 1;
  WidthTimes alone{};
  WidthTimes together{};  // among as many as run at once
};

// Fills the inputs of a request with zeros.
void set_zeros(ov::InferRequest& request, const std::vector<OpenVinoPort>& inputs);

// A slot of a program, with requests of its own.
//   number   of the slot, from 0: as many as there are `callers`, one after the other, have one each
//   errors   kDeviceError: OpenVINO cannot make the requests
Result<std::unique_ptr<BoundProgram>> bind_openvino(std::shared_ptr<const OpenVinoCompiled> compiled,
                                                    std::size_t number);

}  // namespace inflight::internal
