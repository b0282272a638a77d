// SPDX-License-Identifier: Apache-2.0
// Operators on arrays against values worked out by hand from MXNet's definitions.
#include <numbers>

#include "mx_test_support.h"

namespace inflight::mx {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(MxOperators, BinaryOnesOfOneShape) {
  const NDArray a = array({4}, {-7, 7, 3, 0});
  const NDArray b = array({4}, {3, -3, 2, 0.5F});
  expect_call("elemwise_add", {a, b}, {}, {4}, {-4, 4, 5, 0.5F});
  expect_call("_Minus", {a, b}, {}, {4}, {-10, 10, 1, -0.5F});
  expect_call("_mul", {a, b}, {}, {4}, {-21, -21, 6, 0});
  expect_call("elemwise_div", {a, b}, {}, {4}, {-7.0F / 3, -7.0F / 3, 1.5F, 0});
  expect_call("_mod", {a, b}, {}, {4}, {2, -2, 1, 0});
  expect_call("_maximum", {a, b}, {}, {4}, {3, 7, 3, 0.5F});
  expect_call("_minimum", {a, b}, {}, {4}, {-7, -3, 2, 0});
  expect_call("_power", {array({4}, {2, -2, 3, 9}), array({4}, {3, 3, -1, 0.5F})}, {}, {4},
              {8, -8, 1.0F / 3, 3});
  expect_call("_hypot", {array({2}, {3, -5}), array({2}, {4, 12})}, {}, {2}, {5, 13});
  expect_call("_equal", {a, array({4}, {-7, 1, 3, 1})}, {}, {4}, {1, 0, 1, 0});
  expect_call("_lesser_equal", {a, b}, {}, {4}, {1, 0, 0, 1});
  expect_call("_logical_xor", {a, array({4}, {0, 1, 0, 0})}, {}, {4}, {1, 0, 1, 0});
  expect_call("_mod", {a, array({4}, {0, 0, 0, 0})}, {}, {4}, {0, 0, 0, 0});
  expect_refused("elemwise_add", {a, counted({2, 2})}, {}, "got [4] and [2,2], want the same shape");
}

TEST(MxOperators, BinaryOnesThatBroadcast) {
  const NDArray a = counted({2, 3});
  expect_call("broadcast_add", {a, array({1, 3}, {10, 20, 30})}, {}, {2, 3}, {10, 21, 32, 13, 24, 35});
  expect_call("broadcast_sub", {a, array({2, 1}, {1, 2})}, {}, {2, 3}, {-1, 0, 1, 1, 2, 3});
  expect_call("broadcast_greater", {a, array({1, 1}, {2})}, {}, {2, 3}, {0, 0, 0, 1, 1, 1});
  expect_call("broadcast_mul", {array({3}, {1, 2, 3}), array({2, 1}, {1, 10})}, {}, {2, 3},
              {1, 2, 3, 10, 20, 30});
  expect_refused("broadcast_add", {a, counted({2, 2})}, {}, "3 and 2 are neither the same nor 1");
}

TEST(MxOperators, ScalarsOnBothSides) {
  const NDArray a = array({4}, {-7, 1, 2, 4});
  expect_call("_plus_scalar", {a}, {{"scalar", "0.5"}}, {4}, {-6.5F, 1.5F, 2.5F, 4.5F});
  expect_call("_rminus_scalar", {a}, {{"scalar", "1"}}, {4}, {8, 0, -1, -3});
  expect_call("_RDivScalar", {a}, {{"scalar", "2"}}, {4}, {-2.0F / 7, 2, 1, 0.5F});
  expect_call("_rpower_scalar", {a}, {{"scalar", "2"}}, {4}, {1.0F / 128, 2, 4, 16});
  expect_call("_power_scalar", {a}, {{"scalar", "2"}}, {4}, {49, 1, 4, 16});
  expect_call("_mod_scalar", {a}, {{"scalar", "3"}}, {4}, {2, 1, 2, 1});
  expect_call("_rmod_scalar", {a}, {{"scalar", "5"}}, {4}, {-2, 0, 1, 1});
  expect_call("_lesser_scalar", {a}, {{"scalar", "2"}}, {4}, {1, 1, 0, 0});
  expect_refused("_plus_scalar", {a}, {{"scalar", "one"}}, "attribute scalar: got \"one\", want float");
  expect_refused("_plus_scalar", {a}, {{"value", "1"}},
                 "got an attribute value = \"1\", which it does not have");
}

TEST(MxOperators, IntegersWrapAroundAndDivideTowardsZero) {
  const auto u8 = array<std::uint8_t>({4}, {250, 3, 7, 100});
  EXPECT_EQ(values<std::uint8_t>(call("_plus_scalar", {u8}, {{"scalar", "10"}})),
            (std::vector<std::uint8_t>{4, 13, 17, 110}));
  EXPECT_EQ(values<std::uint8_t>(call("elemwise_mul", {u8, u8})), (std::vector<std::uint8_t>{36, 9, 49, 16}));
  EXPECT_EQ(
      values<std::uint8_t>(call("elemwise_sub", {call("_minus_scalar", {u8}, {{"scalar", "250"}}), u8})),
      (std::vector<std::uint8_t>{6, 6, 6, 6}));
  const auto i32 = array<std::int32_t>({4}, {-7, 7, 16777217, 5});
  EXPECT_EQ(values<std::int32_t>(call("_div_scalar", {i32}, {{"scalar", "2"}})),
            (std::vector<std::int32_t>{-3, 3, 8388608, 2}));
  EXPECT_EQ(values<std::int32_t>(call("_mod_scalar", {i32}, {{"scalar", "4"}})),
            (std::vector<std::int32_t>{1, 3, 1, 1}));
  const auto large = array<std::int32_t>({4}, {2147483647, -2147483647, 2000000001, -1999999999});
  EXPECT_EQ(values<std::int32_t>(call("_div_scalar", {large}, {{"scalar", "3"}})),
            (std::vector<std::int32_t>{715827882, -715827882, 666666667, -666666666}));
  EXPECT_EQ(values<std::int32_t>(call("_mod_scalar", {large}, {{"scalar", "-7"}})),
            (std::vector<std::int32_t>{-6, -1, -1, -4}));
  EXPECT_EQ(values<std::int32_t>(call("_mod", {large, array<std::int32_t>({4}, {1, 1, 0, 2000000000})})),
            (std::vector<std::int32_t>{0, 0, 0, 1}));
  EXPECT_EQ(values<std::int32_t>(call("_plus_scalar", {large}, {{"scalar", "-1"}})),
            (std::vector<std::int32_t>{2147483646, -2147483647 - 1, 2000000000, -2000000000}));
  EXPECT_EQ(values<std::int32_t>(call("abs", {i32})), (std::vector<std::int32_t>{7, 7, 16777217, 5}));
  EXPECT_EQ(values<std::int32_t>(call("_greater_scalar", {i32}, {{"scalar", "5"}})),
            (std::vector<std::int32_t>{0, 1, 1, 0}));
}

TEST(MxOperators, WhatTheDeviceDoesNotComputeIsRefused) {
  const auto f64 = array<double>({2}, {1, 2});
  expect_refused("exp", {f64}, {}, "input data: got float64", StatusCode::kUnsupported);
  expect_call("Cast", {f64}, {{"dtype", "float32"}}, {2}, {1, 2});
  const NDArray wide =
      call("_plus_scalar", {array<std::int64_t>({2}, {1, std::int64_t{1} << 40})}, {{"scalar", "1"}});
  expect_clear(wide.wait(), StatusCode::kUnsupported, "got an int64 of 1099511627776");
  expect_refused("elemwise_add", {f64, counted({2})}, {}, "input rhs: got float32, want float64");
}

TEST(MxOperators, UnaryOnes) {
  const NDArray x = array({6}, {-2.5F, -1.5F, -0.5F, 0.5F, 1.5F, 2.5F});
  expect_call("round", {x}, {}, {6}, {-3, -2, -1, 1, 2, 3});
  expect_call("rint", {x}, {}, {6}, {-3, -2, -1, 0, 1, 2});
  expect_call("fix", {x}, {}, {6}, {-2, -1, 0, 0, 1, 2});
  expect_call("trunc", {x}, {}, {6}, {-2, -1, 0, 0, 1, 2});
  expect_call("ceil", {x}, {}, {6}, {-2, -1, 0, 1, 2, 3});
  expect_call("floor", {x}, {}, {6}, {-3, -2, -1, 0, 1, 2});
  expect_call("sign", {x}, {}, {6}, {-1, -1, -1, 1, 1, 1});
  expect_call("relu", {x}, {}, {6}, {0, 0, 0, 0.5F, 1.5F, 2.5F});
  expect_call("logical_not", {array({3}, {0, 2, -1})}, {}, {3}, {1, 0, 0});
  expect_call("softsign", {x}, {}, {6}, {-2.5F / 3.5F, -0.6F, -1.0F / 3, 1.0F / 3, 0.6F, 2.5F / 3.5F});
  expect_call("clip", {x}, {{"a_min", "-1"}, {"a_max", "1"}}, {6}, {-1, -1, -0.5F, 0.5F, 1, 1});
  expect_call("hard_sigmoid", {x}, {}, {6}, {0, 0.2F, 0.4F, 0.6F, 0.8F, 1});
  expect_call("smooth_l1", {x}, {{"scalar", "1"}}, {6}, {2, 1, 0.125F, 0.125F, 1, 2});
  expect_call("rsqrt", {array({2}, {4, 0.25F})}, {}, {2}, {0.5F, 2});
  expect_call("cbrt", {array({2}, {-27, 8})}, {}, {2}, {-3, 2});
  expect_call("rcbrt", {array({2}, {-27, 8})}, {}, {2}, {-1.0F / 3, 0.5F});
  expect_call("degrees", {array({1}, {static_cast<float>(std::numbers::pi)})}, {}, {1}, {180});
  struct Function {
    const char* name;
    double (*of)(double);
    std::vector<float> at;
  };
  const std::vector<Function> functions = {
      {"exp", std::exp, {-20, 0, 1, 20}},
      {"log", std::log, {1e-20F, 0.5F, 1, 100}},
      {"log10", std::log10, {0.1F, 1, 1000}},
      {"log2", std::log2, {0.125F, 1, 1024}},
      {"log1p", std::log1p, {1e-7F, 1e-3F, 9}},
      {"expm1", std::expm1, {-30, -1e-6F, 1e-5F, 0.4F, 3, 30}},
      {"sin", std::sin, {-3, 0.1F, 2}},
      {"cos", std::cos, {-3, 0.1F, 2}},
      {"tan", std::tan, {-1, 0.1F, 1}},
      {"arcsin", std::asin, {-1, 0.3F, 1}},
      {"arccos", std::acos, {-1, 0.3F, 1}},
      {"arctan", std::atan, {-5, 0.3F, 100}},
      {"sinh", std::sinh, {-2, 0.1F, 3}},
      {"cosh", std::cosh, {-2, 0.1F, 3}},
      {"tanh", std::tanh, {-20, 0.1F, 3}},
      {"arcsinh", std::asinh, {-5, 0.1F, 300}},
      {"arccosh", std::acosh, {1, 2, 300}},
      {"arctanh", std::atanh, {-0.9F, 0.1F, 0.99F}},
      {"erf", std::erf, {-3, 0.1F, 1}},
      {"sqrt", std::sqrt, {0, 2, 1e10F}},
      {"sigmoid", [](double at) { return 1 / (1 + std::exp(-at)); }, {-30, 0, 2, 30}},
      {"reciprocal", [](double at) { return 1 / at; }, {-4, 0.1F}},
      {"square", [](double at) { return at * at; }, {-4, 0.1F}},
  };
  for (const Function& function : functions) {
    std::vector<float> want;
    for (const float at : function.at) want.push_back(static_cast<float>(function.of(at)));
    expect_call(function.name, {array({static_cast<std::int64_t>(want.size())}, function.at)}, {},
                {static_cast<std::int64_t>(want.size())}, want);
  }
  expect_call("expm1", {array({3}, {1e-4F, 200, -200})}, {}, {3}, {1.00005e-4F, kInfinity, -1});
  expect_call("log", {array({2}, {0, -1})}, {}, {2}, {-kInfinity, kNan});
}

TEST(MxOperators, CastConvertsAsCDoes) {
  EXPECT_EQ(
      values<std::uint8_t>(call("Cast", {array({5}, {-1, 256, 300, 1.7F, -1.7F})}, {{"dtype", "uint8"}})),
      (std::vector<std::uint8_t>{255, 0, 44, 1, 255}));
  EXPECT_EQ(values<std::int32_t>(call("cast", {array({3}, {-1.7F, 1e6F, 2.5F})}, {{"dtype", "int32"}})),
            (std::vector<std::int32_t>{-1, 1000000, 2}));
  expect_call("Cast", {array<std::int64_t>({2}, {-5, 7})}, {{"dtype", "float32"}}, {2}, {-5, 7});
  expect_refused("Cast", {counted({2})}, {{"dtype", "int33"}}, "attribute dtype: got \"int33\", want dtype");
}

TEST(MxOperators, Reshape) {
  const NDArray x = counted({2, 3, 4});
  const auto to = [&](const char* shape, const Shape& want, const char* reverse = "False") {
    EXPECT_EQ(call("Reshape", {x}, {{"shape", shape}, {"reverse", reverse}}).shape(), want) << shape;
  };
  to("(4, 0, 2)", {4, 3, 2});
  to("(6, 1, -1)", {6, 1, 4});
  to("(-2,)", {2, 3, 4});
  to("(2, -2)", {2, 3, 4});
  to("(-2, 1, 1)", {2, 3, 4, 1, 1});
  to("(-3, 4)", {6, 4});
  to("(0, -3)", {2, 12});
  to("(-4, 1, 2, -2)", {1, 2, 3, 4});
  to("(2, -4, -1, 3, -2)", {2, 1, 3, 4});
  to("(-1, 0)", {8, 3});
  to("(-1, 0)", {6, 4}, "True");
  expect_refused("Reshape", {x}, {{"shape", "(5, -1)"}}, "want extents that leave a whole number for -1");
  expect_refused("Reshape", {x}, {{"shape", "(-1, -1)"}}, "-1 once at most");
  expect_refused("Reshape", {x}, {{"shape", "(7,)"}}, "want as many elements");
  expect_call("Flatten", {counted({2, 1, 2})}, {}, {2, 2}, {0, 1, 2, 3});
}

TEST(MxOperators, MovingElements) {
  const NDArray x = counted({2, 3});
  expect_call("transpose", {x}, {}, {3, 2}, {0, 3, 1, 4, 2, 5});
  expect_call("transpose", {counted({1, 2, 2})}, {{"axes", "(2, 0, 1)"}}, {2, 1, 2}, {0, 2, 1, 3});
  expect_call("swapaxes", {x}, {{"dim1", "0"}, {"dim2", "1"}}, {3, 2}, {0, 3, 1, 4, 2, 5});
  expect_call("expand_dims", {x}, {{"axis", "1"}}, {2, 1, 3}, {0, 1, 2, 3, 4, 5});
  expect_call("squeeze", {counted({1, 2, 1})}, {}, {2}, {0, 1});
  expect_call("squeeze", {counted({1, 2, 1})}, {{"axis", "(0,)"}}, {2, 1}, {0, 1});
  expect_call("slice", {x}, {{"begin", "(0, 1)"}, {"end", "(2, None)"}}, {2, 2}, {1, 2, 4, 5});
  expect_call("slice", {x}, {{"begin", "(None, -1)"}, {"end", "(None, -4)"}, {"step", "(-1, -2)"}}, {2, 2},
              {5, 3, 2, 0});
  expect_call("slice_axis", {x}, {{"axis", "1"}, {"begin", "-2"}, {"end", "None"}}, {2, 2}, {1, 2, 4, 5});
  expect_call("slice_like", {x, counted({1, 2})}, {}, {1, 2}, {0, 1});
  expect_call("Concat", {x, array({2, 1}, {8, 9})}, {{"dim", "1"}}, {2, 4}, {0, 1, 2, 8, 3, 4, 5, 9});
  expect_call("stack", {array({2}, {1, 2}), array({2}, {3, 4})}, {{"axis", "1"}}, {2, 2}, {1, 3, 2, 4});
  expect_call("tile", {array({2}, {1, 2})}, {{"reps", "(2, 2)"}}, {2, 4}, {1, 2, 1, 2, 1, 2, 1, 2});
  expect_call("repeat", {x}, {{"repeats", "2"}, {"axis", "1"}}, {2, 6}, {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5});
  expect_call("repeat", {array({2}, {1, 2})}, {{"repeats", "2"}}, {4}, {1, 1, 2, 2});
  expect_call("flip", {x}, {{"axis", "1"}}, {2, 3}, {2, 1, 0, 5, 4, 3});
  expect_call("broadcast_to", {array({2, 1}, {1, 2})}, {{"shape", "(0, 3)"}}, {2, 3}, {1, 1, 1, 2, 2, 2});
  expect_call("broadcast_axis", {array({1, 2}, {1, 2})}, {{"axis", "0"}, {"size", "2"}}, {2, 2},
              {1, 2, 1, 2});
  expect_call("zeros_like", {x}, {}, {2, 3}, {0, 0, 0, 0, 0, 0});
  expect_call("reshape_like", {x, counted({3, 2})}, {}, {3, 2}, {0, 1, 2, 3, 4, 5});
  expect_call("depth_to_space", {counted({1, 4, 1, 2})}, {{"block_size", "2"}}, {1, 1, 2, 4},
              {0, 2, 1, 3, 4, 6, 5, 7});
  EXPECT_EQ(values<std::int64_t>(call("shape_array", {x})), (std::vector<std::int64_t>{2, 3}));
  const NDArray image = counted({1, 1, 2, 3});
  const char* one_row = "(0, 0, 0, 0, 1, 0, 0, 1)";
  expect_call("Pad", {image}, {{"mode", "constant"}, {"pad_width", one_row}, {"constant_value", "9"}},
              {1, 1, 3, 4}, {9, 9, 9, 9, 0, 1, 2, 9, 3, 4, 5, 9});
  expect_call("Pad", {image}, {{"mode", "edge"}, {"pad_width", one_row}}, {1, 1, 3, 4},
              {0, 1, 2, 2, 0, 1, 2, 2, 3, 4, 5, 5});
  expect_call("pad", {image}, {{"mode", "reflect"}, {"pad_width", one_row}}, {1, 1, 3, 4},
              {3, 4, 5, 4, 0, 1, 2, 1, 3, 4, 5, 4});
  const auto parts = invoke("split", std::vector<NDArray>{counted({2, 4})}, {{"num_outputs", "2"}});
  ASSERT_TRUE(parts.ok() && parts->size() == 2);
  expect_near(values((*parts)[1]), {2, 3, 6, 7}, "split");
  expect_refused("Concat", {x, counted({3, 3})}, {{"dim", "1"}},
                 "input arg1: got [3,3], want [2,3] but for axis 1");
  expect_refused("transpose", {x}, {{"axes", "(0, 0)"}},
                 "attribute axes: got [0,0], want each of 2 axes once");
  expect_refused("split", {x}, {{"num_outputs", "2"}}, "attribute num_outputs: got 2, want a divisor of 3");
  expect_refused("slice_axis", {x}, {{"axis", "2"}, {"begin", "0"}, {"end", "1"}},
                 "attribute axis: got 2, want -2 to 1");
}

TEST(MxOperators, Reductions) {
  const NDArray x = counted({2, 3});
  expect_call("sum", {x}, {}, {1}, {15});
  expect_call("sum", {x}, {{"axis", "1"}}, {2}, {3, 12});
  expect_call("sum", {x}, {{"axis", "(0, 1)"}, {"keepdims", "True"}}, {1, 1}, {15});
  expect_call("sum", {x}, {{"axis", "1"}, {"exclude", "True"}}, {3}, {3, 5, 7});
  expect_call("mean", {x}, {{"axis", "-1"}}, {2}, {1, 4});
  expect_call("prod", {x}, {{"axis", "0"}}, {3}, {0, 4, 10});
  expect_call("max", {x}, {{"axis", "0"}}, {3}, {3, 4, 5});
  expect_call("min_axis", {x}, {{"axis", "1"}}, {2}, {0, 3});
  expect_call("nansum", {array({3}, {1, kNan, 2})}, {}, {1}, {3});
  expect_call("nanprod", {array({3}, {4, kNan, 2})}, {}, {1}, {8});
  expect_call("norm", {array({2, 2}, {3, 4, 6, 8})}, {{"axis", "1"}}, {2}, {5, 10});
  expect_call("norm", {array({2, 2}, {3, -4, 6, 8})}, {{"ord", "1"}}, {1}, {21});
  expect_call("argmax", {array({2, 3}, {1, 5, 5, 9, 2, 3})}, {{"axis", "1"}}, {2}, {1, 0});
  expect_call("argmin", {array({2, 3}, {1, 5, 5, 9, 2, 3})}, {{"axis", "0"}}, {3}, {0, 1, 1});
  expect_call("argmax", {array({2, 3}, {1, 5, 5, 9, 2, 3})}, {}, {1}, {3});
  expect_call("argmax_channel", {array({2, 3}, {1, 5, 5, 9, 2, 3})}, {}, {2}, {1, 0});
  expect_call("cumsum", {x}, {{"axis", "1"}}, {2, 3}, {0, 1, 3, 3, 7, 12});
  expect_refused("sum", {x}, {{"axis", "2"}}, "attribute axis: got 2");
}

TEST(MxOperators, Ordering) {
  const NDArray x = array({2, 3}, {3, 1, 2, 4, 6, 5});
  expect_call("sort", {x}, {}, {2, 3}, {1, 2, 3, 4, 5, 6});
  expect_call("sort", {x}, {{"is_ascend", "False"}, {"axis", "None"}}, {6}, {6, 5, 4, 3, 2, 1});
  expect_call("argsort", {x}, {}, {2, 3}, {1, 2, 0, 0, 2, 1});
  expect_call("topk", {x}, {{"k", "2"}}, {2, 2}, {0, 2, 1, 2});
  expect_call("topk", {x}, {{"k", "2"}, {"ret_typ", "value"}, {"is_ascend", "True"}}, {2, 2}, {1, 2, 4, 5});
  expect_call("topk", {x}, {{"k", "2"}, {"ret_typ", "mask"}}, {2, 3}, {1, 0, 1, 0, 1, 1});
  const auto both =
      invoke("topk", std::vector<NDArray>{x}, {{"ret_typ", "both"}, {"dtype", "int32"}, {"axis", "0"}});
  ASSERT_TRUE(both.ok() && both->size() == 2);
  expect_near(values((*both)[0]), {4, 6, 5}, "topk");
  EXPECT_EQ(values<std::int32_t>((*both)[1]), (std::vector<std::int32_t>{1, 1, 1}));
  expect_refused("topk", {x}, {{"k", "4"}}, "attribute k: got 4, want at most 3");
}

TEST(MxOperators, Matrices) {
  const NDArray a = counted({2, 3});
  expect_call("dot", {a, counted({3, 2})}, {}, {2, 2}, {10, 13, 28, 40});
  expect_call("dot", {a, counted({2, 3})}, {{"transpose_b", "True"}}, {2, 2}, {5, 14, 14, 50});
  expect_call("dot", {a, counted({2, 2})}, {{"transpose_a", "True"}}, {3, 2}, {6, 9, 8, 13, 10, 17});
  expect_call("dot", {counted({3}), counted({3})}, {}, {1}, {5});
  expect_call("dot", {counted({1, 2, 2}), counted({2, 1, 2})}, {}, {1, 2, 1, 2}, {2, 3, 6, 11});
  expect_call("dot", {a, counted({3})}, {}, {2}, {5, 14});
  expect_call("batch_dot", {counted({2, 1, 2}), counted({2, 2, 1})}, {}, {2, 1, 1}, {1, 13});
  expect_call("linalg_gemm2", {counted({2, 2}), counted({2, 2})}, {{"alpha", "2"}}, {2, 2}, {4, 6, 12, 22});
  expect_refused("dot", {a, a}, {}, "input rhs: got [2,3], want an extent of 3");
}

TEST(MxOperators, Indexing) {
  const NDArray x = counted({3, 2});
  expect_call("take", {x, array({2}, {2, -1})}, {}, {2, 2}, {4, 5, 0, 1});
  expect_call("take", {x, array({2}, {3, -1})}, {{"mode", "wrap"}}, {2, 2}, {0, 1, 4, 5});
  expect_call("take", {x, array<std::int32_t>({1, 2}, {0, 1})}, {{"axis", "1"}}, {3, 1, 2},
              {0, 1, 2, 3, 4, 5});
  expect_call("pick", {x, array({3}, {0, 1, 5})}, {}, {3}, {0, 3, 5});
  expect_call("pick", {x, array({2}, {2, 0})}, {{"axis", "0"}, {"keepdims", "True"}}, {1, 2}, {4, 1});
  expect_call("batch_take", {x, array({3}, {1, 0, 1})}, {}, {3}, {1, 2, 5});
  expect_call("one_hot", {array({3}, {1, 0, 7})}, {{"depth", "3"}, {"on_value", "5"}, {"off_value", "-1"}},
              {3, 3}, {-1, 5, -1, 5, -1, -1, -1, -1, -1});
  expect_call("Embedding", {array({2}, {2, 0}), x}, {{"input_dim", "3"}, {"output_dim", "2"}}, {2, 2},
              {4, 5, 0, 1});
  expect_call("gather_nd", {x, array({2, 2}, {0, 2, 1, 0})}, {}, {2}, {1, 4});
  expect_call("where", {array({3}, {1, 0, 2}), array({3}, {1, 2, 3}), array({3}, {4, 5, 6})}, {}, {3},
              {1, 5, 3});
  expect_call("where", {array({3}, {1, 0, 0}), x, call("negative", {x})}, {}, {3, 2}, {0, 1, -2, -3, -4, -5});
  expect_call("SequenceMask", {counted({2, 2, 1}, 1), array({2}, {1, 2})},
              {{"use_sequence_length", "True"}, {"value", "-1"}}, {2, 2, 1}, {1, 2, -1, 4});
  expect_refused("take", {x, x}, {{"mode", "raise"}}, "attribute mode: raise is not offered",
                 StatusCode::kUnsupported);
}

TEST(MxOperators, Softmax) {
  const NDArray x = array({2, 2}, {0, 1, 2, 2});
  const float e = std::exp(1.0F);
  expect_call("softmax", {x}, {}, {2, 2}, {1 / (1 + e), e / (1 + e), 0.5F, 0.5F});
  expect_call("log_softmax", {x}, {}, {2, 2},
              {-std::log(1 + e), 1 - std::log(1 + e), -std::log(2.0F), -std::log(2.0F)});
  expect_call("softmin", {x}, {}, {2, 2}, {e / (1 + e), 1 / (1 + e), 0.5F, 0.5F});
  expect_call("softmax", {x}, {{"axis", "0"}, {"temperature", "2"}}, {2, 2},
              {1 / (1 + e), 1 / (1 + std::sqrt(e)), e / (1 + e), std::sqrt(e) / (1 + std::sqrt(e))});
}

TEST(MxOperators, MakingArrays) {
  expect_call("_zeros", {}, {{"shape", "(2,)"}}, {2}, {0, 0});
  expect_call("_full", {}, {{"shape", "(1, 2)"}, {"value", "2.5"}}, {1, 2}, {2.5F, 2.5F});
  expect_call("_arange", {}, {{"start", "1"}, {"stop", "2"}, {"step", "0.5"}, {"repeat", "2"}}, {4},
              {1, 1, 1.5F, 1.5F});
  expect_call("_eye", {}, {{"N", "2"}, {"M", "3"}, {"k", "1"}}, {2, 3}, {0, 1, 0, 0, 0, 1});
}

TEST(MxOperators, UnknownOnesAreNamed) {
  const NDArray x = counted({2});
  expect_refused("FullyConected", {x}, {},
                 "operator FullyConected: there is none of that name; near: FullyConnected");
  expect_refused("RNN", {x}, {}, "operator RNN: it is not offered; use", StatusCode::kUnsupported);
  expect_refused("exp", {x, x}, {}, "operator exp: got 2 arrays, want 1");
  expect_refused("exp", {NDArray()}, {}, "operator exp: got an empty array");
  EXPECT_GT(list_operators().size(), 150U);
  EXPECT_EQ(find_operator("_Plus")->name, "elemwise_add");
}

TEST(MxOperators, EveryRowIsWhole) {
  for (const OperatorInfo& info : list_operators()) {
    const OperatorInfo found = find_operator(info.name).value();
    EXPECT_EQ(found.name, info.name);
    for (const std::string& alias : info.aliases) EXPECT_EQ(find_operator(alias)->name, info.name) << alias;
    for (const OperatorAttribute& attribute : info.attributes)
      EXPECT_FALSE(attribute.type.empty()) << info.name;
  }
}

}  // namespace
}  // namespace inflight::mx
