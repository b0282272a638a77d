// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <openvino/op/ops.hpp>

#include "backends/cuda/kernel_test_support.h"

namespace inflight::cuda::test {
namespace {

namespace op = ov::op;
using ov::element::f32;
using ov::element::i32;
using ov::element::i64;
constexpr auto kBool = ov::element::boolean;
const ov::Shape kShape = {1, 8, 3, 5};

template <typename Op, typename... Arguments>
Case unary(const char* name, double low, double high, Arguments... arguments) {
  return make_case(name, {std::make_shared<Op>(input(kShape), arguments...)}, low, high);
}

TEST(KernelTest, NvrtcIsThere) {
  if (!has_nvrtc()) GTEST_SKIP() << "NVRTC is not installed: no test compiles kernels for a GPU";
}

TEST(KernelTest, Unary) {
  check({
      unary<op::v0::Abs>("Abs", -4, 4),
      unary<op::v0::Ceiling>("Ceiling", -4, 4),
      unary<op::v0::Floor>("Floor", -4, 4),
      unary<op::v0::Negative>("Negative", -4, 4),
      unary<op::v0::Sign>("Sign", -1, 1),
      unary<op::v0::Exp>("Exp", -4, 4),
      unary<op::v0::Log>("Log", 0.1, 4),
      unary<op::v0::Sqrt>("Sqrt", 0, 4),
      unary<op::v0::Sin>("Sin", -4, 4),
      unary<op::v0::Cos>("Cos", -4, 4),
      unary<op::v0::Tan>("Tan", -1, 1),
      unary<op::v0::Asin>("Asin", -1, 1),
      unary<op::v0::Acos>("Acos", -1, 1),
      unary<op::v0::Atan>("Atan", -4, 4),
      unary<op::v0::Sinh>("Sinh", -4, 4),
      unary<op::v0::Cosh>("Cosh", -4, 4),
      unary<op::v3::Asinh>("Asinh", -4, 4),
      unary<op::v3::Acosh>("Acosh", 1, 4),
      unary<op::v3::Atanh>("Atanh", -0.9, 0.9),
      unary<op::v0::Tanh>("Tanh", -4, 4),
      unary<op::v0::Erf>("Erf", -4, 4),
      unary<op::v0::Relu>("Relu", -4, 4),
      unary<op::v0::Sigmoid>("Sigmoid", -8, 8),
      unary<op::v4::HSwish>("HSwish", -5, 5),
      unary<op::v5::HSigmoid>("HSigmoid", -5, 5),
      unary<op::v4::Mish>("Mish", -8, 8),
      unary<op::v4::SoftPlus>("SoftPlus", -30, 30),
      unary<op::v9::SoftSign>("SoftSign", -4, 4),
      unary<op::v4::Swish>("Swish", -4, 4),
      unary<op::v0::Gelu>("Gelu 0", -4, 4),
      unary<op::v7::Gelu>("Gelu erf", -4, 4, op::GeluApproximationMode::ERF),
      unary<op::v7::Gelu>("Gelu tanh", -4, 4, op::GeluApproximationMode::TANH),
      unary<op::v0::Elu>("Elu", -4, 4, 0.7),
      unary<op::v0::Clamp>("Clamp", -4, 4, -1.5, 2.25),
      unary<op::v5::Round>("Round even", -4, 4, op::v5::Round::RoundMode::HALF_TO_EVEN),
      unary<op::v5::Round>("Round away", -4, 4, op::v5::Round::RoundMode::HALF_AWAY_FROM_ZERO),
      make_case("Swish beta", {std::make_shared<op::v4::Swish>(input(kShape), scalar(1.7))}),
      make_case("PRelu channel", {std::make_shared<op::v0::PRelu>(input(kShape), weights({8}))}),
      make_case("PRelu one", {std::make_shared<op::v0::PRelu>(input(kShape), weights({1}))}),
      make_case("PRelu full", {std::make_shared<op::v0::PRelu>(input(kShape), weights({1, 8, 1, 1}))}),
      make_case("Selu", {std::make_shared<op::v0::Selu>(input(kShape), scalar(1.6), scalar(1.05))}),
      make_case("HardSigmoid",
                {std::make_shared<op::v0::HardSigmoid>(input(kShape), scalar(0.2), scalar(0.5))}),
      make_case("Abs i32", {std::make_shared<op::v0::Abs>(input(kShape, i32))}),
      make_case("Negative i64", {std::make_shared<op::v0::Negative>(input(kShape, i64))}),
      make_case("Sign i32", {std::make_shared<op::v0::Sign>(input(kShape, i32))}),
      make_case("Clamp i32", {std::make_shared<op::v0::Clamp>(input(kShape, i32), -3.0, 5.0)}),
      make_case("Relu i32", {std::make_shared<op::v0::Relu>(input(kShape, i32))}),
      make_case("LogicalNot", {std::make_shared<op::v1::LogicalNot>(input(kShape, kBool))}),
      make_case("BitwiseNot", {std::make_shared<op::v13::BitwiseNot>(input(kShape, i32))}),
  });
}

// Zero divided by zero and one by zero: what IsNaN and the others are for.
TEST(KernelTest, NotFinite) {
  const auto x = input(kShape);
  const auto ratio = std::make_shared<op::v1::Divide>(
      std::make_shared<op::v5::Round>(x, op::v5::Round::RoundMode::HALF_TO_EVEN),
      std::make_shared<op::v0::Floor>(input(kShape)));
  check({
      make_case("IsNaN", {std::make_shared<op::v10::IsNaN>(ratio)}, -1, 1),
      make_case("IsFinite", {std::make_shared<op::v10::IsFinite>(ratio)}, -1, 1),
      make_case("IsInf", {std::make_shared<op::v10::IsInf>(ratio)}, -1, 1),
      make_case("IsInf negative",
                {std::make_shared<op::v10::IsInf>(ratio, op::v10::IsInf::Attributes{true, false})}, -1, 1),
      make_case("IsInf positive",
                {std::make_shared<op::v10::IsInf>(ratio, op::v10::IsInf::Attributes{false, true})}, -1, 1),
  });
}

template <typename Op>
void add_binary(std::vector<Case>& cases, const char* name, const ov::element::Type& type, double low = -4,
                double high = 4) {
  cases.push_back(
      make_case(name, {std::make_shared<Op>(input(kShape, type), input({8, 1, 5}, type))}, low, high));
  cases.push_back(make_case(std::string(name) + " same",
                            {std::make_shared<Op>(input(kShape, type), input(kShape, type))}, low, high));
}

TEST(KernelTest, Binary) {
  std::vector<Case> cases;
  for (const auto& type : {ov::element::Type(f32), ov::element::Type(i32), ov::element::Type(i64)}) {
    add_binary<op::v1::Add>(cases, "Add", type);
    add_binary<op::v1::Subtract>(cases, "Subtract", type);
    add_binary<op::v1::Multiply>(cases, "Multiply", type);
    add_binary<op::v1::Maximum>(cases, "Maximum", type);
    add_binary<op::v1::Minimum>(cases, "Minimum", type);
    add_binary<op::v0::SquaredDifference>(cases, "SquaredDifference", type);
    add_binary<op::v1::Equal>(cases, "Equal", type);
    add_binary<op::v1::NotEqual>(cases, "NotEqual", type);
    add_binary<op::v1::Less>(cases, "Less", type);
    add_binary<op::v1::LessEqual>(cases, "LessEqual", type);
    add_binary<op::v1::Greater>(cases, "Greater", type);
    add_binary<op::v1::GreaterEqual>(cases, "GreaterEqual", type);
  }
  add_binary<op::v1::Divide>(cases, "Divide", f32, 0.25, 4);
  add_binary<op::v1::Power>(cases, "Power", f32, 0.25, 4);
  add_binary<op::v1::Mod>(cases, "Mod", f32, 0.25, 4);
  add_binary<op::v1::FloorMod>(cases, "FloorMod", f32, 0.25, 4);
  add_binary<op::v1::LogicalAnd>(cases, "LogicalAnd", kBool);
  add_binary<op::v1::LogicalOr>(cases, "LogicalOr", kBool);
  add_binary<op::v1::LogicalXor>(cases, "LogicalXor", kBool);
  add_binary<op::v13::BitwiseAnd>(cases, "BitwiseAnd", i32);
  add_binary<op::v13::BitwiseOr>(cases, "BitwiseOr", i32);
  add_binary<op::v13::BitwiseXor>(cases, "BitwiseXor", i32);
  check(cases);
}

TEST(KernelTest, IntegerDivision) {
  std::vector<Case> cases;
  const auto by = op::v0::Constant::create(i32, {5}, {-4, 3, 2, -1, 7});
  for (const bool python : {true, false})
    cases.push_back(make_case("Divide", {std::make_shared<op::v1::Divide>(input(kShape, i32), by, python)}));
  cases.push_back(make_case("Mod", {std::make_shared<op::v1::Mod>(input(kShape, i32), by)}));
  cases.push_back(make_case("FloorMod", {std::make_shared<op::v1::FloorMod>(input(kShape, i32), by)}));
  cases.push_back(make_case("Power", {std::make_shared<op::v1::Power>(input(kShape, i32), scalar(3, i32))}));
  cases.push_back(make_case("Left", {std::make_shared<op::v15::BitwiseLeftShift>(
                                        input(kShape, ov::element::u32),
                                        op::v0::Constant::create(ov::element::u32, {5}, {0, 1, 2, 3, 4}))}));
  cases.push_back(make_case("Right", {std::make_shared<op::v15::BitwiseRightShift>(
                                         input(kShape, ov::element::u32),
                                         op::v0::Constant::create(ov::element::u32, {5}, {0, 1, 2, 3, 4}))}));
  check(cases);
}

TEST(KernelTest, Broadcasting) {
  const op::AutoBroadcastSpec pdpd(op::AutoBroadcastType::PDPD, 1), none(op::AutoBroadcastType::NONE);
  check({
      make_case("pdpd", {std::make_shared<op::v1::Add>(input(kShape), input({8, 3}), pdpd)}),
      make_case("none", {std::make_shared<op::v1::Add>(input(kShape), input(kShape), none)}),
      make_case("both", {std::make_shared<op::v1::Add>(input({8, 1, 5}), input({2, 1, 3, 1}))}),
      make_case("scalar", {std::make_shared<op::v1::Multiply>(scalar(0.1), input(kShape))}),
      make_case("scalar input", {std::make_shared<op::v1::Multiply>(input({}), input(kShape))}),
      make_case("rank 0", {std::make_shared<op::v1::Multiply>(input({}), input({}))}),
      make_case("select",
                {std::make_shared<op::v1::Select>(input({8, 1, 1}, kBool), input(kShape), input({1, 5}))}),
  });
}

TEST(KernelTest, Convert) {
  std::vector<Case> cases;
  for (const auto& to :
       {ov::element::f16, ov::element::i8, ov::element::i32, ov::element::i64, ov::element::f64})
    cases.push_back(make_case("from f32 to " + ov::element::Type(to).get_type_name(),
                              {std::make_shared<op::v0::Convert>(input(kShape), to)}));
  cases.push_back(
      make_case("u8", {std::make_shared<op::v0::Convert>(input(kShape), ov::element::u8)}, 0, 200));
  cases.push_back(make_case("bool", {std::make_shared<op::v0::Convert>(input(kShape, i32), kBool)}));
  for (const auto& from :
       {ov::element::i8, ov::element::u8, ov::element::i32, ov::element::i64, ov::element::boolean})
    cases.push_back(make_case("to f32 from " + ov::element::Type(from).get_type_name(),
                              {std::make_shared<op::v0::Convert>(input(kShape, from), f32)}));
  check(cases);
}

TEST(KernelTest, QuantizeAndNormalise) {
  const auto fake = [](const ov::Output<ov::Node>& low, const ov::Output<ov::Node>& high,
                       std::size_t levels) {
    return std::make_shared<op::v0::FakeQuantize>(input(kShape), low, high, scalar(-1.5), scalar(2), levels);
  };
  const auto positive = std::make_shared<op::v0::Abs>(weights({8}));
  check({
      make_case("FakeQuantize", {fake(scalar(-2), scalar(2.5), 256)}),
      make_case("FakeQuantize channel", {fake(weights({1, 8, 1, 1}), scalar(2.5), 16)}),
      make_case("BatchNorm 5", {std::make_shared<op::v5::BatchNormInference>(
                                   input(kShape), weights({8}), weights({8}), weights({8}), positive, 0.1)}),
      make_case("BatchNorm 0", {std::make_shared<op::v0::BatchNormInference>(
                                   input(kShape), weights({8}), weights({8}), weights({8}), positive, 0.1)}),
  });
}

// A chain of nodes is one kernel, and an inner value that is read twice is computed once.
TEST(KernelTest, Chain) {
  const auto x = input({1, 64, 7, 9});
  const auto bias = std::make_shared<op::v1::Add>(x, weights({1, 64, 1, 1}));
  const auto silu = std::make_shared<op::v1::Multiply>(bias, std::make_shared<op::v0::Sigmoid>(bias));
  const auto sum = std::make_shared<op::v1::Add>(silu, input({1, 64, 7, 9}));
  check({make_case("silu and residual", {std::make_shared<op::v0::Relu>(sum)}),
         make_case("wide", {std::make_shared<op::v0::Relu>(std::make_shared<op::v1::Add>(
                               input({1, 64, 64, 80}), weights({64, 1, 1})))})});
}

}  // namespace
}  // namespace inflight::cuda::test
