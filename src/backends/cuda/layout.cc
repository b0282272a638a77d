// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/layout.h"

#include <algorithm>
#include <openvino/op/ops.hpp>
#include <openvino/op/util/binary_elementwise_arithmetic.hpp>
#include <openvino/op/util/gather_base.hpp>
#include <openvino/op/util/op_types.hpp>
#include <openvino/op/util/unary_elementwise_arithmetic.hpp>

namespace inflight::cuda {
namespace {

namespace op = ov::op;

std::optional<Ints> constant_ints(const Value& value) {
  const auto constant = constant_of(value);
  if (constant == nullptr || !value.get_element_type().is_integral_number()) return std::nullopt;
  return constant->cast_vector<std::int64_t>();
}

bool is_reshape(const ov::Node& node) {
  return ov::is_type<op::v1::Reshape>(&node) || ov::is_type<op::v0::Squeeze>(&node) ||
         ov::is_type<op::v15::Squeeze>(&node) || ov::is_type<op::v0::Unsqueeze>(&node);
}

bool is_split(const ov::Node& node) {
  return ov::is_type<op::v1::Split>(&node) || ov::is_type<op::v1::VariadicSplit>(&node);
}

// Gather of one place along an axis.
bool is_pick(const ov::Node& node) {
  return ov::is_type<op::util::GatherBase>(&node) && ov::shape_size(node.get_input_shape(1)) == 1 &&
         node.get_input_shape(1).size() <= 1 && constant_ints(node.input_value(1)) &&
         constant_ints(node.input_value(2));
}

bool is_view(const ov::Node& node) {
  if (is_reshape(node) || is_pick(node)) return true;
  if (ov::is_type<op::v1::Transpose>(&node)) return constant_ints(node.input_value(1)).has_value();
  if (is_split(node)) return constant_ints(node.input_value(1)).has_value();
  if (!ov::is_type<op::v8::Slice>(&node)) return false;
  const auto inputs = node.input_values();
  return std::all_of(inputs.begin() + 1, inputs.end(), [](const Value& each) { return constant_of(each); });
}

// The strides of the same elements under other extents, as far as rows are not torn apart.
std::optional<Strided> reshaped(const Strided& from, const Extents& to) {
  Strided result{to, Extents(to.size(), 0), from.offset};
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < from.extents.size() || j < to.size()) {
    std::size_t i_end = i;
    std::size_t j_end = j;
    std::int64_t i_count = i_end < from.extents.size() ? from.extents[i_end++] : 1;
    std::int64_t j_count = j_end < to.size() ? to[j_end++] : 1;
    while (i_count != j_count) {
      if (i_count < j_count) {
        if (i_end == from.extents.size()) return std::nullopt;
        i_count *= from.extents[i_end++];
      } else {
        if (j_end == to.size()) return std::nullopt;
        j_count *= to[j_end++];
      }
    }
    // The extents [i, i_end) must be one run: each stride is the next one's row.
    std::int64_t stride = 1;
    std::int64_t run = 0;
    for (std::size_t k = i_end; k > i; --k) {
      if (from.extents[k - 1] == 1) continue;
      if (run == 0) {
        stride = from.strides[k - 1];
        run = from.extents[k - 1];
      } else if (from.strides[k - 1] == stride * run) {
        run *= from.extents[k - 1];
      } else {
        return std::nullopt;
      }
    }
    for (std::size_t k = j_end; k > j; --k) {
      result.strides[k - 1] = stride;
      stride *= to[k - 1];
    }
    i = i_end;
    j = j_end;
  }
  return result;
}

Strided transposed(const Strided& from, const Ints& order) {
  Strided result{{}, {}, from.offset};
  for (std::size_t i = 0; i < from.extents.size(); ++i) {
    const auto axis = order.empty() ? from.extents.size() - 1 - i : static_cast<std::size_t>(order[i]);
    result.extents.push_back(from.extents[axis]);
    result.strides.push_back(from.strides[axis]);
  }
  return result;
}

std::size_t axis_of(std::int64_t axis, std::size_t rank) {
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis);
}

Strided part(const Value& value, const Strided& from) {
  const ov::Node& node = *value.get_node();
  Strided result{extents_of(value), from.strides, from.offset};
  const std::size_t axis = axis_of((*constant_ints(node.input_value(1)))[0], from.extents.size());
  for (std::size_t i = 0; i < value.get_index(); ++i)
    result.offset += static_cast<std::int64_t>(node.get_output_shape(i)[axis]) * from.strides[axis];
  return result;
}

Strided picked(const Value& value, const Strided& from) {
  const ov::Node& node = *value.get_node();
  const std::size_t axis = axis_of((*constant_ints(node.input_value(2)))[0], from.extents.size());
  const std::int64_t index = (*constant_ints(node.input_value(1)))[0];
  Strided result = from;
  result.offset += (index < 0 ? index + from.extents[axis] : index) * from.strides[axis];
  result.extents[axis] = 1;
  if (node.get_input_shape(1).empty()) {
    result.extents.erase(result.extents.begin() + static_cast<std::ptrdiff_t>(axis));
    result.strides.erase(result.strides.begin() + static_cast<std::ptrdiff_t>(axis));
  }
  return result;
}

std::optional<Strided> sliced(const Value& value, const Strided& from) {
  const ov::Node& node = *value.get_node();
  const Ints starts = *constant_ints(node.input_value(1));
  const Ints steps = *constant_ints(node.input_value(3));
  Ints axes(starts.size());
  for (std::size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<std::int64_t>(i);
  if (node.get_input_size() > 4) axes = *constant_ints(node.input_value(4));
  Strided result{extents_of(value), from.strides, from.offset};
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (steps[i] <= 0) return std::nullopt;
    const std::size_t axis = axis_of(axes[i], from.extents.size());
    const std::int64_t extent = from.extents[axis];
    const std::int64_t start =
        std::clamp<std::int64_t>(starts[i] < 0 ? starts[i] + extent : starts[i], 0, extent);
    result.offset += start * from.strides[axis];
    result.strides[axis] *= steps[i];
  }
  return result;
}

std::optional<Strided> applied(const Value& value, const Strided& from) {
  const ov::Node& node = *value.get_node();
  if (is_reshape(node)) return reshaped(from, extents_of(value));
  if (ov::is_type<op::v1::Transpose>(&node)) return transposed(from, *constant_ints(node.input_value(1)));
  if (is_split(node)) return part(value, from);
  if (is_pick(node)) return picked(value, from);
  return sliced(value, from);
}

bool is_spatial(const ov::Node& node) {
  return ov::is_type<op::v1::Convolution>(&node) || ov::is_type<op::v1::GroupConvolution>(&node) ||
         ov::is_type<op::v1::ConvolutionBackpropData>(&node) ||
         ov::is_type<op::v1::GroupConvolutionBackpropData>(&node) || ov::is_type<op::v1::MaxPool>(&node) ||
         ov::is_type<op::v8::MaxPool>(&node) || ov::is_type<op::v14::MaxPool>(&node) ||
         ov::is_type<op::v1::AvgPool>(&node) || ov::is_type<op::v14::AvgPool>(&node) ||
         ov::is_type<op::v0::LRN>(&node) || ov::is_type<op::v8::AdaptiveAvgPool>(&node) ||
         ov::is_type<op::v8::AdaptiveMaxPool>(&node);
}

// Nodes whose result lies as their first input does.
bool keeps_layout(const ov::Node& node) {
  return ov::op::util::is_unary_elementwise_arithmetic(&node) ||
         ov::op::util::is_binary_elementwise_arithmetic(&node) || ov::is_type<op::v0::Concat>(&node) ||
         is_split(node) || ov::is_type<op::v1::Pad>(&node) || ov::is_type<op::v12::Pad>(&node) ||
         ov::is_type<op::v8::Slice>(&node) || ov::is_type<op::v1::StridedSlice>(&node) ||
         ov::is_type<op::v0::Clamp>(&node) || ov::is_type<op::v0::PRelu>(&node) ||
         ov::is_type<op::v0::Convert>(&node) || ov::is_type<op::v4::Swish>(&node) ||
         ov::is_type<op::v4::HSwish>(&node) || ov::is_type<op::v0::Elu>(&node) ||
         ov::is_type<op::v0::Interpolate>(&node) || ov::is_type<op::v4::Interpolate>(&node) ||
         ov::is_type<op::v11::Interpolate>(&node) || ov::is_type<op::v0::SpaceToDepth>(&node) ||
         ov::is_type<op::v0::DepthToSpace>(&node) || ov::is_type<op::v0::ShuffleChannels>(&node) ||
         is_spatial(node);
}

bool has_channels(const Value& value) {
  const std::size_t rank = value.get_shape().size();
  return rank == 3 || rank == 4;
}

}  // namespace

Extents row_major(const Extents& extents) {
  Extents strides(extents.size());
  std::int64_t next = 1;
  for (std::size_t i = extents.size(); i > 0; --i) {
    strides[i - 1] = next;
    next *= extents[i - 1];
  }
  return strides;
}

Extents channels_last(const Extents& extents) {
  Extents moved = extents;
  std::rotate(moved.begin() + 1, moved.begin() + 2, moved.end());
  Extents strides = row_major(moved);
  std::rotate(strides.begin() + 1, strides.end() - 1, strides.end());
  return strides;
}

bool same_order(const Extents& extents, const Extents& a, const Extents& b) {
  for (std::size_t i = 0; i < extents.size(); ++i) {
    if (extents[i] != 1 && a[i] != b[i]) return false;
  }
  return true;
}

Value view_base(const Value& value) {
  Value base = value;
  while (is_view(*base.get_node())) base = base.get_node()->input_value(0);
  return base;
}

std::optional<Strided> view_of(const Value& value, const Strided& base) {
  if (!is_view(*value.get_node())) return base;
  const auto from = view_of(value.get_node()->input_value(0), base);
  return from ? applied(value, *from) : std::nullopt;
}

std::set<Value> channels_last_values(const ov::Model& network, const Fusion& fusion) {
  std::set<Value> found;
  const auto nodes = network.get_ordered_ops();
  const auto mark = [&found](const Value& value) {
    return has_channels(value) && constant_of(value) == nullptr && found.insert(value).second;
  };
  for (const auto& node : nodes) {
    if (!is_spatial(*node)) continue;
    mark(node->input_value(0));
    for (const Value& output : node->outputs()) mark(output);
  }
  for (const FusedStep& step : fusion.steps) {
    if (!step.is_convolution) continue;
    mark(step.value);
    if (step.residual) mark(*step.residual);
  }
  // Both ways along the nodes that keep the layout.
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& node : nodes) {
      if (!keeps_layout(*node) || node->get_input_size() == 0) continue;
      std::vector<Value> same = node->outputs();
      for (const Value& input : node->input_values()) {
        if (input.get_shape().size() == node->get_output_shape(0).size()) same.push_back(input);
      }
      if (!std::any_of(same.begin(), same.end(),
                       [&found](const Value& each) { return found.count(each) != 0; }))
        continue;
      for (const Value& each : same) changed = mark(each) || changed;
    }
  }
  return found;
}

}  // namespace inflight::cuda
