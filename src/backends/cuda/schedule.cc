// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/schedule.h"

#include <algorithm>
#include <map>
#include <openvino/op/ops.hpp>
#include <openvino/op/util/binary_elementwise_arithmetic.hpp>
#include <openvino/op/util/op_types.hpp>
#include <openvino/op/util/unary_elementwise_arithmetic.hpp>

#include "backends/cuda/layout.h"

namespace inflight::cuda {
namespace {

namespace op = ov::op;

// Arithmetic done again that costs less than a kernel of its own (2 us at batch 1).
constexpr double kRepeatedWorkMax = 2e6;
constexpr double kCopiesMax = 8;       // of a node's code in one kernel
constexpr std::size_t kNodesMax = 64;  // in one kernel
constexpr double kNever = 1e30;

// Operations an element, without what it reads: 0 for data movement.
double cost_of(const Value& value) {
  const ov::Node& node = *value.get_node();
  if (ov::is_type<op::v0::Concat>(&node)) return static_cast<double>(node.get_input_size()) / 2;
  if (view_base(value) != value || ov::is_type<op::v0::Convert>(&node) ||
      ov::is_type<op::v1::Broadcast>(&node) || ov::is_type<op::v3::Broadcast>(&node) ||
      ov::is_type<op::v1::StridedSlice>(&node) || ov::is_type<op::v0::ShuffleChannels>(&node))
    return 0;
  if (ov::is_type<op::v1::Add>(&node) || ov::is_type<op::v1::Multiply>(&node) ||
      ov::is_type<op::v1::Subtract>(&node) || ov::is_type<op::v0::Relu>(&node) ||
      ov::is_type<op::v0::Clamp>(&node) || ov::is_type<op::v0::PRelu>(&node) ||
      ov::is_type<op::v1::Maximum>(&node) || ov::is_type<op::v1::Minimum>(&node))
    return 1;
  if (ov::is_type<op::v4::Interpolate>(&node) || ov::is_type<op::v11::Interpolate>(&node) ||
      ov::is_type<op::v0::Interpolate>(&node))
    return 30;
  return 8;
}

// How often a kernel of this kind that works row by row reads its input; kNever if it must lie in memory.
double row_passes(const ov::Node& node) {
  if (ov::is_type<op::v1::Softmax>(&node) || ov::is_type<op::v8::Softmax>(&node) ||
      ov::is_type<op::v5::LogSoftmax>(&node) || ov::is_type<op::v0::MVN>(&node) ||
      ov::is_type<op::v6::MVN>(&node))
    return 3;
  if (ov::is_type<op::v0::NormalizeL2>(&node)) return 2;
  if (ov::is_type<op::util::ReductionBase>(&node)) return 1;
  return kNever;
}

// Rows of the same extents in and out.
bool keeps_rows(const ov::Node& node) {
  return row_passes(node) < kNever && node.get_input_shape(0) == node.get_output_shape(0);
}

bool works_elementwise(const ov::Node& node) {
  return op::util::is_unary_elementwise_arithmetic(&node) ||
         op::util::is_binary_elementwise_arithmetic(&node);
}

// How often the node reads each element of one of its inputs.
double reads_per_element(const ov::Node& node, const Value& output, const Value& input, KernelKind kind) {
  const double in = std::max<double>(1, static_cast<double>(ov::shape_size(input.get_shape())));
  const double out = static_cast<double>(ov::shape_size(output.get_shape()));
  if (kind == KernelKind::kRows) return row_passes(node);
  if (ov::is_type<op::util::ReductionBase>(&node) || ov::is_type<op::v0::Concat>(&node) ||
      ov::is_type<op::v1::Pad>(&node) || ov::is_type<op::v12::Pad>(&node))
    return 1;
  if (const auto* pool = ov::as_type<const op::util::MaxPoolBase>(&node))
    return out * static_cast<double>(ov::shape_size(pool->get_kernel())) / in;
  if (const auto* pool = ov::as_type<const op::util::AvgPoolBase>(&node))
    return out * static_cast<double>(ov::shape_size(pool->get_kernel())) / in;
  if (ov::is_type<op::v4::Interpolate>(&node) || ov::is_type<op::v11::Interpolate>(&node))
    return out * 4 / in;
  if (ov::is_type<op::v1::GroupConvolution>(&node) || ov::is_type<op::v1::Convolution>(&node))
    return out * static_cast<double>(ov::shape_size(node.get_input_shape(1))) /
           static_cast<double>(output.get_shape()[1]) / in;
  if (kind == KernelKind::kWindow) return kNever;
  return out / in;
}

// What is known of a value that is not stored: the stored values whose kernels compute it.
struct Use {
  std::set<Value> kernels;
  bool same_rows = true;  // only nodes that work element by element lie between
  double repeats = 0;     // how often each element is computed, in all
  double copies = 0;      // of its code, in the kernel that has most
};

class Schedule {
 public:
  Schedule(const ov::Model& network, const Fusion& fusion, const KernelKindOf& kind,
           const std::set<Value>& channels_last)
      : network_(network), fusion_(fusion), kind_(kind), channels_last_(channels_last) {}

  std::set<Value> run() {
    const auto nodes = network_.get_ordered_ops();
    mark_step_operands();
    for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
      if (op::util::is_parameter(*node) || op::util::is_constant(*node) || op::util::is_output(*node) ||
          fusion_.contains(**node))
        continue;
      for (const Value& value : (*node)->outputs()) decide(value);
    }
    return std::move(stored_);
  }

 private:
  void mark_step_operands() {
    const auto mark = [this](Value value) {
      const Value base = view_base(value);
      if (!fusion_.contains(*base.get_node()) && !op::util::is_parameter(base.get_node()) &&
          is_alone(value) && !lies_as(value, base)) {
        operands_.insert(value);
        direct_.insert(value);
        return;
      }
      for (; value != base; value = value.get_node()->input_value(0)) operands_.insert(value);
      operands_.insert(base);
    };
    for (const FusedStep& step : fusion_.steps) {
      for (const Value& operand : step.operands()) mark(operand);
    }
  }

  // Whether one reader takes it, and it alone what it is a view of: then one kernel computes all of that, in the
  // order that the step wants.
  static bool is_alone(Value value) {
    const Value base = view_base(value);
    for (; value != base; value = value.get_node()->input_value(0)) {
      if (!has_one_reader(value)) return false;
    }
    return has_one_reader(base);
  }

  // Whether `value` is what lies in memory for `base` under other extents: then a step reads it there.
  bool lies_as(Value value, const Value& base) const {
    for (; value != base; value = value.get_node()->input_value(0)) {
      const ov::Node& node = *value.get_node();
      if (!ov::is_type<op::v1::Reshape>(&node) && !ov::is_type<op::v0::Squeeze>(&node) &&
          !ov::is_type<op::v15::Squeeze>(&node) && !ov::is_type<op::v0::Unsqueeze>(&node))
        return false;
    }
    const ov::Shape& shape = base.get_shape();
    return channels_last_.count(base) == 0 || ov::shape_size(shape) == shape[0] * shape[1];
  }

  void decide(const Value& value) {
    if (value.get_target_inputs().empty()) return;
    const ov::Node& node = *value.get_node();
    const bool is_operand = operands_.count(value) != 0;
    // A view that a step reads need not be stored, if what it is a view of is.
    const bool is_view = view_base(value) != value && direct_.count(value) == 0;
    const Use use = use_of(value);
    const bool only_step_reads = is_operand && is_view && use.kernels.empty() && !goes_out(value);
    if (only_step_reads) return;
    if ((is_operand && !is_view) || goes_out(value) || !can_inline(node, value, use)) {
      stored_.insert(value);
      nodes_in_[value] = 1;
      if (kind_(node) == KernelKind::kRows) has_rows_.insert(value);
      return;
    }
    for (const Value& kernel : use.kernels) {
      ++nodes_in_[kernel];
      if (kind_(node) == KernelKind::kRows) has_rows_.insert(kernel);
    }
    uses_.emplace(value, use);
  }

  static bool goes_out(const Value& value) {
    const auto readers = value.get_target_inputs();
    return std::any_of(readers.begin(), readers.end(),
                       [](const auto& reader) { return op::util::is_output(reader.get_node()); });
  }

  Use use_of(const Value& value) const {
    Use use;
    for (const auto& input : value.get_target_inputs()) {
      const ov::Node& reader = *input.get_node();
      if (op::util::is_output(&reader) || fusion_.contains(reader)) continue;
      const KernelKind kind = kind_(reader);
      for (const Value& output : input.get_node()->outputs()) {
        const double reads = reads_per_element(reader, output, value, kind);
        const bool same_place = output.get_shape() == value.get_shape() && kind == KernelKind::kInline;
        if (stored_.count(output) != 0) {
          add(use, {{output}, true, 1, 1}, reads, same_place, works_elementwise(reader));
        } else if (const auto found = uses_.find(output); found != uses_.end()) {
          add(use, found->second, reads, same_place, works_elementwise(reader));
        }
      }
    }
    return use;
  }

  // Kernels keep what they computed for the same place, so that a second reader there costs nothing.
  static void add(Use& use, const Use& reader, double reads, bool same_place, bool elementwise) {
    const bool shared = same_place && std::includes(use.kernels.begin(), use.kernels.end(),
                                                    reader.kernels.begin(), reader.kernels.end());
    use.repeats =
        shared ? std::max(use.repeats, reader.repeats * reads) : use.repeats + reader.repeats * reads;
    use.copies = shared ? std::max(use.copies, reader.copies) : use.copies + reader.copies;
    use.kernels.insert(reader.kernels.begin(), reader.kernels.end());
    use.same_rows = use.same_rows && reader.same_rows && same_place && elementwise;
  }

  bool can_inline(const ov::Node& node, const Value& value, const Use& use) const {
    const KernelKind kind = kind_(node);
    if (use.kernels.empty()) return false;
    // A kernel that works row by row computes what follows of the same row too.
    if (kind == KernelKind::kRows)
      return use.kernels.size() == 1 && use.same_rows && keeps_rows(node) &&
             has_rows_.count(*use.kernels.begin()) == 0;
    for (const Value& kernel : use.kernels) {
      if (nodes_in_.at(kernel) >= kNodesMax) return false;
    }
    if (kind == KernelKind::kWindow) return use.kernels.size() == 1 && use.repeats < 1.001;
    const double cost = cost_of(value);
    if (use.copies > kCopiesMax) return false;
    if (use.repeats >= kNever) return cost == 0 && use.kernels.size() == 1;
    return static_cast<double>(ov::shape_size(value.get_shape())) * (use.repeats - 1) * cost <=
           kRepeatedWorkMax;
  }

  const ov::Model& network_;
  const Fusion& fusion_;
  const KernelKindOf& kind_;
  const std::set<Value>& channels_last_;
  std::set<Value> operands_;  // of steps, and what those are views of
  std::set<Value> direct_;    // operands that are stored themselves, and not what they are views of
  std::set<Value> stored_;
  std::map<Value, Use> uses_;
  std::map<Value, std::size_t> nodes_in_;  // of each kernel
  std::set<Value> has_rows_;               // kernels that work row by row
};

}  // namespace

std::set<Value> values_to_store(const ov::Model& network, const Fusion& fusion, const KernelKindOf& kind,
                                const std::set<Value>& channels_last) {
  return Schedule(network, fusion, kind, channels_last).run();
}

}  // namespace inflight::cuda
