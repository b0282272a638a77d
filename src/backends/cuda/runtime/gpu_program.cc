// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/gpu_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "backends/cuda/runtime/step_sources.h"
#include "base/in_parallel.h"

namespace inflight::cuda {
namespace {

constexpr std::size_t kAlignment = 256;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

double seconds_since(TimePoint start) {
  return std::chrono::duration<double>(steady_clock().now() - start).count();
}

// Inputs and outputs of the program have memory of their own.
bool overlap(const GpuTensor& a, const GpuTensor& b) {
  if (a.storage != Storage::kScratch || b.storage != Storage::kScratch) return &a == &b;
  return a.offset < b.offset + b.bytes() && b.offset < a.offset + a.bytes();
}

}  // namespace

Result<std::shared_ptr<GpuProgram>> GpuProgram::build(std::shared_ptr<GpuDevice> device, GpuGraph graph,
                                                      const ProgramOptions& options) {
  std::shared_ptr<GpuProgram> program(new GpuProgram(std::move(device), std::move(graph), options));
  const Status started = program->start();
  if (!started.ok()) return started.with_context(options.name);
  return program;
}

GpuProgram::GpuProgram(std::shared_ptr<GpuDevice> device, GpuGraph graph, const ProgramOptions& options)
    : device_(std::move(device)), graph_(std::move(graph)), options_(options), kernels_(device_) {}

Status GpuProgram::start() {
  const TimePoint start = steady_clock().now();
  INFLIGHT_TRY(check());
  INFLIGHT_TRY(device_->status());
  INFLIGHT_TRY(device_->make_current());
  report_.versions = library_versions();
  INFLIGHT_TRY(place_tensors());
  INFLIGHT_TRY(upload_constants());
  INFLIGHT_TRY(compile_kernels());
  report_.kernel_seconds = seconds_since(start);
  INFLIGHT_TRY(make_plans());
  report_.plan_seconds = seconds_since(start) - report_.kernel_seconds;
  report_.constant_bytes = constant_bytes_;
  report_.slot_bytes = arena_bytes_ + workspace_bytes_;
  report_.workspace_bytes = workspace_bytes_;
  report_.kernels = kernels_.counts();
  report_.seconds = seconds_since(start);
  return Status();
}

// A graph comes from our own lowering; a mistake in it must not become a wild address on the device.
Status GpuProgram::check() const {
  const auto exists = [&](TensorId id) {
    return id >= 0 && static_cast<std::size_t>(id) < graph_.tensors.size();
  };
  const auto all_exist = [&](const std::vector<TensorId>& ids) {
    return std::all_of(ids.begin(), ids.end(), exists);
  };
  for (const Step& step : graph_.steps) {
    if (all_exist(reads_of(step)) && all_exist(writes_of(step))) continue;
    return Status(StatusCode::kInvalidModel,
                  fmt::format("step \"{}\" names a tensor that is not there", label_of(step)));
  }
  if (!all_exist(graph_.inputs) || !all_exist(graph_.outputs))
    return Status(StatusCode::kInvalidModel, "an input or output is a tensor that is not there");
  for (const GpuTensor& tensor : graph_.tensors) {
    const bool outside =
        tensor.storage == Storage::kScratch && tensor.offset + tensor.bytes() > graph_.scratch_bytes;
    const bool short_constant =
        tensor.storage == Storage::kConstant && tensor.constant.size() > tensor.bytes();
    if (!outside && !short_constant) continue;
    return Status(StatusCode::kInvalidModel,
                  fmt::format("tensor \"{}\" does not fit its memory", tensor.name));
  }
  return Status();
}

Status GpuProgram::place_tensors() {
  offsets_.resize(graph_.tensors.size());
  arena_bytes_ = aligned(graph_.scratch_bytes);
  for (std::size_t i = 0; i < graph_.tensors.size(); ++i) {
    const GpuTensor& tensor = graph_.tensors[i];
    if (tensor.storage == Storage::kScratch) {
      offsets_[i] = tensor.offset;
      continue;
    }
    std::size_t& end = tensor.storage == Storage::kConstant ? constant_bytes_ : arena_bytes_;
    offsets_[i] = end;
    end += aligned(tensor.bytes());
  }
  return Status();
}

Status GpuProgram::upload_constants() {
  INFLIGHT_TRY_ASSIGN(constants_, device_->allocate(constant_bytes_, "weights"));
  for (std::size_t i = 0; i < graph_.tensors.size(); ++i) {
    GpuTensor& tensor = graph_.tensors[i];
    if (tensor.storage != Storage::kConstant) continue;
    INFLIGHT_TRY(
        device_->upload(constants_.address() + offsets_[i], tensor.constant.data(), tensor.constant.size()));
    std::vector<std::byte>().swap(tensor.constant);
  }
  return Status();
}

Status GpuProgram::compile_kernels() {
  std::vector<CUfunction> functions;
  INFLIGHT_TRY(
      kernels_.add_module(copy_source(), {"fetch", "copy_in", "copy_out"}, options_.cache, functions));
  fetch_ = functions[0];
  copy_in_ = functions[1];
  copy_out_ = functions[2];
  std::vector<std::string> sources;
  for (const Step& step : graph_.steps) {
    if (const auto* kernel = std::get_if<KernelStep>(&step)) sources.push_back(kernel->source);
  }
  INFLIGHT_TRY(kernels_.add(sources, options_.cache, functions));
  std::size_t next = 0;
  for (const Step& step : graph_.steps) {
    const auto* kernel = std::get_if<KernelStep>(&step);
    if (kernel == nullptr) {
      runs_.emplace_back(PlanRun{});  // make_plans() fills it in
      continue;
    }
    KernelRun run{{functions[next++], kernel->blocks, kernel->threads}, kernel->reads};
    run.tensors.insert(run.tensors.end(), kernel->writes.begin(), kernel->writes.end());
    runs_.emplace_back(std::move(run));
  }
  return Status();
}

Status GpuProgram::make_plans() {
  std::map<std::string, std::size_t> known;
  std::vector<const Step*> firsts;  // of each signature
  for (std::size_t i = 0; i < graph_.steps.size(); ++i) {
    auto* run = std::get_if<PlanRun>(&runs_[i]);
    if (run == nullptr) continue;
    std::string signature;
    if (const auto* conv = std::get_if<ConvolutionStep>(&graph_.steps[i])) {
      signature = signature_of(graph_, *conv);
      run->tensors = {conv->x, conv->w, kNoTensor, conv->bias, conv->residual, conv->y};
    } else if (const auto* matmul = std::get_if<MatmulStep>(&graph_.steps[i])) {
      signature = signature_of(graph_, *matmul);
      run->tensors = {matmul->a, matmul->b, kNoTensor, matmul->bias, matmul->residual, matmul->c};
    } else {
      const auto& attention = std::get<AttentionStep>(graph_.steps[i]);
      signature = signature_of(graph_, attention);
      run->tensors = {attention.q, attention.k, attention.v, attention.mask, kNoTensor, attention.out};
    }
    const auto [found, added] = known.emplace(std::move(signature), firsts.size());
    if (added) firsts.push_back(&graph_.steps[i]);
    run->plan = found->second;
  }
  plans_.resize(firsts.size());
  const auto make_one = [&](std::size_t i) -> Status {
    const auto* conv = std::get_if<ConvolutionStep>(firsts[i]);
    const auto* matmul = std::get_if<MatmulStep>(firsts[i]);
    Result<std::shared_ptr<StepPlan>> plan =
        conv != nullptr ? plan_convolution(device_, graph_, *conv, options_.cache)
        : matmul != nullptr
            ? plan_matmul(device_, graph_, *matmul, options_.cache)
            : plan_attention(device_, graph_, std::get<AttentionStep>(*firsts[i]), options_.cache);
    if (!plan.ok()) return plan.status().with_context(fmt::format("\"{}\"", label_of(*firsts[i])));
    plans_[i] = *std::move(plan);
    return Status();
  };
  INFLIGHT_TRY(internal::in_parallel(firsts.size(), make_one));
  const bool narrow =
      std::find(options_.widths.begin(), options_.widths.end(), Width::kNarrow) != options_.widths.end();
  Tuner tuner(make_plan_timer(device_), options_.cache,
              {.level = options_.tune, .progress = options_.progress, .narrow = narrow});
  INFLIGHT_TRY_ASSIGN(choices_, tuner.choose(plans_, uses()));
  report_.tuning = tuner.report();
  for (std::size_t i = 0; i < plans_.size(); ++i) {
    for (const std::size_t one : {choices_[i].wide, choices_[i].narrow})
      workspace_bytes_ = std::max(workspace_bytes_, plans_[i]->workspace_bytes(one));
  }
  return Status();
}

std::vector<std::size_t> GpuProgram::uses() const {
  std::vector<std::size_t> uses(plans_.size());
  for (const Run& run : runs_) {
    if (const auto* plan = std::get_if<PlanRun>(&run)) ++uses[plan->plan];
  }
  return uses;
}

std::size_t GpuProgram::candidate(const PlanRun& run, Width width) const {
  return width == Width::kWide ? choices_[run.plan].wide : choices_[run.plan].narrow;
}

Ahead GpuProgram::ahead(std::size_t index, Width width) const {
  const auto* run = std::get_if<PlanRun>(&runs_[index]);
  return run == nullptr ? Ahead::kWaits : plans_[run->plan]->ahead(candidate(*run, width));
}

// Kernels of ours may let the next one come before they themselves have waited. A library's have waited by then, so
// what lies ahead of that step has ended.
std::vector<TensorId> GpuProgram::unwritten(std::size_t index, Width width) const {
  std::vector<TensorId> unwritten;
  for (std::size_t i = index + 1; i-- > 0;) {
    const std::vector<TensorId> of_step = writes_of(graph_.steps[i]);
    unwritten.insert(unwritten.end(), of_step.begin(), of_step.end());
    if (ahead(i, width) != Ahead::kWaits) break;
  }
  return unwritten;
}

bool GpuProgram::next_is_early(std::size_t index, Width width) const {
  if (index + 1 == runs_.size()) return false;
  const Ahead next = ahead(index + 1, width);
  if (next != Ahead::kWaitsForA) return next == Ahead::kWaits;
  const auto& tensors = std::get<PlanRun>(runs_[index + 1]).tensors;
  const std::vector<TensorId> unwritten = this->unwritten(index, width);
  // Views share memory, so tensors are compared by the place where they lie.
  const auto is_unwritten = [&](TensorId id) {
    return id != kNoTensor && std::any_of(unwritten.begin(), unwritten.end(), [&](TensorId one) {
             return overlap(graph_.tensor(id), graph_.tensor(one));
           });
  };
  return std::none_of(tensors.begin() + 1, tensors.end() - 1, is_unwritten);
}

Status GpuProgram::enqueue(std::size_t index, Width width, CUstream stream,
                           std::span<const CUdeviceptr> addresses, CUdeviceptr workspace) {
  const auto address = [&](TensorId id) {
    return id == kNoTensor ? CUdeviceptr{0} : addresses[static_cast<std::size_t>(id)];
  };
  Status enqueued;
  if (const auto* kernel = std::get_if<KernelRun>(&runs_[index])) {
    std::vector<CUdeviceptr> parameters;
    for (const TensorId id : kernel->tensors) parameters.push_back(address(id));
    enqueued =
        launch_kernel(*device_, kernel->launch, stream, std::move(parameters), next_is_early(index, width));
  } else {
    const auto& run = std::get<PlanRun>(runs_[index]);
    const auto& t = run.tensors;
    enqueued = plans_[run.plan]->enqueue(candidate(run, width), stream,
                                         {address(t[0]), address(t[1]), address(t[2]), address(t[3]),
                                          address(t[4]), address(t[5]), next_is_early(index, width)},
                                         workspace);
  }
  return enqueued.with_context(fmt::format("step \"{}\"", label_of(graph_.steps[index])));
}

Result<std::unique_ptr<GpuSlot>> GpuProgram::bind() {
  INFLIGHT_TRY(device_->status());
  std::unique_ptr<GpuSlot> slot(new GpuSlot(shared_from_this()));
  const Status started = slot->start();
  if (!started.ok()) return started.with_context(options_.name);
  return slot;
}

std::string GpuProgram::candidate_text(std::size_t step, Width width) const {
  const auto* run = std::get_if<PlanRun>(&runs_[step]);
  return run == nullptr ? "" : plans_[run->plan]->candidate_name(candidate(*run, width));
}

std::string GpuProgram::tuning_text() const {
  const std::vector<std::size_t> uses = this->uses();
  std::string text;
  double sums[4] = {};
  for (std::size_t i = 0; i < plans_.size(); ++i) {
    const TuneChoice& one = choices_[i];
    text += fmt::format(
        "{:3} x alone {:7.2f} us (first {:7.2f}), of {} together {:6.2f} us (first {:6.2f}), {} tried: {}\n"
        "      wide {}; narrow {}\n",
        uses[i], one.wide_us, one.first_wide_us, Tuner::kTogether, one.narrow_us, one.first_narrow_us,
        one.tried, plans_[i]->signature(), plans_[i]->candidate_name(one.wide),
        plans_[i]->candidate_name(one.narrow));
    const double count = static_cast<double>(uses[i]);
    sums[0] += count * one.wide_us;
    sums[1] += count * one.first_wide_us;
    sums[2] += count * one.narrow_us;
    sums[3] += count * one.first_narrow_us;
  }
  return text + fmt::format(
                    "    sum: alone {:.1f} us (first choices {:.1f}), together {:.1f} us each (first choices "
                    "{:.1f})\n",
                    sums[0], sums[1], sums[2], sums[3]);
}

}  // namespace inflight::cuda
