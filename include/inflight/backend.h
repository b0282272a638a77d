// SPDX-License-Identifier: Apache-2.0
// The porting contract: what a device must offer to run models. A backend knows no queue, no limit and no
// NDArray. A Runtime, or the engine of mx, owns the threads; they are the only callers of this interface.
//
//   Backend --compile(model)--> Program --bind()--> BoundProgram (one a slot) --launch()--> completion word
//
// If a backend throws, the call fails with kOutOfMemory for std::bad_alloc, else with kException.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/buffer.h"
#include "inflight/clock.h"
#include "inflight/device_memory.h"
#include "inflight/model.h"
#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight {

// How much of the device one prediction uses: all of it (soonest result), its share (most results), or something in
// between, where the device is large enough for that.
enum class Width : std::uint8_t { kWide, kMedium, kNarrow };
// From the widest.
inline constexpr std::array kWidths = {Width::kWide, Width::kMedium, Width::kNarrow};
inline constexpr std::size_t kWidthCount = kWidths.size();
constexpr std::size_t index_of(Width width) noexcept { return static_cast<std::size_t>(width); }
// "wide", "medium", "narrow".
std::string_view width_name(Width width);
//   errors   kInvalidArgument: another word
Result<Width> parse_width(std::string_view text);

// The arithmetic of the heavy operators; kAuto: the fastest that the backend considers accurate.
enum class Precision : std::uint8_t { kAuto, kF32, kBF16, kF16 };
// "auto", "f32", "bf16", "f16".
std::string_view precision_name(Precision precision);
//   errors   kInvalidArgument: another word
Result<Precision> parse_precision(std::string_view text);

// How long compile() may look for faster ways to compute a model, by timing them on the device. kOff: not at all, the
// vendor's first choice is taken. kFast: a few seconds. kFull: all ways, up to a minute. What was found is kept on disk.
// A backend that has nothing to time ignores it.
enum class TuneLevel : std::uint8_t { kOff, kFast, kFull };
// "off", "fast", "full".
std::string_view tune_level_name(TuneLevel level);
//   errors   kInvalidArgument: another word
Result<TuneLevel> parse_tune_level(std::string_view text);

// How far compile() is in looking.
struct TuneProgress {
  bool timing = false;    // false: the ways are being made ready to run, which comes first
  std::size_t done = 0;   // steps of the network
  std::size_t steps = 0;  // all that there is a choice for
  double gain = 0;        // of those that are done, as Tuning::gain
};

// What tuning came to.
struct Tuning {
  TuneLevel level = TuneLevel::kOff;  // as it was asked for
  double seconds = 0;                 // that it took, of this compile()
  // How much faster the steps that could be tuned are than with the vendor's first choices: 0.18 is 18 % faster. Of
  // narrow launches if there are any, else of wide ones.
  double gain = 0;
  bool cached = false;  // nothing was timed: all of it was known from an earlier compile()
};

struct CompileOptions {
  Precision precision = Precision::kAuto;
  std::vector<Width> widths = {Width::kNarrow};  // those that launch() may ask for
  // Wide and narrow are asked for, and each launch will have the width that suits the load. So wide is wanted only where it
  // pays: the backend may leave it out if it finds that a wide launch alone is not clearly faster than a narrow
  // one. It may add medium. Program::has() tells.
  bool elastic = false;
  // The program serves for long: compile() may take longer, so that launches are faster.
  bool many_launches = false;
  int threads = 0;  // CPU threads in all, at most capacity(); 0: capacity()
  // Each thread that computes a launch may be pinned to one processor for as long as the launch takes: the program
  // expects to have the processors to itself. A backend does so for one program at a time, and only if that uses every
  // processor of the process.
  bool pin_threads = false;
  TuneLevel tune = TuneLevel::kFast;
  // Called now and then while compile() tunes, by the thread that called it or one that it waits for, one call at a
  // time; null: nobody wants to know. If it throws, compile() fails.
  std::function<void(const TuneProgress&)> progress = {};
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
  //            done; else one of two threads of the runtime, one launch at a time on the whole device: it returns
  //            without waiting for the device
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
  // Whether launch() may ask for this width, of those that compile() was asked for or has added.
  virtual bool has(Width width) const noexcept { return width != Width::kMedium; }
  // How long a launch of this width takes alone, as compile() measured it; 0: it did not.
  virtual Duration alone(Width /*width*/) const noexcept { return Duration(0); }
  // The same of one among as many as can run at once.
  virtual Duration together(Width /*width*/) const noexcept { return Duration(0); }
  // What a wide launch costs more than a narrow one, if nothing has run for as long as this: it wakes threads that have fallen asleep.
  //   returns  0: it wakes none, or a narrow one wakes threads, too
  virtual Duration wake_cost() const noexcept { return Duration(0); }
  virtual Result<std::unique_ptr<BoundProgram>> bind() = 0;
  // What tuning came to; nothing where the backend does not tune.
  virtual std::optional<Tuning> tuning() const { return std::nullopt; }
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
  // What makes the memory for outputs: the host's, in a place that the device writes to without a copy.
  virtual std::shared_ptr<Allocator> output_allocator() { return host_allocator(); }
  // What makes it where outputs are to stay on the device (PredictorOptions::outputs_on_device); the host's, where the
  // device computes in that.
  virtual std::shared_ptr<Allocator> device_allocator() { return host_allocator(); }
  // Compiles a model for this device. It may take seconds.
  //   errors   kInvalidModel: an operator that the device lacks; kInvalidArgument: an input whose shape is
  //            not static; kUnsupported: a precision or a kind of model that the backend does not offer
  virtual Result<std::shared_ptr<Program>> compile(const Model& model, const CompileOptions& options) = 0;
  // Not ok once the device is lost: from then on no completion word changes. A launch that was out may still
  // write to its outputs until its bound program is destroyed, so their memory is kept until then. Called now
  // and then while launches are out, not for each of them.
  virtual Status device_status() = 0;
};

// One type of operator, and what a device makes of it.
struct OperatorCoverage {
  std::string type;           // "Convolution"
  std::string versions;       // of the type, by OpenVINO's names: "opset1, opset8"
  std::size_t count = 0;      // how many the model has of it; 0 where no model was asked about
  std::size_t missing = 0;    // so many of them the device cannot compute
  std::string first_missing;  // the name of the first of those,
  std::string why;            // and why
};

// What a device can compute of a model, or at all.
struct Coverage {
  std::vector<OperatorCoverage> operators;  // sorted by type
  // Whether none is missing.
  bool complete() const noexcept {
    for (const OperatorCoverage& one : operators) {
      if (one.missing > 0) return false;
    }
    return true;
  }
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

// Opens the memory of a device, by the same plugin. It needs less of the device than its backend does.
//   errors   kNoSuchDevice: as load_backend(), or the plugin offers no memory, as it is for the host; kException: the
//            plugin threw; any other failure that the plugin returned
Result<std::shared_ptr<DeviceMemory>> load_memory(Device device, const LoadOptions& options = {});
// How many devices of a kind there are.
//   errors   kNoSuchDevice: as load_backend(), and why there are none; kUnsupported: the plugin does not say
Result<int> device_count(std::string_view kind, const LoadOptions& options = {});

// Which operators of a model a kind of device can compute. The device need not be there, only its backend. Counts are
// of the model as the backend simplifies it: constants are folded, and some operators become others.
//   device   of which only the kind matters
//   errors   kUnsupported: the backend does not say, or it cannot take the model for another reason than an operator,
//            such as a shape that is not static; kNoSuchDevice: as load_backend(), but for a device that is missing
Result<Coverage> operator_coverage(const Model& model, Device device, const LoadOptions& options = {});
// All types of operators that the backend of a kind of device knows.
//   errors   likewise; kUnsupported also where the backend can tell only of a model's
Result<Coverage> operator_coverage(Device device, const LoadOptions& options = {});

}  // namespace inflight
