// SPDX-License-Identifier: Apache-2.0
// The operators against what the real MXNet 1.9.1 computed and refused. tests/mx_oracle.py wrote the files.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "mx_test_support.h"

namespace inflight::mx {
namespace {

std::vector<double> numbers(const NDArray& array) {
  // f64 as it is; the rest as f32, which holds all that the cases have.
  std::vector<double> result;
  if (array.dtype() == DType::kF64) {
    for (const double value : values<double>(array)) result.push_back(value);
  } else {
    for (const float value : values(array.astype(DType::kF32).value())) result.push_back(value);
  }
  return result;
}

::testing::AssertionResult agree(const NDArray& got, const NDArray& want) {
  if (!(got.shape() == want.shape()) || got.dtype() != want.dtype()) {
    return ::testing::AssertionFailure()
           << "got " << TensorSpec{"", got.dtype(), got.shape()}.type_string() << ", want "
           << TensorSpec{"", want.dtype(), want.shape()}.type_string();
  }
  const std::vector<double> a = numbers(got);
  const std::vector<double> b = numbers(want);
  if (a.size() != b.size()) return ::testing::AssertionFailure() << "it failed";
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    if (!(std::abs(a[i] - b[i]) <= 1e-4 * std::max(1.0, std::abs(b[i]))))
      return ::testing::AssertionFailure() << "at " << i << ": got " << a[i] << ", want " << b[i];
  }
  return ::testing::AssertionSuccess();
}

// In parts, so that none takes long under a sanitizer.
class MxOracle : public ::testing::TestWithParam<int> {
 public:
  static constexpr int kParts = 8;
};

TEST_P(MxOracle, OperatorsAgreeWithMxnet) {
  const std::string folder = INFLIGHT_TEST_DATA_DIR;
  const auto cases = nlohmann::json::parse(std::ifstream(folder + "/mx_oracle.json"));
  const ArrayFile file = load(folder + "/mx_oracle.params").value();
  std::map<std::string, NDArray> arrays;
  for (std::size_t i = 0; i < file.names.size(); ++i) arrays.emplace(file.names[i], file.arrays[i]);
  int compared = 0;
  for (std::size_t c = static_cast<std::size_t>(GetParam()); c < cases.size(); c += kParts) {
    const auto& one = cases[c];
    const std::string number = std::to_string(c);
    std::vector<NDArray> inputs;
    for (int i = 0; i < one["n"].get<int>(); ++i)
      inputs.push_back(arrays.at(number + ".i" + std::to_string(i)));
    const auto results = invoke(one["op"].get<std::string>(), inputs, one["attrs"].get<Attributes>());
    ASSERT_EQ(results.ok(), one["ok"].get<bool>()) << one.dump() << "\n" << results.status().to_string();
    if (!results.ok()) continue;
    ASSERT_EQ(static_cast<int>(results->size()), one["m"].get<int>()) << one.dump();
    for (std::size_t i = 0; i < results->size(); ++i)
      EXPECT_TRUE(agree((*results)[i], arrays.at(number + ".o" + std::to_string(i)))) << one.dump();
    ++compared;
  }
  EXPECT_GT(compared, 100);
}

INSTANTIATE_TEST_SUITE_P(Parts, MxOracle, ::testing::Range(0, MxOracle::kParts));

}  // namespace
}  // namespace inflight::mx
