// SPDX-License-Identifier: Apache-2.0
// The CPU. A program holds one compiled model for each width, because OpenVINO fixes the width when it
// compiles:
//
//   wide     one stream of every thread: the soonest result
//   narrow   as many streams of one thread as there are threads: the most results
//
// A launch calls infer() on the calling thread, which computes in that thread's stream and, unlike
// start_async, passes nothing to another thread. Threads are not pinned: two compiled models would pin theirs
// to the same cores.
#include "backends/openvino/openvino_backend.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <openvino/core/model.hpp>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/infer_request.hpp>
#include <openvino/runtime/properties.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/scheduling.h"
#include "model/network.h"
#include "model/openvino_error.h"

namespace inflight {
namespace {

constexpr std::string_view kDevice = "CPU";
constexpr std::size_t kWidths = 2;
std::size_t index_of(Width width) { return width == Width::kWide ? 0 : 1; }

// OpenVINO's core and what is known of the processor. Programs share it, so they may outlive the backend.
struct Cpu {
  ov::Core core;
  std::string name;                       // "AMD EPYC"
  std::vector<std::string> capabilities;  // "FP32", "BF16", ...
  int cores = 1;
};

// One input or output as the compiled model has it.
struct Port {
  ov::element::Type type;
  ov::Shape shape;  // where static
  TensorSpec spec;  // what a launch brings: the same bytes, though an image's shape lacks the leading 1
  bool dynamic = false;
};

// Where to copy an output from that is also another tensor of the model. OpenVINO tells tensors apart by
// name, so setting the memory of such an output can set that of the other one. Such an output keeps
// OpenVINO's memory, and we copy it.
struct Alias {
  enum class Of : std::uint8_t { kNothing, kInput, kOutput };
  Of of = Of::kNothing;
  std::size_t index = 0;  // of the input, or of the earlier output
};

struct Compiled {
  std::shared_ptr<Cpu> cpu;
  std::vector<Port> inputs;
  std::vector<Port> outputs;
  std::vector<Alias> aliases;  // one an output
  std::array<std::optional<ov::CompiledModel>, kWidths> models;
};

class OpenVinoSlot final : public BoundProgram {
 public:
  explicit OpenVinoSlot(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}

  // Makes the requests. Not in the constructor, because OpenVINO may throw here.
  void create_requests() {
    for (std::size_t i = 0; i < kWidths; ++i) {
      if (!compiled_->models[i].has_value()) continue;
      ov::CompiledModel model = *compiled_->models[i];  // a handle; create_infer_request() is not const
      requests_[i].emplace(Request{model.create_infer_request(),
                                   std::vector<const void*>(compiled_->inputs.size(), nullptr),
                                   std::vector<const void*>(compiled_->outputs.size(), nullptr)});
    }
  }

  // OpenVINO makes a request's memory and picks its kernels in the first inference.
  Status warm_up() override {
    for (std::optional<Request>& request : requests_) {
      if (!request.has_value()) continue;
      try {
        for (std::size_t i = 0; i < compiled_->inputs.size(); ++i) {
          ov::Tensor input = request->request.get_input_tensor(i);
          std::memset(input.data(), 0, input.get_byte_size());
        }
        request->request.infer();
      } catch (const std::exception&) {
        // A network may refuse zeros; a frame that fails reports its own failure.
      }
    }
    return {};
  }

  Status launch(const Launch& launch) override {
    std::optional<Request>& request = requests_[index_of(launch.width)];
    if (!request.has_value()) {
      return {StatusCode::kInvalidArgument,
              fmt::format("width: got {}, which the program was not compiled for", width_name(launch.width))};
    }
    INFLIGHT_TRY(check(launch));
    try {
      set_tensors(*request, launch);
    } catch (const std::exception& error) {
      return {StatusCode::kDeviceError, internal::distil_openvino_error(error.what())};
    }
    last_ = index_of(launch.width);
    try {
      request->request.infer();
      copy_aliases(launch);
      outcome_ = Status();
    } catch (const std::exception& error) {
      outcome_ = Status(StatusCode::kDeviceError, internal::distil_openvino_error(error.what()));
    } catch (...) {
      outcome_ = Status(StatusCode::kDeviceError, "the inference failed without a reason");
    }
    word_.store(launch.generation, std::memory_order_release);
    return {};
  }

  const std::atomic<std::uint64_t>& completion_word() const noexcept override { return word_; }
  Status outcome() override { return outcome_; }

  TensorView dynamic_output(std::size_t index) override {
    INFLIGHT_CHECK(index < compiled_->outputs.size() && requests_[last_].has_value());
    const Port& port = compiled_->outputs[index];
    TensorView view{nullptr, port.spec.dtype, {}};
    try {
      const ov::Tensor tensor = requests_[last_]->request.get_output_tensor(index);
      std::array<std::int64_t, Shape::kRankMax> dims{};
      const ov::Shape& shape = tensor.get_shape();
      INFLIGHT_CHECK(shape.size() == port.spec.shape.rank());
      std::copy(shape.begin(), shape.end(), dims.begin());
      Result<Shape> made = Shape::make({dims.data(), shape.size()});
      INFLIGHT_CHECK(made.ok());
      view.shape = *made;
      view.data = view.shape.elements() == 0 ? nullptr : tensor.data();
    } catch (const std::exception&) {
      view.shape = {0};  // nothing was computed: outcome() says why
      view.data = nullptr;
    }
    return view;
  }

 private:
  struct Request {
    ov::InferRequest request;
    std::vector<const void*> inputs;  // the memory that each tensor of the request wraps now
    std::vector<const void*> outputs;
  };

  static Status check_one(std::string_view role, const Port& port, const void* data, DType dtype,
                          const Shape& shape) {
    if (dtype != port.spec.dtype || !(shape == port.spec.shape)) {
      return {StatusCode::kInvalidArgument,
              fmt::format("{} \"{}\": got {}, want {}", role, port.spec.name,
                          TensorSpec{"", dtype, shape}.type_string(), port.spec.type_string())};
    }
    if (data == nullptr) {
      return {StatusCode::kInvalidArgument, fmt::format("{} \"{}\": got no memory", role, port.spec.name)};
    }
    return {};
  }

  Status check(const Launch& launch) const {
    if (launch.inputs.size() != compiled_->inputs.size() ||
        launch.outputs.size() != compiled_->outputs.size()) {
      return {StatusCode::kInvalidArgument,
              fmt::format("got {} inputs and {} outputs, want {} and {}", launch.inputs.size(),
                          launch.outputs.size(), compiled_->inputs.size(), compiled_->outputs.size())};
    }
    for (std::size_t i = 0; i < launch.inputs.size(); ++i) {
      const TensorView& view = launch.inputs[i];
      INFLIGHT_TRY(check_one("input", compiled_->inputs[i], view.data, view.dtype, view.shape));
    }
    for (std::size_t i = 0; i < launch.outputs.size(); ++i) {
      const MutableTensorView& view = launch.outputs[i];
      if (compiled_->outputs[i].dynamic) continue;
      INFLIGHT_TRY(check_one("output", compiled_->outputs[i], view.data, view.dtype, view.shape));
    }
    return {};
  }

  // Points the request at the launch's memory. Wrapping memory costs an allocation or two, so a tensor that
  // already points there is left as it is.
  void set_tensors(Request& request, const Launch& launch) {
    for (std::size_t i = 0; i < launch.inputs.size(); ++i) {
      const void* data = launch.inputs[i].data;
      if (request.inputs[i] == data) continue;
      request.inputs[i] = nullptr;  // until it is known to be set
      const Port& port = compiled_->inputs[i];
      // The request only reads its inputs, but its interface takes a tensor that may be written.
      request.request.set_input_tensor(i, ov::Tensor(port.type, port.shape, const_cast<void*>(data)));
      request.inputs[i] = data;
    }
    for (std::size_t i = 0; i < launch.outputs.size(); ++i) {
      const Port& port = compiled_->outputs[i];
      void* data = launch.outputs[i].data;
      if (port.dynamic || request.outputs[i] == data || compiled_->aliases[i].of != Alias::Of::kNothing)
        continue;
      request.outputs[i] = nullptr;
      request.request.set_output_tensor(i, ov::Tensor(port.type, port.shape, data));
      request.outputs[i] = data;
    }
  }

  void copy_aliases(const Launch& launch) {
    for (std::size_t i = 0; i < launch.outputs.size(); ++i) {
      const Alias alias = compiled_->aliases[i];
      if (alias.of == Alias::Of::kNothing || compiled_->outputs[i].dynamic) continue;
      const void* from =
          alias.of == Alias::Of::kInput ? launch.inputs[alias.index].data : launch.outputs[alias.index].data;
      std::memcpy(launch.outputs[i].data, from, compiled_->outputs[i].spec.bytes());
    }
  }

  std::shared_ptr<const Compiled> compiled_;
  std::array<std::optional<Request>, kWidths> requests_;
  std::size_t last_ = 0;  // the width of the last launch
  Status outcome_;
  std::atomic<std::uint64_t> word_{0};
};

class OpenVinoProgram final : public Program {
 public:
  OpenVinoProgram(Model model, std::shared_ptr<const Compiled> compiled, int threads)
      : model_(std::move(model)), compiled_(std::move(compiled)), threads_(threads) {}

  std::span<const TensorSpec> inputs() const noexcept override { return model_.inputs(); }
  std::span<const TensorSpec> outputs() const noexcept override { return model_.outputs(); }
  int concurrency(Width width) const noexcept override { return width == Width::kWide ? 1 : threads_; }

  Result<std::unique_ptr<BoundProgram>> bind() override {
    auto slot = std::make_unique<OpenVinoSlot>(compiled_);
    try {
      slot->create_requests();
    } catch (const std::exception& error) {
      return Status(StatusCode::kDeviceError, fmt::format("model \"{}\": {}", model_.name(),
                                                          internal::distil_openvino_error(error.what())));
    }
    return std::unique_ptr<BoundProgram>(std::move(slot));
  }

 private:
  Model model_;
  std::shared_ptr<const Compiled> compiled_;
  int threads_;
};

std::vector<Port> ports_of(const std::vector<ov::Output<const ov::Node>>& outputs,
                           std::span<const TensorSpec> specs) {
  INFLIGHT_CHECK(outputs.size() == specs.size());
  std::vector<Port> ports;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Port port{outputs[i].get_element_type(), {}, specs[i], outputs[i].get_partial_shape().is_dynamic()};
    if (!port.dynamic) port.shape = outputs[i].get_shape();
    ports.push_back(std::move(port));
  }
  return ports;
}

// Which outputs of a network are also inputs, or earlier outputs.
std::vector<Alias> aliases_of(const ov::Model& network) {
  std::vector<Alias> aliases;
  std::vector<ov::Output<ov::Node>> sources;
  for (const auto& result : network.get_results()) sources.push_back(result->input_value(0));
  for (std::size_t i = 0; i < sources.size(); ++i) {
    Alias alias;
    const auto earlier =
        std::find(sources.begin(), sources.begin() + static_cast<std::ptrdiff_t>(i), sources[i]);
    const auto& parameters = network.get_parameters();
    const auto parameter = std::find(parameters.begin(), parameters.end(), sources[i].get_node_shared_ptr());
    if (parameter != parameters.end()) {
      alias = {Alias::Of::kInput, static_cast<std::size_t>(parameter - parameters.begin())};
    } else if (earlier - sources.begin() < static_cast<std::ptrdiff_t>(i)) {
      alias = {Alias::Of::kOutput, static_cast<std::size_t>(earlier - sources.begin())};
    }
    aliases.push_back(alias);
  }
  return aliases;
}

// Every input must be static: the predictor makes the slots' memory before any frame comes.
Status check_static(const Model& model) {
  for (const TensorSpec& input : model.inputs()) {
    if (input.shape.is_static()) continue;
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

Result<ov::AnyMap> properties_of(const Cpu& cpu, Precision precision) {
  ov::AnyMap properties{ov::hint::enable_cpu_pinning(false)};
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

class OpenVinoBackend final : public Backend {
 public:
  explicit OpenVinoBackend(std::shared_ptr<Cpu> cpu) : cpu_(std::move(cpu)) {}

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
    auto compiled = std::make_shared<Compiled>();
    compiled->cpu = cpu_;
    try {
      compiled->aliases = aliases_of(*network);
      for (const Width width : options.widths) {
        std::optional<ov::CompiledModel>& place = compiled->models[index_of(width)];
        if (!place.has_value()) place = compile_width(network, properties, width, threads);
        compiled->inputs = ports_of(place->inputs(), model.inputs());
        compiled->outputs = ports_of(place->outputs(), model.outputs());
      }
    } catch (const std::exception& error) {
      return Status(StatusCode::kInvalidModel, internal::distil_openvino_error(error.what()));
    } catch (...) {
      return Status(StatusCode::kInvalidModel, "the CPU cannot compile it, without a reason given");
    }
    return std::shared_ptr<Program>(std::make_shared<OpenVinoProgram>(model, std::move(compiled), threads));
  }

  ov::CompiledModel compile_width(const std::shared_ptr<const ov::Model>& network, ov::AnyMap properties,
                                  Width width, int threads) {
    const bool wide = width == Width::kWide;
    properties.insert(ov::inference_num_threads(threads));
    properties.insert(ov::num_streams(wide ? 1 : threads));
    // Two threads of one core share its arithmetic units: this helps many streams and slows down a single
    // one.
    properties.insert(ov::hint::enable_hyper_threading(!wide));
    return cpu_->core.compile_model(network, std::string(kDevice), properties);
  }

  std::shared_ptr<Cpu> cpu_;
};

}  // namespace

Result<std::shared_ptr<Backend>> make_openvino_backend() {
  try {
    auto cpu = std::make_shared<Cpu>();
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
