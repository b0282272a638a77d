// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/cuda_backend.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/lowering.h"
#include "backends/cuda/runtime/device.h"
#include "backends/cuda/runtime/gpu_memory.h"
#include "backends/cuda/runtime/gpu_program.h"
#include "model/network.h"

namespace inflight {
namespace {

using cuda::GpuDevice;
using cuda::GpuProgram;

constexpr int kLanes = 8;
constexpr int kLanesMax = 64;

struct Settings {
  int lanes = kLanes;
  bool outputs_on_device = false;
  cuda::Transfers transfers = cuda::Transfers::kCopied;
};

std::string environment(const char* name) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? "" : text;
}

Result<Settings> read_settings() {
  Settings settings;
  if (const std::string text = environment("INFLIGHT_CUDA_LANES"); !text.empty()) {
    char* end = nullptr;
    const long lanes = std::strtol(text.c_str(), &end, 10);
    if (*end != '\0' || lanes < 1 || lanes > kLanesMax) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("INFLIGHT_CUDA_LANES: got \"{}\", want 1 to {}", text, kLanesMax));
    }
    settings.lanes = static_cast<int>(lanes);
  }
  const std::string io = environment("INFLIGHT_CUDA_IO");
  if (!io.empty() && io != "host" && io != "device" && io != "none") {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("INFLIGHT_CUDA_IO: got \"{}\", want host, device or none", io));
  }
  settings.outputs_on_device = io == "device";
  if (io == "none") settings.transfers = cuda::Transfers::kNone;
  return settings;
}

class CudaProgram final : public Program {
 public:
  CudaProgram(const Model& model, std::shared_ptr<GpuProgram> program, int lanes, const Tuning& tuning)
      : model_(without_network(model)), program_(std::move(program)), lanes_(lanes), tuning_(tuning) {}
  std::span<const TensorSpec> inputs() const noexcept override { return model_.inputs(); }
  std::span<const TensorSpec> outputs() const noexcept override { return model_.outputs(); }
  int concurrency(Width width) const noexcept override { return width == Width::kWide ? 1 : lanes_; }
  Result<std::unique_ptr<BoundProgram>> bind() override {
    INFLIGHT_TRY_ASSIGN(std::unique_ptr<cuda::GpuSlot> slot, program_->bind());
    return std::unique_ptr<BoundProgram>(std::move(slot));
  }
  std::optional<Tuning> tuning() const override { return tuning_; }

 private:
  const Model model_;
  const std::shared_ptr<GpuProgram> program_;
  const int lanes_;
  const Tuning tuning_;
};

Status check_shapes(const Model& model) {
  for (const auto& specs : {model.inputs(), model.outputs()}) {
    for (const TensorSpec& spec : specs) {
      if (spec.shape.is_static()) continue;
      return Status(
          StatusCode::kInvalidArgument,
          fmt::format("device cuda: \"{}\" is {}, want a static shape", spec.name, spec.type_string()));
    }
  }
  return Status();
}

// What the lowering made must take what frames bring, byte for byte.
Status check_specs(std::span<const TensorSpec> specs, const cuda::GpuGraph& graph,
                   const std::vector<cuda::TensorId>& ids) {
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const auto* tensor = i < ids.size() ? &graph.tensor(ids[i]) : nullptr;
    if (tensor != nullptr && tensor->dtype == specs[i].dtype &&
        (specs[i].bytes() == 0 || tensor->bytes() == specs[i].bytes())) {
      continue;
    }
    return Status(StatusCode::kInternal,
                  fmt::format("device cuda: \"{}\" was lowered to another type than {}", specs[i].name,
                              specs[i].type_string()));
  }
  return Status();
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::shared_ptr<GpuDevice> device, const Settings& settings)
      : device_(std::move(device)), settings_(settings) {}
  std::string_view name() const noexcept override { return "cuda"; }
  Device device() const noexcept override { return Device::cuda(device_->index()); }
  std::string device_description() const override { return device_->description(); }
  int capacity() const noexcept override { return settings_.lanes; }
  bool launch_blocks() const noexcept override { return false; }
  bool orders_launches() const noexcept override { return true; }
  bool reads(Device memory) const noexcept override { return memory.is_host() || memory == device(); }
  std::shared_ptr<Allocator> output_allocator() override {
    return settings_.outputs_on_device ? cuda::device_allocator(device_) : cuda::pinned_allocator(device_);
  }
  std::shared_ptr<Allocator> device_allocator() override { return cuda::device_allocator(device_); }
  Result<std::shared_ptr<Program>> compile(const Model& model, const CompileOptions& options) override;
  Status device_status() override { return device_->look(); }

 private:
  const std::shared_ptr<GpuDevice> device_;
  const Settings settings_;
};

Result<std::shared_ptr<Program>> CudaBackend::compile(const Model& model, const CompileOptions& options) {
  const std::shared_ptr<const ov::Model> network = inflight::network(model);
  if (network == nullptr)
    return Status(StatusCode::kUnsupported, "device cuda: a model without operators cannot be compiled");
  INFLIGHT_TRY(check_shapes(model));
  INFLIGHT_TRY_ASSIGN(cuda::GpuGraph graph, cuda::lower(network, {.precision = options.precision}));
  INFLIGHT_TRY(check_specs(model.inputs(), graph, graph.inputs));
  INFLIGHT_TRY(check_specs(model.outputs(), graph, graph.outputs));
  cuda::ProgramOptions program_options;
  program_options.name = model.name();
  program_options.widths = options.widths;
  program_options.tune = options.tune;
  program_options.progress = options.progress;
  program_options.cache = cuda::DiskCache::of_user();
  program_options.transfers = settings_.transfers;
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<GpuProgram> program,
                      GpuProgram::build(device_, std::move(graph), program_options));
  const cuda::TuneReport& report = program->report().tuning;
  const Tuning tuning{options.tune, report.prepare_seconds + report.measure_seconds, report.gain,
                      report.plans > 0 && report.cached == report.plans};
  return std::shared_ptr<Program>(
      std::make_shared<CudaProgram>(model, std::move(program), settings_.lanes, tuning));
}

}  // namespace

Result<Coverage> cuda_coverage(const Model* model) {
  if (model == nullptr) return cuda::known_operators();
  const std::shared_ptr<const ov::Model> network = inflight::network(*model);
  if (network == nullptr)
    return Status(StatusCode::kUnsupported, "only its inputs and outputs are known, and no operators");
  return cuda::coverage(network);
}

Result<std::shared_ptr<Backend>> make_cuda_backend(Device device) {
  INFLIGHT_TRY_ASSIGN(const Settings settings, read_settings());
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<GpuDevice> gpu, cuda::shared_gpu(device.index()));
  // Now rather than in the middle of a load.
  INFLIGHT_TRY(cuda::nvrtc_api().status());
  INFLIGHT_TRY(cuda::cublaslt_api().status());
  INFLIGHT_TRY(cuda::cudnn_library().status());
  return std::shared_ptr<Backend>(std::make_shared<CudaBackend>(std::move(gpu), settings));
}

}  // namespace inflight
