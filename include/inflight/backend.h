// SPDX-License-Identifier: Apache-2.0
// The porting contract: what a device must offer to run models. A backend knows no queue, no limit and no
// NDArray; the predictor owns those and is the only caller of what stands here.
//
//   Backend --compile(model)--> Program --bind()--> BoundProgram (one a slot) --launch()--> completion word
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "inflight/model.h"
#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight {

// How much of the device one prediction uses: all of it (soonest result) or its share (most results).
enum class Width : std::uint8_t { kWide, kNarrow };
std::string_view width_name(Width width);

// The arithmetic of the heavy operators; kAuto lets the backend take the fastest that it deems accurate.
enum class Precision : std::uint8_t { kAuto, kF32, kBF16, kF16 };

struct CompileOptions {
  Precision precision = Precision::kAuto;
  std::vector<Width> widths = {Width::kNarrow};  // those that launch() may be asked for
  int threads = 0;  // CPU threads to use in all; 0: every core this process may use
};

// One launch: where the inputs are and where the outputs go. The memory stays valid and is not touched by
// anyone else until the completion word shows `generation`.
struct Launch {
  std::span<const TensorView> inputs;          // in the order of Program::inputs()
  std::span<const MutableTensorView> outputs;  // in the order of Program::outputs(); data is null where the
                                               // program's output is not static (see dynamic_output)
  Width width = Width::kNarrow;
  std::uint64_t generation = 0;  // larger than that of every earlier launch of this bound program, from 1
};

// A program tied to one slot. One launch at a time; the caller sees to that.
class BoundProgram {
 public:
  virtual ~BoundProgram() = default;

  // Does, once and before the first launch, what that launch would otherwise pay for.
  virtual Status warm_up() { return Status(); }

  // Starts one inference. Ok: completion_word() will show launch.generation, now or later, unless the whole
  // device is lost. Not ok: nothing was started, and the word will not change.
  //   thread   where Program::launch_blocks(), a worker of this slot's, until the inference is done;
  //   otherwise
  //            the device's one launcher, and it returns without waiting on the device
  virtual Status launch(const Launch& launch) = 0;

  // The integer by which the device says that it is done: the generation of the last launch that finished,
  // stored with release order (or the device's equal of it) after every output was written.
  virtual const std::atomic<std::uint64_t>& completion_word() const noexcept = 0;

  // How the launch that the word shows went: ok, or why its outputs are not to be used. Called once for each
  // launch, after its word was seen and before the next launch.
  virtual Status outcome() = 0;

  // An output whose shape only running tells. Valid from the completion word to the next launch.
  virtual TensorView dynamic_output(std::size_t index) = 0;
};

// A model compiled for a device. Immutable; bind() may be called from any thread.
class Program {
 public:
  virtual ~Program() = default;
  virtual std::span<const TensorSpec> inputs() const noexcept = 0;
  virtual std::span<const TensorSpec> outputs() const noexcept = 0;
  // How many slots running at once at this width are of use.
  virtual int concurrency(Width width) const noexcept = 0;
  // True: launch() returns when the inference is done, whichever thread computed it. False: it enqueues, and
  // a device stores the word later.
  virtual bool launch_blocks() const noexcept = 0;
  virtual Result<std::unique_ptr<BoundProgram>> bind() = 0;
  // Not ok once the device is lost: no completion word will change any more. Asked now and then while
  // launches are out, never for each of them.
  virtual Status device_status() = 0;
};

// A kind of device and its runtime. Any thread may call; programs may outlive the backend object.
class Backend {
 public:
  virtual ~Backend() = default;
  // "openvino", "null".
  virtual std::string_view name() const noexcept = 0;
  // The device in words, such as "cpu (AMD EPYC, 2 threads)".
  virtual std::string device_description() const = 0;
  //   errors   kInvalidModel: an operator that the device lacks; kInvalidArgument: an input whose shape is
  //   not
  //            static; kUnsupported: a precision or a kind of model that the backend does not do
  virtual Result<std::shared_ptr<Program>> compile(const Model& model, const CompileOptions& options) = 0;
};

// Opens the backend for a device.
//   errors   kNoSuchDevice: the device is not there, or this build has no backend for it
Result<std::shared_ptr<Backend>> load_backend(Device device);

}  // namespace inflight
