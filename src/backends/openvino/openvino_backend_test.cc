// SPDX-License-Identifier: Apache-2.0
#include "backends/openvino/openvino_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <openvino/core/model.hpp>
#include <openvino/runtime/core.hpp>
#include <optional>
#include <random>
#include <thread>

#include "backends/openvino/openvino_test_support.h"
#include "model/network.h"
#include "onnx_writer.h"

namespace inflight {
namespace {

using testing::compile;
using testing::expect_clear;
using testing::f32_both;
using testing::load;
using testing::onnx_node;
using testing::onnx_value;
using testing::OnnxModel;
using testing::Slot;
using testing::small_onnx;

TEST(OpenVinoBackend, DescribesTheCpu) {
  const auto backend = make_openvino_backend();
  ASSERT_TRUE(backend.ok()) << backend.status().to_string();
  EXPECT_EQ((*backend)->name(), "openvino");
  const std::string words = (*backend)->device_description();
  EXPECT_TRUE(words.starts_with("cpu (")) << words;
  EXPECT_NE(words.find(" thread"), std::string::npos) << words;
  EXPECT_EQ((*backend)->device(), Device::cpu());
  EXPECT_TRUE((*backend)->launch_blocks());
  EXPECT_TRUE((*backend)->device_status().ok());
}

TEST(OpenVinoBackend, ComputesInBothWidths) {
  const auto program = compile(load(small_onnx()), f32_both());
  EXPECT_EQ(program->concurrency(Width::kWide), 1);
  EXPECT_GE(program->concurrency(Width::kNarrow), 1);
  Slot slot(program);
  EXPECT_EQ(slot.bound().completion_word().load(), 0U);
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 4; ++i) slot.input<float>()[i] = std::uniform_real_distribution<float>(-9, 9)(random);
    slot.run(round % 2 == 0 ? Width::kWide : Width::kNarrow);
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(slot.output<float>()[i], std::max(slot.input<float>()[i] + static_cast<float>(i + 1), 0.0F));
    }
  }
}

TEST(OpenVinoBackend, RefusesWhatItCannotCompile) {
  const auto backend = make_openvino_backend().value();
  const Model model = load(small_onnx());
  const auto refused = [&](const Model& what, const CompileOptions& options, StatusCode code,
                           std::string_view wanted) {
    const auto program = backend->compile(what, options);
    ASSERT_FALSE(program.ok()) << wanted;
    expect_clear(program.status(), code, wanted);
  };
  const Model opaque = Model::opaque("o", {{"x", DType::kU8, {1}}}, {{"y", DType::kU8, {1}}}).value();
  refused(opaque, {}, StatusCode::kUnsupported, "model \"o\": only its inputs and outputs are known");
  refused(model, {.widths = {}}, StatusCode::kInvalidArgument, "widths");
  refused(model, {.threads = -1}, StatusCode::kInvalidArgument, "threads: got -1");
  refused(model, {.threads = 100000}, StatusCode::kInvalidArgument, "threads: got 100000");
  const Model open = load({.nodes = {onnx_node("Relu", {"x"}, {"y"})},
                           .inputs = {onnx_value("x", testing::kFloat, {"N", 4})},
                           .outputs = {onnx_value("y", testing::kFloat, {"N", 4})}});
  refused(open, {}, StatusCode::kInvalidArgument, "input \"x\": got f32[?,4], want a static shape");
}

TEST(OpenVinoBackend, PrecisionsRunOrAreRefusedClearly) {
  const auto backend = make_openvino_backend().value();
  for (const Precision precision : {Precision::kAuto, Precision::kF32, Precision::kBF16, Precision::kF16}) {
    const auto program = backend->compile(load(small_onnx()), {.precision = precision});
    if (program.ok()) {
      Slot slot(*program);
      slot.run();
      EXPECT_EQ(slot.output<float>(), (std::vector<float>{1, 2, 3, 4}));
    } else {
      expect_clear(program.status(), StatusCode::kUnsupported, "does not have it");
      EXPECT_TRUE(precision == Precision::kBF16 || precision == Precision::kF16);
    }
  }
}

// An index out of range is found while the inference runs: the word is stored, and outcome() returns the
// failure.
void expect_failure_stores_word(int threads) {
  SCOPED_TRACE(threads);
  const Model model =
      load({.nodes = {onnx_node("Reshape", {"x", "shape"}, {"y"})},
            .inputs = {onnx_value("x", testing::kFloat, {1, 4}), onnx_value("shape", testing::kInt64, {2})},
            .outputs = {onnx_value("y", testing::kFloat, {"a", "b"})}});
  const auto program = compile(model, {.threads = threads});
  {
    Slot fails_first(program);
    fails_first.input<std::int64_t>(1)[0] = 3;
    ASSERT_TRUE(fails_first.bound().launch(fails_first.launch()).ok());
    expect_clear(fails_first.bound().outcome(), StatusCode::kDeviceError, "");
  }
  Slot slot(program);
  slot.input<std::int64_t>(1)[0] = 2;
  slot.input<std::int64_t>(1)[1] = 2;
  slot.run();
  EXPECT_EQ(slot.bound().dynamic_output(0).shape, (Shape{2, 2}));
  slot.input<std::int64_t>(1)[1] = 3;
  const Launch bad = slot.launch();
  ASSERT_TRUE(slot.bound().launch(bad).ok());
  EXPECT_EQ(slot.bound().completion_word().load(), bad.generation);
  expect_clear(slot.bound().outcome(), StatusCode::kDeviceError, "");
  EXPECT_FALSE(slot.bound().outcome().message().empty());
  slot.input<std::int64_t>(1)[1] = 2;
  slot.run();  // the slot still works
  Slot(compile(load(small_onnx()), {.threads = threads})).run();
}

TEST(OpenVinoBackend, AFailedInferenceStoresTheWord) {
  expect_failure_stores_word(0);
  expect_failure_stores_word(1);
}

// Bytes are changed inside a model. If it still loads, it is compiled and run: any result is allowed but a
// crash.
TEST(OpenVinoBackend, DamagedModelsNeverCrash) {
  const auto backend = make_openvino_backend().value();
  std::mt19937 random(11);
  const std::string whole = small_onnx().bytes();
  int ran = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 1 + round % 2; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    const auto model = Model::load_bytes(std::as_bytes(std::span(bytes.data(), bytes.size())), "m");
    if (!model.ok() || model->inputs()[0].shape.is_static() == false) continue;
    if (model->inputs()[0].bytes() > 1 << 20 || model->outputs()[0].shape.is_static() == false) continue;
    const auto program = backend->compile(*model, {});
    if (!program.ok()) {
      EXPECT_EQ(program.status().message().find('\n'), std::string_view::npos) << program.status().message();
      continue;
    }
    Slot slot(*program);
    const Status launched = slot.bound().launch(slot.launch());
    ran += launched.ok() && slot.bound().outcome().ok() ? 1 : 0;
  }
  EXPECT_GT(ran, 10);
}

TEST(OpenVinoBackend, AProgramOutlivesItsBackendAndItsModel) {
  std::shared_ptr<Program> program;
  {
    const Model model = load(small_onnx());
    program = compile(model);
  }
  Slot slot(program);
  program.reset();
  slot.run();
  EXPECT_EQ(slot.output<float>()[3], 4.0F);
}

// A network of a hundred megabytes stayed beside what it was compiled to. A light one stays where slots may need more models of it.
TEST(OpenVinoBackend, AProgramDoesNotKeepTheNetwork) {
  const auto keeps = [](const OnnxModel& onnx, const CompileOptions& options) {
    std::optional<Model> model = load(onnx);
    const std::weak_ptr<const ov::Model> its_network = network(*model);
    const std::shared_ptr<Program> program = compile(*model, options);
    EXPECT_FALSE(its_network.expired());
    model.reset();
    EXPECT_EQ(program->inputs().size(), 1U);
    return !its_network.expired();
  };
  constexpr std::int64_t kRows = 10 << 20;  // 40 MB
  const OnnxModel heavy = {
      .nodes = {onnx_node("Gather", {"rows", "row"}, {"y"})},
      .inputs = {onnx_value("row", testing::kInt64, {1})},
      .outputs = {onnx_value("y", testing::kFloat, {1})},
      .initializers = {testing::onnx_initializer("rows", {kRows}, std::vector<float>(kRows))}};
  EXPECT_FALSE(keeps(heavy, f32_both()));
  EXPECT_FALSE(keeps(small_onnx(), {.many_launches = true}));
}

// ---- The face detector, if its file exists

std::string face_path() { return std::string(INFLIGHT_SHARED_DATA_DIR) + "/face_rfb_320.onnx"; }
#define SKIP_WITHOUT_FACE_MODEL() \
  if (!std::filesystem::exists(face_path())) GTEST_SKIP() << face_path() << " is not here"

void fill_random(Slot& slot, std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::generate_n(slot.input<std::uint8_t>(), bytes, [&] { return static_cast<std::uint8_t>(random()); });
}

Model face_model() {
  return Model::load(face_path())
      .value()
      .with_image_input({.height = 480, .width = 640, .mean = {127}, .scale = {128}})
      .value();
}

TEST(OpenVinoBackend, EqualsOpenVinosOwnInterface) {
  SKIP_WITHOUT_FACE_MODEL();
  const Model model = face_model();
  ov::Core core;
  auto oracle = core.compile_model(network(model), "CPU", ov::hint::inference_precision(ov::element::f32))
                    .create_infer_request();
  Slot slot(compile(model, f32_both()));
  for (unsigned seed = 0; seed < 6; ++seed) {
    fill_random(slot, model.inputs()[0].bytes(), seed);
    slot.run(seed % 2 == 0 ? Width::kWide : Width::kNarrow);
    oracle.set_input_tensor(ov::Tensor(ov::element::u8, {480, 640, 3}, slot.input<std::uint8_t>()));
    oracle.infer();
    for (std::size_t i = 0; i < 2; ++i) {
      const std::vector<float> ours = slot.output<float>(i);
      const ov::Tensor theirs = oracle.get_output_tensor(i);
      ASSERT_EQ(ours.size(), theirs.get_size());
      float most = 0;
      for (std::size_t k = 0; k < ours.size(); ++k)
        most = std::max(most, std::abs(ours[k] - theirs.data<float>()[k]));
      EXPECT_LE(most, 1e-4F);
    }
  }
}

// Slots run at once on threads of their own, each with its own frame, and none gets the result of another.
TEST(OpenVinoBackend, SlotsRunAtOnceAndApart) {
  SKIP_WITHOUT_FACE_MODEL();
  const Model model = face_model();
  const auto program = compile(model, f32_both());
  std::vector<std::vector<float>> alone;
  {
    Slot slot(program);
    for (unsigned seed = 0; seed < 4; ++seed) {
      fill_random(slot, model.inputs()[0].bytes(), seed);
      slot.run();
      alone.push_back(slot.output<float>(1));
    }
  }
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      Slot slot(program);
      fill_random(slot, model.inputs()[0].bytes(), seed);
      for (int round = 0; round < 10; ++round) {
        slot.run(round % 5 == 4 ? Width::kWide : Width::kNarrow);
        const std::vector<float> together = slot.output<float>(1);
        float most = 0;
        for (std::size_t k = 0; k < together.size(); ++k)
          most = std::max(most, std::abs(together[k] - alone[seed][k]));
        EXPECT_LE(most, 1e-4F);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace inflight
