// SPDX-License-Identifier: Apache-2.0
#include "inflight/tensor.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace inflight {
namespace {

TEST(DTypeTest, EveryDTypeHasANameOfItsOwnAndASize) {
  const std::vector<std::pair<std::string, std::size_t>> wanted = {
      {"bool", 1}, {"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2}, {"u32", 4}, {"i32", 4},
      {"u64", 8},  {"i64", 8}, {"f16", 2}, {"bf16", 2}, {"f32", 4}, {"f64", 8}};
  ASSERT_EQ(wanted.size(), static_cast<std::size_t>(kDTypes));
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_name(dtype), wanted[i].first);
    EXPECT_EQ(dtype_bytes(dtype), wanted[i].second);
    EXPECT_TRUE(names.insert(dtype_name(dtype)).second);
  }
}

TEST(DTypeDeathTest, OnePastTheLastIsNotADType) {
  EXPECT_DEATH((void)dtype_name(static_cast<DType>(kDTypes)), "check failed");
  EXPECT_DEATH((void)dtype_bytes(static_cast<DType>(kDTypes)), "check failed");
}

TEST(DTypeTest, CppTypesHaveTheirDTypeAndItsSize) {
  const auto check = []<typename T>(T, std::string_view name) {
    EXPECT_EQ(dtype_name(dtype_of<T>()), name);
    EXPECT_EQ(dtype_bytes(dtype_of<T>()), sizeof(T));
  };
  check(bool(), "bool");
  check(std::uint8_t(), "u8");
  check(std::int8_t(), "i8");
  check(std::uint16_t(), "u16");
  check(std::int16_t(), "i16");
  check(std::uint32_t(), "u32");
  check(std::int32_t(), "i32");
  check(std::uint64_t(), "u64");
  check(std::int64_t(), "i64");
  check(float(), "f32");
  check(double(), "f64");
}

TEST(ShapeTest, AScalarHasNoExtentsAndOneElement) {
  const Shape scalar;
  EXPECT_EQ(scalar.rank(), 0U);
  EXPECT_TRUE(scalar.is_static());
  EXPECT_EQ(scalar.elements(), 1U);
  EXPECT_EQ(scalar.to_string(), "[]");
  EXPECT_EQ(scalar, Shape({}));
}

TEST(ShapeTest, KnowsItsExtents) {
  const Shape shape{1, 3, 224, 220};
  EXPECT_EQ(shape.rank(), 4U);
  EXPECT_EQ(shape[0], 1);
  EXPECT_EQ(shape[3], 220);
  EXPECT_TRUE(shape.is_static());
  EXPECT_EQ(shape.elements(), 147840U);
  EXPECT_EQ(shape.to_string(), "[1,3,224,220]");
  EXPECT_EQ(Shape({2, 0, 5}).elements(), 0U);
}

TEST(ShapeTest, EqualMeansSameRankAndExtents) {
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_FALSE(Shape({2, 3}) == Shape({3, 2}));
  EXPECT_FALSE(Shape({2, 3}) == Shape({2, 3, 0}));  // the unused places are 0 too
  EXPECT_FALSE(Shape({0}) == Shape());
}

TEST(ShapeTest, DynamicExtentsShowAndCount) {
  const Shape shape{Shape::kDynamic, 3};
  EXPECT_FALSE(shape.is_static());
  EXPECT_EQ(shape.to_string(), "[?,3]");
}

TEST(ShapeDeathTest, ADynamicShapeHasNoNumberOfElements) {
  const Shape shape{Shape::kDynamic, 3};
  EXPECT_DEATH((void)shape.elements(), "check failed");
}

TEST(ShapeTest, MakeTakesRanksUpToTheLimitAndNoMore) {
  const std::vector<std::int64_t> most(Shape::kRankMax, 2);
  const Result<Shape> full = Shape::make(most);
  ASSERT_TRUE(full.ok()) << full.status().to_string();
  EXPECT_EQ(full->rank(), Shape::kRankMax);
  EXPECT_EQ(full->elements(), 256U);

  const std::vector<std::int64_t> more(Shape::kRankMax + 1, 2);
  const Result<Shape> past = Shape::make(more);
  EXPECT_EQ(past.status(), Status(StatusCode::kUnsupported, "rank: got 9, want at most 8"));

  // A rank that an 8-bit count would take for 1.
  const std::vector<std::int64_t> wraps(257, 1);
  EXPECT_EQ(Shape::make(wraps).status().code(), StatusCode::kUnsupported);
}

TEST(ShapeTest, MakeTakesExtentsFromDynamicUp) {
  const Result<Shape> shape = Shape::make(std::array<std::int64_t, 3>{Shape::kDynamic, 0, 7});
  ASSERT_TRUE(shape.ok());
  EXPECT_EQ(shape->to_string(), "[?,0,7]");
  const Result<Shape> below = Shape::make(std::array<std::int64_t, 2>{1, Shape::kDynamic - 1});
  EXPECT_EQ(below.status(), Status(StatusCode::kInvalidArgument, "extent 1: got -2, want at least 0"));
}

TEST(ShapeTest, MakeTakesElementsUpToTheLimitAndNoMore) {
  constexpr std::int64_t kMax = Shape::kElementsMax;
  const Result<Shape> most = Shape::make(std::array<std::int64_t, 2>{kMax / 4, 4});
  ASSERT_TRUE(most.ok()) << most.status().to_string();
  EXPECT_EQ(most->elements(), static_cast<std::size_t>(kMax));
  EXPECT_EQ(Shape::make(std::array<std::int64_t, 1>{kMax + 1}).status().code(), StatusCode::kUnsupported);
  // Products that wrap around to a small number.
  const std::int64_t half = std::int64_t{1} << 32;
  EXPECT_EQ(Shape::make(std::array<std::int64_t, 2>{half, half}).status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(Shape::make(std::array<std::int64_t, 3>{Shape::kDynamic, half, half}).status().code(),
            StatusCode::kUnsupported);
}

TEST(ShapeDeathTest, AShapeWrittenInCodeKeepsTheLimits) {
  EXPECT_DEATH(Shape({1, 2, 3, 4, 5, 6, 7, 8, 9}), "check failed");
  const std::int64_t half = std::int64_t{1} << 32;
  const Shape wraps{half, half};
  EXPECT_DEATH((void)wraps.elements(), "check failed");
}

TEST(DeviceTest, ParsesAndPrints) {
  EXPECT_EQ(Device::parse("cpu").value(), Device::cpu());
  EXPECT_EQ(Device::parse("null").value(), Device::null());
  EXPECT_EQ(Device::parse("cuda").value(), Device::cuda(0));
  EXPECT_EQ(Device::parse("cuda:0").value(), Device::cuda(0));
  EXPECT_EQ(Device::parse("cuda:12").value(), Device::cuda(12));
  EXPECT_EQ(Device::parse("cuda:2147483647").value(), Device::cuda(2147483647));
  for (const Device device : {Device::cpu(), Device::null(), Device::cuda(), Device::cuda(3)}) {
    EXPECT_EQ(Device::parse(device.to_string()).value(), device);
  }
  EXPECT_EQ(Device::cpu().to_string(), "cpu");
  EXPECT_EQ(Device::cuda(1).to_string(), "cuda:1");
  EXPECT_EQ(Device::parse("cpu:0").value(), Device::cpu());
}

TEST(DeviceTest, ANewKindNeedsNoListOfKinds) {
  const Device npu = Device::parse("intel_npu2:7").value();
  EXPECT_EQ(npu.name(), "intel_npu2");
  EXPECT_EQ(npu.index(), 7);
  EXPECT_EQ(npu.to_string(), "intel_npu2:7");
  EXPECT_EQ(Device::parse("fifteen_letters").value().name(), "fifteen_letters");
  EXPECT_NE(Device::make("npu", 1).value(), Device::make("npu").value());
  EXPECT_NE(Device::make("npu").value(), Device::make("npu2").value());
}

TEST(DeviceTest, IsAPlainValueKnownWhenCompiled) {
  static_assert(std::is_trivially_copyable_v<Device>);
  static_assert(Device() == Device::cpu() && Device::cpu() != Device::null());
  static_assert(Device::cuda(3).name() == "cuda" && Device::cuda(3).index() == 3);
  static_assert(Device::cpu().is_host() && !Device::cuda().is_host() && !Device::null().is_host());
}

TEST(DeviceTest, RefusesAnythingElse) {
  for (const std::string_view text :
       {"", "CPU", "cpu ", ":0", "0", "_cpu", "cuda:", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:1x",
        "cuda:2147483648", "cuda:1:1", "sixteen_letters_", "cu-da", "cud\xc3\xa4"}) {
    const Result<Device> device = Device::parse(text);
    ASSERT_FALSE(device.ok()) << text;
    EXPECT_EQ(device.status().code(), StatusCode::kInvalidArgument) << text;
    EXPECT_NE(device.status().message().find('"' + std::string(text) + '"'), std::string_view::npos);
  }
}

TEST(TensorSpecTest, SaysItsTypeAndSize) {
  const TensorSpec spec{"image", DType::kF32, {1, 3, 224, 224}};
  EXPECT_EQ(spec.type_string(), "f32[1,3,224,224]");
  EXPECT_EQ(spec.bytes(), 602112U);
  EXPECT_EQ((TensorSpec{"x", DType::kBF16, {Shape::kDynamic, 4}}).type_string(), "bf16[?,4]");
  EXPECT_EQ((TensorSpec{"x", DType::kI64, {}}).bytes(), 8U);
  EXPECT_FALSE(spec == (TensorSpec{"image", DType::kF16, {1, 3, 224, 224}}));
}

TEST(TensorViewTest, GivesItsElementsAsTheirTypeOnly) {
  std::array<std::int32_t, 6> memory = {1, 2, 3, 4, 5, 6};
  const MutableTensorView writer{memory.data(), DType::kI32, {2, 3}};
  const TensorView view = writer;
  EXPECT_EQ(view.bytes(), sizeof(memory));
  EXPECT_EQ(writer.bytes(), sizeof(memory));

  const Result<std::span<const std::int32_t>> elements = view.as<std::int32_t>();
  ASSERT_TRUE(elements.ok());
  EXPECT_EQ(elements->data(), memory.data());
  EXPECT_EQ(elements->size(), 6U);

  EXPECT_EQ(view.as<float>().status(),
            Status(StatusCode::kInvalidArgument, "read as f32, but the tensor is i32[2,3]"));
  EXPECT_FALSE(view.as<std::uint32_t>().ok());
}

TEST(TensorViewTest, TheHostReadsItsOwnMemoryOnly) {
  std::array<std::int32_t, 6> memory = {};
  const MutableTensorView writer{memory.data(), DType::kI32, {2, 3}, Device::cuda(1)};
  const TensorView view = writer;
  EXPECT_EQ(view.device, Device::cuda(1));
  EXPECT_EQ(view.as<std::int32_t>().status(),
            Status(StatusCode::kUnsupported, "memory of cuda:1 cannot be read by the host; copy it first"));
}

}  // namespace
}  // namespace inflight
