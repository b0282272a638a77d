// SPDX-License-Identifier: Apache-2.0
// The backend as a whole, against the CPU. Without a device: what it says then.
#include "backends/cuda/runtime/cuda_backend.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "backends/cuda/runtime/cuda_test_support.h"
#include "backends/openvino/openvino_backend.h"
#include "inflight/model.h"

namespace inflight {
namespace {

using testing::HasSubstr;

TEST(CudaBackend, SaysWhatIsMissingInOneLine) {
  const auto backend = make_cuda_backend(Device::cuda());
  if (backend.ok()) GTEST_SKIP() << "this machine has a device: " << (*backend)->device_description();
  EXPECT_EQ(backend.status().code(), StatusCode::kNoSuchDevice);
  EXPECT_THAT(std::string(backend.status().message()), HasSubstr("driver"));
  EXPECT_THAT(std::string(backend.status().message()), testing::Not(HasSubstr("\n")));
}

TEST(CudaBackend, RefusesSettingsThatItDoesNotKnow) {
  const auto with = [](const char* name, const char* value) {
    setenv(name, value, 1);
    const Status status = make_cuda_backend(Device::cuda()).status();
    unsetenv(name);
    return std::string(status.message());
  };
  EXPECT_EQ(with("INFLIGHT_CUDA_LANES", "0"), "INFLIGHT_CUDA_LANES: got \"0\", want 1 to 64");
  EXPECT_EQ(with("INFLIGHT_CUDA_LANES", "8x"), "INFLIGHT_CUDA_LANES: got \"8x\", want 1 to 64");
  EXPECT_EQ(with("INFLIGHT_CUDA_IO", "gpu"), "INFLIGHT_CUDA_IO: got \"gpu\", want host, device or none");
}

class CudaPrecision : public testing::TestWithParam<Precision> {};

// The embedded classifier, from the frame to its scores.
TEST_P(CudaPrecision, AgreesWithTheCpu) {
  limit_test_to(std::chrono::minutes(5));
  const auto gpu = make_cuda_backend(Device::cuda());
  if (!gpu.ok()) GTEST_SKIP() << gpu.status().to_string();
  std::printf("%s\n", (*gpu)->device_description().c_str());
  const auto cpu = make_openvino_backend();
  ASSERT_TRUE(cpu.ok());
  const Model model =
      *Model::load(SHAPES_ONNX)->with_image_input({.height = 480, .width = 640, .scale = {255}});
  std::vector<std::uint8_t> frame(std::size_t{480} * 640 * 3);
  for (std::size_t i = 0; i < frame.size(); ++i)
    frame[i] = static_cast<std::uint8_t>((i * 31 + i / 977) % 251);
  const TensorView input{frame.data(), DType::kU8, {480, 640, 3}, Device::cpu()};
  const auto run = [&](Backend& backend, Precision precision, Width width) {
    const auto program = backend.compile(model, {.precision = precision, .widths = {width}});
    EXPECT_TRUE(program.ok()) << program.status().to_string();
    std::vector<float> output(model.outputs()[0].shape.elements());
    if (!program.ok()) return output;
    const auto slot = *(*program)->bind();
    EXPECT_TRUE(slot->warm_up().ok());
    const MutableTensorView target{output.data(), DType::kF32, model.outputs()[0].shape, Device::cpu()};
    EXPECT_TRUE(slot->launch({{&input, 1}, {&target, 1}, width, 1, {}}).ok());
    EXPECT_TRUE(cuda::wait_for_word(*slot, 1));
    EXPECT_TRUE(slot->outcome().ok());
    return output;
  };
  const std::vector<float> want = run(**cpu, Precision::kF32, Width::kNarrow);
  const Precision precision = GetParam();
  for (const Width width : {Width::kWide, Width::kNarrow}) {
    const double error = cuda::relative_error(run(**gpu, precision, width), want);
    std::printf("%s %s: error %.1e\n", std::string(precision_name(precision)).c_str(),
                std::string(width_name(width)).c_str(), error);
    EXPECT_LT(error, precision == Precision::kF32 ? 1e-4 : precision == Precision::kBF16 ? 5e-2 : 2e-2);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaPrecision,
                         testing::Values(Precision::kF32, Precision::kAuto, Precision::kF16,
                                         Precision::kBF16),
                         [](const auto& tested) { return std::string(precision_name(tested.param)); });

}  // namespace
}  // namespace inflight
