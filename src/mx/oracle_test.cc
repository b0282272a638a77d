// SPDX-License-Identifier: Apache-2.0
// What MXNet 1.9.1 answers to a sweep of calls (tests/mx_oracle): the values, shapes, types and refusals must
// be ours.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "inflight/mx/mx.h"

namespace inflight::mx {
namespace {

using Json = nlohmann::json;

// As uniform() of tests/mx_oracle/cases.py.
std::vector<double> uniform(std::uint32_t seed, std::size_t count, double low, double high) {
  std::uint32_t state = seed * 2654435761U;
  std::vector<double> values(count);
  for (double& value : values) {
    state = 1664525U * state + 1013904223U;
    value = low + (high - low) * (static_cast<double>(state >> 8U) / 16777216.0);
  }
  return values;
}

Shape shape_of(const Json& json) { return Shape::make(json.get<std::vector<std::int64_t>>()).value(); }

NDArray input_of(const Json& json) {
  const Shape shape = shape_of(json["shape"]);
  std::vector<double> values = uniform(json["seed"], shape.elements(), json["low"], json["high"]);
  if (json["whole"].get<bool>()) {
    for (double& value : values) value = std::floor(value);
  }
  const NDArray wide = NDArray::copy_of({values.data(), DType::kF64, shape}).value();
  static const std::map<std::string, DType> kTypes = {{"float32", DType::kF32}, {"int32", DType::kI32},
                                                      {"uint8", DType::kU8},    {"float64", DType::kF64},
                                                      {"int64", DType::kI64},   {"int8", DType::kI8}};
  return wide.astype(kTypes.at(json["dtype"])).value();
}

std::string mxnet_name(DType type) {
  static const std::map<DType, std::string> kNames = {
      {DType::kF16, "float16"}, {DType::kF32, "float32"}, {DType::kF64, "float64"}, {DType::kI8, "int8"},
      {DType::kI32, "int32"},   {DType::kI64, "int64"},   {DType::kU8, "uint8"},    {DType::kBool, "bool"}};
  const auto name = kNames.find(type);
  return name == kNames.end() ? "another type" : name->second;
}

double number(const Json& json) {
  if (!json.is_string()) return json.get<double>();
  const std::string text = json;
  return text == "nan" ? NAN : text == "inf" ? INFINITY : -INFINITY;
}

// "" where they agree.
std::string difference(const NDArray& got, const Json& want) {
  if (got.shape() != shape_of(want["shape"]))
    return "shape " + got.shape().to_string() + ", MXNet has " + want["shape"].dump();
  if (mxnet_name(got.dtype()) != want["dtype"])
    return "type " + mxnet_name(got.dtype()) + ", MXNet has " + want["dtype"].dump();
  const Result<NDArray> wide = got.astype(DType::kF64);
  if (!wide.ok()) return wide.status().to_string();
  const Result<inflight::NDArray> version = wide->snapshot();
  if (!version.ok()) return version.status().to_string();
  if (const Status status = version->wait(); !status.ok()) return status.to_string();
  const auto values = version->read()->as<double>().value();
  const double within = got.dtype() == DType::kF16 ? 2e-3 : 1e-4;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double wanted = number(want["values"][i]);
    const bool same = std::isnan(wanted) ? std::isnan(values[i])
                      : std::isinf(wanted)
                          ? values[i] == wanted
                          : std::abs(values[i] - wanted) <= within * std::max(1.0, std::abs(wanted));
    if (!same)
      return "element " + std::to_string(i) + ": " + std::to_string(values[i]) + ", MXNet has " +
             std::to_string(wanted);
  }
  return "";
}

std::string difference(const Result<std::vector<NDArray>>& got, const Json& test) {
  if (test.contains("refused"))
    return got.ok() ? "runs; MXNet refuses: " + test["refused"].get<std::string>() : "";
  if (!got.ok()) return "refused: " + got.status().to_string();
  const Json& wanted = test["outputs"];
  if (got->size() != wanted.size()) return std::to_string(got->size()) + " outputs";
  for (std::size_t i = 0; i < got->size(); ++i) {
    if (std::string text = difference((*got)[i], wanted[i]); !text.empty()) return text;
  }
  return "";
}

Result<std::vector<NDArray>> by_symbol(const std::string& op, const std::vector<NDArray>& inputs,
                                       const Attributes& attributes) {
  std::vector<Symbol::Input> names;
  std::map<std::string, NDArray> arrays;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = "x" + std::to_string(i);
    INFLIGHT_TRY_ASSIGN(Symbol variable, Symbol::variable(name));
    names.push_back({"", std::move(variable)});
    arrays.emplace(name, inputs[i]);
  }
  INFLIGHT_TRY_ASSIGN(const Symbol symbol, Symbol::apply(op, names, attributes));
  std::map<std::string, NDArray> arguments;
  std::map<std::string, NDArray> states;
  for (const std::string& name : symbol.list_arguments()) {
    if (arrays.count(name) != 0) arguments.emplace(name, arrays.at(name));
  }
  for (const std::string& name : symbol.list_auxiliary_states()) {
    if (arrays.count(name) != 0) states.emplace(name, arrays.at(name));
  }
  INFLIGHT_TRY_ASSIGN(const Executor executor, Executor::bind(symbol, arguments, states));
  return executor.forward();
}

std::string title(const Json& test) {
  std::string text = test["op"].get<std::string>() + " " + test["attrs"].dump();
  for (const Json& input : test["inputs"]) text += " " + input["shape"].dump();
  return text;
}

// In parts, so that none takes long under a sanitizer.
class MxOracle : public ::testing::TestWithParam<std::size_t> {
 public:
  static constexpr std::size_t kParts = 8;
  // Compiling a thousand programs takes minutes under a sanitizer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr std::size_t kPartsTried = 1;
#else
  static constexpr std::size_t kPartsTried = kParts;
#endif
};

template <typename Call>
void sweep(std::size_t part, Call call) {
  std::ifstream file(INFLIGHT_MX_ORACLE);
  ASSERT_TRUE(file) << INFLIGHT_MX_ORACLE;
  std::size_t cases = 0;
  for (std::string line; std::getline(file, line); ++cases) {
    if (cases % MxOracle::kParts != part) continue;
    const Json test = Json::parse(line);
    if (test.contains("broken")) continue;  // MXNet corrupts its memory there
    std::vector<NDArray> inputs;
    for (const Json& input : test["inputs"]) inputs.push_back(input_of(input));
    const std::string text = difference(call(test["op"], inputs, test["attrs"].get<Attributes>()), test);
    EXPECT_TRUE(text.empty()) << title(test) << ": " << text;
  }
  EXPECT_GT(cases, 1000U);
}

TEST_P(MxOracle, CallsOnArrays) {
  sweep(GetParam(), [](const std::string& op, const std::vector<NDArray>& inputs,
                       const Attributes& attributes) { return invoke(op, inputs, attributes); });
}

TEST_P(MxOracle, Symbols) { sweep(GetParam(), by_symbol); }

INSTANTIATE_TEST_SUITE_P(Parts, MxOracle, ::testing::Range(std::size_t{0}, MxOracle::kPartsTried));

}  // namespace
}  // namespace inflight::mx
