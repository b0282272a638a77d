// SPDX-License-Identifier: Apache-2.0
// Every candidate of every kind of convolution, matmul and attention, against plain loops on the host.
#include <fmt/format.h>

#include "backends/cuda/runtime/cuda_step_cases.h"
#include "backends/cuda/runtime/graph_edges.h"

namespace inflight::cuda {
namespace {

// Memory of the device for the operands of steps.
class Uploads {
 public:
  explicit Uploads(std::shared_ptr<GpuDevice> device) : device_(std::move(device)) {}
  CUdeviceptr put(const std::vector<float>& values, DType type) {
    if (values.empty()) return 0;
    const std::vector<std::byte> bytes = encode(type, values);
    kept_.push_back(*device_->allocate(bytes.size(), "test"));
    EXPECT_TRUE(device_->upload(kept_.back().address(), bytes.data(), bytes.size()).ok());
    return kept_.back().address();
  }
  Operands operands(const HostOperands& host, DType dtype, DType result) {
    return {put(host.a, dtype),        put(host.b, dtype),
            put(host.c, dtype),        put(host.bias, result),
            put(host.residual, dtype), put(std::vector<float>(host.want.size(), 1.0F), result)};
  }

 private:
  const std::shared_ptr<GpuDevice> device_;
  std::vector<GpuMemory> kept_;
};

// Runs all candidates, compares each, and prints one line for the case.
void run_candidates(const std::shared_ptr<GpuDevice>& device, StepPlan& plan, DType dtype, DType result,
                    const HostOperands& host, const std::string& name) {
  Uploads uploads(device);
  const Operands operands = uploads.operands(host, dtype, result);
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

// The residual is what the tile ahead computes, as in the blocks of ResNet that halve the image. The tile lets the next
// kernel come early, and cuDNN's are launched so that they may.
TEST_F(CudaTest, AConvolutionBehindATileSeesTheWholeResidual) {
  const ConvCase one{"ahead", DType::kF16, 1, 256, 14, 14, 256, 1, 1};
  const ConvCase two{"behind", DType::kF16,      1, 64, 28, 28, 256, 1, 1, 2, 0, 0, 1, 1, true,
                     true,     Activation::kRelu};
  const GpuGraph first_graph = graph_of(one);
  const GpuGraph second_graph = graph_of(two);
  const auto first =
      *plan_convolution(device, first_graph, std::get<ConvolutionStep>(first_graph.steps[0]), DiskCache(""));
  const auto second = *plan_convolution(device, second_graph,
                                        std::get<ConvolutionStep>(second_graph.steps[0]), DiskCache(""));
  const HostOperands host_one = operands_of(one, first->bytes());
  HostOperands host_two = operands_of(two, second->bytes());
  host_two.residual = decode(DType::kF16, encode(DType::kF16, host_one.want));
  reference(two, host_two);
  Uploads uploads(device);
  Operands ahead = uploads.operands(host_one, DType::kF16, DType::kF16);
  Operands behind = uploads.operands(host_two, DType::kF16, DType::kF16);
  behind.residual = ahead.out;
  ahead.next_is_early = true;
  const GpuMemory workspace = *device->allocate(kWorkspaceBytesMax, "test");
  std::size_t tile = 0;
  while (first->candidate_name(tile).find("tile") == std::string::npos)
    ASSERT_LT(++tile, first->candidates());
  ASSERT_TRUE(first->prepare(tile).ok());
  const DriverApi& api = device->api();
  CUstream stream = nullptr;
  ASSERT_EQ(api.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  int compared = 0;
  for (std::size_t candidate = 0; candidate < std::min<std::size_t>(second->candidates(), 60); ++candidate) {
    if (second->ahead(candidate) != Ahead::kExpectsEnd || !second->prepare(candidate).ok()) continue;
    ASSERT_EQ(api.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_SUCCESS);
    std::vector<CUgraphNode> to_end;
    Status captured = first->enqueue(tile, stream, ahead, workspace.address());
    if (captured.ok()) captured = add_newest_nodes(*device, stream, to_end);
    if (captured.ok()) captured = second->enqueue(candidate, stream, behind, workspace.address());
    CUgraph graph = nullptr;
    ASSERT_EQ(api.cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
    if (captured.ok()) captured = begin_after_end_of(*device, to_end, graph);
    ASSERT_TRUE(captured.ok()) << captured.to_string();
    CUgraphExec executable = nullptr;
    ASSERT_EQ(api.cuGraphInstantiate(&executable, graph, 0), CUDA_SUCCESS);
    double worst = 0;
    for (int run = 0; run < 20; ++run) {
      api.cuMemsetD8(ahead.out, 0xff, first->bytes().out);
      api.cuMemsetD8(behind.out, 0xff, second->bytes().out);
      ASSERT_EQ(api.cuCtxSynchronize(), CUDA_SUCCESS);
      ASSERT_EQ(api.cuGraphLaunch(executable, stream), CUDA_SUCCESS);
      ASSERT_TRUE(device->check(api.cuStreamSynchronize(stream), "run").ok());
      std::vector<std::byte> out(second->bytes().out);
      ASSERT_TRUE(device->download(out.data(), behind.out, out.size()).ok());
      worst = std::max(worst, relative_error(decode(DType::kF16, out), host_two.want));
    }
    EXPECT_LT(worst, tolerance(DType::kF16)) << second->candidate_name(candidate);
    ++compared;
    api.cuGraphExecDestroy(executable);
    api.cuGraphDestroy(graph);
  }
  api.cuStreamDestroy(stream);
  EXPECT_GT(compared, 0);
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
