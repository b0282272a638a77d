// SPDX-License-Identifier: Apache-2.0
// Whole networks on their way to a GPU: what steps they become, and what those compute.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "backends/cuda/testing/compare.h"
#include "backends/cuda/testing/operators_document.h"
#include "backends/cuda/testing/step_counts.h"
#include "inflight/model.h"
#include "model/network.h"

namespace inflight::cuda::testing {
namespace {

// A file, or nothing where it is absent.
std::shared_ptr<const ov::Model> load_network(const std::string& path) {
  if (!std::filesystem::exists(path)) return nullptr;
  const Result<Model> model = Model::load(path);
  EXPECT_TRUE(model.ok()) << model.status().to_string();
  return model.ok() ? network(*model) : nullptr;
}

void expect_agreement(const std::shared_ptr<const ov::Model>& of, Precision precision, double tolerance) {
  CompareOptions options;
  options.kernels = Kernels::kGenerated;
  options.precision = precision;
  options.tolerance = tolerance;
  const Comparison found = compare(of->clone(), options);
  EXPECT_EQ(found.difference, "") << precision_name(precision) << "\n" << listing(found.graph);
}

// The architectures of the onnx package, where it is installed. Their weights are all alike, so that values say
// nothing: only their steps are checked.
TEST(Models, LightArchitectures) {
  const std::map<std::string, StepCounts> kWanted = {
      {"bvlc_alexnet", {7, 5, 3}},   {"densenet121", {72, 121, 0}}, {"inception_v1", {24, 57, 1}},
      {"inception_v2", {22, 69, 1}}, {"resnet50", {4, 53, 1}},      {"shufflenet", {23, 33, 1}},
      {"squeezenet", {12, 26, 0}},   {"vgg19", {7, 16, 3}},         {"zfnet512", {7, 5, 3}}};
  std::size_t tried = 0;
  for (const auto& [name, counts] : kWanted) {
    const auto file = load_network(INFLIGHT_ONNX_LIGHT "/light_" + name + ".onnx");
    if (file == nullptr) continue;
    ++tried;
    const auto graph = lower(file);
    ASSERT_TRUE(graph.ok()) << name << ": " << graph.status().to_string();
    EXPECT_EQ(counts_of(*graph), counts) << name;
    std::printf("%-14s %s\n", name.c_str(), summary(*graph).c_str());
  }
  if (tried == 0) GTEST_SKIP() << "no models of the onnx package at " INFLIGHT_ONNX_LIGHT;
  EXPECT_EQ(tried, kWanted.size());
}

TEST(Models, OperatorsDocumentIsCurrent) {
  std::ifstream file(INFLIGHT_DOCS "/cuda_operators.md");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_EQ(text, operators_document()) << "write it again: lower_file operators > docs/cuda_operators.md";
}

TEST(Models, FaceDetector) {
  const auto file = load_network(INFLIGHT_SHARED_DATA "/face_rfb_320.onnx");
  if (file == nullptr) GTEST_SKIP() << "no face_rfb_320.onnx at " INFLIGHT_SHARED_DATA;
  expect_agreement(file, Precision::kF32, 1e-4);
  expect_agreement(file, Precision::kF16, 2e-2);
}

TEST(Models, EmbeddedClassifier) {
  const auto file = load_network(INFLIGHT_MODELS "/shapes.onnx");
  ASSERT_NE(file, nullptr);
  expect_agreement(file, Precision::kF32, 1e-4);
  expect_agreement(file, Precision::kF16, 2e-2);
  expect_agreement(file, Precision::kBF16, 8e-2);
}

}  // namespace
}  // namespace inflight::cuda::testing
