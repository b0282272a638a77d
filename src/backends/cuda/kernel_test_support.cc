// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernel_test_support.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <openvino/op/result.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <random>
#include <set>

#include "backends/cuda/host_emulator.h"
#include "backends/cuda/kernel_builder.h"
#include "backends/cuda/kernel_source.h"
#include "model/element_types.h"
#include "support/watchdog.h"

namespace inflight::cuda::test {
namespace {

enum class Layout { kDense, kChannelsLast };
struct Variant {
  const char* name;
  Layout layout;
  DType real;
};
constexpr Variant kVariants[] = {{"dense f32", Layout::kDense, DType::kF32},
                                 {"channels last f32", Layout::kChannelsLast, DType::kF32},
                                 {"channels last f16", Layout::kChannelsLast, DType::kF16}};

// f32 and bf16 are stored as the variant says.
DType dtype_of(const ov::element::Type& type, DType real) {
  const DType own = dtype_of_element(type).value_or(real);
  return own == DType::kF32 || own == DType::kBF16 ? real : own;
}

Extents strides_of(const ov::Shape& shape, Layout layout) {
  std::vector<std::size_t> order(shape.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (layout == Layout::kChannelsLast && shape.size() > 2)
    std::rotate(order.begin() + 1, order.begin() + 2, order.end());
  Extents strides(shape.size());
  std::int64_t stride = 1;
  for (std::size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = stride;
    stride *= static_cast<std::int64_t>(shape[order[i]]);
  }
  return strides;
}

std::size_t offset_of(std::size_t flat, const ov::Shape& shape, const Extents& strides) {
  std::int64_t offset = 0;
  for (std::size_t d = shape.size(); d-- > 0; flat /= shape[d])
    offset += static_cast<std::int64_t>(flat % shape[d]) * strides[d];
  return static_cast<std::size_t>(offset);
}

// Copies a tensor of OpenVINO, in row-major order, to memory with strides.
void copy_in(const ov::Tensor& tensor, const Placed& placed, std::byte* memory) {
  const std::size_t wide = tensor.get_element_type().size(), narrow = dtype_bytes(placed.dtype);
  const auto* elements = static_cast<const std::byte*>(tensor.data());
  for (std::size_t i = 0; i < tensor.get_size(); ++i) {
    std::byte* there = memory + offset_of(i, tensor.get_shape(), placed.strides) * narrow;
    const std::byte* here = elements + i * wide;
    if (wide == narrow) {
      std::memcpy(there, here, wide);
      continue;
    }
    float value;
    std::memcpy(&value, here, 4);
    const ov::float16 half(value);
    std::memcpy(there, &half, 2);
  }
}

// And back.
void copy_out(const std::byte* memory, const Placed& placed, ov::Tensor& tensor) {
  const std::size_t wide = tensor.get_element_type().size(), narrow = dtype_bytes(placed.dtype);
  auto* elements = static_cast<std::byte*>(tensor.data());
  for (std::size_t i = 0; i < tensor.get_size(); ++i) {
    const std::byte* there = memory + offset_of(i, tensor.get_shape(), placed.strides) * narrow;
    std::byte* here = elements + i * wide;
    if (wide == narrow) {
      std::memcpy(here, there, wide);
      continue;
    }
    ov::float16 half;
    std::memcpy(&half, there, 2);
    const auto value = static_cast<float>(half);
    std::memcpy(here, &value, 4);
  }
}

template <typename T>
void fill(ov::Tensor& tensor, std::mt19937& random, double low, double high) {
  // Multiples of 1/64: f16 holds them exactly.
  std::uniform_int_distribution<int> real(static_cast<int>(low * 64), static_cast<int>(high * 64) - 1);
  std::uniform_int_distribution<int> whole(std::numeric_limits<T>::is_signed ? -9 : 0, 9);
  for (std::size_t i = 0; i < tensor.get_size(); ++i)
    tensor.data<T>()[i] =
        std::is_floating_point_v<T> ? static_cast<T>(real(random) / 64.0) : static_cast<T>(whole(random));
}

ov::Tensor made_up(const ov::Output<ov::Node>& output, std::mt19937& random, double low, double high) {
  ov::Tensor tensor(output.get_element_type(), output.get_shape());
  switch (output.get_element_type()) {
    case ov::element::Type_t::f32:
      fill<float>(tensor, random, low, high);
      break;
    case ov::element::Type_t::f64:
      fill<double>(tensor, random, low, high);
      break;
    case ov::element::Type_t::i8:
      fill<std::int8_t>(tensor, random, low, high);
      break;
    case ov::element::Type_t::u8:
      fill<std::uint8_t>(tensor, random, low, high);
      break;
    case ov::element::Type_t::i32:
      fill<std::int32_t>(tensor, random, low, high);
      break;
    case ov::element::Type_t::u32:
      fill<std::uint32_t>(tensor, random, low, high);
      break;
    case ov::element::Type_t::i64:
      fill<std::int64_t>(tensor, random, low, high);
      break;
    case ov::element::Type_t::boolean:
      for (std::size_t i = 0; i < tensor.get_size(); ++i)
        static_cast<char*>(tensor.data())[i] = static_cast<char>(random() & 1U);
      break;
    default:
      ADD_FAILURE() << "no inputs of type " << output.get_element_type();
  }
  return tensor;
}

ov::TensorVector expected(const Case& one, const ov::TensorVector& inputs) {
  const std::shared_ptr<ov::Model>& model = one.oracle != nullptr ? one.oracle : one.model;
  ov::TensorVector outputs;
  for (const auto& output : one.model->outputs())
    outputs.emplace_back(output.get_element_type(), output.get_shape());
  try {
    if (model->evaluate(outputs, inputs)) return outputs;
  } catch (const ov::Exception&) {  // some operators say so in this way; the CPU has them
  }
  static ov::Core core;
  ov::InferRequest request = core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32))
                                 .create_infer_request();
  for (std::size_t i = 0; i < inputs.size(); ++i) request.set_input_tensor(i, inputs[i]);
  request.infer();
  for (std::size_t i = 0; i < outputs.size(); ++i) request.get_output_tensor(i).copy_to(outputs[i]);
  return outputs;
}

// One kernel to be run.
struct Run {
  const Case* one;
  const Variant* variant;
  std::size_t result;
  BuiltKernel kernel;
  Placement placed;
  Placed to;
};

void plan(const Case& one, const Variant& variant, std::vector<Run>& runs) {
  Placement placed;
  for (const auto& node : one.model->get_ordered_ops()) {
    const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node);
    if (!ov::is_type<ov::op::v0::Parameter>(node) &&
        (!constant || constant->get_all_data_elements_bitwise_identical()))
      continue;
    const auto output = node->output(0);
    placed[output] = {dtype_of(output.get_element_type(), variant.real),
                      strides_of(output.get_shape(), variant.layout)};
  }
  for (std::size_t r = 0; r < one.model->outputs().size(); ++r) {
    const ov::Output<ov::Node> value = one.model->get_results()[r]->input_value(0);
    const Placed to = {dtype_of(value.get_element_type(), variant.real),
                       strides_of(value.get_shape(), variant.layout)};
    Result<BuiltKernel> kernel = build_kernel(value, to, placed);
    if (!kernel.ok()) {
      ADD_FAILURE() << one.name << ", " << variant.name << ": " << kernel.status().to_string();
      continue;
    }
    runs.push_back({&one, &variant, r, std::move(kernel).value(), placed, to});
  }
}

double element(const ov::Tensor& tensor, std::size_t i) {
  switch (tensor.get_element_type()) {
    case ov::element::Type_t::f32:
      return static_cast<double>(tensor.data<float>()[i]);
    case ov::element::Type_t::f64:
      return tensor.data<double>()[i];
    case ov::element::Type_t::i8:
      return tensor.data<std::int8_t>()[i];
    case ov::element::Type_t::i32:
      return tensor.data<std::int32_t>()[i];
    case ov::element::Type_t::u32:
      return tensor.data<std::uint32_t>()[i];
    case ov::element::Type_t::i64:
      return static_cast<double>(tensor.data<std::int64_t>()[i]);
    case ov::element::Type_t::f16:
      return static_cast<double>(static_cast<float>(tensor.data<ov::float16>()[i]));
    default:
      return static_cast<const unsigned char*>(tensor.data())[i];
  }
}

void compare(const Run& run, const ov::Tensor& want, const ov::Tensor& got, std::int64_t blocks) {
  const bool half = run.to.dtype == DType::kF16;
  double scale = 1;
  for (std::size_t i = 0; i < want.get_size(); ++i)
    if (std::isfinite(element(want, i))) scale = std::max(scale, std::abs(element(want, i)));
  // In f16 the rounding of the result, and what the rounding of a constant makes of it.
  const double limit = !want.get_element_type().is_real() ? 0 : scale * (half ? 4e-3 : run.one->tolerance);
  for (std::size_t i = 0; i < want.get_size(); ++i) {
    const double a = element(want, i), b = element(got, i);
    if (a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= limit) continue;
    ADD_FAILURE() << run.one->name << ", " << run.variant->name << ", " << blocks << " blocks, result "
                  << run.result << ", element " << i << " of " << want.get_shape() << ": got " << b
                  << ", want " << a << "\n"
                  << run.kernel.source;
    return;
  }
}

std::size_t parameter_number(const Case& one, const ov::Output<ov::Node>& value) {
  const auto& parameters = one.model->get_parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].get() == value.get_node()) return i;
  return 0;
}

void run_one(const Run& run, const HostKernels& kernels, std::size_t number, const ov::TensorVector& inputs,
             const ov::TensorVector& want) {
  std::vector<std::vector<std::max_align_t>> memories;
  std::vector<void*> addresses;
  const auto allocate = [&](std::size_t bytes) {
    memories.emplace_back(bytes / sizeof(std::max_align_t) + 2);
    addresses.push_back(memories.back().data());
    return reinterpret_cast<std::byte*>(memories.back().data());
  };
  for (const ov::Output<ov::Node>& read : run.kernel.reads) {
    const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(read.get_node_shared_ptr());
    const ov::Tensor tensor =
        constant ? constant->get_tensor_view() : inputs[parameter_number(*run.one, read)];
    copy_in(tensor, run.placed.at(read), allocate(tensor.get_byte_size()));
  }
  const ov::Tensor& wanted = want[run.result];
  std::byte* memory = allocate(wanted.get_byte_size());
  for (const std::int64_t blocks : {1, 3}) {
    std::memset(memory, 0x5a, wanted.get_byte_size());
    kernels.run(number, addresses, blocks);
    ov::Tensor got(wanted.get_element_type(), wanted.get_shape());
    copy_out(memory, run.to, got);
    compare(run, wanted, got, blocks);
  }
}

// The few functions of NVRTC that are needed, without its header.
struct Nvrtc {
  using Program = void*;
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*) = nullptr;
  int (*compile)(Program, int, const char* const*) = nullptr;
  int (*log_size)(Program, std::size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;
  int (*destroy)(Program*) = nullptr;
};

const Nvrtc* nvrtc() {
  static const Nvrtc* loaded = []() -> const Nvrtc* {
    void* library = nullptr;
    for (const char* name :
         {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "/usr/local/cuda/lib64/libnvrtc.so"})
      if (library == nullptr) library = dlopen(name, RTLD_NOW);
    if (library == nullptr) return nullptr;
    static Nvrtc functions;
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
    };
    find(functions.create, "nvrtcCreateProgram");
    find(functions.compile, "nvrtcCompileProgram");
    find(functions.log_size, "nvrtcGetProgramLogSize");
    find(functions.log, "nvrtcGetProgramLog");
    find(functions.destroy, "nvrtcDestroyProgram");
    return &functions;
  }();
  return loaded;
}

void compile_for_gpu(const std::vector<std::string>& sources, const char* architecture) {
  const std::set<std::string> unique(sources.begin(), sources.end());
  const std::string text = cuda_source({unique.begin(), unique.end()});
  Nvrtc::Program program = nullptr;
  ASSERT_EQ(nvrtc()->create(&program, text.c_str(), "kernels.cu", 0, nullptr, nullptr), 0);
  const std::string target = fmt::format("--gpu-architecture={}", architecture);
  const char* options[] = {target.c_str(), "-std=c++17", "--ptxas-options=-O1"};
  if (nvrtc()->compile(program, std::string_view(architecture) == "sm_90" ? 3 : 2, options) != 0) {
    std::size_t size = 0;
    nvrtc()->log_size(program, &size);
    std::string log(size, ' ');
    nvrtc()->log(program, log.data());
    ADD_FAILURE() << architecture << ": " << log.substr(0, 4000);
  }
  nvrtc()->destroy(&program);
}

}  // namespace

Case make_case(std::string name, const ov::OutputVector& outputs, double low, double high, double tolerance) {
  ov::ResultVector results;
  for (const auto& output : outputs) results.push_back(std::make_shared<ov::op::v0::Result>(output));
  ov::ParameterVector parameters;
  std::set<const ov::Node*> seen;
  std::vector<std::shared_ptr<ov::Node>> stack;
  for (const auto& result : results) stack.push_back(result);
  while (!stack.empty()) {
    const auto node = stack.back();
    stack.pop_back();
    if (!seen.insert(node.get()).second) continue;
    if (auto parameter = ov::as_type_ptr<ov::op::v0::Parameter>(node)) parameters.push_back(parameter);
    for (const auto& source : node->input_values()) stack.push_back(source.get_node_shared_ptr());
  }
  return {std::move(name), std::make_shared<ov::Model>(results, parameters), low, high, tolerance, nullptr};
}

std::shared_ptr<ov::op::v0::Parameter> input(const ov::Shape& shape, ov::element::Type type) {
  return std::make_shared<ov::op::v0::Parameter>(type, shape);
}

std::shared_ptr<ov::op::v0::Constant> integers(const std::vector<std::int64_t>& values) {
  return ov::op::v0::Constant::create(ov::element::i64, {values.size()}, values);
}

std::shared_ptr<ov::op::v0::Constant> scalar(double value, ov::element::Type type) {
  return ov::op::v0::Constant::create(type, ov::Shape{}, {value});
}

std::shared_ptr<ov::op::v0::Constant> weights(const ov::Shape& shape) {
  std::vector<float> values(ov::shape_size(shape));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>((i * 37 + 11) % 64) / 32.0F - 1.0F;
  return ov::op::v0::Constant::create(ov::element::f32, shape, values);
}

bool has_nvrtc() { return nvrtc() != nullptr; }

void check(const std::vector<Case>& cases) {
  limit_test_to(std::chrono::minutes(5));  // compilers take most of it
  std::vector<Run> runs;
  for (const Case& one : cases) {
    bool real = false;
    for (const auto& output : one.model->outputs()) real = real || output.get_element_type().is_real();
    for (const Variant& variant : kVariants)
      if (real || variant.real == DType::kF32) plan(one, variant, runs);
  }
  std::vector<std::string> sources;
  for (const Run& run : runs) sources.push_back(run.kernel.source);
  if (std::getenv("INFLIGHT_PRINT_KERNELS") != nullptr)  // NOLINT(concurrency-mt-unsafe)
    for (const Run& run : runs)
      std::printf("%s, %s:\n%s\n", run.one->name.c_str(), run.variant->name, run.kernel.source.c_str());
  const Result<HostKernels> kernels = HostKernels::compile(sources);
  ASSERT_TRUE(kernels.ok()) << kernels.status().to_string();
  const Case* last = nullptr;
  ov::TensorVector inputs, want;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Case& one = *runs[i].one;
    if (last != &one) {
      std::mt19937 random(7);
      inputs.clear();
      for (const auto& parameter : one.model->get_parameters())
        inputs.push_back(made_up(parameter->output(0), random, one.low, one.high));
      want = expected(one, inputs);
      last = &one;
    }
    run_one(runs[i], *kernels, i, inputs, want);
  }
  if (!has_nvrtc()) return;
  for (const char* architecture : {"compute_80", "sm_90"}) compile_for_gpu(sources, architecture);
}

}  // namespace inflight::cuda::test
