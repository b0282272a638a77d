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

// This program is not linked to the shared libinflight; tests/plugin_test.cc is.
TEST(LoadBackend, OpensNoPluginInAProgramWithALibraryOfItsOwn) {
  const auto backend = load_backend(Device::null());
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(
      backend.status().to_string(),
      "no such device: device \"null\": plugins need a program that links libinflight.so; kinds here: cpu");
  EXPECT_FALSE(load_backend(Device::null(), {.plugin_folders = {"/tmp"}}).ok());
}

TEST(LoadBackend, HasOneCpu) {
  const auto backend = load_backend(Device::parse("cpu:1").value());
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), StatusCode::kNoSuchDevice);
}

TEST(OperatorCoverage, OfTheCpuIsOfAModel) {
  const auto known = operator_coverage(Device::cpu());
  ASSERT_FALSE(known.ok());
  EXPECT_EQ(known.status().code(), StatusCode::kUnsupported);
  const Model opaque = Model::opaque("m", {{"x", DType::kU8, {2}}}, {{"y", DType::kU8, {3}}}).value();
  EXPECT_EQ(operator_coverage(opaque, Device::cpu()).status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(operator_coverage(opaque, Device::null()).status().code(), StatusCode::kNoSuchDevice);
}

}  // namespace
}  // namespace inflight
