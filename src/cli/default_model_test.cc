// SPDX-License-Identifier: Apache-2.0
#include "cli/default_model.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "media/synthetic.h"

namespace inflight {
namespace {

TEST(DefaultModel, IsSmallAndWhole) {
  const auto bytes = default_model_bytes();
  EXPECT_GT(bytes.size(), 10'000U);
  EXPECT_LT(bytes.size(), 200'000U);
  EXPECT_EQ(std::to_integer<int>(bytes.front()), 0x08);  // an ONNX file begins with its IR version
}

TEST(DefaultModel, LabelsAreThoseOfTheSyntheticSource) {
  std::string labels;
  for (const std::string_view name : kShapeNames) labels += (labels.empty() ? "" : ",") + std::string(name);
  const auto bytes = default_model_bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_NE(text.find(labels), std::string_view::npos);
}

}  // namespace
}  // namespace inflight
