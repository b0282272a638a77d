// SPDX-License-Identifier: Apache-2.0
// Compares generated kernels with OpenVINO, over layouts and element types.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/parameter.hpp>
#include <string>
#include <vector>

namespace inflight::cuda::test {

// A network whose results are each computed by one kernel, and the range of its real inputs.
struct Case {
  std::string name;
  std::shared_ptr<ov::Model> model;
  double low = -4, high = 4;
  double tolerance = 1e-5;  // relative to the largest element; integers are compared exactly
  std::shared_ptr<ov::Model> oracle = nullptr;  // says what is right where OpenVINO's operator does not
};

// The model of these outputs and all parameters that they reach.
Case make_case(std::string name, const ov::OutputVector& outputs, double low = -4, double high = 4,
               double tolerance = 1e-5);

std::shared_ptr<ov::op::v0::Parameter> input(const ov::Shape& shape,
                                             ov::element::Type type = ov::element::f32);
std::shared_ptr<ov::op::v0::Constant> integers(const std::vector<std::int64_t>& values);
std::shared_ptr<ov::op::v0::Constant> scalar(double value, ov::element::Type type = ov::element::f32);
// A constant with made-up values.
std::shared_ptr<ov::op::v0::Constant> weights(const ov::Shape& shape);

// Every case in every layout and type: dense f32, channels last f32 and f16. All kernels are compiled at once, and
// by NVRTC for two architectures where it is installed.
void check(const std::vector<Case>& cases);

bool has_nvrtc();

}  // namespace inflight::cuda::test
