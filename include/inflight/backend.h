// SPDX-License-Identifier: Apache-2.0
// The porting contract: what a device must offer to run models. A backend knows no queue, no limit and no
// NDArray. A Runtime, or the engine of mx, owns the threads; they are the only callers of this interface.
//
//   Backend --compile(model)--> Program --bind()--> BoundProgram (one a slot) --launch()--> completion word
//
// If a backend throws, the call fails with kOutOfMemory for std::bad_alloc, else with kException.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/buffer.h"
#include "inflight/model.h"
#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight {

// How much of the device one prediction uses: all of it (soonest result) or its share (most results).
enum class Width : std::uint8_t { kWide, kNarrow };
// "wide", "narrow".
std::string_view width_name(Width width);
//   errors   kInvalidArgument: another word
Result<Width> parse_width(std::string_view text);

// The arithmetic of the heavy operators; kAuto: the fastest that the backend considers accurate.
enum class Precision : std::uint8_t { kAuto, kF32, kBF16, kF16 };
// "auto", "f32", "bf16", "f16".
std::string_view precision_name(Precision precision);
//   errors   kInvalidArgument: another word
Result<Precision> parse_precision(std::string_view text);

struct CompileOptions {
  Precision precision = Precision::kAuto;
  std::vector<Width> widths = {Width::kNarrow};  // those that launch() may ask for
  // Both widths are asked for, and wide only where it pays: the backend may leave it out if it finds that a
  // wide launch alone is not clearly faster than a narrow one (by 1.15). Program::has() tells.
  bool wide_must_pay = false;
  int threads = 0;  // CPU threads in all, at most capacity(); 0: capacity()
};

class BoundProgram;

// A launch that another one must come after.
struct LaunchPoint {
  BoundProgram* bound = nullptr;
  std::uint64_t generation = 0;  // of that launch
};

// One launch: where the inputs are and where the outputs go. The memory stays valid, and no other code uses
// it, until the completion word shows `generation`; after the loss of the device, until the bound program is
// destroyed.
struct Launch {
  std::span<const TensorView> inputs;          // in the order of Program::inputs()
  std::span<const MutableTensorView> outputs;  // in the order of Program::outputs(); data is null where the
                                               // program's output is not static (see dynamic_output)
  Width width = Width::kNarrow;
  std::uint64_t generation = 0;  // larger than that of every earlier launch of this bound program, from 1
  // Launches of this backend whose outputs are inputs here, and which the host has not seen finish. The
  // device starts this launch when they are done, without the host. A launch is done if its bound program has
  // had a later one. Empty unless Backend::orders_launches().
  std::span<const LaunchPoint> after = {};
};

// A program tied to one slot. The caller makes one launch at a time.
class BoundProgram {
 public:
  virtual ~BoundProgram() = default;

  // Called once, before the first launch: does the work that would make the first launch slower than the
  // others.
  virtual Status warm_up() { return Status(); }

  // Starts one inference. Ok: completion_word() shows launch.generation now or later, unless the device is
  // lost. Not ok: nothing was started, and the word does not change.
  //   thread   if Backend::launch_blocks(), a worker of the runtime, which it blocks until the inference is
  //            done; else the runtime's one launcher: it returns without waiting for the device
  virtual Status launch(const Launch& launch) = 0;

  // Whether stop() can end an inference before it is computed.
  //   returns   the same each time
  virtual bool can_stop() const noexcept { return false; }
  // Asks the device to end the launch of this generation soon, if it is out or about to be made; later launches
  // are not affected. The word then shows the generation as for every launch, and the caller uses neither its
  // outputs nor its outcome(). Never blocks for longer than a lock.
  //   thread   any, also while launch() runs
  virtual void stop(std::uint64_t generation) noexcept { static_cast<void>(generation); }

  // The integer by which the device says that it is done: the generation of the last launch that finished,
  // stored with release order (or the device's equivalent) after every output was written. A device may
  // finish launches that do not depend on each other in any order.
  virtual const std::atomic<std::uint64_t>& completion_word() const noexcept = 0;

  // How the launch that the word shows ended: ok, or why its outputs must not be used. Called once for each
  // launch, after its word was seen and before the next launch.
  virtual Status outcome() = 0;

  // An output whose shape is known only after running. Valid from the completion word to the next launch.
  virtual TensorView dynamic_output(std::size_t index) = 0;
};

// A model compiled for a device. Immutable; bind() may be called from any thread. Outlives its bound
// programs.
class Program {
 public:
  virtual ~Program() = default;
  // As the model's, with static input shapes. Valid as long as the program.
  virtual std::span<const TensorSpec> inputs() const noexcept = 0;
  virtual std::span<const TensorSpec> outputs() const noexcept = 0;
  // How many launches at this width the device can use at once, if nothing else runs. One of them takes
  // capacity / concurrency units of the device.
  //   returns  1 to Backend::capacity()
  virtual int concurrency(Width width) const noexcept = 0;
  // Whether launch() may ask for this width, of those that compile() was asked for.
  virtual bool has(Width /*width*/) const noexcept { return true; }
  virtual Result<std::unique_ptr<BoundProgram>> bind() = 0;
};

// A device and the vendor's objects for it. Any thread may call; programs may outlive the backend object.
class Backend {
 public:
  virtual ~Backend() = default;
  // "openvino", "null".
  virtual std::string_view name() const noexcept = 0;
  virtual Device device() const noexcept = 0;
  // The device in words, such as "cpu (AMD EPYC, 2 threads)".
  virtual std::string device_description() const = 0;
  // How much the device can run at once, all programs together, in units of the narrowest launch: CPU
  // threads, or lanes of an accelerator.
  //   returns  at least 1, the same each time
  virtual int capacity() const noexcept = 0;
  // True: launch() returns when the inference is done, whichever thread computed it. False: it enqueues, and
  // the device stores the word later.
  virtual bool launch_blocks() const noexcept = 0;
  // Whether a launch can come after others on the device (Launch::after).
  virtual bool orders_launches() const noexcept { return false; }
  // Whether inputs may lie in memory of this device.
  virtual bool reads(Device memory) const noexcept { return memory.is_host(); }
  // What makes the memory for outputs.
  virtual std::shared_ptr<Allocator> output_allocator() { return host_allocator(); }
  // Compiles a model for this device. It may take seconds.
  //   errors   kInvalidModel: an operator that the device lacks; kInvalidArgument: an input whose shape is
  //            not static; kUnsupported: a precision or a kind of model that the backend does not offer
  virtual Result<std::shared_ptr<Program>> compile(const Model& model, const CompileOptions& options) = 0;
  // Not ok once the device is lost: from then on no completion word changes. A launch that was out may still
  // write to its outputs until its bound program is destroyed, so their memory is kept until then. Called now
  // and then while launches are out, not for each of them.
  virtual Status device_status() = 0;
};

// Where load_backend() looks for backends that are not built in.
struct LoadOptions {
  std::vector<std::string> plugin_folders = {};  // before the folder of libinflight itself and its "inflight"
};

// Opens the backend for a device: the one built in ("cpu"), or that of a plugin (plugin.h), the first
// libinflight_backend_KIND.so of the folders. A plugin stays loaded for the life of the process.
//   errors   kNoSuchDevice: the device does not exist, or its plugin is missing, cannot be opened, or is for
//            another version; kException: the plugin threw; any other failure that the plugin returned
Result<std::shared_ptr<Backend>> load_backend(Device device, const LoadOptions& options = {});

}  // namespace inflight
