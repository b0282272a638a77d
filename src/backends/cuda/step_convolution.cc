// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <openvino/op/ops.hpp>

#include "backends/cuda/step_builder.h"

namespace inflight::cuda {
namespace {

namespace op = ov::op;

constexpr std::int64_t kViewAlignmentBytes = 16;

struct Window {
  Extents strides, dilations, pads_begin, pads_end;
};

template <typename Op>
Window window_of(const Op& node) {
  const auto list = [](const auto& values, std::int64_t fill) {
    Extents extents(values.begin(), values.end());
    if (extents.size() == 1) extents.insert(extents.begin(), fill);  // H of a 1-D convolution
    return extents;
  };
  return {list(node.get_strides(), 1), list(node.get_dilations(), 1), list(node.get_pads_begin(), 0),
          list(node.get_pads_end(), 0)};
}

Window window_of(const ov::Node& node) {
  if (const auto* plain = ov::as_type<const op::v1::Convolution>(&node)) return window_of(*plain);
  return window_of(*ov::as_type<const op::v1::GroupConvolution>(&node));
}

// [N,C,H,W] of a value, with that many channels.
Extents image_extents(const Value& value, std::int64_t channels) {
  Extents extents = extents_of(value);
  if (extents.size() == 3) extents.insert(extents.begin() + 2, 1);
  extents[1] = channels;
  return extents;
}

// The strides of a value, which may have three axes, of those of [N,C,H,W].
Extents value_strides(const Value& value, Extents strides) {
  if (value.get_shape().size() == 3) strides.erase(strides.begin() + 2);
  return strides;
}

}  // namespace

Status StepBuilder::add_convolution(const FusedStep& step) {
  const Value x = step.core->input_value(0);
  const ov::Shape& weights = step.core->get_input_shape(1);
  const bool grouped = ov::is_type<op::v1::GroupConvolution>(step.core);
  const auto outputs = static_cast<std::int64_t>(step.value.get_shape()[1]);
  const auto inputs = static_cast<std::int64_t>(x.get_shape()[1]);
  const std::int64_t outputs_padded = grouped ? outputs : padded(outputs);
  const std::int64_t inputs_padded = grouped ? inputs : padded(inputs);
  ConvolutionStep convolution;
  convolution.label = step.value.get_node()->get_friendly_name();
  const Window window = window_of(*step.core);
  convolution.strides = window.strides;
  convolution.dilations = window.dilations;
  convolution.pads_begin = window.pads_begin;
  convolution.pads_end = window.pads_end;
  convolution.groups = grouped ? static_cast<int>(weights[0]) : 1;
  convolution.activation = step.activation;
  INFLIGHT_TRY_ASSIGN(convolution.x, convolution_operand(x, inputs_padded));
  INFLIGHT_TRY_ASSIGN(convolution.w, convolution_weights(step, inputs_padded, outputs_padded));
  if (step.bias) convolution.bias = bias_tensor(step, real_, outputs_padded, true);
  if (step.residual) {
    INFLIGHT_TRY_ASSIGN(convolution.residual, convolution_operand(*step.residual, outputs_padded));
  }
  const Extents extents = image_extents(step.value, outputs_padded);
  Extents strides = channels_last(extents);
  convolution.y = convolution_result(step, extents, strides);
  keep(step.value, convolution.y, value_strides(step.value, strides));
  graph_.steps.emplace_back(std::move(convolution));
  return {};
}

// Where the result goes: to its part of a Concat, to an output of the network that lies as it does, or by itself.
TensorId StepBuilder::convolution_result(const FusedStep& step, const Extents& extents, Extents& strides) {
  const std::string& label = step.value.get_node()->get_friendly_name();
  if (const auto part = joined_in_.find(step.value); part != joined_in_.end()) {
    const auto& [whole, channel] = part->second;
    if (!keeps(whole)) {
      const Extents all = extents_of(whole);
      const TensorId to = tensors_.add(whole.get_node()->get_friendly_name(), real_, Storage::kScratch, all,
                                       channels_last(all));
      keep(whole, to, channels_last(all));
    }
    strides = placement_.at(whole).strides;
    return tensors_.add_view(tensor_of_.at(whole), {extents, strides, channel});
  }
  if (const auto result = sole_result(step.value)) {
    const auto& node = network_.get_results()[*result];
    if (extents == extents_of(step.value) && node->get_input_shape(0) == step.value.get_shape() &&
        dtype_of_element(node->get_output_element_type(0)) == real_ &&
        same_order(extents, strides, row_major(extents)))
      return add_output(*result);
  }
  return tensors_.add(label, real_, Storage::kScratch, extents, strides);
}

// What is in memory already in the form that a convolution reads.
std::optional<TensorId> StepBuilder::kept_with_channels(const Value& value, std::int64_t channels) {
  const Extents wanted = image_extents(value, channels);
  const auto kept = tensor_of_.find(value);
  if (kept != tensor_of_.end()) {
    const GpuTensor& tensor = tensors_[kept->second];
    if (tensor.dtype != real_) return std::nullopt;
    if (tensor.extents == wanted && same_order(wanted, tensor.strides, channels_last(wanted)))
      return kept->second;
  }
  TensorId base = kNoTensor;
  const auto view = strided(value, base);
  if (!view || tensors_[base].storage != Storage::kScratch || tensors_[base].dtype != real_)
    return std::nullopt;
  if (view->extents[1] != channels ||
      view->offset * static_cast<std::int64_t>(dtype_bytes(real_)) % kViewAlignmentBytes != 0)
    return std::nullopt;
  Strided image{wanted, view->strides, view->offset};
  if (view->strides.size() == 3) image.strides.insert(image.strides.begin() + 2, 0);
  if (!same_order(wanted, image.strides, channels_last(wanted))) return std::nullopt;
  image.strides = channels_last(wanted);
  return tensors_.add_view(base, image);
}

// x or the residual of a convolution, with zeros in the channels that the network does not have.
Result<TensorId> StepBuilder::convolution_operand(const Value& value, std::int64_t channels) {
  const auto key = std::make_pair(value, channels);
  const auto known = with_channels_.find(key);
  if (known != with_channels_.end()) return known->second;
  if (const auto kept = kept_with_channels(value, channels)) {
    with_channels_.emplace(key, *kept);
    return *kept;
  }
  NodePtr copy;
  const auto own = static_cast<std::int64_t>(value.get_shape()[1]);
  if (own != channels) {
    Ints after(value.get_shape().size(), 0);
    after[1] = channels - own;
    copy = std::make_shared<op::v12::Pad>(value, ints(Ints(after.size(), 0)), ints(after),
                                          constant_like(value, {}, {0}), op::PadMode::CONSTANT);
  } else if (keeps(value) || constant_of(value) != nullptr) {
    copy = std::make_shared<op::v0::Convert>(value, value.get_element_type());
  }
  if (copy != nullptr) added_.push_back(copy);
  const Value computed = copy == nullptr ? value : copy->output(0);
  const Extents extents = image_extents(value, channels);
  const Extents strides = channels_last(extents);
  const std::string& label = value.get_node()->get_friendly_name();
  const TensorId to = tensors_.add(label, real_, Storage::kScratch, extents, strides);
  INFLIGHT_TRY(add_kernel(computed, to, value_strides(value, strides), label));
  with_channels_.emplace(key, to);
  if (!keeps(value) && constant_of(value) == nullptr) keep(value, to, value_strides(value, strides));
  return to;
}

Result<TensorId> StepBuilder::convolution_weights(const FusedStep& step, std::int64_t inputs,
                                                  std::int64_t outputs) {
  const Value value = step.core->input_value(1);
  const bool grouped = ov::is_type<op::v1::GroupConvolution>(step.core);
  Extents own = extents_of(value);
  if (grouped) {  // [G,K/G,C/G,R,S] is [K,C/G,R,S]
    own[1] *= own[0];
    own.erase(own.begin());
  }
  if (own.size() == 3) own.insert(own.begin() + 2, 1);
  const std::int64_t depth = grouped ? own[1] : inputs;
  const Extents extents{outputs, depth, own[2], own[3]};
  const Extents strides = channels_last(extents);
  const std::string& name = value.get_node()->get_friendly_name();
  if (const auto constant = constant_of(value)) {
    const std::vector<float> values = constant->cast_vector<float>();
    std::vector<float> moved(static_cast<std::size_t>(outputs * depth * own[2] * own[3]));
    std::size_t next = 0;
    for (std::int64_t k = 0; k < own[0]; ++k) {
      for (std::int64_t c = 0; c < own[1]; ++c) {
        for (std::int64_t place = 0; place < own[2] * own[3]; ++place)
          moved[static_cast<std::size_t>((k * own[2] * own[3] + place) * depth + c)] = values[next++];
      }
    }
    return tensors_.add_constant(name, real_, extents, strides, encoded(moved, real_));
  }
  // Computed by the network: a kernel brings it into order.
  const Ints before(own.size(), 0);
  const Ints after{outputs - own[0], depth - own[1], 0, 0};
  const auto shaped = std::make_shared<op::v1::Reshape>(value, ints(Ints(own.begin(), own.end())), false);
  const auto wide = std::make_shared<op::v12::Pad>(shaped, ints(before), ints(after),
                                                   constant_like(value, {}, {0}), op::PadMode::CONSTANT);
  added_.insert(added_.end(), {shaped, wide});
  const TensorId to = tensors_.add(name, real_, Storage::kScratch, extents, strides);
  INFLIGHT_TRY(add_kernel(wide->output(0), to, strides, name));
  return to;
}

TensorId StepBuilder::bias_tensor(const FusedStep& step, DType dtype, std::int64_t outputs,
                                  bool is_convolution) {
  std::vector<float> values = *step.bias;
  values.resize(static_cast<std::size_t>(outputs), 0);
  const Extents extents = is_convolution ? Extents{1, outputs, 1, 1} : Extents{outputs};
  const Extents strides = is_convolution ? channels_last(extents) : row_major(extents);
  return tensors_.add_constant(step.core->get_friendly_name() + ".bias", dtype, extents, strides,
                               encoded(values, dtype));
}

}  // namespace inflight::cuda
