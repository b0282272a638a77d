// SPDX-License-Identifier: Apache-2.0
// Every operator of the mx table on the way to a GPU: the calls of the sweep over MXNet (tests/mx_oracle), each
// lowered, run by the generated kernels on the host, and compared with the CPU backend's library.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "backends/cuda/lowering.h"
#include "backends/cuda/testing/compare.h"
#include "model/network.h"
#include "mx/attrs.h"
#include "mx/lower.h"
#include "mx/op_table.h"

namespace inflight::cuda::testing {
namespace {

using Json = nlohmann::json;

// As uniform() of tests/mx_oracle/cases.py.
std::vector<double> uniform(const Json& input, std::size_t count) {
  std::uint32_t state = input["seed"].get<std::uint32_t>() * 2654435761U;
  const double low = input["low"];
  const double high = input["high"];
  std::vector<double> values(count);
  for (double& value : values) {
    state = 1664525U * state + 1013904223U;
    value = low + (high - low) * (static_cast<double>(state >> 8U) / 16777216.0);
    if (input["whole"].get<bool>()) value = std::floor(value);
  }
  return values;
}

struct Case {
  std::string title;
  std::shared_ptr<const ov::Model> network;
  std::vector<std::vector<double>> inputs;
  GpuGraph graph;
};

// The network that a call becomes.
Result<Model> lowered(const Json& test, std::vector<std::vector<double>>& values) {
  static const std::map<std::string, DType> kTypes = {{"float32", DType::kF32}, {"int32", DType::kI32},
                                                      {"uint8", DType::kU8},    {"float64", DType::kF64},
                                                      {"int64", DType::kI64},   {"int8", DType::kI8}};
  INFLIGHT_TRY_ASSIGN(const mx::detail::OpRow* row, mx::detail::find_row(test["op"].get<std::string>()));
  auto attributes = test["attrs"].get<mx::Attributes>();
  if (row->variadic && !attributes.contains("num_args"))
    attributes["num_args"] = std::to_string(test["inputs"].size());
  INFLIGHT_TRY_ASSIGN(const mx::detail::Params params,
                      mx::detail::Params::read(row->name, row->attrs, attributes));
  std::vector<TensorSpec> specs;
  for (const Json& input : test["inputs"]) {
    INFLIGHT_TRY_ASSIGN(const Shape shape, Shape::make(input["shape"].get<std::vector<std::int64_t>>()));
    specs.push_back({"", kTypes.at(input["dtype"]), shape});
    values.push_back(uniform(input, shape.elements()));
  }
  return mx::detail::lower_operator(*row, params, specs, false);
}

class CudaOperators : public ::testing::TestWithParam<std::size_t> {
 public:
  static constexpr std::size_t kParts = 8;
  // A part takes minutes under a sanitizer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr std::size_t kPartsTried = 1;
#else
  static constexpr std::size_t kPartsTried = kParts;
#endif
};

TEST_P(CudaOperators, AgreeWithTheCpu) {
  std::ifstream file(INFLIGHT_MX_ORACLE);
  ASSERT_TRUE(file) << INFLIGHT_MX_ORACLE;
  std::vector<Case> cases;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line); ++number) {
    if (number % kParts != GetParam()) continue;
    const Json test = Json::parse(line);
    if (test.contains("broken") || test.contains("refused")) continue;
    Case each;
    each.title = test["op"].get<std::string>() + " " + test["attrs"].dump();
    for (const Json& input : test["inputs"])
      each.title += " " + input["dtype"].get<std::string>() + input["shape"].dump();
    const Result<Model> model = lowered(test, each.inputs);
    if (!model.ok()) continue;  // mx/oracle_test.cc says what is refused
    each.network = network(*model);
    // Where a call has no inputs, its network has one that nothing takes.
    while (each.inputs.size() < each.network->get_parameters().size()) each.inputs.push_back({0});
    LoweringOptions options;
    options.precision = Precision::kF32;
    Result<GpuGraph> graph = lower(each.network, options);
    EXPECT_TRUE(graph.ok()) << each.title << ": " << graph.status().to_string();
    if (!graph.ok()) continue;
    each.graph = std::move(graph).value();
    cases.push_back(std::move(each));
  }
  EXPECT_GT(cases.size(), 80U);
  std::vector<const GpuGraph*> graphs;
  for (const Case& each : cases) graphs.push_back(&each.graph);
  const Result<KernelRunner> runner = generated_kernels(graphs);
  ASSERT_TRUE(runner.ok()) << runner.status().to_string();
  for (const Case& each : cases) {
    const std::string text = check(each.network, each.graph, each.inputs, *runner, 1e-4);
    EXPECT_EQ(text, "") << each.title << "\n" << listing(each.graph);
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, CudaOperators, ::testing::Range(std::size_t{0}, CudaOperators::kPartsTried));

}  // namespace
}  // namespace inflight::cuda::testing
