// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "inflight/backend.h"

namespace inflight {
namespace {

TEST(LoadBackend, OpensTheCpu) {
  const auto backend = load_backend(Device::cpu());
  ASSERT_TRUE(backend.ok()) << backend.status().to_string();
  EXPECT_EQ((*backend)->name(), "openvino");
  EXPECT_NE((*backend)->device_description().find("cpu"), std::string::npos);
}

TEST(LoadBackend, OpensTheNullDevice) {
  const auto backend = load_backend(Device::null());
  ASSERT_TRUE(backend.ok());
  EXPECT_EQ((*backend)->name(), "null");
}

TEST(LoadBackend, NamesADeviceThatIsNotThere) {
  const auto backend = load_backend(Device::cuda(3));
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), StatusCode::kNoSuchDevice);
  EXPECT_NE(backend.status().message().find("cuda:3"), std::string_view::npos);
}

TEST(LoadBackend, SaysWhichDevicesThereAre) {
  for (const std::string_view text : {"tpu", "cpu:1", "null:1"}) {
    const auto backend = load_backend(Device::parse(text).value());
    ASSERT_FALSE(backend.ok());
    EXPECT_EQ(backend.status().code(), StatusCode::kNoSuchDevice);
    EXPECT_NE(backend.status().message().find("cpu, null"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace inflight
