// SPDX-License-Identifier: Apache-2.0
// Lowers a network, interprets what comes out, and compares with OpenVINO on the CPU in f32.
#pragma once

#include <cstdint>
#include <memory>
#include <openvino/core/model.hpp>
#include <string>
#include <vector>

#include "backends/cuda/lowering.h"
#include "backends/cuda/testing/graph_interpreter.h"

namespace inflight::cuda::testing {

struct Comparison {
  std::string difference;  // "" where they agree
  GpuGraph graph;
};

enum class Kernels : std::uint8_t {
  kReference,  // OpenVINO computes what a kernel should: quick, and tests how the network is divided
  kGenerated,  // those that a GPU runs, compiled for the host
};

struct CompareOptions {
  Kernels kernels = Kernels::kReference;
  Precision precision = Precision::kF32;
  bool concat_in_place = false;
  double tolerance = 1e-4;  // of the largest magnitude of an output
  std::uint32_t seed = 1;
  double low = -1, high = 1;  // of random inputs
};

// Compiles the generated kernels of some graphs for the host, at once.
Result<KernelRunner> generated_kernels(const std::vector<const GpuGraph*>& graphs);
// Values for each input, in order.
std::vector<std::vector<double>> random_inputs(const ov::Model& network, const CompareOptions& options);
// What differs between a network on the CPU in f32 and its graph, "" if nothing does: values, and scratch memory
// that is written over while it is in use.
std::string check(const std::shared_ptr<const ov::Model>& network, const GpuGraph& graph,
                  const std::vector<std::vector<double>>& inputs, const KernelRunner& runner,
                  double tolerance);

Comparison compare(const std::shared_ptr<ov::Model>& network, const CompareOptions& options = {});

}  // namespace inflight::cuda::testing
