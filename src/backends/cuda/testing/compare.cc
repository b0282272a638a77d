// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/testing/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <random>

#include "backends/cuda/host_emulator.h"
#include "backends/cuda/tensor_table.h"
#include "backends/cuda/testing/graph_interpreter.h"
#include "backends/cuda/testing/reference_kernels.h"

namespace inflight::cuda::testing {
namespace {

// Scratch tensors of different buffers that live at the same time must not overlap: what a step writes must keep its
// value until its last reader. Checked by bytes: the last writer of each byte that is read must be the tensor's own.
std::string overlap(const GpuGraph& graph) {
  std::vector<std::size_t> writer(graph.scratch_bytes, SIZE_MAX);
  const auto is_scratch = [&graph](TensorId id) { return graph.tensor(id).storage == Storage::kScratch; };
  for (std::size_t step = 0; step < graph.steps.size(); ++step) {
    for (const TensorId id : reads_of(graph.steps[step])) {
      if (!is_scratch(id)) continue;
      const GpuTensor& tensor = graph.tensor(id);
      for (std::size_t at = tensor.offset; at < tensor.offset + tensor.bytes(); ++at) {
        if (writer[at] == SIZE_MAX)
          return fmt::format("{} reads before it is written", label_of(graph.steps[step]));
      }
      // What wrote it wrote a part of it, or it is a part of that.
      for (const std::size_t at : {tensor.offset, tensor.offset + tensor.bytes() - 1}) {
        const GpuTensor& wrote = graph.tensor(writes_of(graph.steps[writer[at]])[0]);
        const bool inside =
            wrote.offset >= tensor.offset && wrote.offset + wrote.bytes() <= tensor.offset + tensor.bytes();
        const bool around =
            wrote.offset <= tensor.offset && wrote.offset + wrote.bytes() >= tensor.offset + tensor.bytes();
        const bool beside = wrote.strides == tensor.strides;  // another part of the same whole
        if (!inside && !around && !beside)
          return fmt::format("{} reads what {} wrote", label_of(graph.steps[step]),
                             label_of(graph.steps[writer[at]]));
      }
    }
    for (const TensorId id : writes_of(graph.steps[step])) {
      if (!is_scratch(id)) continue;
      const GpuTensor& tensor = graph.tensor(id);
      for (const TensorId read : reads_of(graph.steps[step])) {
        if (!is_scratch(read)) continue;
        const GpuTensor& other = graph.tensor(read);
        if (other.offset < tensor.offset + tensor.bytes() && tensor.offset < other.offset + other.bytes())
          return fmt::format("{} writes over what it reads", label_of(graph.steps[step]));
      }
      std::fill_n(writer.begin() + static_cast<std::ptrdiff_t>(tensor.offset), tensor.bytes(), step);
    }
  }
  return "";
}

std::vector<double> random_values(const ov::element::Type& type, std::size_t count, std::mt19937& random,
                                  const CompareOptions& options) {
  std::vector<double> values(count);
  for (double& value : values) {
    value = std::uniform_real_distribution<double>(options.low, options.high)(random);
    if (type == ov::element::u8)
      value = static_cast<double>(random() % 256);
    else if (type == ov::element::boolean)
      value = static_cast<double>(random() % 2);
    else if (type.is_integral_number())
      value = static_cast<double>(random() % 4);
  }
  return values;
}

GpuTensor dense(const GpuTensor& tensor) {
  return {tensor.name, tensor.dtype, tensor.extents, row_major(tensor.extents)};
}

std::string difference(const std::vector<double>& got, const std::vector<double>& want, double tolerance) {
  double largest = 1e-3;
  for (const double value : want) {
    if (std::abs(value) < std::numeric_limits<float>::max()) largest = std::max(largest, std::abs(value));
  }
  for (std::size_t i = 0; i < want.size(); ++i) {
    const bool same = std::isnan(want[i])   ? std::isnan(got[i])
                      : std::isinf(want[i]) ? got[i] == want[i]
                      // The largest of nothing, such as a window of padding only.
                      : want[i] <= std::numeric_limits<float>::lowest()
                          ? got[i] <= want[i]
                          : std::abs(got[i] - want[i]) <= tolerance * largest;
    if (!same)
      return fmt::format("element {} of {}: got {}, want {} (largest {})", i, want.size(), got[i], want[i],
                         largest);
  }
  return "";
}

}  // namespace

Result<KernelRunner> generated_kernels(const std::vector<const GpuGraph*>& graphs) {
  std::vector<std::string> sources;
  std::map<std::string, std::size_t> index;
  for (const GpuGraph* graph : graphs) {
    for (const Step& step : graph->steps) {
      const auto* kernel = std::get_if<KernelStep>(&step);
      if (kernel != nullptr && index.emplace(kernel->source, sources.size()).second)
        sources.push_back(kernel->source);
    }
  }
  INFLIGHT_TRY_ASSIGN(const HostKernels kernels, HostKernels::compile(sources));
  return KernelRunner([kernels, index](const KernelStep& step, const std::vector<std::byte*>& parameters) {
    const std::vector<void*> addresses(parameters.begin(), parameters.end());
    kernels.run(index.at(step.source), addresses, std::min<std::int64_t>(step.blocks, 3));
    return Status();
  });
}

std::vector<std::vector<double>> random_inputs(const ov::Model& network, const CompareOptions& options) {
  std::mt19937 random(options.seed);
  std::vector<std::vector<double>> inputs;
  for (const auto& parameter : network.get_parameters())
    inputs.push_back(random_values(parameter->get_element_type(), ov::shape_size(parameter->get_shape()),
                                   random, options));
  return inputs;
}

std::string check(const std::shared_ptr<const ov::Model>& network, const GpuGraph& graph,
                  const std::vector<std::vector<double>>& values, const KernelRunner& runner,
                  double tolerance) {
  if (std::string text = overlap(graph); !text.empty()) return text;
  static ov::Core core;
  // Without a stream, or it would not throw: see openvino_backend.cc.
  ov::InferRequest request =
      core.compile_model(network, "CPU", ov::hint::inference_precision(ov::element::f32),
                         ov::inference_num_threads(1), ov::num_streams(0))
          .create_infer_request();
  std::vector<std::vector<std::byte>> inputs;
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const GpuTensor& tensor = graph.tensor(graph.inputs[i]);
    ov::Tensor into = request.get_input_tensor(i);
    inputs.emplace_back(tensor.bytes());
    store(dense(tensor), values[i], inputs.back().data());
    store(dense(tensor), values[i], static_cast<std::byte*>(into.data()));
  }
  request.infer();
  const auto outputs = interpret(graph, inputs, runner);
  if (!outputs.ok()) return outputs.status().to_string();
  for (std::size_t i = 0; i < outputs->size(); ++i) {
    const GpuTensor& tensor = graph.tensor(graph.outputs[i]);
    const ov::Tensor want = request.get_output_tensor(i);
    const std::string text =
        difference(load(tensor, (*outputs)[i].data()),
                   load(dense(tensor), static_cast<const std::byte*>(want.data())), tolerance);
    if (!text.empty()) return fmt::format("output {} {}: {}", i, tensor.name, text);
  }
  return "";
}

Comparison compare(const std::shared_ptr<ov::Model>& network, const CompareOptions& options) {
  Comparison comparison;
  ReferenceKernels reference;
  LoweringOptions lowering;
  lowering.precision = options.precision;
  lowering.concat_in_place = options.concat_in_place;
  const bool generated = options.kernels == Kernels::kGenerated;
  Result<GpuGraph> graph =
      generated ? lower(network, lowering) : lower_with(network, lowering, reference.maker());
  if (!graph.ok()) {
    comparison.difference = graph.status().to_string();
    return comparison;
  }
  comparison.graph = std::move(graph).value();
  const Result<KernelRunner> runner =
      generated ? generated_kernels({&comparison.graph}) : Result<KernelRunner>(reference.runner());
  comparison.difference = runner.ok() ? check(network, comparison.graph, random_inputs(*network, options),
                                              *runner, options.tolerance)
                                      : runner.status().to_string();
  return comparison;
}

}  // namespace inflight::cuda::testing
