// SPDX-License-Identifier: Apache-2.0
#include "backends/openvino/openvino_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <openvino/core/model.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>
#include <openvino/runtime/core.hpp>
#include <optional>
#include <random>
#include <thread>

#include "backends/openvino/openvino_test_support.h"
#include "base/test_memory.h"
#include "inflight/clock.h"
#include "model/network.h"
#include "onnx_writer.h"

namespace inflight {
namespace {

using testing::compile;
using testing::f32_both;
using testing::load;
using testing::onnx_node;
using testing::onnx_value;
using testing::OnnxModel;
using testing::Slot;
using testing::small_onnx;

void expect_clear(const Status& status, StatusCode code, std::string_view wanted) {
  const std::string message(status.message());
  EXPECT_EQ(status.code(), code) << message;
  EXPECT_NE(message.find(wanted), std::string::npos) << message << "\nwants: " << wanted;
  for (const char* noise : {"\n", ".cpp", ".hpp", "Exception from", "failed at"}) {
    EXPECT_EQ(message.find(noise), std::string::npos) << message;
  }
}

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

TEST(OpenVinoBackend, FollowsTheLaunchsMemory) {
  Slot slot(compile(load(small_onnx())));
  slot.run();
  std::vector<float> x = {10, 10, 10, 10};
  std::vector<float> y(4);
  slot.inputs_[0].data = x.data();
  slot.outputs_[0].data = y.data();
  slot.run();
  EXPECT_EQ(y, (std::vector<float>{11, 12, 13, 14}));
  std::vector<float> z(4);
  slot.outputs_[0].data = z.data();
  x[0] = 0;
  slot.run();
  EXPECT_EQ(z[0], 1.0F);
  EXPECT_EQ(y[0], 11.0F) << "an earlier launch's output was written again";
}

// A slot of a small network has several requests, which are given other memory in turns. More pieces of memory than requests come here, some of
// them again at once, and what one launch writes the next one reads.
TEST(OpenVinoBackend, FollowsMemoryThatComesBack) {
  const std::shared_ptr<Program> program = compile(load(small_onnx()), f32_both());
  Slot slot(program);
  std::array<std::array<float, 4>, 7> memory{};
  constexpr std::array<int, 16> kOrder = {0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 6, 0, 6, 1, 5, 0};
  memory[0] = {0, 10, 20, 30};
  for (int round = 0; round < 50; ++round) {
    for (std::size_t i = 0; i + 1 < kOrder.size(); ++i) {
      const std::array<float, 4> before = memory[static_cast<std::size_t>(kOrder[i])];
      std::array<float, 4>& after = memory[static_cast<std::size_t>(kOrder[i + 1])];
      slot.inputs_[0].data = memory[static_cast<std::size_t>(kOrder[i])].data();
      slot.outputs_[0].data = after.data();
      slot.run((round + static_cast<int>(i)) % 3 == 0 ? Width::kWide : Width::kNarrow);
      for (std::size_t k = 0; k < 4; ++k)
        ASSERT_EQ(after[k], before[k] + static_cast<float>(k + 1)) << "round " << round << ", " << i;
    }
  }
}

// If two outputs have one name, or an output has the name of an input, OpenVINO confuses them when it is
// given memory for one of them.
TEST(OpenVinoBackend, OneTensorAsTwoOutputsAndAnInputAsAnOutput) {
  OnnxModel onnx = small_onnx();
  onnx.nodes.push_back(onnx_node("Identity", {"x"}, {"x2"}));
  onnx.nodes.push_back(onnx_node("Identity", {"y"}, {"y2"}));
  onnx.outputs.push_back(onnx.outputs[0]);
  onnx.outputs.push_back(onnx.inputs[0]);
  onnx.outputs.push_back(onnx_value("x2", testing::kFloat, {1, 4}));
  onnx.outputs.push_back(onnx_value("y2", testing::kFloat, {1, 4}));
  onnx.outputs.push_back(onnx.inputs[0]);
  Slot slot(compile(load(onnx), f32_both()));
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 4; ++i) slot.input<float>()[i] = static_cast<float>(i + round);
    slot.run(round % 2 == 0 ? Width::kWide : Width::kNarrow);
    std::vector<float> x(4);
    std::vector<float> y(4);
    for (int i = 0; i < 4; ++i) {
      x[static_cast<std::size_t>(i)] = static_cast<float>(i + round);
      y[static_cast<std::size_t>(i)] = static_cast<float>(2 * i + round + 1);
    }
    for (const std::size_t output : {0, 1, 4}) EXPECT_EQ(slot.output<float>(output), y) << output;
    for (const std::size_t output : {2, 3, 5}) EXPECT_EQ(slot.output<float>(output), x) << output;
  }
}

TEST(OpenVinoBackend, DynamicOutputsTellTheirShape) {
  const auto program = compile(load({.nodes = {onnx_node("NonZero", {"x"}, {"y"})},
                                     .inputs = {onnx_value("x", testing::kFloat, {1, 4})},
                                     .outputs = {onnx_value("y", testing::kInt64, {2, "n"})}}));
  Slot slot(program);
  for (int ones = 0; ones <= 4; ++ones) {
    for (int i = 0; i < 4; ++i) slot.input<float>()[i] = i < ones ? 1.0F : 0.0F;
    slot.run();
    const TensorView view = slot.bound().dynamic_output(0);
    EXPECT_EQ(view.dtype, DType::kI64);
    ASSERT_EQ(view.shape, (Shape{2, ones}));
    const auto found = view.as<std::int64_t>().value();
    for (int i = 0; i < ones; ++i) EXPECT_EQ(found[static_cast<std::size_t>(ones + i)], i);
  }
}

TEST(OpenVinoBackend, RefusesALaunchThatDoesNotFit) {
  Slot slot(compile(load(small_onnx())));
  const auto refused = [&](std::string_view wanted, Width width = Width::kNarrow) {
    expect_clear(slot.bound().launch(slot.launch(width)), StatusCode::kInvalidArgument, wanted);
    EXPECT_EQ(slot.bound().completion_word().load(), 0U);
  };
  const TensorView good = slot.inputs_[0];
  slot.inputs_[0].dtype = DType::kU8;
  refused("input \"x\": got u8[1,4], want f32[1,4]");
  slot.inputs_[0] = good;
  slot.inputs_[0].shape = {4, 1};
  refused("input \"x\": got f32[4,1]");
  slot.inputs_[0] = good;
  slot.inputs_[0].data = nullptr;
  refused("input \"x\": got no memory");
  slot.inputs_.push_back(good);
  refused("got 2 inputs and 1 outputs, want 1 and 1");
  slot.inputs_ = {good};
  refused("width: got wide", Width::kWide);
  slot.outputs_[0].data = nullptr;
  refused("output \"y\": got no memory");
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

// More slots than threads: some of a light network share a model for the caller.
TEST(OpenVinoBackend, MoreSlotsThanThreadsRunAtOnceAndApart) {
  CompileOptions options = f32_both();
  for (const bool many_launches : {false, true}) {
    options.many_launches = many_launches;
    const std::shared_ptr<Program> program = compile(load(small_onnx()), options);
    EXPECT_EQ(program->wake_cost() > Duration(0), program->concurrency(Width::kNarrow) > 1) << "it is light";
    const int slots = program->concurrency(Width::kNarrow) + 3;
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < slots; ++caller) {
      callers.emplace_back([&program, caller] {
        Slot slot(program);
        for (int i = 0; i < 200; ++i) {
          const auto value = static_cast<float>(caller * 1000 + i);
          slot.input<float>()[3] = value;
          slot.run(i % 8 == 0 ? Width::kWide : Width::kNarrow);
          ASSERT_EQ(slot.output<float>()[3], value + 4) << "caller " << caller << ", launch " << i;
        }
      });
    }
  }
}

TEST(OpenVinoBackend, MemoryDoesNotGrowWithLaunches) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer keeps freed memory for a while";
#endif
  Slot slot(compile(load(small_onnx()), f32_both()));
  const auto launches = [&](int count) {
    std::vector<float> other(4);
    for (int i = 0; i < count; ++i) {
      slot.outputs_[0].data = i % 2 == 0 ? static_cast<void*>(other.data()) : slot.input<float>(1);
      slot.run(i % 3 == 0 ? Width::kWide : Width::kNarrow);
    }
  };
  EXPECT_LT(least_growth([&] { launches(3000); }), 1'000'000);
}

// A chain of products of matrices that takes long enough to be stopped in the middle.
std::shared_ptr<ov::Model> long_network(int operators) {
  constexpr std::size_t kSize = 512;
  auto input = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::Shape{kSize, kSize});
  input->get_output_tensor(0).set_names({"x"});
  std::vector<float> weights(kSize * kSize);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 7) / 2000;
  const auto constant = ov::op::v0::Constant::create(ov::element::f32, {kSize, kSize}, weights);
  ov::Output<ov::Node> value = input;
  for (int i = 0; i < operators; ++i) value = std::make_shared<ov::op::v0::MatMul>(value, constant);
  auto result = std::make_shared<ov::op::v0::Result>(value);
  value.get_tensor().set_names({"y"});
  return std::make_shared<ov::Model>(ov::ResultVector{result}, ov::ParameterVector{input}, "long");
}

// Times one launch of `slot`, which is told to stop after `wait`; nothing: the thread that tells it was held up until
// the launch had ended. Prints the time from stop() to the end.
std::optional<Duration> time_to_stop(Slot& slot, Duration wait) {
  const Launch launch = slot.launch();
  TimePoint told;
  const TimePoint began = steady_clock().now();
  std::thread stopper([&] {
    steady_clock().sleep_until(began + wait);
    slot.bound().stop(launch.generation);
    told = steady_clock().now();
  });
  EXPECT_TRUE(slot.bound().launch(launch).ok());
  const TimePoint ended = steady_clock().now();
  stopper.join();
  EXPECT_EQ(slot.bound().completion_word().load(), launch.generation);
  if (told >= ended) return std::nullopt;
  EXPECT_FALSE(slot.bound().outcome().ok());
  std::printf("from stop() to the end %.2f ms\n",
              std::chrono::duration<double, std::milli>(ended - told).count());
  // What is told too late, or of another launch, stops nothing.
  slot.bound().stop(launch.generation);
  return ended - began;
}

// A machine that is held up lengthens any of the launches. One that ends early suffices: one that is not stopped
// never does.
void expect_stops(int threads) {
  SCOPED_TRACE(threads);
  constexpr int kTries = 20;
  const auto program = compile(Model(*internal::make_rep(long_network(300), "long")),
                               {.precision = Precision::kF32, .threads = threads});
  Slot slot(program);
  ASSERT_TRUE(slot.bound().can_stop());
  std::fill_n(slot.input<float>(), 512 * 512, 1.0F);
  slot.run();
  const std::vector<float> wanted = slot.output<float>();
  Duration whole = Duration::max();
  for (int i = 0; i < 2; ++i) {
    const TimePoint began = steady_clock().now();
    slot.run();
    whole = std::min(whole, steady_clock().now() - began);
  }
  std::printf("whole %.1f ms\n", std::chrono::duration<double, std::milli>(whole).count());

  bool early = false;
  for (int i = 0; i < kTries && !early; ++i) {
    const std::optional<Duration> took = time_to_stop(slot, whole / 4);
    early = took && *took < whole / 2;
    slot.run();
    ASSERT_EQ(slot.output<float>(), wanted);
  }
  EXPECT_TRUE(early) << "it ran on";

  // What is told before the launch is made stops it.
  early = false;
  for (int i = 0; i < kTries && !early; ++i) {
    const Launch next = slot.launch();
    slot.bound().stop(next.generation);
    const TimePoint began = steady_clock().now();
    ASSERT_TRUE(slot.bound().launch(next).ok());
    early = steady_clock().now() - began < whole / 4;
    EXPECT_EQ(slot.bound().completion_word().load(), next.generation);
  }
  EXPECT_TRUE(early) << "it ran on";
  slot.run();
  EXPECT_EQ(slot.output<float>(), wanted);
}

TEST(OpenVinoBackend, StopsBetweenTwoOperatorsAndRunsAgain) {
  expect_stops(0);
  expect_stops(1);
}

}  // namespace
}  // namespace inflight
