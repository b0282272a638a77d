// SPDX-License-Identifier: Apache-2.0
// The convolutions of ResNet-50 as a graph built by hand: how fast a slot and eight of them are, what a launch and a
// poll cost, and what tuning gains. It prints, and fails only where something is wrong.
#include <fmt/format.h>

#include "backends/cuda/runtime/cuda_test_support.h"
#include "backends/cuda/runtime/tuner.h"

namespace inflight::cuda {
namespace {

using Time = std::chrono::steady_clock;

// Weights of small random numbers, so that values neither vanish nor overflow.
GpuGraph resnet50_convolutions() {
  Builder builder;
  const DType dtype = DType::kF16;
  unsigned seed = 1;
  const auto conv = [&](TensorId x, std::int64_t k, std::int64_t r, std::int64_t stride, bool relu,
                        TensorId residual) {
    const Extents in = builder.graph.tensor(x).extents;
    const std::int64_t out = (in[2] + 2 * (r / 2) - r) / stride + 1;
    ConvolutionStep step;
    step.label = fmt::format("conv{}", builder.graph.steps.size());
    step.x = x;
    const float size = 1.0F / std::sqrt(static_cast<float>(in[1] * r * r));
    step.w = builder.image(Storage::kConstant, dtype, k, in[1], r, r,
                           random_values(static_cast<std::size_t>(k * in[1] * r * r), ++seed, size));
    step.bias = builder.tensor(Storage::kConstant, dtype, {1, k, 1, 1}, {k, 1, k, k},
                               random_values(static_cast<std::size_t>(k), ++seed, 0.1F));
    step.residual = residual;
    step.y = builder.image(Storage::kScratch, dtype, 1, k, out, out);
    step.strides = {stride, stride};
    step.dilations = {1, 1};
    step.pads_begin = step.pads_end = {r / 2, r / 2};
    step.activation = relu ? Activation::kRelu : Activation::kNone;
    builder.graph.steps.emplace_back(step);
    return step.y;
  };
  TensorId x = builder.image(Storage::kInput, dtype, 1, 8, 224, 224);
  x = conv(x, 64, 7, 2, true, kNoTensor);
  x = conv(x, 64, 1, 2, true, kNoTensor);  // in the place of the pooling
  const int blocks[4] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    const std::int64_t mid = 64 << stage;
    for (int block = 0; block < blocks[stage]; ++block) {
      const std::int64_t stride = stage > 0 && block == 0 ? 2 : 1;
      const TensorId shortcut = block == 0 ? conv(x, mid * 4, 1, stride, false, kNoTensor) : x;
      TensorId y = conv(x, mid, 1, 1, true, kNoTensor);
      y = conv(y, mid, 3, stride, true, kNoTensor);
      x = conv(y, mid * 4, 1, 1, true, shortcut);
    }
  }
  const TensorId out = builder.vector(Storage::kOutput, DType::kF32, 2048);
  builder.kernel(
      "first pixel",
      "extern \"C\" KERNEL void run(const unsigned short* x, float* y) {\n"
      "  const int i = blockIdx.x * blockDim.x + threadIdx.x;\n  if (i < 2048) y[i] = load_f16(x + i);\n}\n",
      {x}, {out}, 16, 128);
  return std::move(builder.graph);
}

struct Flood {
  double rate = 0, p50 = 0, p99 = 0, launch_us = 0;
};

Flood flood(std::vector<std::unique_ptr<GpuSlot>>& slots, std::vector<std::vector<float>>& outputs,
            Width width, int launches, std::vector<std::uint64_t>& generations, const TensorView& input) {
  const std::size_t count = slots.size();
  std::vector<Time::time_point> began(count);
  std::vector<bool> busy(count);
  std::vector<double> latencies;
  double in_launch = 0;
  int submitted = 0;
  const auto start = Time::now();
  while (latencies.size() < static_cast<std::size_t>(launches)) {
    for (std::size_t k = 0; k < count; ++k) {
      if (busy[k] && slots[k]->completion_word().load(std::memory_order_acquire) == generations[k]) {
        EXPECT_TRUE(slots[k]->outcome().ok());
        latencies.push_back(microseconds(began[k]));
        busy[k] = false;
      }
      if (busy[k] || submitted >= launches) continue;
      const MutableTensorView output{outputs[k].data(), DType::kF32, {2048}, Device::cpu()};
      began[k] = Time::now();
      const Status launched = slots[k]->launch({{&input, 1}, {&output, 1}, width, ++generations[k], {}});
      in_launch += microseconds(began[k]);
      EXPECT_TRUE(launched.ok()) << launched.to_string();
      if (!launched.ok()) return {};
      busy[k] = true;
      ++submitted;
    }
    if (microseconds(start) > 60e6) {
      ADD_FAILURE() << "no end after 60 s";
      return {};
    }
  }
  return {launches / (microseconds(start) / 1e6), percentile(latencies, 0.5), percentile(latencies, 0.99),
          in_launch / launches};
}

class CudaSpeed : public CudaTest {
 protected:
  void measure(GpuProgram& program);
};

void CudaSpeed::measure(GpuProgram& program) {
  std::vector<std::unique_ptr<GpuSlot>> slots;
  std::vector<std::vector<float>> outputs(16, std::vector<float>(2048));
  std::vector<std::uint64_t> generations(16);
  std::vector<std::byte> pixels(std::size_t{8} * 224 * 224 * 2);
  const std::vector<std::byte> some = encode(DType::kF16, random_values(pixels.size() / 2, 7));
  GpuMemory pinned = *device->allocate_pinned(pixels.size(), "test");
  std::memcpy(pinned.host(), some.data(), some.size());
  const TensorView input{pinned.host(), DType::kF16, {1, 8, 224, 224}, Device::cpu()};
  std::vector<float> first;
  for (const std::size_t in_flight : {1U, 2U, 4U, 8U, 16U}) {
    while (slots.size() < in_flight) {
      auto slot = program.bind();
      ASSERT_TRUE(slot.ok()) << slot.status().to_string();
      ASSERT_TRUE((*slot)->warm_up().ok());
      slots.push_back(*std::move(slot));
    }
    for (const Width width : {Width::kWide, Width::kNarrow}) {
      flood(slots, outputs, width, 200, generations, input);
      const Flood one = flood(slots, outputs, width, 3000, generations, input);
      std::printf("  in flight %2zu, %-6s: %8.0f/s, p50 %7.1f us, p99 %7.1f us, launch() %.2f us\n",
                  in_flight, width_text(width), one.rate, one.p50, one.p99, one.launch_us);
      std::fflush(stdout);
      for (std::size_t k = 0; k < in_flight; ++k) {
        if (first.empty()) first = outputs[k];
        EXPECT_LT(relative_error(outputs[k], first), 2e-2) << "slots and widths agree";
      }
    }
  }
  double size = 0;
  for (const float value : first) size = std::max(size, std::abs(static_cast<double>(value)));
  EXPECT_GT(size, 1e-4) << "a network of zeros proves nothing";
  EXPECT_LT(size, 1e4);
}

void print_report(const GpuProgram& program) {
  const LoadReport& report = program.report();
  std::printf(
      "  load %.2f s: kernels %.2f s (%d compiled, %d cached), plans %.2f s (prepared in %.2f, measured in "
      "%.2f: %zu "
      "measured, %zu cached, %zu untuned of %zu)\n  %s; constants %s, slot %s, workspace %s\n",
      report.seconds, report.kernel_seconds, report.kernels.compiled, report.kernels.cached,
      report.plan_seconds, report.tuning.prepare_seconds, report.tuning.measure_seconds,
      report.tuning.measured, report.tuning.cached, report.tuning.untuned, report.tuning.plans,
      report.versions.c_str(), bytes_text(report.constant_bytes).c_str(),
      bytes_text(report.slot_bytes).c_str(), bytes_text(report.workspace_bytes).c_str());
  std::fflush(stdout);
}

TEST_F(CudaSpeed, Resnet50ConvolutionsTunedAndNot) {
  const std::string folder = testing::TempDir() + "inflight_cuda_speed_cache";
  for (const auto& [name, tune] : {std::pair{"off", TuneLevel::kOff},
                                   {"fast", TuneLevel::kFast},
                                   {"full", TuneLevel::kFull},
                                   {"full, again", TuneLevel::kFull}}) {
    std::printf("ResNet-50's convolutions, tuning %s\n", name);
    ProgramOptions options;
    options.name = "resnet50";
    options.tune = tune;
    options.cache = DiskCache(folder);
    const auto program = GpuProgram::build(device, resnet50_convolutions(), options);
    ASSERT_TRUE(program.ok()) << program.status().to_string();
    print_report(**program);
    if (std::string(name) == "full") std::printf("%s", (*program)->tuning_text().c_str());
    measure(**program);
  }
}

// A row of bench/gpu.
void print_cost(const char* cost, const char* system, const char* unit, const std::vector<double>& values,
                std::size_t nodes, Transfers transfers) {
  std::printf(
      "{\"cost\": \"%s\", \"system\": \"%s\", \"p50_%s\": %.3f, \"p99_%s\": %.3f, \"repetitions\": %zu, "
      "\"nodes\": %zu, \"transfers\": \"%s\"}\n",
      cost, system, unit, percentile(values, 0.5), unit, percentile(values, 0.99), values.size(), nodes,
      transfers == Transfers::kCopied ? "copied" : "none");
  std::fflush(stdout);
}

TEST_F(CudaSpeed, LaunchAndPollCost) {
  ProgramOptions options;
  options.tune = TuneLevel::kOff;
  for (const Transfers transfers : {Transfers::kCopied, Transfers::kNone}) {
    options.transfers = transfers;
    const auto program = GpuProgram::build(device, resnet50_convolutions(), options);
    ASSERT_TRUE(program.ok()) << program.status().to_string();
    const auto slot = *(*program)->bind();
    ASSERT_TRUE(slot->warm_up().ok());
    GpuMemory pinned = *device->allocate_pinned(std::size_t{8} * 224 * 224 * 2, "test");
    GpuMemory result = *device->allocate_pinned(2048 * 4, "test");
    const TensorView input{pinned.host(), DType::kF16, {1, 8, 224, 224}, Device::cpu()};
    const MutableTensorView output{result.host(), DType::kF32, {2048}, Device::cpu()};
    std::vector<double> ours;
    std::vector<double> bare;
    std::vector<double> whole;
    std::uint64_t generation = 0;
    for (int i = 0; i < 500; ++i) {
      auto start = Time::now();
      ASSERT_TRUE(slot->launch({{&input, 1}, {&output, 1}, Width::kWide, ++generation, {}}).ok());
      ours.push_back(microseconds(start));
      ASSERT_TRUE(wait_for_word(*slot, generation));
      whole.push_back(microseconds(start));
      device->api().cuStreamSynchronize(slot->stream());
      start = Time::now();
      device->api().cuGraphLaunch(slot->graph(Width::kWide), slot->stream());
      bare.push_back(microseconds(start));
      device->api().cuStreamSynchronize(slot->stream());
    }
    const std::size_t nodes = slot->nodes(Width::kWide);
    print_cost("launch", "GpuSlot", "us", ours, nodes, transfers);
    print_cost("launch", "cuGraphLaunch", "us", bare, nodes, transfers);
    print_cost("launch_to_word", "GpuSlot", "us", whole, nodes, transfers);
    CUevent event = nullptr;
    device->api().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING);
    std::vector<double> polls;
    std::vector<double> queries;
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(slot->launch({{&input, 1}, {&output, 1}, Width::kWide, ++generation, {}}).ok());
      device->api().cuEventRecord(event, slot->stream());
      for (int block = 0; block < 50; ++block) {
        const auto start = Time::now();
        bool done = false;
        for (int k = 0; k < 100; ++k)
          done |= slot->completion_word().load(std::memory_order_acquire) == generation;
        if (!done) polls.push_back(microseconds(start) * 10);  // us of 100 polls to ns of one
      }
      for (int block = 0; block < 10; ++block) {
        const auto start = Time::now();
        bool pending = true;
        for (int k = 0; k < 10 && pending; ++k)
          pending = device->api().cuEventQuery(event) == CUDA_ERROR_NOT_READY;
        if (!pending) break;
        queries.push_back(microseconds(start) * 100);  // us of 10 queries to ns of one
      }
      ASSERT_TRUE(wait_for_word(*slot, generation));
      device->api().cuStreamSynchronize(slot->stream());
    }
    print_cost("poll_word", "GpuSlot", "ns", polls, nodes, transfers);
    print_cost("poll_word", "cuEventQuery", "ns", queries, nodes, transfers);
    device->api().cuEventDestroy(event);
  }
}

}  // namespace
}  // namespace inflight::cuda
