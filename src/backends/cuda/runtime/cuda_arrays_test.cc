// SPDX-License-Identifier: Apache-2.0
// Predictions on arrays that are on the GPU, and outputs that stay there.
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/softmax.hpp>
#include <openvino/openvino.hpp>

#include "backends/cuda/runtime/cuda_backend.h"
#include "backends/cuda/runtime/cuda_test_support.h"
#include "backends/cuda/runtime/gpu_memory.h"
#include "backends/openvino/openvino_backend.h"
#include "inflight/device_arrays.h"
#include "inflight/openvino_interop.h"
#include "inflight/predictor.h"

namespace inflight {
namespace {

// What takes the classifier's scores.
Model softmax_of(const TensorSpec& scores) {
  ov::Shape shape;
  for (const std::int64_t extent : scores.shape.dims()) shape.push_back(static_cast<std::size_t>(extent));
  const auto x = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, shape);
  x->set_friendly_name("x");
  x->output(0).set_names({"x"});
  const auto y = std::make_shared<ov::op::v8::Softmax>(x, 1);
  y->output(0).set_names({"y"});
  return *model_from_openvino(std::make_shared<ov::Model>(ov::OutputVector{y}, ov::ParameterVector{x}),
                              "softmax");
}

std::vector<float> values_of(const NDArray& array) {
  const Status status = array.wait();
  EXPECT_TRUE(status.ok()) << status.to_string();
  if (!status.ok()) return {};
  const auto span = *array.read()->as<float>();
  return {span.begin(), span.end()};
}

NDArray frame_of(int seed) {
  std::vector<std::uint8_t> frame(std::size_t{480} * 640 * 3);
  for (std::size_t i = 0; i < frame.size(); ++i)
    frame[i] = static_cast<std::uint8_t>((i * 31 + i / 977 + static_cast<std::size_t>(seed) * 37) % 251);
  return *NDArray::copy_of({frame.data(), DType::kU8, {480, 640, 3}, Device::cpu()});
}

TEST(CudaArrays, AChainStaysOnTheDevice) {
  limit_test_to(std::chrono::minutes(5));
  const auto gpu = make_cuda_backend(Device::cuda());
  if (!gpu.ok()) GTEST_SKIP() << gpu.status().to_string();
  std::printf("%s\n", (*gpu)->device_description().c_str());
  const DeviceArrays arrays = *DeviceArrays::over(*make_cuda_memory(Device::cuda()));
  const Model classifier =
      *Model::load(SHAPES_ONNX)->with_image_input({.height = 480, .width = 640, .scale = {255}});
  const Model softmax = softmax_of(classifier.outputs()[0]);
  const Runtime there = *Runtime::over(*gpu);
  const PredictorOptions on_gpu{.runtime = there, .precision = Precision::kF32, .outputs_on_device = true};
  auto first = Predictor::create(classifier, on_gpu);
  ASSERT_TRUE(first.ok()) << first.status().to_string();
  auto second = Predictor::create(softmax, on_gpu);
  ASSERT_TRUE(second.ok()) << second.status().to_string();
  const Runtime here = *Runtime::over(*make_openvino_backend());
  Predictor cpu_first = *Predictor::create(classifier, {.runtime = here, .precision = Precision::kF32});
  Predictor cpu_second = *Predictor::create(softmax, {.runtime = here, .precision = Precision::kF32});

  constexpr int kFrames = 8;
  for (int round = 0; round < 20; ++round) {
    std::vector<NDArray> got;
    std::vector<Prediction> firsts;
    for (int i = 0; i < kFrames; ++i) {
      const NDArray frame = frame_of(i);
      const auto a = first->submit(Frame::of(i % 2 == 0 ? *arrays.to_device(frame) : frame));
      ASSERT_TRUE(a.ok()) << a.status().to_string();
      ASSERT_EQ(a->output(0).device(), Device::cuda());
      const auto b = second->submit(Frame::of(a->output(0)));
      ASSERT_TRUE(b.ok()) << b.status().to_string();
      firsts.push_back(*a);
      got.push_back(*arrays.to_host(b->output(0)));
    }
    for (int i = 0; i < kFrames; ++i) {
      const auto want_a = cpu_first.submit(Frame::of(frame_of(i)));
      const auto want_b = cpu_second.submit(Frame::of(want_a->output(0)));
      const std::vector<float> want = values_of(want_b->output(0));
      EXPECT_LT(cuda::relative_error(values_of(got[static_cast<std::size_t>(i)]), want), 1e-4);
      EXPECT_EQ(firsts[static_cast<std::size_t>(i)].output(0).read().status().code(),
                StatusCode::kUnsupported);
    }
    for (Predictor* one : {&*first, &*second, &cpu_first, &cpu_second}) one->take_finished();
  }
}

}  // namespace
}  // namespace inflight
