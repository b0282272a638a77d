// SPDX-License-Identifier: Apache-2.0
// profile_steps MODEL [f32|f16|bf16] [--tune off|fast|full] [--width wide|narrow]: where a network's time goes on
// cuda:0, for developers. One line a step: microseconds alone, microseconds each with eight together, both as the
// median over captured graphs; then how much of the device that is, its shapes, and the plan that tuning chose.
// A step is measured with its operands in the cache where they fit, which is not so in the whole.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>

#include "backends/cuda/lowering.h"
#include "backends/cuda/runtime/gpu_program.h"
#include "backends/cuda/runtime/graph_timer.h"
#include "inflight/backend.h"
#include "inflight/model.h"
#include "model/network.h"

namespace inflight::cuda {
namespace {

constexpr int kTogether = GraphTimer::kTogetherMax;
constexpr GraphTimer::Plan kAlone{.together = 1, .repeats = 20, .replays = 15};
constexpr GraphTimer::Plan kEight{.together = kTogether, .repeats = 20, .replays = 9};
constexpr int kWholeRuns = 60;

struct Arguments {
  std::string model;
  Precision precision = Precision::kF16;
  TuneLevel tune = TuneLevel::kFull;
  Width width = Width::kWide;
};

Result<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if ((word == "--tune" || word == "--width") && i + 1 < argc) {
      const std::string value = argv[++i];
      if (word == "--tune") {
        INFLIGHT_TRY_ASSIGN(arguments.tune, parse_tune_level(value));
      } else {
        INFLIGHT_TRY_ASSIGN(arguments.width, parse_width(value));
      }
    } else if (arguments.model.empty()) {
      arguments.model = word;
    } else {
      INFLIGHT_TRY_ASSIGN(arguments.precision, parse_precision(word));
    }
  }
  if (!arguments.model.empty()) return arguments;
  return Status(StatusCode::kInvalidArgument,
                "usage: profile_steps MODEL [f32|f16|bf16] [--tune off|fast|full] [--width wide|narrow]");
}

// What a step has to do at least: operations of convolutions and matmuls, and bytes, each read or written once.
struct Work {
  double operations = 0;
  double bytes = 0;
};

Work work_of(const GpuGraph& graph, const Step& step) {
  Work work;
  for (const TensorId id : reads_of(step)) work.bytes += static_cast<double>(graph.tensor(id).bytes());
  for (const TensorId id : writes_of(step)) work.bytes += static_cast<double>(graph.tensor(id).bytes());
  if (const auto* conv = std::get_if<ConvolutionStep>(&step)) {
    work.operations = 2;
    const Extents& w = graph.tensor(conv->w).extents;
    for (const std::int64_t extent : graph.tensor(conv->y).extents)
      work.operations *= static_cast<double>(extent);
    work.operations *= static_cast<double>(w[1] * w[2] * w[3]);
  } else if (const auto* attention = std::get_if<AttentionStep>(&step)) {
    const Extents& q = graph.tensor(attention->q).extents;
    const Extents& v = graph.tensor(attention->v).extents;
    work.operations = 2.0 * static_cast<double>(q[0] * q[1] * q[2] * v[2] * (q[3] + v[3]));
  } else if (const auto* matmul = std::get_if<MatmulStep>(&step)) {
    work.operations = 2.0 * static_cast<double>(matmul->batch) * static_cast<double>(matmul->m) *
                      static_cast<double>(matmul->n) * static_cast<double>(matmul->k);
  }
  return work;
}

std::string shapes_of(const GpuGraph& graph, const Step& step) {
  std::string text;
  if (const auto* matmul = std::get_if<MatmulStep>(&step)) {
    text = fmt::format("b={} m={} n={} k={} {}{} ", matmul->batch, matmul->m, matmul->n, matmul->k,
                       matmul->transpose_a ? "t" : "n", matmul->transpose_b ? "t" : "n");
  } else if (const auto* kernel = std::get_if<KernelStep>(&step)) {
    text = fmt::format("{}x{} ", kernel->blocks, kernel->threads);
  }
  for (const TensorId id : reads_of(step))
    text += fmt::format("[{}]", fmt::join(graph.tensor(id).extents, ","));
  for (const TensorId id : writes_of(step))
    text += fmt::format("->[{}]", fmt::join(graph.tensor(id).extents, ","));
  return text;
}

// What the device could do: by its clocks, and by its generation's tensor cores (operations a clock and
// multiprocessor, dense, 16 bits) or, for f32, its ordinary ones.
struct Peak {
  double operations = 0, bytes = 0;  // a second
};

Result<Peak> peak_of(GpuDevice& device, Precision precision) {
  const auto attribute = [&](CUdevice_attribute which, double& value) {
    int number = 0;
    INFLIGHT_TRY(device.check(device.api().cuDeviceGetAttribute(&number, which, device.index()),
                              "cuDeviceGetAttribute"));
    value = number;
    return Status();
  };
  double clock_khz = 0;
  double memory_khz = 0;
  double bus_bits = 0;
  INFLIGHT_TRY(attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE, clock_khz));
  INFLIGHT_TRY(attribute(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, memory_khz));
  INFLIGHT_TRY(attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, bus_bits));
  const int capability = device.compute_capability();
  const double half = capability >= 90 ? 4096 : capability == 80 ? 2048 : 1024;
  const double each = precision == Precision::kF32 ? (capability == 80 || capability < 86 ? 128 : 256) : half;
  return Peak{each * device.multiprocessors() * clock_khz * 1e3, 2 * memory_khz * 1e3 * bus_bits / 8};
}

float median(const std::vector<float>& sorted) { return sorted[sorted.size() / 2]; }

using Slots = std::vector<std::unique_ptr<GpuSlot>>;

// Microseconds of the whole captured graph, and of each where eight go through the device side by side.
Result<std::array<double, 2>> time_whole(GpuDevice& device, const Slots& slots, Width width) {
  using Clock = std::chrono::steady_clock;
  const auto run = [&](std::size_t count, int rounds) -> Result<double> {
    const auto start = Clock::now();
    for (int i = 0; i < rounds; ++i) {
      for (std::size_t k = 0; k < count; ++k)
        INFLIGHT_TRY(device.check(device.api().cuGraphLaunch(slots[k]->graph(width), slots[k]->stream()),
                                  "cuGraphLaunch"));
    }
    INFLIGHT_TRY(device.check(device.api().cuCtxSynchronize(), "cuCtxSynchronize"));
    const std::chrono::duration<double, std::micro> spent = Clock::now() - start;
    return spent.count() / (rounds * static_cast<double>(count));
  };
  std::array<double, 2> times{};
  for (const std::size_t i : {0, 1}) {
    const std::size_t count = i == 0 ? 1 : slots.size();
    INFLIGHT_TRY(run(count, kWholeRuns / 2).status());
    INFLIGHT_TRY_ASSIGN(times[i], run(count, kWholeRuns * 4));
  }
  return times;
}

struct Profile {
  double alone = 0, together = 0;  // sums over the steps
  std::map<std::string, std::array<double, 3>> kinds;
};

std::string kind_of(const Step& step, const std::string& candidate) {
  if (std::holds_alternative<KernelStep>(step)) return "kernel";
  const std::string first = candidate.substr(0, candidate.find(' '));
  const char* kind = std::holds_alternative<ConvolutionStep>(step) ? "convolution"
                     : std::holds_alternative<MatmulStep>(step)    ? "matmul"
                                                                   : "attention";
  return fmt::format("{} {}", kind, first);
}

Status print_steps(const std::shared_ptr<GpuDevice>& device, const GpuProgram& program, const Slots& slots,
                   const Arguments& arguments, Profile& profile) {
  INFLIGHT_TRY_ASSIGN(const Peak peak, peak_of(*device, arguments.precision));
  fmt::print("# peak {:.0f} TFLOP/s, {:.2f} TB/s\n", peak.operations / 1e12, peak.bytes / 1e12);
  fmt::print("{:>4} {:>8} {:>8} {:>8} {:>5} {:>7} {:>5}  step\n", "#", "us", "8 each", "kB", "%", "MFLOP",
             "%");
  GraphTimer timer(device);
  const GpuGraph& graph = program.graph();
  for (std::size_t i = 0; i < graph.steps.size(); ++i) {
    const auto enqueue = [&](int copy, CUstream stream) {
      return slots[static_cast<std::size_t>(copy)]->enqueue_step(i, arguments.width, stream);
    };
    INFLIGHT_TRY_ASSIGN(const std::vector<float> alone, timer.time(kAlone, enqueue));
    INFLIGHT_TRY_ASSIGN(const std::vector<float> eight, timer.time(kEight, enqueue));
    const Step& step = graph.steps[i];
    const Work work = work_of(graph, step);
    const double us = median(alone);
    const std::string candidate = program.candidate_text(i, arguments.width);
    const std::string kind = kind_of(step, candidate);
    fmt::print("{:4} {:8.2f} {:8.2f} {:8.1f} {:5.1f} {:7.1f} {:5.1f}  {} \"{}\" {} {}\n", i, us,
               median(eight), work.bytes / 1e3, 100 * work.bytes / peak.bytes / us * 1e6,
               work.operations / 1e6, 100 * work.operations / peak.operations / us * 1e6, kind,
               label_of(step), shapes_of(graph, step), candidate);
    profile.alone += us;
    profile.together += median(eight);
    std::array<double, 3>& sums = profile.kinds[kind];
    sums[0] += 1;
    sums[1] += us;
    sums[2] += median(eight);
  }
  return Status();
}

Status run(const Arguments& arguments) {
  INFLIGHT_TRY_ASSIGN(const Model model, Model::load(arguments.model));
  INFLIGHT_TRY_ASSIGN(GpuGraph graph, lower(network(model), {.precision = arguments.precision}));
  INFLIGHT_TRY_ASSIGN(const std::shared_ptr<GpuDevice> device, GpuDevice::open(0));
  ProgramOptions options;
  options.name = arguments.model;
  options.tune = arguments.tune;
  options.cache = DiskCache::of_user();
  options.transfers = Transfers::kNone;
  INFLIGHT_TRY_ASSIGN(const std::shared_ptr<GpuProgram> program,
                      GpuProgram::build(device, std::move(graph), options));
  const LoadReport& report = program->report();
  fmt::print("# {} in {} on {}; {}; loaded in {:.1f} s, {} plans ({} measured, {} cached, {} untuned)\n",
             arguments.model, precision_name(arguments.precision), device->description(), report.versions,
             report.seconds, report.tuning.plans, report.tuning.measured, report.tuning.cached,
             report.tuning.untuned);
  fmt::print("# {}; width {}\n", summary(program->graph()), width_name(arguments.width));
  Slots slots;
  for (int i = 0; i < kTogether; ++i) {
    INFLIGHT_TRY_ASSIGN(std::unique_ptr<GpuSlot> slot, program->bind());
    INFLIGHT_TRY(slot->warm_up());
    slots.push_back(std::move(slot));
  }
  INFLIGHT_TRY(device->make_current());
  Profile profile;
  INFLIGHT_TRY(print_steps(device, *program, slots, arguments, profile));
  for (const auto& [kind, sums] : profile.kinds)
    fmt::print("# {:4} {:20} {:8.1f} us alone, {:8.1f} us each of {}\n", sums[0], kind, sums[1], sums[2],
               kTogether);
  fmt::print("# sum of the steps {:.1f} us alone, {:.1f} us each of {}\n", profile.alone, profile.together,
             kTogether);
  for (const Width width : {Width::kWide, Width::kNarrow}) {
    INFLIGHT_TRY_ASSIGN(const auto whole, time_whole(*device, slots, width));
    fmt::print("# the {} graph of {} nodes: {:.1f} us alone, {:.1f} us each of {} ({:.0f}/s)\n",
               width_name(width), slots[0]->nodes(width), whole[0], whole[1], kTogether, 1e6 / whole[1]);
  }
  return Status();
}

}  // namespace
}  // namespace inflight::cuda

int main(int argc, char** argv) {
  const auto arguments = inflight::cuda::parse(argc, argv);
  const inflight::Status status = arguments.ok() ? inflight::cuda::run(*arguments) : arguments.status();
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", status.to_string());
  return 1;
}
