// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <openvino/op/ops.hpp>

#include "backends/cuda/kernel_test_support.h"

namespace inflight::cuda::test {
namespace {

namespace op = ov::op;
using ov::element::i32;
using ov::element::i64;
using Node = std::shared_ptr<ov::Node>;
const ov::Shape kShape = {2, 8, 4, 6};

Case one(const char* name, const Node& node) { return make_case(name, node->outputs()); }

std::shared_ptr<op::v0::Constant> table(const ov::Shape& shape, const std::vector<std::int64_t>& values,
                                        ov::element::Type type = i64) {
  return op::v0::Constant::create(type, shape, values);
}

TEST(KernelTest, ReshapeAndTranspose) {
  const auto reshape = [](const ov::Shape& from, const std::vector<std::int64_t>& to) {
    return std::make_shared<op::v1::Reshape>(input(from), integers(to), true);
  };
  const auto transpose = [](const ov::Shape& from, const std::vector<std::int64_t>& order) {
    return std::make_shared<op::v1::Transpose>(input(from), integers(order));
  };
  check({
      one("split", reshape(kShape, {2, 4, 2, 24})),
      one("flatten", reshape(kShape, {0, -1})),
      one("odd", reshape({3, 4, 5}, {5, 12})),
      one("ones", reshape({1, 6, 1, 4}, {6, 1, 4, 1})),
      one("to rank 0", reshape({1, 1}, {})),
      one("heads", reshape({1, 5, 64}, {1, 5, 4, 16})),
      one("swap", transpose(kShape, {0, 2, 3, 1})),
      one("back", transpose(kShape, {0, 3, 1, 2})),
      one("all", transpose({2, 3, 4, 5, 6}, {4, 2, 0, 3, 1})),
      one("turned", transpose(kShape, {})),
      one("squeeze", std::make_shared<op::v0::Squeeze>(input({1, 6, 1, 4}), integers({2}))),
      one("unsqueeze", std::make_shared<op::v0::Unsqueeze>(input({6, 4}), integers({0, -1}))),
      make_case("both", {std::make_shared<op::v1::Reshape>(
                            std::make_shared<op::v1::Transpose>(reshape({1, 5, 64}, {1, 5, 4, 16}),
                                                                integers({0, 2, 1, 3})),
                            integers({4, 80}), false)}),
  });
}

TEST(KernelTest, Slices) {
  const auto slice = [](const ov::Shape& from, const std::vector<std::int64_t>& begin,
                        const std::vector<std::int64_t>& end, const std::vector<std::int64_t>& step,
                        const std::vector<std::int64_t>& axes) {
    return std::make_shared<op::v8::Slice>(input(from), integers(begin), integers(end), integers(step),
                                           integers(axes));
  };
  using Mask = std::vector<std::int64_t>;
  const auto strided = [](const std::vector<std::int64_t>& begin, const std::vector<std::int64_t>& end,
                          const std::vector<std::int64_t>& step, const Mask& begin_mask, const Mask& end_mask,
                          const Mask& new_axis, const Mask& shrink, const Mask& ellipsis) {
    const auto full = [&](Mask mask) {
      mask.resize(begin.size(), 0);
      return mask;
    };
    return std::make_shared<op::v1::StridedSlice>(input(kShape), integers(begin), integers(end),
                                                  integers(step), full(begin_mask), full(end_mask),
                                                  full(new_axis), full(shrink), full(ellipsis));
  };
  check({
      one("plain", slice(kShape, {2}, {6}, {1}, {1})),
      one("negative", slice(kShape, {-1, -1}, {-5, -100}, {-1, -2}, {-2, 3})),
      one("far", slice(kShape, {-100, 1}, {100, 100}, {1, 3}, {0, 3})),
      one("strided", strided({0, 2, 0, 1}, {2, 8, 4, 6}, {1, 2, 1, 2}, {}, {}, {}, {}, {})),
      one("masks", strided({1, 3, 1}, {2, -1, 4}, {1, 1, 1}, {1, 0, 0}, {1, 0, 1}, {}, {}, {})),
      one("shrink", strided({1, -3, 0, 2}, {2, 8, 4, 6}, {1, 1, 1, 1}, {0, 0, 1, 1}, {0, 0, 1, 1}, {},
                            {1, 1, 0, 0}, {})),
      one("new axis", strided({0, 0, 1}, {1, 2, 5}, {1, 1, 2}, {}, {}, {1, 0, 0}, {}, {})),
      one("ellipsis", strided({0, 0, 1}, {1, 0, 5}, {1, 1, 2}, {}, {}, {}, {1, 0, 0}, {0, 1, 0})),
      one("backwards", strided({-1, -1}, {0, 0}, {-1, -2}, {1, 1}, {1, 1}, {}, {}, {})),
      one("split", std::make_shared<op::v1::Split>(input(kShape), scalar(1, i64), 4)),
      one("split last", std::make_shared<op::v1::Split>(input(kShape), scalar(-1, i64), 3)),
      one("variadic",
          std::make_shared<op::v1::VariadicSplit>(input(kShape), scalar(1, i64), integers({1, -1, 4}))),
  });
}

TEST(KernelTest, ConcatTilePad) {
  const auto concat = [](const ov::OutputVector& parts, std::int64_t axis) {
    return std::make_shared<op::v0::Concat>(parts, axis);
  };
  const auto pad = [](op::PadMode mode, const std::vector<std::int64_t>& begin,
                      const std::vector<std::int64_t>& end) {
    return std::make_shared<op::v12::Pad>(input(kShape), integers(begin), integers(end), scalar(1.5), mode);
  };
  std::vector<Case> cases = {
      one("channels", concat({input({2, 8, 4, 6}), input({2, 16, 4, 6}), input({2, 8, 4, 6})}, 1)),
      one("odd channels", concat({input({2, 3, 4, 6}), input({2, 8, 4, 6}), input({2, 1, 4, 6})}, -3)),
      one("rows", concat({input({2, 8, 1, 6}), input({2, 8, 3, 6})}, 2)),
      one("integers", concat({input({3}, i64), input({2}, i64)}, 0)),
      one("one", concat({input({3, 2})}, 0)),
      one("large", concat({input({1, 64, 32, 40}), input({1, 32, 32, 40})}, 1)),
      one("tile", std::make_shared<op::v0::Tile>(input({2, 8, 1, 3}), integers({1, 2, 4, 2}))),
      one("tile more", std::make_shared<op::v0::Tile>(input({2, 3}), integers({2, 1, 3}))),
      one("tile fewer", std::make_shared<op::v0::Tile>(input({2, 3, 4}), integers({2}))),
      one("pad 1", std::make_shared<op::v1::Pad>(input(kShape), integers({0, 1, 2, 0}),
                                                 integers({0, 3, 0, 1}), op::PadMode::CONSTANT)),
      one("broadcast", std::make_shared<op::v3::Broadcast>(input({8, 1, 6}), integers({2, 8, 4, 6}))),
      one("broadcast both", std::make_shared<op::v3::Broadcast>(input({8, 1, 6}), integers({2, 1, 4, 1}),
                                                                op::BroadcastType::BIDIRECTIONAL)),
      one("broadcast axes",
          std::make_shared<op::v3::Broadcast>(input({8, 6}), integers({2, 8, 4, 6}), integers({1, 3}))),
      one("broadcast 1", std::make_shared<op::v1::Broadcast>(input({8}), integers({2, 8, 4}), integers({1}))),
  };
  for (const op::PadMode mode :
       {op::PadMode::CONSTANT, op::PadMode::EDGE, op::PadMode::REFLECT, op::PadMode::SYMMETRIC})
    cases.push_back(one("pad", pad(mode, {0, 0, 3, 2}, {0, 0, 1, 5})));
  cases.push_back(one("pad all", pad(op::PadMode::CONSTANT, {1, 3, 0, 2}, {0, 2, 1, 0})));
  cases.push_back(one("crop", pad(op::PadMode::CONSTANT, {0, -2, 1, -1}, {0, 1, -2, 0})));
  cases.push_back(one("crop edge", pad(op::PadMode::EDGE, {0, 0, 1, 2}, {0, 0, 2, 0})));
  check(cases);
}

TEST(KernelTest, Gathers) {
  const auto gather8 = [](const ov::Shape& data, const Node& indices, std::int64_t axis, std::int64_t batch) {
    return std::make_shared<op::v8::Gather>(input(data), indices, scalar(static_cast<double>(axis), i64),
                                            batch);
  };
  check({
      one("gather", gather8(kShape, table({3}, {0, -1, 5}), 1, 0)),
      one("gather matrix", gather8({20, 16}, table({2, 3}, {3, 0, 19, -2, 7, 7}), 0, 0)),
      one("gather last", gather8(kShape, table({2, 2}, {0, -6, 5, 3}, i32), -1, 0)),
      one("gather scalar", gather8(kShape, table({}, {2}), 1, 0)),
      one("gather batch", gather8({2, 5, 3}, table({2, 2}, {4, 0, -5, 2}), 1, 1)),
      one("gather batch far",
          gather8({2, 3, 4, 5}, table({2, 2, 3}, {0, 1, 2, 4, 3, 2, 1, 1, 1, 0, 0, 4}), 3, 1)),
      one("gather batch all", gather8({2, 4}, table({2, 3}, {0, 1, 3, 3, 2, 0}), 1, -1)),
      one("gather 1", std::make_shared<op::v1::Gather>(input(kShape), table({2}, {5, 0}), scalar(-1, i64))),
      one("gather 7",
          std::make_shared<op::v7::Gather>(input({2, 5, 3}), table({2, 2}, {4, 0, 1, 2}), scalar(1, i64), 1)),
      one("elements", std::make_shared<op::v6::GatherElements>(input({3, 4}),
                                                               table({2, 4}, {0, 2, 1, -1, 2, 2, 0, -3}), 0)),
      one("elements last", std::make_shared<op::v6::GatherElements>(
                               input({2, 3, 4}), table({2, 3, 1}, {0, 3, 1, 2, -1, 0}, i32), -1)),
      one("nd", std::make_shared<op::v8::GatherND>(input({3, 4, 5}), table({2, 2}, {0, 1, 2, 3}))),
      one("nd negative", std::make_shared<op::v8::GatherND>(input({3, 4}), table({2, 2}, {-1, 1, 2, -2}))),
      one("nd full",
          std::make_shared<op::v8::GatherND>(input({3, 4, 5}), table({2, 1, 3}, {0, 1, 4, 2, 3, 0}))),
      one("nd batch",
          std::make_shared<op::v8::GatherND>(input({2, 3, 4, 5}), table({2, 3, 1}, {0, 1, 2, 3, 3, 0}), 2)),
      one("nd 5 batch",
          std::make_shared<op::v5::GatherND>(input({2, 3, 4, 5}), table({2, 3, 1}, {0, 1, 2, 3, 3, 0}), 2)),
      one("nd 5", std::make_shared<op::v5::GatherND>(input({2, 3, 4}), table({2, 1}, {0, 2}), 1)),
      one("one hot", std::make_shared<op::v1::OneHot>(table({2, 3}, {0, 3, 1, 2, -1, 9}), scalar(4, i64),
                                                      scalar(2.5), scalar(-1), -1)),
      one("one hot first", std::make_shared<op::v1::OneHot>(table({3}, {0, 3, 1}, i32), scalar(4, i64),
                                                            scalar(1, i32), scalar(0, i32), 0)),
      make_case("embedding", {gather8({20, 512}, table({9, 8}, std::vector<std::int64_t>(72, 3)), 0, 0)}),
  });
}

TEST(KernelTest, OwnOrder) {
  using ToSpace = op::v0::DepthToSpace::DepthToSpaceMode;
  using ToDepth = op::v0::SpaceToDepth::SpaceToDepthMode;
  std::vector<Case> cases = {
      one("range",
          std::make_shared<op::v4::Range>(scalar(2, i64), scalar(12, i64), scalar(3, i64), ov::element::f32)),
      one("range i32",
          std::make_shared<op::v4::Range>(scalar(9, i32), scalar(-3, i32), scalar(-4, i32), i32)),
      one("reverse",
          std::make_shared<op::v1::Reverse>(input(kShape), integers({1, 3}), op::v1::Reverse::Mode::INDEX)),
      one("reverse mask",
          std::make_shared<op::v1::Reverse>(
              input({2, 3}), op::v0::Constant::create(ov::element::boolean, {2}, {false, true}),
              op::v1::Reverse::Mode::MASK)),
      one("reverse sequence",
          std::make_shared<op::v0::ReverseSequence>(input({3, 5, 2}), table({3}, {2, 5, 1}), 0, 1)),
      one("reverse sequence far",
          std::make_shared<op::v0::ReverseSequence>(input({5, 3, 2}), table({2}, {2, 4}, i32), -1, 0)),
      one("shuffle", std::make_shared<op::v0::ShuffleChannels>(input(kShape), 1, 4)),
      one("shuffle last", std::make_shared<op::v0::ShuffleChannels>(input(kShape), -1, 2)),
      one("batch to space",
          std::make_shared<op::v1::BatchToSpace>(input({12, 3, 2, 5}), integers({1, 1, 2, 3}),
                                                 integers({0, 0, 1, 0}), integers({0, 0, 0, 4}))),
      one("space to batch",
          std::make_shared<op::v1::SpaceToBatch>(input({2, 3, 3, 5}), integers({1, 1, 2, 3}),
                                                 integers({0, 0, 1, 0}), integers({0, 0, 0, 1}))),
      one("roll", std::make_shared<op::v7::Roll>(input(kShape), integers({3, -2}), integers({1, -1}))),
      one("roll twice", std::make_shared<op::v7::Roll>(input(kShape), integers({3, 2}), integers({1, 1}))),
  };
  for (const auto mode : {ToSpace::BLOCKS_FIRST, ToSpace::DEPTH_FIRST}) {
    cases.push_back(
        one("depth to space", std::make_shared<op::v0::DepthToSpace>(input({2, 12, 3, 4}), mode, 2)));
    cases.push_back(
        one("depth to space 3d", std::make_shared<op::v0::DepthToSpace>(input({1, 16, 2, 3, 2}), mode, 2)));
  }
  for (const auto mode : {ToDepth::BLOCKS_FIRST, ToDepth::DEPTH_FIRST}) {
    cases.push_back(
        one("space to depth", std::make_shared<op::v0::SpaceToDepth>(input({2, 3, 6, 4}), mode, 2)));
    cases.push_back(
        one("space to depth 1d", std::make_shared<op::v0::SpaceToDepth>(input({2, 3, 6}), mode, 3)));
  }
  check(cases);
}

TEST(KernelTest, Scatters) {
  using Elements = op::v12::ScatterElementsUpdate;
  using Nd = op::v15::ScatterNDUpdate;
  std::vector<Case> cases = {
      one("update", std::make_shared<op::v3::ScatterUpdate>(input({3, 5, 2}), table({2, 2}, {4, 0, 2, 1}),
                                                            input({3, 2, 2, 2}), scalar(1, i64))),
      one("elements 3", std::make_shared<op::v3::ScatterElementsUpdate>(
                            input({3, 4}), table({2, 2}, {0, 2, 1, -1}), input({2, 2}), scalar(0, i64))),
      one("nd 3", std::make_shared<op::v3::ScatterNDUpdate>(
                      input({3, 4, 2}), table({3, 2}, {0, 1, 2, 3, 0, 1}), input({3, 2}))),
      one("nd rows",
          std::make_shared<op::v3::ScatterNDUpdate>(input({3, 4}), table({2, 1}, {2, 0}), input({2, 4}))),
  };
  for (const auto reduction : {Elements::Reduction::NONE, Elements::Reduction::SUM, Elements::Reduction::PROD,
                               Elements::Reduction::MIN, Elements::Reduction::MAX, Elements::Reduction::MEAN})
    for (const bool init : {true, false})
      cases.push_back(
          one("elements", std::make_shared<Elements>(input({2, 5}), table({2, 4}, {0, 3, 0, -2, 4, 1, 1, 1}),
                                                     input({2, 4}), scalar(1, i64), reduction, init)));
  for (const auto reduction : {Nd::Reduction::NONE, Nd::Reduction::SUM, Nd::Reduction::SUB,
                               Nd::Reduction::PROD, Nd::Reduction::MIN, Nd::Reduction::MAX})
    cases.push_back(one(
        "nd", std::make_shared<Nd>(input({3, 4}), table({3, 2}, {0, 1, 2, 3, 0, 1}), input({3}), reduction)));
  check(cases);
}

}  // namespace
}  // namespace inflight::cuda::test
