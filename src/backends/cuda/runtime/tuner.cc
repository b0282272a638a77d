// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/tuner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "backends/cuda/runtime/compiler.h"

namespace inflight::cuda {
namespace {

constexpr int kRepeats = 10;  // of a step in one captured graph
constexpr int kReplays = 3;

double seconds_since(TimePoint start) {
  return std::chrono::duration<double>(steady_clock().now() - start).count();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

}  // namespace

// Operands for each of those that run together; weights are shared, as slots share them.
struct Tuner::Memory {
  std::vector<GpuMemory> kept;
  std::vector<Operands> operands;
  std::vector<CUdeviceptr> workspaces;
};

Result<TuneLevel> parse_tune_level(std::string_view text) {
  if (text == "off") return TuneLevel::kOff;
  if (text == "fast") return TuneLevel::kFast;
  if (text == "full") return TuneLevel::kFull;
  return Status(StatusCode::kInvalidArgument,
                fmt::format("tuning: got \"{}\", want off, fast or full", text));
}

Tuner::Tuner(std::shared_ptr<GpuDevice> device, const DiskCache& cache, TuneLevel level, Progress progress)
    : device_(std::move(device)),
      cache_(cache),
      level_(level),
      progress_(std::move(progress)),
      versions_(fmt::format("{}, driver {}, {}", device_->name(),
                            cuda_version_text(device_->driver_version()), library_versions())) {}

Tuner::~Tuner() {
  if (device_->lost()) return;
  const DriverApi& api = device_->api();
  for (const CUstream stream : streams_) api.cuStreamDestroy(stream);
  for (const CUevent event : joins_) api.cuEventDestroy(event);
  for (const CUevent event : {fork_, begin_, end_}) {
    if (event != nullptr) api.cuEventDestroy(event);
  }
}

bool Tuner::time_is_up() const { return steady_clock().now() >= deadline_; }

std::string Tuner::key_of(const StepPlan& plan) const {
  return fmt::format("{}\n{}\n{}", versions_, level_ == TuneLevel::kFull ? "full" : "fast", plan.signature());
}

bool Tuner::choose_cached(StepPlan& plan, Candidates& candidates) {
  const std::optional<std::string> found = cache_.get("tuning", key_of(plan));
  if (!found) return false;
  const std::vector<std::string> lines = lines_of(*found);
  if (lines.size() != 3) return false;
  TuneChoice choice;
  bool wide = false;
  bool narrow = false;
  for (std::size_t i = 0; i < plan.candidates() && !(wide && narrow); ++i) {
    const std::string name = plan.candidate_name(i);
    if (!wide && name == lines[0]) {
      choice.wide = i;
      wide = true;
    }
    if (!narrow && name == lines[1]) {
      choice.narrow = i;
      narrow = true;
    }
  }
  if (!wide || !narrow || !plan.prepare(choice.wide).ok() || !plan.prepare(choice.narrow).ok()) return false;
  std::sscanf(lines[2].c_str(), "%f %f %f %f", &choice.wide_us, &choice.narrow_us,  // NOLINT(cert-err34-c)
              &choice.first_wide_us, &choice.first_narrow_us);
  candidates.choice = choice;
  candidates.cached = true;
  return true;
}

void Tuner::remember(const StepPlan& plan, const TuneChoice& choice) {
  const std::string value = fmt::format("{}\n{}\n{} {} {} {}\n", plan.candidate_name(choice.wide),
                                        plan.candidate_name(choice.narrow), choice.wide_us, choice.narrow_us,
                                        choice.first_wide_us, choice.first_narrow_us);
  cache_.put("tuning", key_of(plan), value).ok();  // a cache that cannot be written costs time only
}

// Candidates of the best kind that has any: a fused plan that works makes split ones needless.
void Tuner::prepare(StepPlan& plan, Candidates& candidates) {
  if (level_ != TuneLevel::kOff && choose_cached(plan, candidates)) return;
  const std::size_t most = level_ == TuneLevel::kOff    ? 1
                           : level_ == TuneLevel::kFast ? kFastCandidates
                                                        : SIZE_MAX;
  int rank = 0;
  for (std::size_t i = 0; i < plan.candidates(); ++i) {
    if (!candidates.ready.empty()) {
      if (plan.candidate_rank(i) > rank || candidates.ready.size() >= most || time_is_up()) return;
    }
    const Status prepared = plan.prepare(i);
    if (!prepared.ok()) {
      candidates.refused = prepared;
      continue;
    }
    rank = plan.candidate_rank(i);
    candidates.ready.push_back(i);
  }
}

bool Tuner::prepare_next_kind(StepPlan& plan, Candidates& candidates) {
  const int rank = plan.candidate_rank(candidates.ready.back());
  candidates.ready.clear();
  for (std::size_t i = 0; i < plan.candidates() && candidates.ready.empty(); ++i) {
    if (plan.candidate_rank(i) > rank && plan.prepare(i).ok()) candidates.ready.push_back(i);
  }
  return !candidates.ready.empty();
}

Status Tuner::make_streams() {
  if (!streams_.empty()) return Status();
  const DriverApi& api = device_->api();
  for (int i = 0; i < kTogether; ++i) {
    CUstream stream = nullptr;
    CUevent event = nullptr;
    INFLIGHT_TRY(device_->check(api.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate"));
    streams_.push_back(stream);
    INFLIGHT_TRY(device_->check(api.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "cuEventCreate"));
    joins_.push_back(event);
  }
  INFLIGHT_TRY(device_->check(api.cuEventCreate(&fork_, CU_EVENT_DISABLE_TIMING), "cuEventCreate"));
  INFLIGHT_TRY(device_->check(api.cuEventCreate(&begin_, CU_EVENT_DEFAULT), "cuEventCreate"));
  return device_->check(api.cuEventCreate(&end_, CU_EVENT_DEFAULT), "cuEventCreate");
}

Status Tuner::capture(StepPlan& plan, std::size_t candidate, int together, const Memory& memory,
                      CUgraph& graph) {
  const DriverApi& api = device_->api();
  const CUstream first = streams_[0];
  INFLIGHT_TRY(device_->check(api.cuStreamBeginCapture(first, CU_STREAM_CAPTURE_MODE_RELAXED), "capture"));
  Status enqueued = device_->check(api.cuEventRecord(fork_, first), "cuEventRecord");
  for (int k = 0; k < together && enqueued.ok(); ++k) {
    const auto i = static_cast<std::size_t>(k);
    if (k > 0) enqueued = device_->check(api.cuStreamWaitEvent(streams_[i], fork_, 0), "cuStreamWaitEvent");
    for (int r = 0; r < kRepeats && enqueued.ok(); ++r)
      enqueued = plan.enqueue(candidate, streams_[i], memory.operands[i], memory.workspaces[i]);
    if (k == 0) continue;
    // Also after a failure: a stream that forked and did not join cannot end its capture.
    const Status recorded = device_->check(api.cuEventRecord(joins_[i], streams_[i]), "cuEventRecord");
    const Status joined = device_->check(api.cuStreamWaitEvent(first, joins_[i], 0), "cuStreamWaitEvent");
    if (enqueued.ok()) enqueued = recorded.ok() ? joined : recorded;
  }
  const Status ended = device_->check(api.cuStreamEndCapture(first, &graph), "cuStreamEndCapture");
  return enqueued.ok() ? ended : enqueued;
}

Result<float> Tuner::replay(CUgraph graph, int together) {
  const DriverApi& api = device_->api();
  const CUstream first = streams_[0];
  CUgraphExec executable = nullptr;
  INFLIGHT_TRY(device_->check(api.cuGraphInstantiate(&executable, graph, 0), "cuGraphInstantiate"));
  float best = 1e9F;
  Status failed = device_->check(api.cuGraphLaunch(executable, first), "cuGraphLaunch");
  for (int i = 0; i < kReplays && failed.ok(); ++i) {
    api.cuEventRecord(begin_, first);
    failed = device_->check(api.cuGraphLaunch(executable, first), "cuGraphLaunch");
    api.cuEventRecord(end_, first);
    if (failed.ok()) failed = device_->check(api.cuStreamSynchronize(first), "a plan");
    float ms = 0;
    if (failed.ok()) failed = device_->check(api.cuEventElapsedTime(&ms, begin_, end_), "cuEventElapsedTime");
    if (failed.ok()) best = std::min(best, ms);
  }
  if (!device_->lost()) api.cuGraphExecDestroy(executable);
  if (!failed.ok()) return failed;
  return best * 1e3F / static_cast<float>(kRepeats * together);
}

Result<float> Tuner::time(StepPlan& plan, std::size_t candidate, int together, const Memory& memory) {
  CUgraph graph = nullptr;
  const Status captured = capture(plan, candidate, together, memory, graph);
  Result<float> timed = captured.ok() ? replay(graph, together) : Result<float>(captured);
  if (graph != nullptr && !device_->lost()) device_->api().cuGraphDestroy(graph);
  return timed;
}

Status Tuner::measure(StepPlan& plan, Candidates& candidates) {
  Memory memory;
  const OperandBytes& bytes = plan.bytes();
  std::size_t workspace = 0;
  for (const std::size_t i : candidates.ready) workspace = std::max(workspace, plan.workspace_bytes(i));
  const auto get = [&](std::size_t wanted) -> Result<CUdeviceptr> {
    if (wanted == 0) return CUdeviceptr{0};
    INFLIGHT_TRY_ASSIGN(GpuMemory one, device_->allocate(wanted, "tuning"));
    // Small numbers in every dtype: zeros could make a device draw less power.
    INFLIGHT_TRY(device_->check(device_->api().cuMemsetD8(one.address(), 0x11, wanted), "cuMemsetD8"));
    memory.kept.push_back(std::move(one));
    return memory.kept.back().address();
  };
  Operands shared;
  INFLIGHT_TRY_ASSIGN(shared.b, get(bytes.b));
  INFLIGHT_TRY_ASSIGN(shared.bias, get(bytes.bias));
  for (int k = 0; k < kTogether; ++k) {
    Operands own = shared;
    INFLIGHT_TRY_ASSIGN(own.a, get(bytes.a));
    INFLIGHT_TRY_ASSIGN(own.residual, get(bytes.residual));
    INFLIGHT_TRY_ASSIGN(own.out, get(bytes.out));
    INFLIGHT_TRY_ASSIGN(const CUdeviceptr space, get(workspace));
    memory.operands.push_back(own);
    memory.workspaces.push_back(space);
  }
  INFLIGHT_TRY(device_->check(device_->api().cuCtxSynchronize(), "cuCtxSynchronize"));
  TuneChoice choice{candidates.ready[0], candidates.ready[0], 1e9F, 1e9F, 0, 0, 0};
  for (const std::size_t i : candidates.ready) {
    const Result<float> alone = time(plan, i, 1, memory);
    INFLIGHT_TRY(device_->status());
    const Result<float> together = alone.ok() ? time(plan, i, kTogether, memory) : alone;
    INFLIGHT_TRY(device_->status());
    if (!together.ok()) {
      candidates.refused = together.status();
      continue;
    }
    if (choice.tried++ == 0) {
      choice.first_wide_us = *alone;
      choice.first_narrow_us = *together;
    }
    if (*alone < choice.wide_us) {
      choice.wide_us = *alone;
      choice.wide = i;
    }
    if (*together < choice.narrow_us) {
      choice.narrow_us = *together;
      choice.narrow = i;
    }
    if (time_is_up()) break;
  }
  if (choice.tried == 0) return candidates.refused;
  candidates.choice = choice;
  remember(plan, choice);
  return Status();
}

Result<std::vector<TuneChoice>> Tuner::choose(std::span<const std::shared_ptr<StepPlan>> plans) {
  const TimePoint start = steady_clock().now();
  const double bound = level_ == TuneLevel::kFull ? kFullSeconds : kFastSeconds;
  deadline_ = start + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(bound));
  std::vector<Candidates> all(plans.size());
  // Preparing gets half of the time, so that measuring has some.
  const TimePoint end = deadline_;
  deadline_ = start + (end - start) / 2;
  const auto prepare_one = [&](std::size_t i) {
    Status current = device_->make_current();
    if (current.ok()) prepare(*plans[i], all[i]);
    return current;
  };
  INFLIGHT_TRY(in_parallel(plans.size(), std::max(1U, std::thread::hardware_concurrency()), prepare_one));
  deadline_ = end;
  report_.plans += plans.size();
  report_.prepare_seconds += seconds_since(start);
  const TimePoint measuring = steady_clock().now();
  INFLIGHT_TRY(device_->make_current());
  INFLIGHT_TRY(make_streams());
  std::vector<TuneChoice> choices;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    Candidates& one = all[i];
    if (one.cached) {
      ++report_.cached;
    } else if (one.ready.empty()) {
      return one.refused.with_context(plans[i]->signature());
    } else if (level_ == TuneLevel::kOff || time_is_up()) {
      one.choice.wide = one.choice.narrow = one.ready[0];
      ++report_.untuned;
    } else {
      Status measured = measure(*plans[i], one);
      while (!measured.ok() && !device_->lost() && prepare_next_kind(*plans[i], one))
        measured = measure(*plans[i], one);
      if (!measured.ok()) return measured.with_context(plans[i]->signature());
      ++report_.measured;
    }
    choices.push_back(one.choice);
    if (progress_) progress_(i + 1, plans.size());
  }
  report_.measure_seconds += seconds_since(measuring);
  return choices;
}

}  // namespace inflight::cuda
