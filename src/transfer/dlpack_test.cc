// SPDX-License-Identifier: Apache-2.0
#include "inflight/dlpack.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "transfer/dlpack_abi.h"

namespace inflight {
namespace {

namespace dlpack = internal::dlpack;

// A tensor of another library over the host's memory.
struct Foreign {
  std::vector<float> values = {0, 1, 2, 3, 4, 5};
  std::array<std::int64_t, 2> shape = {2, 3};
  std::array<std::int64_t, 2> strides = {3, 1};
  int ended = 0;
  dlpack::Versioned versioned{
      1, 0, this, [](dlpack::Versioned* m) { ++static_cast<Foreign*>(m->context)->ended; }, 0, {}};
  dlpack::Managed managed{{}, this, [](dlpack::Managed* m) { ++static_cast<Foreign*>(m->context)->ended; }};

  Foreign() {
    versioned.tensor = {values.data(), {dlpack::kCpu, 0}, 2, {dlpack::kFloat, 32, 1},
                        shape.data(),  strides.data(),    0};
    managed.tensor = versioned.tensor;
  }
  DLManagedTensorVersioned* get() { return reinterpret_cast<DLManagedTensorVersioned*>(&versioned); }
  DLManagedTensor* get_old() { return reinterpret_cast<DLManagedTensor*>(&managed); }
  std::string refusal(StatusCode code) {
    const Status status = from_dlpack(get()).status();
    EXPECT_EQ(status.code(), code) << status.to_string();
    EXPECT_EQ(ended, 0) << "on an error the tensor stays the caller's";
    return std::string(status.message());
  }
};

TEST(DLPack, TakesATensorWithoutACopy) {
  Foreign foreign;
  {
    const auto array = from_dlpack(foreign.get());
    ASSERT_TRUE(array.ok()) << array.status().to_string();
    EXPECT_EQ(array->shape(), (Shape{2, 3}));
    EXPECT_EQ(array->dtype(), DType::kF32);
    EXPECT_EQ(array->read()->data, foreign.values.data());
    const NDArray copy = *array;
    EXPECT_EQ(foreign.ended, 0);
  }
  EXPECT_EQ(foreign.ended, 1);
  foreign.managed.tensor.byte_offset = 12;
  foreign.managed.tensor.strides = nullptr;
  foreign.shape = {1, 3};
  EXPECT_EQ(*from_dlpack(foreign.get_old())->read()->as<float>()->data(), 3);
  EXPECT_EQ(foreign.ended, 2);
}

TEST(DLPack, SaysWhatItCannotTake) {
  Foreign foreign;
  foreign.versioned.major = 2;
  EXPECT_EQ(foreign.refusal(StatusCode::kUnsupported), "from_dlpack: got DLPack version 2.0, want 1");
  foreign.versioned.major = 1;
  foreign.strides = {1, 2};
  EXPECT_EQ(foreign.refusal(StatusCode::kInvalidArgument),
            "from_dlpack: axis 1 of [2,3] has a stride of 2 elements, want 1: a dense tensor");
  foreign.strides = {3, 1};
  foreign.versioned.tensor.dtype = {5, 64, 1};
  EXPECT_NE(foreign.refusal(StatusCode::kInvalidArgument).find("code 5, 64 bits"), std::string::npos);
  foreign.versioned.tensor.dtype = {dlpack::kFloat, 32, 1};
  foreign.versioned.tensor.device = {8, 0};
  EXPECT_NE(foreign.refusal(StatusCode::kUnsupported).find("device type 8"), std::string::npos);
  foreign.versioned.tensor.device = {dlpack::kCuda, 7};
  EXPECT_NE(foreign.refusal(StatusCode::kNoSuchDevice).find("cuda:7"), std::string::npos);
  EXPECT_EQ(from_dlpack(static_cast<DLManagedTensor*>(nullptr)).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(DLPack, GivesAVersionAndKeepsIt) {
  const std::vector<std::int16_t> values = {1, 2, 3, 4};
  NDArray array = *NDArray::copy_of({values.data(), DType::kI16, {2, 1, 2}});
  const std::uint32_t shares = array.version().shares();
  const auto given = to_dlpack(array);
  ASSERT_TRUE(given.ok()) << given.status().to_string();
  EXPECT_EQ(array.version().shares(), shares + 1);
  auto* const managed = reinterpret_cast<dlpack::Versioned*>(*given);
  EXPECT_EQ(managed->major, 1U);
  EXPECT_EQ(managed->flags, dlpack::kReadOnly);
  EXPECT_EQ(managed->tensor.data, array.read()->data);
  EXPECT_EQ(managed->tensor.dtype.code, dlpack::kInt);
  EXPECT_EQ(managed->tensor.dtype.bits, 16);
  EXPECT_EQ(managed->tensor.rank, 3);
  EXPECT_EQ(managed->tensor.strides[0], 2);
  managed->deleter(managed);
  EXPECT_EQ(array.version().shares(), shares);
}

TEST(DLPack, EveryElementTypeComesBack) {
  for (int i = 0; i < kDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    const NDArray array = *NDArray::from_buffer(*Buffer::allocate(64), dtype, {3});
    const auto back = from_dlpack(*to_dlpack(array));
    ASSERT_TRUE(back.ok()) << back.status().to_string();
    EXPECT_EQ(back->dtype(), dtype);
  }
}

TEST(DLPack, ThereIsNothingToGiveBeforeItIsThere) {
  const auto version = internal::Ref<internal::Version>::adopt(new internal::Version);
  version->values.emplace_back(DType::kF32, Shape{1});
  EXPECT_EQ(to_dlpack(NDArray(version, 0)).status().code(), StatusCode::kNotReady);
  version->complete(Status(StatusCode::kDeviceError, "lost"));
  EXPECT_EQ(to_dlpack(NDArray(version, 0)).status().message(), "lost");
  EXPECT_EQ(to_dlpack(NDArray()).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(*dlpack_stream(Device::cpu()), 0U);
}

}  // namespace
}  // namespace inflight
