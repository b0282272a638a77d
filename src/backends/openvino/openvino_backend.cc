// SPDX-License-Identifier: Apache-2.0
// The CPU. A program holds one compiled model for each width, because OpenVINO fixes the width when it
// compiles:
//
//   wide     one stream of every thread: the soonest result
//   medium   on many threads, as many streams as each has threads, for an elastic program
//   narrow   as many streams of one thread as there are threads: the most results
//
// A launch calls infer(), which returns when it is done. OpenVINO's own threads compute: for a wide launch all of the
// only stream, for a narrow one a stream's only thread. While they compute, those of one predictor are pinned to a
// processor each (CompileOptions::pin_threads): else the kernel wakes two of them on one processor and may leave
// another one idle for 11 ms. The thread that calls computes, and stays as it is, if the program has one thread, and in narrow
// launches of a light network (openvino_request.h): of a brief one, or where the program is for few launches.
#include "backends/openvino/openvino_backend.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <exception>
#include <openvino/core/model.hpp>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "backends/openvino/openvino_request.h"
#include "backends/openvino/openvino_slot.h"
#include "backends/openvino/widths_that_pay.h"
#include "base/check.h"
#include "base/in_parallel.h"
#include "base/scheduling.h"
#include "inflight/internal/mutex.h"
#include "model/fold_weights.h"
#include "model/network.h"
#include "model/openvino_error.h"

namespace inflight {
namespace {

using internal::Mutex;
using internal::MutexLock;
using internal::OpenVinoCompiled;
using internal::OpenVinoCpu;
using internal::OpenVinoPort;
using internal::OutputAlias;

constexpr std::string_view kDevice = "CPU";

// Fewer threads have no medium width: it would be too much like the others.
constexpr int kMediumThreadsMin = 8;

// How many launches run at once. A medium one has the geometric mean of what a wide and a narrow one have.
int streams_of(Width width, int threads) {
  switch (width) {
    case Width::kWide:
      return 1;
    case Width::kMedium:
      return static_cast<int>(std::sqrt(threads));
    case Width::kNarrow:
      return threads;
  }
  return threads;
}

// To give a request other memory takes 1.5 us a tensor, as long as a small network. So a slot of one has some requests, for callers whose memory
// comes back, as in a chain of operators. A predictor, which has many launches, gains nothing: its memory rarely comes back.
int requests_of(const OpenVinoCompiled& compiled, bool many_launches) {
  constexpr int kOfSmall = 4;
  constexpr std::size_t kSmallBytesMax = std::size_t{64} << 10;
  if (many_launches) return 1;
  std::size_t bytes = 0;
  for (const std::vector<OpenVinoPort>* ports : {&compiled.inputs, &compiled.outputs}) {
    for (const OpenVinoPort& port : *ports) {
      if (port.dynamic) return 1;
      bytes += port.spec.bytes();
    }
  }
  return bytes <= kSmallBytesMax ? kOfSmall : 1;
}

class OpenVinoProgram final : public Program {
 public:
  OpenVinoProgram(const Model& model, std::shared_ptr<const OpenVinoCompiled> compiled, int threads)
      : model_(without_network(model)), compiled_(std::move(compiled)), threads_(threads) {
    for (const OpenVinoPort& port : compiled_->outputs) outputs_.push_back(port.spec);
  }

  std::span<const TensorSpec> inputs() const noexcept override { return model_.inputs(); }
  // What compiling tells of them may be more than the network says.
  std::span<const TensorSpec> outputs() const noexcept override { return outputs_; }
  int concurrency(Width width) const noexcept override { return streams_of(width, threads_); }

  bool has(Width width) const noexcept override { return compiled_->models[index_of(width)].has_value(); }
  Duration alone(Width width) const noexcept override { return compiled_->alone[index_of(width)]; }
  Duration together(Width width) const noexcept override { return compiled_->together[index_of(width)]; }

  Duration wake_cost() const noexcept override {
    return compiled_->callers == nullptr ? Duration(0) : internal::kWakeCost;
  }

  Result<std::unique_ptr<BoundProgram>> bind() override {
    Result<std::unique_ptr<BoundProgram>> slot = internal::bind_openvino(compiled_, slots_++);
    if (slot.ok()) return slot;
    return slot.status().with_context(fmt::format("model \"{}\"", model_.name()));
  }

 private:
  const Model model_;
  std::shared_ptr<const OpenVinoCompiled> compiled_;
  std::vector<TensorSpec> outputs_;
  int threads_;
  std::atomic<std::size_t> slots_{0};  // that were made
};

Result<Shape> shape_of(const ov::PartialShape& partial) {
  if (partial.rank().is_dynamic()) return Shape::of_open_rank();
  std::vector<std::int64_t> dims;
  for (const ov::Dimension& dim : partial)
    dims.push_back(dim.is_static() ? dim.get_length() : Shape::kDynamic);
  return Shape::make(dims);
}

// The compiled model alone says what is static: compiling may find out more than reading, and the network's
// shapes must not be mixed with its own.
Result<std::vector<OpenVinoPort>> ports_of(const std::vector<ov::Output<const ov::Node>>& outputs,
                                           std::span<const TensorSpec> specs) {
  INFLIGHT_CHECK(outputs.size() == specs.size());
  std::vector<OpenVinoPort> ports;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    OpenVinoPort port{
        outputs[i].get_element_type(), {}, specs[i], outputs[i].get_partial_shape().is_dynamic()};
    INFLIGHT_TRY_ASSIGN(port.spec.shape, shape_of(outputs[i].get_partial_shape()));
    if (!port.dynamic) port.shape = outputs[i].get_shape();
    ports.push_back(std::move(port));
  }
  return ports;
}

// Which outputs of a network are also inputs, or earlier outputs.
std::vector<OutputAlias> aliases_of(const ov::Model& network) {
  std::vector<OutputAlias> aliases;
  std::vector<ov::Output<ov::Node>> sources;
  for (const auto& result : network.get_results()) sources.push_back(result->input_value(0));
  for (std::size_t i = 0; i < sources.size(); ++i) {
    OutputAlias alias;
    const auto earlier =
        std::find(sources.begin(), sources.begin() + static_cast<std::ptrdiff_t>(i), sources[i]);
    const auto& parameters = network.get_parameters();
    const auto parameter = std::find(parameters.begin(), parameters.end(), sources[i].get_node_shared_ptr());
    if (parameter != parameters.end()) {
      alias = {OutputAlias::Of::kInput, static_cast<std::size_t>(parameter - parameters.begin())};
    } else if (earlier - sources.begin() < static_cast<std::ptrdiff_t>(i)) {
      alias = {OutputAlias::Of::kOutput, static_cast<std::size_t>(earlier - sources.begin())};
    }
    aliases.push_back(alias);
  }
  return aliases;
}

bool is_picture(const TensorSpec& input) {
  return input.dtype == DType::kU8 && input.shape.rank() == 3 && input.shape[2] == 3;
}

// Every input must be static, but for pictures of any size, which are resized to one at once: the predictor
// makes the slots' memory before any frame comes.
Status check_static(const Model& model) {
  const bool any_size = model.image_use() && model.image_use()->any_size;
  for (const TensorSpec& input : model.inputs()) {
    if (input.shape.is_static() || (any_size && is_picture(input))) continue;
    return {
        StatusCode::kInvalidArgument,
        fmt::format(
            "input \"{}\": got {}, want a static shape: give one in ModelOptions::input_shapes, or make it "
            "an image input",
            input.name, input.type_string())};
  }
  return {};
}

struct PrecisionTerms {
  Precision precision;
  std::string_view capability;  // what OpenVINO calls it among a device's capabilities
  ov::element::Type_t type;
};
constexpr std::array<PrecisionTerms, 3> kPrecisions = {{
    {Precision::kF32, "FP32", ov::element::Type_t::f32},
    {Precision::kBF16, "BF16", ov::element::Type_t::bf16},
    {Precision::kF16, "FP16", ov::element::Type_t::f16},
}};

Result<ov::AnyMap> properties_of(const OpenVinoCpu& cpu, Precision precision) {
  ov::AnyMap properties;
  if (precision == Precision::kAuto) return properties;
  std::vector<std::string_view> offered;
  for (const PrecisionTerms& terms : kPrecisions) {
    if (std::find(cpu.capabilities.begin(), cpu.capabilities.end(), terms.capability) ==
        cpu.capabilities.end())
      continue;
    offered.push_back(precision_name(terms.precision));
    if (terms.precision != precision) continue;
    properties.insert(ov::hint::inference_precision(ov::element::Type(terms.type)));
    return properties;
  }
  return Status(StatusCode::kUnsupported,
                fmt::format("precision {}: this CPU ({}) does not have it; it has {}",
                            precision_name(precision), cpu.name, fmt::join(offered, ", ")));
}

// The right to pin threads to processors. Null: it is not granted, since a living program has it, or since this one uses
// fewer processors than there are, also for a quota. In each case some processors could be shared while others are idle.
std::shared_ptr<const void> take_right_to_pin(int threads) {
  static Mutex mutex;
  static std::weak_ptr<const void>& taken = *new std::weak_ptr<const void>;
  if (threads < 2 || threads < internal::allowed_processors()) return nullptr;
  const MutexLock lock(mutex);
  if (!taken.expired()) return nullptr;
  const auto right = std::make_shared<const char>();
  taken = right;
  return right;
}

class OpenVinoBackend final : public Backend {
 public:
  explicit OpenVinoBackend(std::shared_ptr<OpenVinoCpu> cpu) : cpu_(std::move(cpu)) {}

  std::string_view name() const noexcept override { return "openvino"; }
  Device device() const noexcept override { return Device::cpu(); }
  int capacity() const noexcept override { return cpu_->cores; }
  bool launch_blocks() const noexcept override { return true; }
  Status device_status() override { return {}; }
  std::string device_description() const override {
    return fmt::format("cpu ({}, {} thread{})", cpu_->name, cpu_->cores, cpu_->cores == 1 ? "" : "s");
  }

  Result<std::shared_ptr<Program>> compile(const Model& model, const CompileOptions& options) override {
    Result<std::shared_ptr<Program>> program = compile_unnamed(model, options);
    if (program.ok()) return program;
    return program.status().with_context(fmt::format("model \"{}\"", model.name()));
  }

 private:
  Result<std::shared_ptr<Program>> compile_unnamed(const Model& model, const CompileOptions& options) {
    const std::shared_ptr<const ov::Model> network = inflight::network(model);
    if (network == nullptr) {
      return Status(
          StatusCode::kUnsupported,
          "only its inputs and outputs are known; the null device runs such a model, the CPU does not");
    }
    if (options.widths.empty())
      return Status(StatusCode::kInvalidArgument, "widths: got none, want at least one");
    if (options.threads < 0 || options.threads > cpu_->cores) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("threads: got {}, want 0 (all) to {}, the cores that this process may use",
                                options.threads, cpu_->cores));
    }
    INFLIGHT_TRY(check_static(model));
    INFLIGHT_TRY_ASSIGN(const ov::AnyMap properties, properties_of(*cpu_, options.precision));
    const int threads = options.threads == 0 ? cpu_->cores : options.threads;
    auto compiled = std::make_shared<OpenVinoCompiled>();
    compiled->cpu = cpu_;
    if (options.pin_threads) compiled->right_to_pin = take_right_to_pin(threads);
    try {
      compiled->aliases = aliases_of(*network);
      std::vector<Width> widths = options.widths;
      if (options.elastic && threads >= kMediumThreadsMin) widths.push_back(Width::kMedium);
      const std::shared_ptr<const ov::Model> folded =
          widths.size() > 1 ? internal::fold_weights(network) : network;
      for (const Width width : widths) {
        std::optional<ov::CompiledModel>& place = compiled->models[index_of(width)];
        if (place.has_value()) continue;
        if (width == Width::kNarrow) {
          INFLIGHT_TRY(compile_callers(folded, properties, model, threads, options, *compiled));
          if (place.has_value()) continue;
        }
        place = compile_width(folded, properties, width, threads, compiled->right_to_pin != nullptr);
        INFLIGHT_TRY(set_ports(*place, model, *compiled));
      }
      compiled->requests = requests_of(*compiled, options.many_launches);
      if (options.elastic) internal::keep_what_pays(*compiled);
      const bool only_callers =
          compiled->callers != nullptr && !compiled->models[index_of(Width::kWide)].has_value();
      if (only_callers) compiled->right_to_pin = nullptr;  // the threads that call are not pinned
    } catch (const std::exception& error) {
      return Status(StatusCode::kInvalidModel, internal::distil_openvino_error(error.what()));
    } catch (...) {
      return Status(StatusCode::kInvalidModel, "the CPU cannot compile it, without a reason given");
    }
    return std::shared_ptr<Program>(std::make_shared<OpenVinoProgram>(model, std::move(compiled), threads));
  }

  static Status set_ports(const ov::CompiledModel& made, const Model& model, OpenVinoCompiled& compiled) {
    INFLIGHT_TRY_ASSIGN(compiled.inputs, ports_of(made.inputs(), model.inputs()));
    for (OpenVinoPort& input : compiled.inputs) {
      if (!input.dynamic) continue;
      input.shape = {static_cast<std::size_t>(model.image_use()->height),
                     static_cast<std::size_t>(model.image_use()->width), 3};
    }
    INFLIGHT_TRY_ASSIGN(compiled.outputs, ports_of(made.outputs(), model.outputs()));
    return {};
  }

  // The narrow width of a light network: a model for the caller for each launch that runs at once. Those of a program of few launches
  // are compiled as slots need them. One of many launches has them only if they are brief, and all of them now. Does nothing
  // if the network has no such models.
  Status compile_callers(const std::shared_ptr<const ov::Model>& network, const ov::AnyMap& properties,
                         const Model& model, int threads, const CompileOptions& options,
                         OpenVinoCompiled& compiled) {
    if (options.elastic && !options.many_launches) return {};
    if (!internal::may_have_callers(*network, threads)) return {};
    auto callers = std::make_unique<internal::CallerModels>(cpu_->core, network, properties,
                                                            static_cast<std::size_t>(threads));
    const ov::CompiledModel first = callers->get(0);
    INFLIGHT_TRY(set_ports(first, model, compiled));
    if (options.many_launches) {
      if (!internal::is_brief(first, compiled.inputs)) return {};
      INFLIGHT_TRY(callers->compile_all());
    }
    compiled.models[index_of(Width::kNarrow)] = first;
    compiled.callers = std::move(callers);
    return {};
  }

  ov::CompiledModel compile_width(const std::shared_ptr<const ov::Model>& network, ov::AnyMap properties,
                                  Width width, int threads, bool pin) {
    if (threads == 1) return internal::compile_for_caller(cpu_->core, network, std::move(properties));
    const int streams = streams_of(width, threads);
    properties.insert(ov::hint::enable_cpu_pinning(pin));
    properties.insert(ov::inference_num_threads(threads));
    properties.insert(ov::num_streams(streams));
    // Two threads of one core share its arithmetic units: this helps many streams and slows down a single
    // one.
    properties.insert(ov::hint::enable_hyper_threading(streams > 1));
    return cpu_->core.compile_model(network, std::string(kDevice), properties);
  }

  std::shared_ptr<OpenVinoCpu> cpu_;
};

}  // namespace

Result<std::shared_ptr<Backend>> make_openvino_backend() {
  try {
    auto cpu = std::make_shared<OpenVinoCpu>();
    cpu->name = cpu->core.get_property(std::string(kDevice), ov::device::full_name);
    cpu->name.erase(cpu->name.find_last_not_of(" \t\n") + 1);
    cpu->capabilities = cpu->core.get_property(std::string(kDevice), ov::device::capabilities);
    cpu->cores = internal::usable_processors();
    return std::shared_ptr<Backend>(std::make_shared<OpenVinoBackend>(std::move(cpu)));
  } catch (const std::exception& error) {
    return Status(StatusCode::kDeviceError, "device \"cpu\": OpenVINO cannot be started: " +
                                                internal::distil_openvino_error(error.what()));
  }
}

}  // namespace inflight
