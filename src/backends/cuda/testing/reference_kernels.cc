// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/testing/reference_kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <openvino/op/ops.hpp>
#include <openvino/op/util/op_types.hpp>
#include <openvino/runtime/properties.hpp>

#include "backends/cuda/layout.h"
#include "backends/cuda/tensor_table.h"
#include "base/check.h"
#include "model/openvino_error.h"

namespace inflight::cuda::testing {
namespace {

namespace op = ov::op;

// Copies part of a network behind what is placed in memory.
class Cut {
 public:
  explicit Cut(const Placement& placement) : placement_(placement) {}

  Value copy(const Value& value) {
    const auto known = copies_.find(value);
    if (known != copies_.end()) return known->second;
    Value made;
    const bool constant = constant_of(value) != nullptr;
    if (placement_.count(value) != 0 && !constant) {
      const auto parameter = std::make_shared<op::v0::Parameter>(value.get_element_type(), value.get_shape());
      parameters.push_back(parameter);
      reads.push_back(value);
      made = parameter->output(0);
    } else if (constant) {
      INFLIGHT_CHECK(placement_.count(value) != 0 || ov::shape_size(value.get_shape()) <= 1);
      made = value;
    } else {
      INFLIGHT_CHECK(!op::util::is_parameter(value.get_node()));
      ov::OutputVector inputs;
      for (const Value& input : value.get_node()->input_values()) inputs.push_back(copy(input));
      const NodePtr node = value.get_node()->clone_with_new_inputs(inputs);
      made = node->output(value.get_index());
    }
    copies_[value] = made;
    return made;
  }

  ov::ParameterVector parameters;
  std::vector<Value> reads;

 private:
  const Placement& placement_;
  std::map<Value, Value> copies_;
};

GpuTensor tensor_of(const Value& value, const Placed& placed) {
  return {value.get_node()->get_friendly_name(), placed.dtype, extents_of(value), placed.strides};
}

GpuTensor dense_tensor(const ov::Tensor& tensor) {
  const ov::Shape& shape = tensor.get_shape();
  const Extents extents(shape.begin(), shape.end());
  return {"", *dtype_of_element(tensor.get_element_type()), extents, row_major(extents)};
}

}  // namespace

struct ReferenceKernels::Kernel {
  ov::CompiledModel compiled;
  std::vector<GpuTensor> reads;
  GpuTensor writes;
};

ReferenceKernels::ReferenceKernels() = default;
ReferenceKernels::~ReferenceKernels() = default;

KernelKind reference_kind(const ov::Node& node) {
  if (ov::is_type<op::v1::Softmax>(&node) || ov::is_type<op::v8::Softmax>(&node) ||
      ov::is_type<op::v5::LogSoftmax>(&node) || ov::is_type<op::v0::MVN>(&node) ||
      ov::is_type<op::v6::MVN>(&node) || ov::is_type<op::util::TopKBase>(&node) ||
      ov::is_type<op::v0::CumSum>(&node) || ov::is_type<op::v0::NormalizeL2>(&node))
    return KernelKind::kRows;
  if (ov::is_type<op::util::ReductionBase>(&node)) {
    const std::size_t window = ov::shape_size(node.get_input_shape(0)) /
                               std::max<std::size_t>(1, ov::shape_size(node.get_output_shape(0)));
    return window > 32 ? KernelKind::kRows : KernelKind::kWindow;
  }
  if (ov::is_type<op::util::MaxPoolBase>(&node) || ov::is_type<op::util::AvgPoolBase>(&node) ||
      ov::is_type<op::v1::Convolution>(&node) || ov::is_type<op::v1::GroupConvolution>(&node) ||
      ov::is_type<op::v1::ConvolutionBackpropData>(&node) || ov::is_type<op::v0::MatMul>(&node) ||
      ov::is_type<op::v0::LRN>(&node) || ov::is_type<op::v4::Interpolate>(&node))
    return KernelKind::kWindow;
  return KernelKind::kInline;
}

KernelMaker ReferenceKernels::maker() {
  return {reference_kind, [this](const Value& value, const Placed& to, const Placement& placement) {
            return build(value, to, placement);
          }};
}

KernelRunner ReferenceKernels::runner() {
  return [this](const KernelStep& step, const std::vector<std::byte*>& parameters) {
    return run(step, parameters);
  };
}

Result<BuiltKernel> ReferenceKernels::build(const Value& value, const Placed& to,
                                            const Placement& placement) {
  try {
    Cut cut(placement);
    ov::OutputVector inputs;
    for (const Value& input : value.get_node()->input_values()) inputs.push_back(cut.copy(input));
    const NodePtr node = value.get_node()->clone_with_new_inputs(inputs);
    const auto result = std::make_shared<op::v0::Result>(node->output(value.get_index()));
    const auto network = std::make_shared<ov::Model>(ov::ResultVector{result}, cut.parameters);
    auto kernel = std::make_unique<Kernel>();
    // Without a stream, or it would not throw: see openvino_backend.cc.
    kernel->compiled = core_.compile_model(network, "CPU", ov::hint::inference_precision(ov::element::f32),
                                           ov::inference_num_threads(1), ov::num_streams(0));
    for (const Value& read : cut.reads) kernel->reads.push_back(tensor_of(read, placement.at(read)));
    kernel->writes = tensor_of(value, to);
    const std::string source = fmt::format("reference {}", kernels_.size());
    kernels_.emplace(source, std::move(kernel));
    return BuiltKernel{source, cut.reads};
  } catch (const std::exception& error) {
    return Status(StatusCode::kUnsupported, inflight::internal::distil_openvino_error(error.what()));
  }
}

Status ReferenceKernels::run(const KernelStep& step, const std::vector<std::byte*>& parameters) {
  Kernel& kernel = *kernels_.at(step.source);
  ov::InferRequest request = kernel.compiled.create_infer_request();
  for (std::size_t i = 0; i < kernel.reads.size(); ++i) {
    ov::Tensor tensor = request.get_input_tensor(i);
    store(dense_tensor(tensor), load(kernel.reads[i], parameters[i]), static_cast<std::byte*>(tensor.data()));
  }
  request.infer();
  const ov::Tensor output = request.get_output_tensor(0);
  store(kernel.writes, load(dense_tensor(output), static_cast<const std::byte*>(output.data())),
        parameters.back());
  return {};
}

}  // namespace inflight::cuda::testing
