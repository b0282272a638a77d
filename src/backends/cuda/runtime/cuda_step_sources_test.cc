// SPDX-License-Identifier: Apache-2.0
// The runtime's own kernels for steps, which the host runs: against plain loops, over the cases of the device's test.
#include <fmt/format.h>

#include <map>

#include "backends/cuda/host_emulator.h"
#include "backends/cuda/runtime/attention_sources.h"
#include "backends/cuda/runtime/cuda_step_cases.h"
#include "backends/cuda/runtime/step_sources.h"

namespace inflight::cuda {
namespace {

// A case: the step as a whole by one kernel, and as a bare product with the epilogue after it.
struct Prepared {
  std::string name;
  DType dtype = DType::kF16;
  DType result = DType::kF16;
  HostOperands host;
  std::string direct, bare, epilogue;
};

template <typename Step, typename Case, typename Source>
Prepared prepare(const Case& one, Source source) {
  GpuGraph graph = graph_of(one);
  const Step step = std::get<Step>(graph.steps[0]);
  Prepared prepared{fmt::format("{} {}", one.name, dtype_name(one.dtype)),
                    one.dtype,
                    result_dtype(one),
                    operands_of(one, bytes_of(graph, step)),
                    source(graph, step).source,
                    "",
                    epilogue_source(epilogue_of(graph, step)).source};
  Step bare = step;
  bare.bias = bare.residual = kNoTensor;
  bare.activation = Activation::kNone;
  prepared.bare = source(graph, bare).source;
  return prepared;
}

TEST(StepSources, AgreeWithPlainLoopsOnTheHost) {
  std::vector<Prepared> cases;
  for (const ConvCase& one : conv_cases()) cases.push_back(prepare<ConvolutionStep>(one, convolution_source));
  for (const MatmulCase& one : matmul_cases()) cases.push_back(prepare<MatmulStep>(one, matmul_source));
  std::vector<std::string> sources;
  for (const Prepared& one : cases) sources.insert(sources.end(), {one.direct, one.bare, one.epilogue});
  const auto kernels = HostKernels::compile(sources);
  ASSERT_TRUE(kernels.ok()) << kernels.status().to_string();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Prepared& one = cases[i];
    std::vector<std::byte> a = encode(one.dtype, one.host.a);
    std::vector<std::byte> b = encode(one.dtype, one.host.b);
    std::vector<std::byte> bias = encode(one.result, one.host.bias);
    std::vector<std::byte> residual = encode(one.dtype, one.host.residual);
    std::vector<std::byte> out = encode(one.result, std::vector<float>(one.host.want.size(), NAN));
    std::vector<void*> extra;
    if (!bias.empty()) extra.push_back(bias.data());
    if (!residual.empty()) extra.push_back(residual.data());
    std::vector<void*> whole{a.data(), b.data()};
    whole.insert(whole.end(), extra.begin(), extra.end());
    whole.push_back(out.data());
    kernels->run(i * 3, whole, 3);
    EXPECT_LT(relative_error(decode(one.result, out), one.host.want), tolerance(one.dtype))
        << one.name << ", as a whole";
    out = encode(one.result, std::vector<float>(one.host.want.size(), NAN));
    kernels->run(i * 3 + 1, std::vector<void*>{a.data(), b.data(), out.data()}, 2);
    std::vector<void*> after{out.data()};
    after.insert(after.end(), extra.begin(), extra.end());
    kernels->run(i * 3 + 2, after, 3);
    EXPECT_LT(relative_error(decode(one.result, out), one.host.want), tolerance(one.dtype))
        << one.name << ", in two steps";
  }
}

TEST(StepSources, AttentionAgreesWithPlainLoopsOnTheHost) {
  std::vector<std::string> sources;
  for (const AttentionCase& one : attention_cases()) {
    const GpuGraph graph = graph_of(one);
    sources.push_back(attention_source(graph, std::get<AttentionStep>(graph.steps[0])).source);
  }
  const auto kernels = HostKernels::compile(sources);
  ASSERT_TRUE(kernels.ok()) << kernels.status().to_string();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const AttentionCase& one = attention_cases()[i];
    const GpuGraph graph = graph_of(one);
    const HostOperands host = operands_of(one, bytes_of(graph, std::get<AttentionStep>(graph.steps[0])));
    std::vector<std::vector<std::byte>> operands{encode(one.dtype, host.a), encode(one.dtype, host.b),
                                                 encode(one.dtype, host.c)};
    if (one.mask) operands.push_back(encode(one.dtype, host.bias));
    operands.push_back(encode(one.dtype, std::vector<float>(host.want.size(), NAN)));
    std::vector<void*> addresses;
    for (std::vector<std::byte>& each : operands) addresses.push_back(each.data());
    kernels->run(i, addresses, 3);
    EXPECT_LT(relative_error(decode(one.dtype, operands.back()), host.want), tolerance(one.dtype))
        << one.name;
  }
}

}  // namespace
}  // namespace inflight::cuda
