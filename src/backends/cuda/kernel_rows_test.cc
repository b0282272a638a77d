// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <openvino/op/ops.hpp>

#include "backends/cuda/kernel_builder.h"
#include "backends/cuda/kernel_test_support.h"

namespace inflight::cuda::test {
namespace {

namespace op = ov::op;
using ov::element::i32;
using ov::element::i64;
using Node = std::shared_ptr<ov::Node>;

Case one(const std::string& name, const Node& node, double low = -4, double high = 4) {
  return make_case(name, node->outputs(), low, high);
}

template <typename Op>
void add_reductions(std::vector<Case>& cases, const char* name, const ov::element::Type& type, double low,
                    double high) {
  for (const bool keep : {true, false})
    for (const std::vector<std::int64_t>& axes : {std::vector<std::int64_t>{1}, {2, 3}, {-1}, {0, 2}, {}})
      cases.push_back(
          one(name, std::make_shared<Op>(input({2, 8, 6, 9}, type), integers(axes), keep), low, high));
  cases.push_back(one(std::string(name) + " large",
                      std::make_shared<Op>(input({2, 40, 5}, type), integers({1}), true), low, high));
}

TEST(KernelTest, Reductions) {
  std::vector<Case> cases;
  for (const auto& type : {ov::element::Type(ov::element::f32), ov::element::Type(i64)}) {
    add_reductions<op::v1::ReduceSum>(cases, "sum", type, -4, 4);
    add_reductions<op::v1::ReduceMax>(cases, "max", type, -4, 4);
    add_reductions<op::v1::ReduceMin>(cases, "min", type, -4, 4);
    add_reductions<op::v4::ReduceL1>(cases, "l1", type, -4, 4);
  }
  add_reductions<op::v1::ReduceMean>(cases, "mean", ov::element::f32, -4, 4);
  add_reductions<op::v4::ReduceL2>(cases, "l2", ov::element::f32, -4, 4);
  add_reductions<op::v1::ReduceProd>(cases, "prod", ov::element::f32, 0.9, 1.1);
  add_reductions<op::v1::ReduceLogicalAnd>(cases, "and", ov::element::boolean, 0, 1);
  add_reductions<op::v1::ReduceLogicalOr>(cases, "or", ov::element::boolean, 0, 1);
  cases.push_back(
      one("global", std::make_shared<op::v1::ReduceMean>(input({1, 64, 7, 7}), integers({2, 3}), true)));
  check(cases);
}

TEST(KernelTest, Rows) {
  std::vector<Case> cases;
  for (const std::int64_t axis : {0, 1, 2, 3, -1}) {
    cases.push_back(one("softmax", std::make_shared<op::v8::Softmax>(input({2, 8, 6, 9}), axis)));
    cases.push_back(one("log softmax", std::make_shared<op::v5::LogSoftmax>(input({2, 8, 6, 9}), axis)));
  }
  cases.push_back(one("softmax 1", std::make_shared<op::v1::Softmax>(input({3, 1000}), 1), -30, 30));
  cases.push_back(one("softmax long", std::make_shared<op::v8::Softmax>(input({2, 40000}), 1)));
  for (const bool variance : {true, false}) {
    for (const auto mode : {op::MVNEpsMode::INSIDE_SQRT, op::MVNEpsMode::OUTSIDE_SQRT})
      for (const std::vector<std::int64_t>& axes : {std::vector<std::int64_t>{2, 3}, {1, 2, 3}, {-1}})
        cases.push_back(one("mvn", std::make_shared<op::v6::MVN>(input({2, 8, 6, 9}), integers(axes),
                                                                 variance, 0.01F, mode)));
    for (const bool across : {true, false})
      cases.push_back(
          one("mvn 0", std::make_shared<op::v0::MVN>(input({2, 8, 6, 9}), across, variance, 0.01)));
  }
  for (const auto mode : {op::EpsMode::ADD, op::EpsMode::MAX})
    for (const std::vector<std::int64_t>& axes : {std::vector<std::int64_t>{1}, {1, 2, 3}, {}})
      cases.push_back(
          one("l2", std::make_shared<op::v0::NormalizeL2>(input({2, 8, 6, 9}), integers(axes), 0.5F, mode)));
  cases.push_back(one("group norm", std::make_shared<op::v12::GroupNormalization>(
                                        input({2, 8, 6, 9}), weights({8}), weights({8}), 4, 0.01)));
  check(cases);
}

TEST(KernelTest, CumSum) {
  std::vector<Case> cases;
  for (const bool exclusive : {false, true})
    for (const bool reverse : {false, true})
      for (const std::int64_t axis : {0, 1, -1}) {
        cases.push_back(
            one("f32", std::make_shared<op::v0::CumSum>(
                           input({4, 5, 6}), scalar(static_cast<double>(axis), i64), exclusive, reverse)));
        cases.push_back(one(
            "i32", std::make_shared<op::v0::CumSum>(
                       input({4, 5, 6}, i32), scalar(static_cast<double>(axis), i64), exclusive, reverse)));
      }
  check(cases);
}

TEST(KernelTest, TopK) {
  std::vector<Case> cases;
  for (const auto mode : {op::TopKMode::MAX, op::TopKMode::MIN})
    for (const std::int64_t axis : {0, 1, 2})
      for (const int k : {1, 3}) {
        // Without an order any is right; ours is that of values.
        for (const auto sort : {op::TopKSortType::SORT_VALUES, op::TopKSortType::SORT_INDICES})
          cases.push_back(one("f32", std::make_shared<op::v11::TopK>(input({4, 7, 9}), scalar(k, i64), axis,
                                                                     mode, sort, i64, true)));
        cases.push_back(
            one("i32", std::make_shared<op::v11::TopK>(input({4, 7, 9}, i32), scalar(k, i64), axis, mode,
                                                       op::TopKSortType::SORT_VALUES, i32, true)));
      }
  cases.push_back(
      one("v3", std::make_shared<op::v3::TopK>(input({4, 300}), scalar(20, i64), -1, op::TopKMode::MAX,
                                               op::TopKSortType::SORT_VALUES)));
  check(cases);
}

// A layer norm of several nodes, an attention's scaled and masked softmax: one kernel each.
TEST(KernelTest, FusedRows) {
  const auto x = input({2, 5, 96});
  const auto mean = std::make_shared<op::v1::ReduceMean>(x, integers({-1}), true);
  const auto centred = std::make_shared<op::v1::Subtract>(x, mean);
  const auto variance = std::make_shared<op::v1::ReduceMean>(
      std::make_shared<op::v1::Multiply>(centred, centred), integers({-1}), true);
  const auto root = std::make_shared<op::v0::Sqrt>(std::make_shared<op::v1::Add>(variance, scalar(1e-5)));
  const auto scaled =
      std::make_shared<op::v1::Multiply>(std::make_shared<op::v1::Divide>(centred, root), weights({96}));
  const auto scores = std::make_shared<op::v1::Add>(
      std::make_shared<op::v1::Multiply>(input({2, 4, 7, 40}), scalar(0.125)), input({2, 1, 1, 40}));
  check({
      one("layer norm", std::make_shared<op::v1::Add>(scaled, weights({96}))),
      one("deviation", root),
      one("attention", std::make_shared<op::v8::Softmax>(scores, -1)),
      one("mvn affine", std::make_shared<op::v1::Add>(
                            std::make_shared<op::v1::Multiply>(
                                std::make_shared<op::v6::MVN>(input({2, 5, 96}), integers({2}), true, 1e-5F,
                                                              op::MVNEpsMode::INSIDE_SQRT),
                                weights({96})),
                            weights({96}))),
      one("of a mean without dimensions", std::make_shared<op::v0::Exp>(std::make_shared<op::v1::ReduceMean>(
                                              input({2, 50, 6}), integers({1}), false))),
  });
}

TEST(KernelTest, RefusesWhatItCannotCompute) {
  const auto x = input({2, 40});
  const auto softmax = std::make_shared<op::v8::Softmax>(x, 1);
  softmax->set_friendly_name("scores");
  const auto other = std::make_shared<op::v8::Softmax>(softmax, 0);
  const Placed to = {DType::kF32, {40, 1}};
  const Placement placed = {{x->output(0), to}};
  const Status rows = build_kernel(other->output(0), to, placed).status();
  EXPECT_EQ(rows.code(), StatusCode::kUnsupported);
  EXPECT_NE(rows.message().find("needs a place in memory"), std::string::npos) << rows.message();

  const auto found = std::make_shared<op::v3::NonZero>(x);
  EXPECT_EQ(kernel_kind(*found), KernelKind::kNone);
  const Status unknown = build_kernel(found->output(0), to, placed).status();
  EXPECT_EQ(unknown.code(), StatusCode::kUnsupported);
  EXPECT_NE(unknown.message().find("NonZero"), std::string::npos) << unknown.message();
}

}  // namespace
}  // namespace inflight::cuda::test
