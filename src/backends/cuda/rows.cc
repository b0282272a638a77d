// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "backends/cuda/kernel_source.h"

namespace inflight::cuda {
namespace {

// An element of a row lies in the register of this name in each thread that has it.
constexpr int kKeptMax = 16;

std::string kept_name(const ov::Output<ov::Node>& value, const Emitter& emitter) {
  return emitter.kept_name(value);
}

}  // namespace

Frame make_frame(const Extents& domain, const std::vector<std::size_t>& axes, const Extents& strides) {
  Frame frame;
  frame.domain = domain;
  for (std::size_t d = 0; d < domain.size(); ++d) {
    const bool in_row = std::find(axes.begin(), axes.end(), d) != axes.end();
    (in_row ? frame.axes : frame.rows).push_back(d);
    (in_row ? frame.length : frame.count) *= domain[d];
  }
  const auto outer_first = [&](std::size_t a, std::size_t b) { return strides[a] > strides[b]; };
  std::stable_sort(frame.axes.begin(), frame.axes.end(), outer_first);
  std::stable_sort(frame.rows.begin(), frame.rows.end(), outer_first);
  const auto innermost = [&](const std::vector<std::size_t>& dimensions) {
    std::int64_t stride = INT64_MAX;
    for (const std::size_t d : dimensions)
      if (domain[d] > 1) stride = std::min(stride, strides[d]);
    return stride;
  };
  frame.lanes = innermost(frame.rows) < innermost(frame.axes) ? 32 : 1;
  if (frame.lanes == 32)
    frame.threads = frame.length <= 16 ? 128 : frame.length <= 512 ? 256 : 512;
  else
    frame.threads = frame.length <= 128    ? 32
                    : frame.length <= 512  ? 64
                    : frame.length <= 2048 ? 128
                    : frame.length <= 8192 ? 256
                                           : 512;
  const std::int64_t together = frame.threads / frame.lanes;
  frame.keeps = (frame.length + together - 1) / together <= kKeptMax;
  return frame;
}

void open_rows(Emitter& emitter, Frame& frame) {
  emitter.line(fmt::format("constexpr int kLanes = ON_DEVICE({}, 1), kTogether = ON_DEVICE({}, 1);",
                           frame.lanes, frame.threads / frame.lanes));
  emitter.line("const idx lane_ = threadIdx.x % kLanes, group_ = threadIdx.x / kLanes;");
  emitter.open(
      fmt::format("for (idx base_ = (idx)blockIdx.x * kLanes; base_ < {}; base_ += (idx)gridDim.x * kLanes)",
                  frame.count));
  // A lane past the last row repeats it, and stores nothing: all threads take part in the reductions.
  emitter.line(fmt::format("const idx row_ = m_min<idx>(base_ + lane_, {});", frame.count - 1));
  Extents extents;
  for (const std::size_t d : frame.rows) extents.push_back(frame.domain[d]);
  const Indices rows = emitter.split({"row_", 0, 1, frame.count}, extents);
  frame.row.assign(frame.domain.size(), Emitter::constant(0));
  for (std::size_t i = 0; i < rows.size(); ++i) frame.row[frame.rows[i]] = rows[i];
}

Indices open_elements(Emitter& emitter, const Frame& frame) {
  if (frame.keeps) emitter.line("UNROLL");
  emitter.open(fmt::format("for (idx j_ = 0; j_ < ({} + kTogether - 1) / kTogether; ++j_)", frame.length));
  emitter.line("const idx k_ = j_ * kTogether + group_;");
  emitter.open(fmt::format("if (k_ < {})", frame.length));
  Extents extents;
  for (const std::size_t d : frame.axes) extents.push_back(frame.domain[d]);
  const Indices inner = emitter.split({"k_", 0, 1, frame.length}, extents);
  Indices at = frame.row;
  for (std::size_t i = 0; i < inner.size(); ++i) at[frame.axes[i]] = inner[i];
  return at;
}

void close_elements(Emitter& emitter) {
  emitter.close();
  emitter.close();
}

Indices value_indices(Emitter& emitter, const Frame& frame, const Indices& at) {
  if (frame.groups == 0) return at;
  Indices joined = {at[0], emitter.linear({{at[1], frame.domain[2]}, {at[2], 1}})};
  joined.insert(joined.end(), at.begin() + 3, at.end());
  return joined;
}

void declare_kept(Emitter& emitter, const Frame& frame, const ov::Output<ov::Node>& value) {
  if (!frame.keeps || emitter.is_kept(value)) return;
  emitter.line(fmt::format("{} {}[({} + kTogether - 1) / kTogether];", compute_type(value.get_element_type()),
                           kept_name(value, emitter), frame.length));
}

Result<std::string> emit_kept(Emitter& emitter, Frame& frame, const ov::Output<ov::Node>& value,
                              const Indices& at) {
  if (!frame.keeps) return emitter.emit(value, at);
  const std::string kept = kept_name(value, emitter) + "[j_]";
  if (emitter.is_kept(value)) return kept;
  INFLIGHT_TRY_ASSIGN(const std::string name, emitter.emit(value, at));
  emitter.line(fmt::format("{} = {};", kept, name));
  emitter.keep(value, at, kept);
  return name;
}

Result<std::string> emit_row_reduction(Emitter& emitter, Frame& frame, const ov::Output<ov::Node>& value,
                                       const RowReduction& reduction) {
  declare_kept(emitter, frame, value);
  const std::string sum = emitter.variable(reduction.type, reduction.start);
  const Indices at = open_elements(emitter, frame);
  INFLIGHT_TRY_ASSIGN(const std::string x,
                      emit_kept(emitter, frame, value, value_indices(emitter, frame, at)));
  emitter.line(fmt::format("{0} = {1}()({0}, ({2})({3}));", sum, reduction.functor, reduction.type,
                           replaced(reduction.element, "$0", x)));
  close_elements(emitter);
  return emitter.local(reduction.type, fmt::format("lane_reduce<kLanes>({}, {}())", sum, reduction.functor));
}

}  // namespace inflight::cuda
