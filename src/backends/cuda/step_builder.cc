// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/step_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <openvino/op/ops.hpp>
#include <openvino/op/util/op_types.hpp>

#include "base/check.h"

namespace inflight::cuda {
namespace {

namespace op = ov::op;

// Constants of at most this many elements stay in f32: they cost no time, and keep their accuracy.
constexpr std::size_t kExactConstantMax = 4096;

std::int64_t count_of(const Extents& extents) {
  std::int64_t count = 1;
  for (const std::int64_t extent : extents) count *= extent;
  return count;
}

bool is_reshape_only(const ov::Node& node) {
  return ov::is_type<op::v1::Reshape>(&node) || ov::is_type<op::v0::Squeeze>(&node) ||
         ov::is_type<op::v15::Squeeze>(&node) || ov::is_type<op::v0::Unsqueeze>(&node);
}

Status not_covered(const ov::Node& node, std::string_view why) {
  return {StatusCode::kUnsupported,
          fmt::format("node \"{}\" ({}): {}", node.get_friendly_name(), node.get_type_name(), why)};
}

bool fits_half(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](float each) { return !std::isfinite(each) || std::abs(each) <= 65504; });
}

// The bytes of elements in another order: those of `extents`, read in row-major order, go `strides` apart.
std::vector<std::byte> reordered(const std::byte* from, const Extents& extents, const Extents& strides,
                                 std::size_t width) {
  const auto count = static_cast<std::size_t>(count_of(extents));
  std::vector<std::byte> bytes(count * width);
  Extents at(extents.size(), 0);
  for (std::size_t i = 0; i < count; ++i) {
    std::int64_t to = 0;
    for (std::size_t axis = 0; axis < at.size(); ++axis) to += at[axis] * strides[axis];
    std::copy_n(from + i * width, width,
                bytes.begin() + static_cast<std::ptrdiff_t>(to) * static_cast<std::ptrdiff_t>(width));
    for (std::size_t axis = at.size(); axis > 0 && ++at[axis - 1] == extents[axis - 1]; --axis)
      at[axis - 1] = 0;
  }
  return bytes;
}

}  // namespace

StepBuilder::StepBuilder(const ov::Model& network, const Division& division, const KernelMaker& maker,
                         DType real, bool concat_in_place)
    : network_(network), division_(division), maker_(maker), real_(real) {
  graph_.outputs.assign(network_.get_results().size(), kNoTensor);
  if (concat_in_place) find_joined_convolutions();
}

// Concats of the channels of convolutions, whose results are written to where they end.
void StepBuilder::find_joined_convolutions() {
  for (const Value& joined : division_.stored) {
    const auto* concat = ov::as_type<const op::v0::Concat>(joined.get_node());
    if (concat == nullptr || joined.get_shape().size() != 4 || concat->get_axis() != 1 ||
        division_.channels_last.count(joined) == 0 || free_result(joined) || !is_float(joined))
      continue;
    std::map<Value, std::int64_t> parts;
    std::int64_t channel = 0;
    for (const Value& part : concat->input_values()) {
      const FusedStep* step = division_.fusion.ending_at(*part.get_node());
      const auto own = static_cast<std::int64_t>(part.get_shape()[1]);
      if (step == nullptr || !step->is_convolution || own != padded(own) || joined_in_.count(part) != 0)
        break;
      parts.emplace(part, channel);
      channel += own;
    }
    if (parts.size() != concat->get_input_size()) continue;
    for (const auto& [part, first] : parts) joined_in_.emplace(part, Joined{joined, first});
  }
}

Result<GpuGraph> StepBuilder::build() {
  for (const FusedStep& step : division_.fusion.steps) {
    const Value x = step.core->input_value(0);
    if (step.is_convolution && ov::is_type<op::v1::Convolution>(step.core))
      wanted_channels_[x] = padded(static_cast<std::int64_t>(x.get_shape()[1]));
  }
  for (const auto& parameter : network_.get_parameters())
    INFLIGHT_TRY(add_parameter(parameter->output(0)).status());
  for (const auto& node : network_.get_ordered_ops()) {
    if (const FusedStep* step = division_.fusion.ending_at(*node)) {
      const Status status = step->is_convolution ? add_convolution(*step)
                            : step->attention    ? add_attention(*step)
                                                 : add_matmul(*step);
      if (!status.ok()) return status;
      continue;
    }
    for (const Value& output : node->outputs()) {
      if (division_.stored.count(output) != 0 && !keeps(output)) INFLIGHT_TRY(store(output));
    }
  }
  INFLIGHT_TRY(finish_results());
  tensors_.plan_memory();
  return std::move(graph_);
}

Result<DType> StepBuilder::storage_type(const Value& value) const {
  const auto dtype = dtype_of_element(value.get_element_type());
  if (!dtype)
    return not_covered(*value.get_node(), fmt::format("got the element type {}, want one of a byte or more",
                                                      value.get_element_type().get_type_name()));
  const bool between = *dtype == DType::kF32 || *dtype == DType::kF16 || *dtype == DType::kBF16;
  return between ? real_ : *dtype;
}

Result<TensorId> StepBuilder::add_parameter(const Value& value) {
  const ov::Node& node = *value.get_node();
  const auto dtype = dtype_of_element(value.get_element_type());
  if (!dtype)
    return not_covered(node, fmt::format("got the element type {}, want one of a byte or more",
                                         value.get_element_type().get_type_name()));
  const Extents extents = extents_of(value);
  const TensorId id =
      tensors_.add(node.get_friendly_name(), *dtype, Storage::kInput, extents, row_major(extents));
  graph_.inputs.push_back(id);
  keep(value, id, row_major(extents));
  return id;
}

void StepBuilder::keep(const Value& value, TensorId tensor, Extents strides) {
  tensor_of_[value] = tensor;
  placement_[value] = {tensors_[tensor].dtype, std::move(strides), tensors_[tensor].offset % 16 == 0};
}

std::optional<std::size_t> StepBuilder::free_result(const Value& value) const {
  for (const auto& input : value.get_target_inputs()) {
    if (!op::util::is_output(input.get_node())) continue;
    const auto& results = network_.get_results();
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (results[i].get() == input.get_node() && graph_.outputs[i] == kNoTensor) return i;
    }
  }
  return std::nullopt;
}

std::optional<std::size_t> StepBuilder::sole_result(const Value& value) const {
  Value last = value;
  while (has_one_reader(last)) {
    ov::Node* reader = last.get_target_inputs().begin()->get_node();
    if (op::util::is_output(reader)) return free_result(last);
    if (!is_reshape_only(*reader) || reader->input_value(0) != last) return std::nullopt;
    last = reader->output(0);
  }
  return std::nullopt;
}

TensorId StepBuilder::add_output(std::size_t result) {
  const auto& node = network_.get_results()[result];
  const DType dtype = *dtype_of_element(node->get_output_element_type(0));
  const Extents own = extents_of(node->input_value(0));
  const TensorId id = tensors_.add(node->input_value(0).get_node()->get_friendly_name(), dtype,
                                   Storage::kOutput, own, row_major(own));
  graph_.outputs[result] = id;
  return id;
}

Status StepBuilder::finish_results() {
  for (std::size_t i = 0; i < graph_.outputs.size(); ++i) {
    if (graph_.outputs[i] != kNoTensor) continue;
    const Value value = network_.get_results()[i]->input_value(0);
    const auto copy = std::make_shared<op::v0::Convert>(value, value.get_element_type());
    added_.push_back(copy);
    if (!dtype_of_element(value.get_element_type())) return storage_type(value).status();
    const TensorId to = add_output(i);
    INFLIGHT_TRY(
        add_kernel(copy->output(0), to, tensors_[to].strides, value.get_node()->get_friendly_name()));
  }
  return {};
}

std::int64_t StepBuilder::padded(std::int64_t channels) const {
  const std::int64_t multiple = real_ == DType::kF32 ? 4 : 8;
  return (channels + multiple - 1) / multiple * multiple;
}

Extents StepBuilder::kernel_strides(const Value& value) const {
  const Extents extents = extents_of(value);
  return division_.channels_last.count(value) != 0 ? channels_last(extents) : row_major(extents);
}

// A kernel for a value that readers take from memory.
Status StepBuilder::store(const Value& value) {
  const std::string& label = value.get_node()->get_friendly_name();
  auto result = free_result(value);
  if (!result) result = sole_result(value);
  if (result) {
    if (!dtype_of_element(value.get_element_type())) return storage_type(value).status();
    const TensorId to = add_output(*result);
    const Extents strides = row_major(extents_of(value));
    INFLIGHT_TRY(add_kernel(value, to, strides, label));
    keep(value, to, strides);
    keep(network_.get_results()[*result]->input_value(0), to, tensors_[to].strides);
    return {};
  }
  INFLIGHT_TRY_ASSIGN(const DType dtype, storage_type(value));
  const auto wanted = wanted_channels_.find(value);
  if (dtype == real_ && wanted != wanted_channels_.end() &&
      wanted->second != static_cast<std::int64_t>(value.get_shape()[1])) {
    return convolution_operand(value, wanted->second).status();
  }
  const TensorId to = tensors_.add(label, dtype, Storage::kScratch, extents_of(value), kernel_strides(value));
  INFLIGHT_TRY(add_kernel(value, to, tensors_[to].strides, label));
  keep(value, to, tensors_[to].strides);
  return {};
}

Status StepBuilder::add_kernel(const Value& value, TensorId to, const Extents& strides,
                               const std::string& label) {
  if (ov::shape_size(value.get_shape()) == 0) return {};
  std::set<Value> seen;
  INFLIGHT_TRY(place_constants(value, seen));
  INFLIGHT_TRY_ASSIGN(
      BuiltKernel built,
      maker_.build(value, {tensors_[to].dtype, strides, tensors_[to].offset % 16 == 0}, placement_));
  KernelStep step{label, std::move(built.source), {}, {to}, built.blocks, built.threads};
  for (const Value& read : built.reads) {
    const auto kept = tensor_of_.find(read);
    if (kept != tensor_of_.end()) {
      step.reads.push_back(kept->second);
      continue;
    }
    INFLIGHT_TRY_ASSIGN(const TensorId constant, constant_tensor(read));
    step.reads.push_back(constant);
  }
  graph_.steps.emplace_back(std::move(step));
  return {};
}

// Says how the constants lie that a kernel for `value` may read. They become tensors when one does.
Status StepBuilder::place_constants(const Value& value, std::set<Value>& seen) {
  for (const Value& input : value.get_node()->input_values()) {
    if (!seen.insert(input).second || placement_.count(input) != 0) continue;
    const auto constant = constant_of(input);
    if (constant == nullptr) {
      INFLIGHT_TRY(place_constants(input, seen));
      continue;
    }
    if (ov::shape_size(input.get_shape()) <= 1) continue;
    INFLIGHT_TRY_ASSIGN(DType dtype, storage_type(input));
    const Extents extents = extents_of(input);
    Extents strides = row_major(extents);
    const bool is_depthwise =
        ov::is_type<op::v1::GroupConvolution>(value.get_node()) && input == value.get_node()->input_value(1);
    const std::size_t count = ov::shape_size(input.get_shape());
    if (dtype == real_ && dtype != DType::kF32 && !is_depthwise &&
        (count <= kExactConstantMax || (dtype == DType::kF16 && !fits_half(constant->cast_vector<float>()))))
      dtype = DType::kF32;
    if (is_depthwise) {  // channels fastest, as its input lies: [G,1,1,R,S]
      strides[0] = 1;
      for (std::size_t axis = 1; axis < strides.size(); ++axis) strides[axis] *= extents[0];
    } else if (extents.size() == 4 && extents[0] == 1 && division_.channels_last.count(value) != 0) {
      strides = channels_last(extents);
    }
    placement_[input] = {dtype, strides};
  }
  return {};
}

Result<TensorId> StepBuilder::constant_tensor(const Value& value) {
  const auto found = constants_.find(value);
  if (found != constants_.end()) return found->second;
  const auto constant = constant_of(value);
  INFLIGHT_CHECK(constant != nullptr);
  const Placed& placed = placement_.at(value);
  const std::size_t width = dtype_bytes(placed.dtype);
  std::vector<std::byte> bytes;
  if (value.get_element_type().is_real() && placed.dtype != DType::kF64) {
    bytes = encoded(constant->cast_vector<float>(), placed.dtype);
  } else {
    const auto* data = static_cast<const std::byte*>(constant->get_data_ptr());
    bytes.assign(data, data + ov::shape_size(value.get_shape()) * width);
  }
  const Extents extents = extents_of(value);
  const TensorId id =
      tensors_.add_constant(value.get_node()->get_friendly_name(), placed.dtype, extents, placed.strides,
                            reordered(bytes.data(), extents, placed.strides, width));
  constants_.emplace(value, id);
  return id;
}

}  // namespace inflight::cuda
