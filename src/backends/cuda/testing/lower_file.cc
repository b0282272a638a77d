// SPDX-License-Identifier: Apache-2.0
// lower_file MODEL [f32|f16|bf16] [list] [compare] [in-place] [reference]: what a network becomes for a GPU, for developers.
// lower_file operators: docs/cuda_operators.md.
#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "backends/cuda/testing/compare.h"
#include "backends/cuda/testing/operators_document.h"
#include "backends/cuda/testing/reference_kernels.h"
#include "inflight/model.h"
#include "model/network.h"

int main(int argc, char** argv) {
  using namespace inflight;        // NOLINT
  using namespace inflight::cuda;  // NOLINT
  if (argc < 2) {
    fmt::print(stderr, "usage: {} MODEL [f32|f16|bf16] [list] [compare] [in-place] [reference]\n", argv[0]);
    return 2;
  }
  if (std::string(argv[1]) == "operators") {
    fmt::print("{}", cuda::testing::operators_document());
    return 0;
  }
  const Result<Model> model = Model::load(argv[1]);
  if (!model.ok()) {
    fmt::print(stderr, "{}\n", model.status().to_string());
    return 3;
  }
  LoweringOptions options;
  bool list = false;
  bool compares = false;
  bool reference = false;
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    list = list || word == "list";
    compares = compares || word == "compare";
    reference = reference || word == "reference";
    options.concat_in_place = options.concat_in_place || word == "in-place";
    if (const auto precision = parse_precision(word); precision.ok()) options.precision = *precision;
  }
  cuda::testing::ReferenceKernels kernels;
  const Result<GpuGraph> graph =
      reference ? lower_with(network(*model), options, kernels.maker()) : lower(network(*model), options);
  if (!graph.ok()) {
    fmt::print(stderr, "{}\n", graph.status().to_string());
    return 1;
  }
  if (list) fmt::print("{}", listing(*graph));
  fmt::print("{}\n", summary(*graph));
  if (!compares) return 0;
  cuda::testing::CompareOptions how;
  how.precision = options.precision == Precision::kAuto ? Precision::kF16 : options.precision;
  how.kernels = reference ? cuda::testing::Kernels::kReference : cuda::testing::Kernels::kGenerated;
  how.concat_in_place = options.concat_in_place;
  if (how.precision != Precision::kF32) how.tolerance = 2e-2;
  const auto found = cuda::testing::compare(network(*model)->clone(), how);
  fmt::print("{}\n", found.difference.empty() ? "agrees with the CPU" : found.difference);
  return found.difference.empty() ? 0 : 1;
}
