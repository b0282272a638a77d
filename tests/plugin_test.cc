// SPDX-License-Identifier: Apache-2.0
// Backends in shared libraries of their own, opened by name from a program that links the shared libinflight,
// as users' programs do.
#include <gtest/gtest.h>
#include <link.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "inflight/inflight.h"

namespace inflight {
namespace {

Result<std::shared_ptr<Backend>> open(std::string_view device) {
  return load_backend(Device::parse(device).value(), {.plugin_folders = {INFLIGHT_TEST_PLUGINS}});
}

// The one line that load_backend() returns and that a user sees.
std::string refusal(std::string_view device, StatusCode code = StatusCode::kNoSuchDevice) {
  const auto backend = open(device);
  EXPECT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), code) << backend.status().to_string();
  const std::string text(backend.status().message());
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 0) << text;
  const std::string prefix = "device \"" + Device::parse(device)->to_string() + "\": ";
  EXPECT_EQ(text.substr(0, prefix.size()), prefix);
  return text.substr(std::min(prefix.size(), text.size()));
}

std::string path_of(const std::string& kind) {
  return std::string(INFLIGHT_TEST_PLUGINS) + "/libinflight_backend_" + kind + ".so";
}

void expect_starts_with(const std::string& text, const std::string& start) {
  EXPECT_EQ(text.substr(0, start.size()), start) << text;
}

Model model() { return Model::opaque("m", {{"x", DType::kU8, {2}}}, {{"y", DType::kU8, {3}}}).value(); }

TEST(Plugin, NullIsFoundBesideTheLibrary) {
  const auto backend = load_backend(Device::null());
  ASSERT_TRUE(backend.ok()) << backend.status().to_string();
  EXPECT_EQ((*backend)->name(), "null");
}

TEST(Plugin, APredictorRunsOnIt) {
  constexpr int kFrames = 1000;
  auto predictor = Predictor::create(model(), {.device = Device::null(), .in_flight_limit = kFrames});
  ASSERT_TRUE(predictor.ok()) << predictor.status().to_string();
  std::vector<Prediction> predictions;
  for (int i = 0; i < kFrames; ++i) {
    const std::uint8_t pixels[2] = {static_cast<std::uint8_t>(i), 7};
    const auto array = NDArray::copy_of({pixels, DType::kU8, {2}});
    ASSERT_TRUE(array.ok());
    auto prediction = predictor->submit(Frame::of(*array));
    ASSERT_TRUE(prediction.ok()) << prediction.status().to_string();
    predictions.push_back(std::move(*prediction));
  }
  for (int i = 0; i < kFrames; ++i) {
    ASSERT_TRUE(predictions[static_cast<std::size_t>(i)].wait().ok());
    const auto output = predictions[static_cast<std::size_t>(i)].output(0).read();
    ASSERT_TRUE(output.ok());
    EXPECT_EQ(static_cast<const std::uint8_t*>(output->data)[2], static_cast<std::uint8_t>(i));
  }
  const auto statistics = predictor->statistics();
  EXPECT_EQ(statistics.submitted, kFrames);
  EXPECT_EQ(statistics.completed, kFrames);
  EXPECT_EQ(statistics.in_flight, 0U);
}

TEST(Plugin, TellsItsOperatorsWithoutADevice) {
  const LoadOptions options{.plugin_folders = {INFLIGHT_TEST_PLUGINS}};
  const Device absent = Device::parse("tunes:1").value();
  EXPECT_EQ(load_backend(absent, options).status().code(), StatusCode::kNoSuchDevice);
  const auto known = operator_coverage(absent, options);
  ASSERT_TRUE(known.ok()) << known.status().to_string();
  ASSERT_EQ(known->operators.size(), 1U);
  EXPECT_EQ(known->operators[0].type, "Relu");
  const auto silent = operator_coverage(model(), Device::null(), options);
  EXPECT_EQ(silent.status().code(), StatusCode::kUnsupported);
  EXPECT_NE(silent.status().message().find("does not say"), std::string_view::npos);
}

TEST(Plugin, ThatTunesTellsHowFarItIs) {
  RuntimeOptions runtime;
  runtime.load.plugin_folders = {INFLIGHT_TEST_PLUGINS};
  std::vector<std::size_t> done;
  auto predictor = Predictor::create(
      model(), {.runtime = Runtime::open(Device::parse("tunes").value(), runtime).value(),
                .tune = TuneLevel::kFull,
                .tune_progress = [&](const TuneProgress& progress) { done.push_back(progress.done); }});
  ASSERT_TRUE(predictor.ok()) << predictor.status().to_string();
  EXPECT_EQ(done.size(), 40U);
  EXPECT_EQ(done.back(), 40U);
  ASSERT_TRUE(predictor->tuning().has_value());
  EXPECT_EQ(predictor->tuning()->level, TuneLevel::kFull);
  EXPECT_EQ(predictor->tuning()->gain, 0.25);
  Predictor moved = std::move(*predictor);
  EXPECT_TRUE(moved.tuning().has_value());
  EXPECT_FALSE(predictor->tuning().has_value()) << "it was moved from";
}

TEST(Plugin, AProgressThatThrowsFailsTheCompile) {
  RuntimeOptions runtime;
  runtime.load.plugin_folders = {INFLIGHT_TEST_PLUGINS};
  const auto predictor = Predictor::create(
      model(), {.runtime = Runtime::open(Device::parse("tunes").value(), runtime).value(),
                .tune_progress = [](const TuneProgress&) { throw std::runtime_error("enough"); }});
  EXPECT_EQ(predictor.status().code(), StatusCode::kException) << predictor.status().to_string();
}

TEST(Plugin, BringsNoSecondLibrary) {
  ASSERT_TRUE(load_backend(Device::null()).ok());
  const auto count = [](dl_phdr_info* object, std::size_t, void* libraries) {
    const std::string_view file = object->dlpi_name;
    *static_cast<int*>(libraries) += file.find("libinflight.so") != file.npos;
    return 0;
  };
  int libraries = 0;
  dl_iterate_phdr(count, &libraries);
  EXPECT_EQ(libraries, 1);
}

TEST(Plugin, AMissingOneIsAnsweredWithTheKindsThatAreThere) {
  const std::string text = refusal("nowhere:3");
  expect_starts_with(text, "no libinflight_backend_nowhere.so in " INFLIGHT_TEST_PLUGINS ", ");
  EXPECT_NE(text.find("; kinds here: cpu, "), std::string::npos) << text;
  EXPECT_NE(text.find(", null, "), std::string::npos) << text;
  EXPECT_NE(text.find(", throws"), std::string::npos) << text;
}

TEST(Plugin, AnotherVersionIsRefused) {
  EXPECT_EQ(refusal("old"), "plugin " + path_of("old") + " is for inflight 0.0.9, this is " INFLIGHT_VERSION);
}

TEST(Plugin, AnotherPatchOfTheSameVersionIsNot) {
  expect_starts_with(refusal("patched"), "plugin " + path_of("patched") + " is for devices \"another\"");
}

TEST(Plugin, AnotherCompilersTypesAreRefused) {
  expect_starts_with(refusal("alien"),
                     "plugin " + path_of("alien") + " is compiled for Martian, this for libstdc++ 1");
}

TEST(Plugin, OneOfAnotherKindIsRefused) {
  expect_starts_with(refusal("renamed"), "plugin " + path_of("renamed") + " is for devices \"another\"");
}

TEST(Plugin, OneThatCannotBeLinkedIsRefused) {
  const std::string text = refusal("missing_symbol");
  expect_starts_with(text, "plugin " + path_of("missing_symbol") + ": undefined symbol: ");
  EXPECT_NE(text.find("made_by_nobody"), std::string::npos) << text;
}

TEST(Plugin, OneWithoutAnEntryIsRefused) {
  expect_starts_with(refusal("no_entry"),
                     "plugin " + path_of("no_entry") + ": has no inflight_backend_plugin()");
}

TEST(Plugin, GarbageIsRefused) {
  const std::string folder = testing::TempDir() + "inflight_garbage_plugins";
  std::filesystem::create_directories(folder);
  const std::string path = folder + "/libinflight_backend_garbage.so";
  for (const char* bytes : {"",
                            "\x7f"
                            "ELF",
                            "This is no library; it is longer than an ELF header, and says nothing."}) {
    std::ofstream(path) << bytes;
    const auto backend = load_backend(Device::parse("garbage").value(), {.plugin_folders = {folder}});
    ASSERT_FALSE(backend.ok());
    EXPECT_EQ(backend.status().code(), StatusCode::kNoSuchDevice);
    expect_starts_with(std::string(backend.status().message()),
                       "device \"garbage:0\": plugin " + path + ": ");
  }
  std::filesystem::remove_all(folder);
}

TEST(Plugin, WhatItsFactoryThrowsIsAStatus) {
  EXPECT_EQ(refusal("throws", StatusCode::kException), "plugin " + path_of("throws") + ": no driver");
}

TEST(Plugin, WhatItsFactoryAnswersIsPassedOn) {
  EXPECT_EQ(refusal("throws:2", StatusCode::kDeviceError), "device 2 is on fire");
}

TEST(Plugin, AFactoryThatMakesNothingIsAStatus) {
  EXPECT_EQ(refusal("throws:1", StatusCode::kInternal), "plugin " + path_of("throws") + " made no backend");
}

TEST(Plugin, AnIndexThatIsNotThereIsRefused) {
  expect_starts_with(refusal("null:16"), "there are 16 null devices");
  expect_starts_with(refusal("cpu:1"), "all processors are one device");
}

TEST(Plugin, FoldersThatAreNotThereAreNoMatter) {
  const auto backend = load_backend(Device::null(), {.plugin_folders = {"/nowhere", ""}});
  EXPECT_TRUE(backend.ok()) << backend.status().to_string();
}

}  // namespace
}  // namespace inflight
