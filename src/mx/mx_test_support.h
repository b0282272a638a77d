// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/mx/mx.h"

namespace inflight::mx {

template <typename T = float>
NDArray array(const Shape& shape, const std::vector<T>& values) {
  return NDArray::copy_of({values.data(), dtype_of<T>(), shape}).value();
}

// 0, 1, 2, ...
inline NDArray counted(const Shape& shape, double first = 0, double step = 1) {
  std::vector<float> values;
  for (std::size_t i = 0; i < shape.elements(); ++i)
    values.push_back(static_cast<float>(first + step * static_cast<double>(i)));
  return array(shape, values);
}

template <typename T = float>
std::vector<T> values(const NDArray& from) {
  const inflight::NDArray version = from.snapshot().value();
  const Status status = version.wait();
  EXPECT_TRUE(status.ok()) << status.to_string();
  if (!status.ok()) return {};
  const auto span = version.read()->as<T>();
  EXPECT_TRUE(span.ok()) << span.status().to_string();
  if (!span.ok()) return {};
  return {span->begin(), span->end()};
}

inline void expect_near(const std::vector<float>& got, const std::vector<float>& want, std::string_view what,
                        float within = 1e-4F) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i])) {
      EXPECT_TRUE(std::isnan(got[i])) << what << " at " << i << ": got " << got[i];
      continue;
    }
    if (std::isinf(want[i])) {
      EXPECT_EQ(got[i], want[i]) << what << " at " << i;
      continue;
    }
    EXPECT_NEAR(got[i], want[i], within * std::max(1.0F, std::abs(want[i]))) << what << " at " << i;
  }
}

inline void expect_clear(const Status& status, StatusCode code, std::string_view wanted) {
  const std::string message(status.message());
  EXPECT_EQ(status.code(), code) << message;
  EXPECT_NE(message.find(wanted), std::string::npos) << message << "\nwants: " << wanted;
  for (const char* noise : {"\n", ".cpp", ".hpp", "Exception from", "failed at"})
    EXPECT_EQ(message.find(noise), std::string::npos) << message;
}

// One call and its one result.
inline NDArray call(std::string_view op, const std::vector<NDArray>& inputs,
                    const Attributes& attributes = {}) {
  auto results = invoke(op, inputs, attributes);
  EXPECT_TRUE(results.ok()) << op << ": " << results.status().to_string();
  if (!results.ok()) return NDArray::zeros({1}).value();
  EXPECT_EQ(results->size(), 1U) << op;
  return (*results)[0];
}

// A call, the shape and the values that it must have.
inline void expect_call(std::string_view op, const std::vector<NDArray>& inputs, const Attributes& attributes,
                        const Shape& shape, const std::vector<float>& want) {
  const NDArray result = call(op, inputs, attributes);
  EXPECT_EQ(result.shape(), shape) << op << ": " << result.shape().to_string();
  expect_near(values(result), want, op);
}

inline void expect_refused(std::string_view op, const std::vector<NDArray>& inputs,
                           const Attributes& attributes, std::string_view wanted,
                           StatusCode code = StatusCode::kInvalidArgument) {
  const auto results = invoke(op, inputs, attributes);
  ASSERT_FALSE(results.ok()) << op;
  expect_clear(results.status(), code, wanted);
}

}  // namespace inflight::mx
