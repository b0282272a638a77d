// SPDX-License-Identifier: Apache-2.0
#include "model/element_types.h"

#include <gtest/gtest.h>

namespace inflight {
namespace {

TEST(ElementTypes, OfEveryDTypeAreReadBack) {
  for (int i = 0; i < kDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_of_element(element_type(dtype)), dtype) << dtype_name(dtype);
    EXPECT_EQ(element_type(dtype).size(), dtype_bytes(dtype)) << dtype_name(dtype);
  }
  EXPECT_EQ(dtype_of_element(ov::element::u4), std::nullopt);
  EXPECT_EQ(dtype_of_element(ov::element::string), std::nullopt);
  EXPECT_EQ(dtype_of_element(ov::element::dynamic), std::nullopt);
}

}  // namespace
}  // namespace inflight
