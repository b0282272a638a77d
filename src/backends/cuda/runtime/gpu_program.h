// SPDX-License-Identifier: Apache-2.0
// GpuProgram: a GpuGraph on a device: its kernels, its plans and its weights. GpuSlot: one place where it runs, as
// one captured CUDA graph for each width.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/runtime/compiler.h"
#include "backends/cuda/runtime/device.h"
#include "backends/cuda/runtime/disk_cache.h"
#include "backends/cuda/runtime/graph_copy.h"
#include "backends/cuda/runtime/step_plan.h"
#include "backends/cuda/runtime/step_sources.h"
#include "backends/cuda/runtime/tuner.h"
#include "inflight/backend.h"

namespace inflight::cuda {

// kCopied: a launch's arrays are copied in and out by its graph. kNone: the graph has no copies, so that a benchmark
// can measure the network alone; the outputs are not written.
enum class Transfers { kCopied, kNone };

struct ProgramOptions {
  std::string name = "program";  // for messages
  std::vector<Width> widths = {Width::kWide, Width::kNarrow};
  TuneLevel tune = TuneLevel::kFast;
  DiskCache cache = DiskCache("");
  Transfers transfers = Transfers::kCopied;
  std::function<void(const TuneProgress&)> progress = {};  // as CompileOptions::progress
};

// What a load did and how long it took.
struct LoadReport {
  std::size_t constant_bytes = 0;
  std::size_t slot_bytes = 0;  // of the device, for each slot
  std::size_t workspace_bytes = 0;
  CompileCounts kernels;
  TuneReport tuning;
  std::string versions;
  double kernel_seconds = 0;
  double plan_seconds = 0;  // tuning included
  double seconds = 0;       // in all
};

// width_name() without the library that has it.
inline const char* width_text(Width width) {
  constexpr std::array<const char*, kWidthCount> kTexts = {"wide", "medium", "narrow"};
  return kTexts[index_of(width)];
}

class GpuSlot;

// Immutable once built; bind() may be called from any thread.
class GpuProgram : public std::enable_shared_from_this<GpuProgram> {
 public:
  //   errors   kInvalidModel: a step names a tensor that is not there; kOutOfMemory: how much was needed;
  //            kUnsupported: a step that no library and no kernel takes; kDeviceError
  static Result<std::shared_ptr<GpuProgram>> build(std::shared_ptr<GpuDevice> device, GpuGraph graph,
                                                   const ProgramOptions& options);
  Result<std::unique_ptr<GpuSlot>> bind();

  const GpuGraph& graph() const noexcept { return graph_; }  // without the bytes of constants
  const LoadReport& report() const noexcept { return report_; }
  GpuDevice& device() const noexcept { return *device_; }
  // The choices, one line a plan: microseconds alone and with eight together, against the library's first.
  std::string tuning_text() const;
  // The candidate that tuning chose for a step; "" for a kernel of our own.
  std::string candidate_text(std::size_t step, Width width) const;

 private:
  friend class GpuSlot;
  struct KernelRun {
    KernelLaunch launch;
    std::vector<TensorId> tensors;
  };
  struct PlanRun {
    std::size_t plan = 0;
    std::array<TensorId, 6> tensors{};  // of Operands, in its order; kNoTensor: 0
  };
  using Run = std::variant<KernelRun, PlanRun>;

  GpuProgram(std::shared_ptr<GpuDevice> device, GpuGraph graph, const ProgramOptions& options);
  Status start();
  Status check() const;
  Status place_tensors();
  Status upload_constants();
  Status compile_kernels();
  Status make_plans();
  // How many steps have each plan.
  std::vector<std::size_t> uses() const;
  std::size_t candidate(const PlanRun& run, Width width) const;
  // What the step does if it begins before the one ahead of it has ended. Kernels of our own wait.
  Ahead ahead(std::size_t index, Width width) const;
  // What may not be written yet when the step after `index` begins early.
  std::vector<TensorId> unwritten(std::size_t index, Width width) const;
  // Whether the step after `index` may begin before that one has ended.
  bool next_is_early(std::size_t index, Width width) const;
  // Puts step `index` into a stream. Under mutex_.
  Status enqueue(std::size_t index, Width width, CUstream stream, std::span<const CUdeviceptr> addresses,
                 CUdeviceptr workspace) INFLIGHT_REQUIRES(mutex_);

  const std::shared_ptr<GpuDevice> device_;
  GpuGraph graph_;
  const ProgramOptions options_;
  std::vector<std::size_t> offsets_;  // by tensor, in the constants or in the slot's arena
  std::size_t constant_bytes_ = 0;
  std::size_t arena_bytes_ = 0;
  std::size_t workspace_bytes_ = 0;
  GpuMemory constants_;
  Kernels kernels_;
  CUfunction fetch_ = nullptr;
  CUfunction copy_in_ = nullptr;
  CUfunction copy_out_ = nullptr;
  std::vector<std::shared_ptr<StepPlan>> plans_;
  std::vector<TuneChoice> choices_;
  std::vector<Run> runs_;  // one a step
  LoadReport report_;

  internal::Mutex mutex_;                           // plans are used by one thread at a time
  bool tried_ INFLIGHT_GUARDED_BY(mutex_) = false;  // every step has run once, one at a time
};

// Holds, in pinned host memory, a table that its graphs read when they run: where this launch's inputs come from and
// its outputs go, and its generation. So a launch needs no change to a graph, but for what a copy engine copies: its
// nodes get their addresses before the launch.
//
// Arrays in pinned memory or on the device are read and written where they are. Others take one copy more, of the
// host, through the slot's own pinned memory: inputs in launch(), outputs in outcome().
class GpuSlot final : public BoundProgram {
 public:
  ~GpuSlot() override;
  // Runs each graph twice. Its inputs are zeros.
  Status warm_up() override;
  Status launch(const Launch& launch) override;
  const std::atomic<std::uint64_t>& completion_word() const noexcept override { return *word_; }
  Status outcome() override;
  TensorView dynamic_output(std::size_t index) override;

  // For tests and benchmarks. The graph of a width, and the slot's stream.
  CUgraphExec graph(Width width) const noexcept { return graphs_[index_of(width)].executable; }
  std::size_t nodes(Width width) const noexcept { return graphs_[index_of(width)].nodes; }
  CUstream stream() const noexcept { return watched_.stream; }
  // Where a tensor is in this slot.
  CUdeviceptr address(TensorId tensor) const noexcept { return addresses_[static_cast<std::size_t>(tensor)]; }
  // Puts one step of the graph into a stream, which may be capturing.
  Status enqueue_step(std::size_t step, Width width, CUstream stream);

 private:
  friend class GpuProgram;
  // With others in flight, copy engines copy arrays of the host from this size on, so that no kernel holds multiprocessors
  // while it waits for the bus. A prediction that is alone has no use for that, and a kernel begins sooner.
  static constexpr std::size_t kEngineBytesMin = std::size_t{256} << 10U;
  explicit GpuSlot(std::shared_ptr<GpuProgram> program) : program_(std::move(program)) {}
  Status start();
  Status make_memory();
  Status make_staging();
  Status try_steps();
  Status capture(Width width);
  //   to_end   gets the nodes that must have ended before what comes behind them begins
  Status capture_all(Width width, std::vector<CUgraphNode>& to_end);
  Status enqueue_fetch(CUstream stream);
  Status enqueue_copies_in(CUstream stream);
  Status enqueue_copies_out(CUstream stream);
  Status wait_for(std::span<const LaunchPoint> after);
  // Whether a copy engine copies array `i` if the host has it.
  bool by_engine(Width width, std::size_t i) const {
    return width == Width::kNarrow && arrays_[i].bytes >= kEngineBytesMin;
  }
  Status capture_copies(Width width, GraphCopy::Direction direction);
  // Where array `i` of the next launch is.
  void place(Width width, std::size_t i, const void* data, bool on_host);
  static bool computed_on_host(std::span<const LaunchPoint> after, const void* data);
  Status place_inputs(const Launch& launch);
  Status place_outputs(const Launch& launch);

  const std::shared_ptr<GpuProgram> program_;
  GpuMemory arena_;
  GpuMemory workspace_;
  GpuMemory fetched_;  // the table but for the word, as of this launch, in device memory
  GpuMemory copies_;   // CopyEntry for each input, for each output; then the counter of copy_out
  GpuMemory
      table_;  // pinned: addresses of inputs, of outputs, the generation; then the word, in a line of its own
  GpuMemory staging_;                         // pinned
  std::vector<CUdeviceptr> addresses_;        // by tensor
  std::vector<CopyEntry> arrays_;             // inputs, then outputs, in the slot's memory
  std::vector<std::size_t> staging_offsets_;  // of each array
  std::vector<CUdeviceptr> engine_ends_;  // of each array, in the host's memory; 0: no copy engine copies it
  // Outputs of the newest launch that the host copies; only launch() changes it.
  std::vector<MutableTensorView> to_copy_;
  std::vector<std::size_t> to_copy_from_;      // where in staging_
  volatile std::uint64_t* entries_ = nullptr;  // the table, by the host
  std::atomic<std::uint64_t>* word_ = nullptr;
  WatchedSlot watched_;
  CUevent done_ = nullptr;  // recorded only for a launch of another slot that comes after
  struct EngineCopy {
    std::size_t array;
    GraphCopy copy;
  };
  // One captured graph, as it was captured (its copies refer to it) and as it is launched.
  struct Graph {
    CUgraph captured = nullptr;
    CUgraphExec executable = nullptr;
    std::size_t nodes = 0;
    std::vector<EngineCopy> copies;
  };
  std::array<Graph, kWidthCount> graphs_;
  std::uint64_t generation_ = 0;
};

}  // namespace inflight::cuda
