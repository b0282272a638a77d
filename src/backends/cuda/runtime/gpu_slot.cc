// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "backends/cuda/runtime/gpu_program.h"
#include "backends/cuda/runtime/graph_edges.h"
#include "backends/cuda/runtime/step_sources.h"
#include "base/check.h"

namespace inflight::cuda {
namespace {

using internal::MutexLock;

constexpr std::size_t kLine = 128;  // bytes; the word shares its line with nothing that the host writes
constexpr unsigned kCopyThreads = 256;
constexpr std::size_t kCopyBlocksMax = 64;
constexpr unsigned kFetchThreads = 32;

std::size_t aligned(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Enough blocks that each thread copies four pieces of 16 bytes. From 32 of them on the bus is full.
unsigned copy_blocks(std::size_t bytes_max) {
  return static_cast<unsigned>(
      std::clamp<std::size_t>(bytes_max / (std::size_t{64} * kCopyThreads) + 1, 1, kCopyBlocksMax));
}

}  // namespace

Status GpuSlot::start() {
  GpuDevice& device = *program_->device_;
  const DriverApi& api = device.api();
  INFLIGHT_TRY(device.make_current());
  INFLIGHT_TRY(make_memory());
  INFLIGHT_TRY(make_staging());
  INFLIGHT_TRY(device.check(api.cuStreamCreate(&watched_.stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate"));
  INFLIGHT_TRY(device.check(api.cuEventCreate(&done_, CU_EVENT_DISABLE_TIMING), "cuEventCreate"));
  {
    const MutexLock lock(program_->mutex_);
    if (!program_->tried_) INFLIGHT_TRY(try_steps());
    program_->tried_ = true;
  }
  for (const Width width : program_->options_.widths) INFLIGHT_TRY(capture(width));
  watched_.word = word_;
  device.watch(watched_);
  return Status();
}

Status GpuSlot::make_memory() {
  GpuDevice& device = *program_->device_;
  INFLIGHT_TRY_ASSIGN(arena_, device.allocate(program_->arena_bytes_, "a slot"));
  INFLIGHT_TRY(device.check(
      device.api().cuMemsetD8(arena_.address(), 0, program_->arena_bytes_ == 0 ? 1 : program_->arena_bytes_),
      "cuMemsetD8"));
  INFLIGHT_TRY_ASSIGN(workspace_, device.allocate(program_->workspace_bytes_, "a slot's workspace"));
  const std::vector<GpuTensor>& tensors = program_->graph_.tensors;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const bool constant = tensors[i].storage == Storage::kConstant;
    addresses_.push_back((constant ? program_->constants_ : arena_).address() + program_->offsets_[i]);
  }
  return Status();
}

Status GpuSlot::make_staging() {
  GpuDevice& device = *program_->device_;
  const GpuGraph& graph = program_->graph_;
  std::size_t staged = 0;
  for (const std::vector<TensorId>* ids : {&graph.inputs, &graph.outputs}) {
    for (const TensorId id : *ids) {
      const GpuTensor& tensor = graph.tensor(id);
      const bool empty = std::find(tensor.extents.begin(), tensor.extents.end(), 0) != tensor.extents.end();
      arrays_.push_back({address(id), empty ? 0 : tensor.bytes()});
      staging_offsets_.push_back(staged);
      staged += aligned(tensor.bytes(), kLine);
    }
  }
  to_copy_.reserve(graph.outputs.size());
  to_copy_from_.reserve(graph.outputs.size());
  INFLIGHT_TRY_ASSIGN(staging_, device.allocate_pinned(staged, "a slot"));
  std::memset(staging_.host(), 0, staging_.size());
  engine_ends_.resize(arrays_.size());
  std::vector<CopyEntry> copies = arrays_;
  copies.push_back({0, 0});  // the counter
  INFLIGHT_TRY_ASSIGN(copies_, device.allocate(copies.size() * sizeof(CopyEntry), "a slot"));
  INFLIGHT_TRY(device.upload(copies_.address(), copies.data(), copies.size() * sizeof(CopyEntry)));
  INFLIGHT_TRY_ASSIGN(fetched_, device.allocate(copies.size() * sizeof(std::uint64_t), "a slot"));
  const std::size_t word_at = aligned(copies.size() * sizeof(std::uint64_t), kLine);
  INFLIGHT_TRY_ASSIGN(table_, device.allocate_pinned(word_at + kLine, "a slot"));
  std::memset(table_.host(), 0, table_.size());
  entries_ = reinterpret_cast<volatile std::uint64_t*>(table_.host());
  for (std::size_t i = 0; i < arrays_.size(); ++i) entries_[i] = staging_.address() + staging_offsets_[i];
  static_assert(sizeof(std::atomic<std::uint64_t>) == 8 && std::atomic<std::uint64_t>::is_always_lock_free);
  word_ = new (table_.host() + word_at) std::atomic<std::uint64_t>(0);
  return Status();
}

// The first time that a program runs: a step that fails is named, which it is not once all are one graph.
Status GpuSlot::try_steps() {
  GpuDevice& device = *program_->device_;
  program_->mutex_.assert_held();
  for (const Width width : program_->options_.widths) {
    for (std::size_t i = 0; i < program_->runs_.size(); ++i) {
      INFLIGHT_TRY(program_->enqueue(i, width, stream(), addresses_, workspace_.address()));
      const Status ran = device.check(device.api().cuStreamSynchronize(stream()), "run");
      if (!ran.ok()) return ran.with_context(fmt::format("step \"{}\"", label_of(program_->graph_.steps[i])));
    }
  }
  return Status();
}

Status GpuSlot::enqueue_fetch(CUstream stream) {
  if (program_->options_.transfers == Transfers::kNone) return Status();
  CUdeviceptr table = table_.address();
  CUdeviceptr fetched = fetched_.address();
  int count = static_cast<int>(fetched_.size() / sizeof(std::uint64_t));
  std::array<void*, 3> parameters{&table, &fetched, &count};
  return program_->device_->check(
      program_->device_->api().cuLaunchKernel(program_->fetch_, 1, 1, 1, kFetchThreads, 1, 1, 0, stream,
                                              parameters.data(), nullptr),
      "fetch");
}

// Between the slot and its own pinned memory, until a launch says otherwise.
Status GpuSlot::capture_copies(Width width, GraphCopy::Direction direction) {
  if (program_->options_.transfers == Transfers::kNone) return Status();
  const std::size_t inputs = program_->graph_.inputs.size();
  const bool in = direction == GraphCopy::Direction::kToDevice;
  for (std::size_t i = in ? 0 : inputs; i < (in ? inputs : arrays_.size()); ++i) {
    if (!by_engine(width, i)) continue;
    const GraphCopy::Ends ends{staging_.address() + staging_offsets_[i], arrays_[i].tensor, arrays_[i].bytes};
    INFLIGHT_TRY_ASSIGN(GraphCopy copy, GraphCopy::capture(*program_->device_, stream(), direction, ends));
    graphs_[index_of(width)].copies.push_back({i, copy});
  }
  return Status();
}

void GpuSlot::place(Width width, std::size_t i, const void* data, bool on_host) {
  const auto address = reinterpret_cast<std::uint64_t>(data);
  const bool engine = on_host && by_engine(width, i);
  engine_ends_[i] = engine ? address : 0;
  entries_[i] = engine ? arrays_[i].tensor : address;  // a kernel copies nothing from a place to itself
}

Status GpuSlot::enqueue_copies_in(CUstream stream) {
  const GpuGraph& graph = program_->graph_;
  if (graph.inputs.empty() || program_->options_.transfers == Transfers::kNone) return Status();
  std::size_t bytes_max = 0;
  for (const TensorId id : graph.inputs) bytes_max = std::max(bytes_max, graph.tensor(id).bytes());
  CUdeviceptr fetched = fetched_.address();
  CUdeviceptr copies = copies_.address();
  std::array<void*, 2> parameters{&fetched, &copies};
  return program_->device_->check(
      program_->device_->api().cuLaunchKernel(program_->copy_in_, copy_blocks(bytes_max),
                                              static_cast<unsigned>(graph.inputs.size()), 1, kCopyThreads, 1,
                                              1, 0, stream, parameters.data(), nullptr),
      "copies in");
}

Status GpuSlot::enqueue_copies_out(CUstream stream) {
  const GpuGraph& graph = program_->graph_;
  const std::size_t inputs = graph.inputs.size();
  const bool copied = program_->options_.transfers == Transfers::kCopied;
  const std::size_t outputs = copied ? graph.outputs.size() : 0;
  std::size_t bytes_max = 0;
  for (std::size_t i = 0; i < outputs; ++i)
    bytes_max = std::max(bytes_max, graph.tensor(graph.outputs[i]).bytes());
  const std::size_t number = inputs + graph.outputs.size();
  CUdeviceptr fetched = fetched_.address() + inputs * sizeof(std::uint64_t);
  CUdeviceptr copies = copies_.address() + inputs * sizeof(CopyEntry);
  int count = static_cast<int>(outputs);
  CUdeviceptr generation = (copied ? fetched_ : table_).address() + number * sizeof(std::uint64_t);
  auto word = reinterpret_cast<CUdeviceptr>(word_);
  CUdeviceptr counter = copies_.address() + number * sizeof(CopyEntry);
  std::array<void*, 6> parameters{&fetched, &copies, &count, &generation, &word, &counter};
  return program_->device_->check(
      program_->device_->api().cuLaunchKernel(program_->copy_out_, copy_blocks(bytes_max),
                                              static_cast<unsigned>(std::max<std::size_t>(outputs, 1)), 1,
                                              kCopyThreads, 1, 1, 0, stream, parameters.data(), nullptr),
      "copies out");
}

Status GpuSlot::enqueue_step(std::size_t step, Width width, CUstream stream) {
  const MutexLock lock(program_->mutex_);
  return program_->enqueue(step, width, stream, addresses_, workspace_.address());
}

Status GpuSlot::capture_all(Width width, std::vector<CUgraphNode>& to_end) {
  program_->mutex_.assert_held();
  INFLIGHT_TRY(enqueue_fetch(stream()));
  INFLIGHT_TRY(enqueue_copies_in(stream()));
  INFLIGHT_TRY(capture_copies(width, GraphCopy::Direction::kToDevice));
  for (std::size_t i = 0; i < program_->runs_.size(); ++i) {
    if (program_->ahead(i, width) == Ahead::kExpectsEnd)
      INFLIGHT_TRY(add_newest_nodes(*program_->device_, stream(), to_end));
    INFLIGHT_TRY(program_->enqueue(i, width, stream(), addresses_, workspace_.address()));
  }
  INFLIGHT_TRY(capture_copies(width, GraphCopy::Direction::kToHost));
  return enqueue_copies_out(stream());
}

Status GpuSlot::capture(Width width) {
  GpuDevice& device = *program_->device_;
  const DriverApi& api = device.api();
  const MutexLock lock(program_->mutex_);
  INFLIGHT_TRY(device.check(api.cuStreamBeginCapture(stream(), CU_STREAM_CAPTURE_MODE_RELAXED),
                            "cuStreamBeginCapture"));
  std::vector<CUgraphNode> to_end;
  Graph& graph = graphs_[index_of(width)];
  Status captured = capture_all(width, to_end);
  const Status ended = device.check(api.cuStreamEndCapture(stream(), &graph.captured), "cuStreamEndCapture");
  if (captured.ok()) captured = ended;
  if (captured.ok()) captured = begin_after_end_of(device, to_end, graph.captured);
  if (captured.ok())
    captured = device.check(api.cuGraphGetNodes(graph.captured, nullptr, &graph.nodes), "cuGraphGetNodes");
  if (captured.ok())
    captured =
        device.check(api.cuGraphInstantiate(&graph.executable, graph.captured, 0), "cuGraphInstantiate");
  if (captured.ok()) captured = device.check(api.cuGraphUpload(graph.executable, stream()), "cuGraphUpload");
  return captured.with_context(fmt::format("the {} graph", width_text(width)));
}

GpuSlot::~GpuSlot() {
  GpuDevice& device = *program_->device_;
  if (watched_.word != nullptr) device.unwatch(watched_);
  // A lost device may never be idle again: what it may still use is kept (GpuMemory too).
  if (device.lost() || !device.make_current().ok()) return;
  const DriverApi& api = device.api();
  if (watched_.stream != nullptr) api.cuStreamSynchronize(watched_.stream);
  for (const Graph& graph : graphs_) {
    if (graph.executable != nullptr) api.cuGraphExecDestroy(graph.executable);
    if (graph.captured != nullptr) api.cuGraphDestroy(graph.captured);
  }
  if (done_ != nullptr) api.cuEventDestroy(done_);
  if (watched_.stream != nullptr) api.cuStreamDestroy(watched_.stream);
}

Status GpuSlot::warm_up() {
  GpuDevice& device = *program_->device_;
  INFLIGHT_TRY(device.make_current());
  // The table still holds generation 0, so the word does not change, and the addresses are of our own memory.
  for (const Graph& graph : graphs_) {
    if (graph.executable == nullptr) continue;
    for (int i = 0; i < 2; ++i)
      INFLIGHT_TRY(device.check(device.api().cuGraphLaunch(graph.executable, stream()), "cuGraphLaunch"));
  }
  return device.check(device.api().cuStreamSynchronize(stream()), "the first run");
}

Status GpuSlot::wait_for(std::span<const LaunchPoint> after) {
  GpuDevice& device = *program_->device_;
  for (const LaunchPoint& point : after) {
    auto& other = static_cast<GpuSlot&>(*point.bound);
    // A later launch of that slot: the one meant has finished. Its word: likewise.
    if (other.generation_ != point.generation) continue;
    if (other.word_->load(std::memory_order_acquire) == point.generation) continue;
    INFLIGHT_TRY(device.check(device.api().cuEventRecord(other.done_, other.stream()), "cuEventRecord"));
    INFLIGHT_TRY(device.check(device.api().cuStreamWaitEvent(stream(), other.done_, 0), "cuStreamWaitEvent"));
  }
  return Status();
}

// Whether one of these launches has an output that the host copies there at its end.
bool GpuSlot::computed_on_host(std::span<const LaunchPoint> after, const void* data) {
  for (const LaunchPoint& point : after) {
    const auto& other = static_cast<const GpuSlot&>(*point.bound);
    if (other.generation_ != point.generation) continue;
    for (const MutableTensorView& output : other.to_copy_) {
      if (output.data == data) return true;
    }
  }
  return false;
}

Status GpuSlot::place_inputs(const Launch& launch) {
  const PinnedRanges& pinned = program_->device_->pinned();
  for (std::size_t i = 0; i < launch.inputs.size(); ++i) {
    const TensorView& view = launch.inputs[i];
    const std::size_t bytes = view.bytes();
    const bool on_host = view.device.is_host();
    if (!on_host || pinned.contains(view.data, bytes)) {
      place(launch.width, i, view.data, on_host);
      continue;
    }
    if (computed_on_host(launch.after, view.data)) {
      return Status(
          StatusCode::kUnsupported,
          fmt::format("input {}: a launch that is out computes it into memory that is not pinned", i));
    }
    std::byte* const staged = staging_.host() + staging_offsets_[i];
    if (bytes != 0) std::memcpy(staged, view.data, bytes);
    place(launch.width, i, staged, true);
  }
  return Status();
}

Status GpuSlot::place_outputs(const Launch& launch) {
  const PinnedRanges& pinned = program_->device_->pinned();
  const std::size_t first = program_->graph_.inputs.size();
  to_copy_.clear();
  to_copy_from_.clear();
  for (std::size_t i = 0; i < launch.outputs.size(); ++i) {
    const MutableTensorView& view = launch.outputs[i];
    const bool on_host = view.device.is_host();
    if (!on_host || pinned.contains(view.data, view.bytes())) {
      place(launch.width, first + i, view.data, on_host);
      continue;
    }
    place(launch.width, first + i, staging_.host() + staging_offsets_[first + i], true);
    to_copy_.push_back(view);
    to_copy_from_.push_back(staging_offsets_[first + i]);
  }
  return Status();
}

Status GpuSlot::launch(const Launch& launch) {
  GpuDevice& device = *program_->device_;
  INFLIGHT_TRY(device.status());
  Graph& graph = graphs_[index_of(launch.width)];
  if (graph.executable == nullptr) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("the program was not compiled for width {}", width_text(launch.width)));
  }
  INFLIGHT_CHECK(launch.generation > generation_);
  INFLIGHT_TRY(device.make_current());
  if (program_->options_.transfers == Transfers::kCopied) {
    INFLIGHT_TRY(place_inputs(launch));
    INFLIGHT_TRY(place_outputs(launch));
    for (EngineCopy& one : graph.copies)
      INFLIGHT_TRY(one.copy.set_host(device, graph.executable, engine_ends_[one.array]));
  }
  INFLIGHT_TRY(wait_for(launch.after));
  entries_[arrays_.size()] = launch.generation;
  INFLIGHT_TRY(device.check(device.api().cuGraphLaunch(graph.executable, stream()), "cuGraphLaunch"));
  generation_ = launch.generation;
  watched_.launched.store(launch.generation, std::memory_order_release);
  return Status();
}

Status GpuSlot::outcome() {
  for (std::size_t i = 0; i < to_copy_.size(); ++i) {
    const std::size_t bytes = to_copy_[i].bytes();
    if (bytes != 0) std::memcpy(to_copy_[i].data, staging_.host() + to_copy_from_[i], bytes);
  }
  return Status();
}

TensorView GpuSlot::dynamic_output(std::size_t) {
  internal::check_failed("the outputs of a program for CUDA are static", __FILE__, __LINE__);
}

}  // namespace inflight::cuda
