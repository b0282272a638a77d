// SPDX-License-Identifier: Apache-2.0
// Every candidate of every kind of convolution, matmul and attention, against plain loops on the host.
#include <fmt/format.h>

#include "backends/cuda/runtime/cuda_step_cases.h"

namespace inflight::cuda {
namespace {

// Runs all candidates, compares each, and prints one line for the case.
void run_candidates(const std::shared_ptr<GpuDevice>& device, StepPlan& plan, DType dtype, DType result,
                    const HostOperands& host, const std::string& name) {
  std::vector<GpuMemory> kept;
  const auto put = [&](const std::vector<float>& values, DType type) -> CUdeviceptr {
    if (values.empty()) return 0;
    const std::vector<std::byte> bytes = encode(type, values);
    kept.push_back(*device->allocate(bytes.size(), "test"));
    EXPECT_TRUE(device->upload(kept.back().address(), bytes.data(), bytes.size()).ok());
    return kept.back().address();
  };
  Operands operands{put(host.a, dtype),     put(host.b, dtype),        put(host.c, dtype),
                    put(host.bias, result), put(host.residual, dtype), 0};
  operands.out = put(std::vector<float>(host.want.size(), 1.0F), result);
  const GpuMemory workspace = *device->allocate(kWorkspaceBytesMax, "test");
  CUstream stream = nullptr;
  ASSERT_EQ(device->api().cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  int good[3] = {};
  int all[3] = {};
  std::string refused;
  double worst = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(plan.candidates() - 1, 40) + 1; ++i) {
    const std::size_t candidate =
        i == std::min<std::size_t>(plan.candidates() - 1, 40) ? plan.candidates() - 1 : i;
    const int rank = plan.candidate_rank(candidate);
    ++all[rank];
    // NaN everywhere: what a candidate leaves out shows.
    device->api().cuMemsetD8(operands.out, 0xff, plan.bytes().out);
    Status ran = plan.prepare(candidate);
    if (ran.ok()) ran = plan.enqueue(candidate, stream, operands, workspace.address());
    if (ran.ok()) ran = device->check(device->api().cuStreamSynchronize(stream), "run");
    if (!ran.ok()) {
      if (refused.empty()) refused = plan.candidate_name(candidate) + ": " + ran.to_string();
      EXPECT_TRUE(device->status().ok())
          << name << ": " << plan.candidate_name(candidate) << ": " << ran.to_string();
      continue;
    }
    std::vector<std::byte> out(plan.bytes().out);
    ASSERT_TRUE(device->download(out.data(), operands.out, out.size()).ok());
    const double error = relative_error(decode(result, out), host.want);
    worst = std::max(worst, error);
    EXPECT_LT(error, tolerance(dtype)) << name << ": " << plan.candidate_name(candidate);
    ++good[rank];
  }
  device->api().cuStreamDestroy(stream);
  EXPECT_EQ(good[2], 1) << name << ": our own kernel: " << refused;
  std::printf("%-34s fused %2d of %2d, split %2d of %2d, worst error %.1e%s%s\n", name.c_str(), good[0],
              all[0], good[1], all[1], worst,
              refused.empty() ? "" : "; first refusal: ", refused.substr(0, 300).c_str());
  std::fflush(stdout);
}

class CudaConvolution : public CudaTest, public testing::WithParamInterface<ConvCase> {};

TEST_P(CudaConvolution, AllCandidatesAgreeWithPlainLoops) {
  const ConvCase& one = GetParam();
  const GpuGraph graph = graph_of(one);
  const auto plan = plan_convolution(device, graph, std::get<ConvolutionStep>(graph.steps[0]), DiskCache(""));
  ASSERT_TRUE(plan.ok()) << plan.status().to_string();
  run_candidates(device, **plan, one.dtype, result_dtype(one), operands_of(one, (*plan)->bytes()),
                 fmt::format("{} {}", one.name, dtype_name(one.dtype)));
}

INSTANTIATE_TEST_SUITE_P(All, CudaConvolution, testing::ValuesIn(conv_cases()));

class CudaMatmul : public CudaTest, public testing::WithParamInterface<MatmulCase> {};

TEST_P(CudaMatmul, AllCandidatesAgreeWithPlainLoops) {
  const MatmulCase& one = GetParam();
  const GpuGraph graph = graph_of(one);
  const auto plan = plan_matmul(device, graph, std::get<MatmulStep>(graph.steps[0]), DiskCache(""));
  ASSERT_TRUE(plan.ok()) << plan.status().to_string();
  run_candidates(device, **plan, one.dtype, result_dtype(one), operands_of(one, (*plan)->bytes()),
                 fmt::format("{} {}", one.name, dtype_name(one.dtype)));
}

INSTANTIATE_TEST_SUITE_P(All, CudaMatmul, testing::ValuesIn(matmul_cases()));

class CudaAttention : public CudaTest, public testing::WithParamInterface<AttentionCase> {};

TEST_P(CudaAttention, AllCandidatesAgreeWithPlainLoops) {
  const AttentionCase& one = GetParam();
  const GpuGraph graph = graph_of(one);
  const auto plan = plan_attention(device, graph, std::get<AttentionStep>(graph.steps[0]), DiskCache(""));
  ASSERT_TRUE(plan.ok()) << plan.status().to_string();
  run_candidates(device, **plan, one.dtype, result_dtype(one), operands_of(one, (*plan)->bytes()),
                 fmt::format("attention, {} {}", one.name, dtype_name(one.dtype)));
}

INSTANTIATE_TEST_SUITE_P(All, CudaAttention, testing::ValuesIn(attention_cases()));

}  // namespace
}  // namespace inflight::cuda
