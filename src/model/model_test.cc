// SPDX-License-Identifier: Apache-2.0
#include "inflight/model.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <openvino/core/graph_util.hpp>
#include <openvino/core/model.hpp>
#include <openvino/op/add.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>
#include <openvino/runtime/core.hpp>
#include <random>

#include "inflight/openvino_interop.h"
#include "model/network.h"
#include "model/openvino_error.h"
#include "onnx_writer.h"

namespace inflight {
namespace {

using testing::field;
using testing::onnx_initializer;
using testing::onnx_node;
using testing::onnx_value;
using testing::OnnxModel;
using testing::small_onnx;

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

Result<Model> from_bytes(const OnnxModel& onnx, const ModelOptions& options = {}) {
  const std::string bytes = onnx.bytes();
  return Model::load_bytes(as_bytes(bytes), "m", options);
}

// A folder of this test's own, removed at its end.
class ModelFile : public ::testing::Test {
 protected:
  ModelFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "model_test.XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~ModelFile() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, std::string_view bytes) {
    const std::filesystem::path path = folder_ / name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path.string();
  }
  std::filesystem::path folder_;
};

std::string shared_data(const std::string& name) {
  return std::string(INFLIGHT_SHARED_DATA_DIR) + "/" + name;
}
std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here"

// One line, with the model's name, and without OpenVINO's source files.
void expect_clear(const Status& status, StatusCode code, std::string_view wanted) {
  const std::string message(status.message());
  EXPECT_EQ(status.code(), code) << message;
  EXPECT_NE(message.find(wanted), std::string::npos) << message << "\nwants: " << wanted;
  EXPECT_TRUE(message.starts_with("model \"")) << message;
  for (const char* noise : {"\n", ".cpp", ".hpp", "Exception from", "failed at"}) {
    EXPECT_EQ(message.find(noise), std::string::npos) << message;
  }
}

// ---- what loads

TEST_F(ModelFile, LoadsOnnx) {
  OnnxModel onnx = small_onnx();
  onnx.metadata = {{"labels", "cat\ndog"}, {"empty", ""}};
  const Result<Model> model = Model::load(write("small.v1.onnx", onnx.bytes()));
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  EXPECT_EQ(model->name(), "small.v1");
  ASSERT_EQ(model->inputs().size(), 1U);
  EXPECT_EQ(model->inputs()[0], (TensorSpec{"x", DType::kF32, {1, 4}}));
  ASSERT_EQ(model->outputs().size(), 1U);
  EXPECT_EQ(model->outputs()[0], (TensorSpec{"y", DType::kF32, {1, 4}}));
  EXPECT_EQ(model->metadata("labels"), "cat\ndog");
  EXPECT_EQ(model->metadata("empty"), "");
  EXPECT_EQ(model->metadata("other"), std::nullopt);
  EXPECT_EQ(model->summary().parameters, 4U);
  EXPECT_EQ(model->summary().parameter_bytes, 16U);
  EXPECT_EQ(model->summary().operators, (std::map<std::string, std::size_t>{{"Add", 1}, {"Relu", 1}}));
}

TEST_F(ModelFile, LoadsOnnxByContentWhateverTheExtension) {
  EXPECT_TRUE(Model::load(write("model.bin2", small_onnx().bytes())).ok());
  EXPECT_TRUE(Model::load(write("model", small_onnx().bytes())).ok());
}

TEST_F(ModelFile, LoadsOpenVinoIr) {
  const std::string xml = write("small.xml", "");
  std::filesystem::remove(xml);
  ov::Core core;
  const std::string bytes = small_onnx().bytes();
  const auto network = core.read_model(bytes, ov::Tensor());

  ov::serialize(network, xml, (folder_ / "small.bin").string());
  const Result<Model> model = Model::load(xml);
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  EXPECT_EQ(model->inputs()[0].name, "x");
  std::filesystem::remove(folder_ / "small.bin");
  expect_clear(Model::load(xml).status(), StatusCode::kInvalidModel, "small.bin\": no such file");
  write("small.bin", "");
  expect_clear(Model::load(xml).status(), StatusCode::kInvalidModel,
               "small.bin\": got 0 bytes, want at least 16");
  write("small.bin", "1234");
  expect_clear(Model::load(xml).status(), StatusCode::kInvalidModel,
               "small.bin\": got 4 bytes, want at least 16");
}

TEST(ModelBytes, LoadsOnnxFromMemoryThatGoesAway) {
  Result<Model> model = Status(StatusCode::kInternal, "");
  {
    std::string bytes = small_onnx().bytes();
    model = Model::load_bytes(as_bytes(bytes), "mem");
    std::fill(bytes.begin(), bytes.end(), '\xFF');
  }
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  EXPECT_EQ(model->name(), "mem");
  ov::Core core;
  auto request = core.compile_model(network(*model), "CPU").create_infer_request();
  std::vector<float> x = {-2, 0, 0, 0};
  request.set_input_tensor(ov::Tensor(ov::element::f32, {1, 4}, x.data()));
  request.infer();
  EXPECT_EQ(request.get_output_tensor().data<float>()[0], 0.0F);
  EXPECT_EQ(request.get_output_tensor().data<float>()[3], 4.0F);
}

TEST(ModelBytes, DynamicOutputsAreAllowed) {
  const Result<Model> model = from_bytes({.nodes = {onnx_node("NonZero", {"x"}, {"y"})},
                                          .inputs = {onnx_value("x", testing::kFloat, {1, 4})},
                                          .outputs = {onnx_value("y", testing::kInt64, {2, "n"})}});
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  EXPECT_EQ(model->outputs()[0].shape, (Shape{2, Shape::kDynamic}));
  EXPECT_EQ(model->outputs()[0].dtype, DType::kI64);
}

TEST(ModelBytes, OutputNamesAreUnique) {
  OnnxModel onnx = small_onnx();
  onnx.outputs.push_back(onnx.outputs[0]);
  const Result<Model> model = from_bytes(onnx);
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  ASSERT_EQ(model->outputs().size(), 2U);
  EXPECT_NE(model->outputs()[0].name, model->outputs()[1].name);
}

// ---- what does not

TEST_F(ModelFile, MissingPathIsNotFound) {
  expect_clear(Model::load((folder_ / "no.onnx").string()).status(), StatusCode::kNotFound,
               "no.onnx\": no such file");
  expect_clear(Model::load("").status(), StatusCode::kNotFound, "no such file");
  expect_clear(Model::load(std::string("a\0b", 3)).status(), StatusCode::kNotFound, "no such file");
  expect_clear(Model::load("/dev/null").status(), StatusCode::kInvalidModel, "not a regular file");
}

TEST_F(ModelFile, EmptyFile) {
  expect_clear(Model::load(write("e.onnx", "")).status(), StatusCode::kInvalidModel,
               "e.onnx\": the file is empty");
  expect_clear(Model::load_bytes({}, "mem").status(), StatusCode::kInvalidModel, "empty");
}

TEST_F(ModelFile, RandomBytes) {
  std::mt19937 random(1);
  for (const char* name : {"r.onnx", "r.xml", "r.tflite", "r.pb", "r.pdmodel", "r.xyz", "r"}) {
    for (const std::size_t size : {1, 8, 100, 5000}) {
      std::string bytes(size, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random());
      expect_clear(Model::load(write(name, bytes)).status(), StatusCode::kInvalidModel, name);
      EXPECT_FALSE(Model::load_bytes(as_bytes(bytes), name).ok());
    }
  }
}

TEST_F(ModelFile, DamagedTensorFlowLite) {
  std::string bytes = std::string("\x1C\0\0\0TFL3", 8) + std::string(500, '\x11');
  expect_clear(Model::load(write("t.tflite", bytes)).status(), StatusCode::kInvalidModel, "t.tflite");
  expect_clear(Model::load_bytes(as_bytes(bytes), "t").status(), StatusCode::kInvalidModel, "model \"t\"");
  bytes.resize(9);
  expect_clear(Model::load(write("t.tflite", bytes)).status(), StatusCode::kInvalidModel, "t.tflite");
}

TEST_F(ModelFile, FilesOfOtherKindsAreNamed) {
  const std::pair<std::string, std::string> cases[] = {
      {std::string("PK\x03\x04rest of it"), "zip archive"},
      {std::string("\x89HDF\r\n\x1a\n"), "HDF5"},
      {std::string("\x12\x01\0\0\0\0\0\0\0\0\0\0", 12), "MXNet parameter"},
      {R"({"nodes": [{"op": "null"}], "arg_nodes": [0]})", "MXNet symbol"},
      {"GGUF\x03", "GGUF"},
  };
  for (const auto& [bytes, wanted] : cases) {
    expect_clear(Model::load(write("other.onnx", bytes)).status(), StatusCode::kUnsupported, wanted);
  }
  expect_clear(Model::load(write("a.json", R"({"a": 1})")).status(), StatusCode::kInvalidModel, "JSON");
  expect_clear(Model::load(write("a.xml", "<html></html>")).status(), StatusCode::kInvalidModel, "XML");
  expect_clear(Model::load(write("a.xml", "<net name=")).status(), StatusCode::kInvalidModel, "a.xml");
  expect_clear(Model::load(write("a.txt", "hello there")).status(), StatusCode::kInvalidModel, "want ONNX");
}

TEST_F(ModelFile, MxnetCheckpointsAreNamed) {
  const std::string params = shared_data("mtcnn_det1-0001.params");
  SKIP_WITHOUT(params);
  expect_clear(Model::load(params).status(), StatusCode::kUnsupported, "MXNet");
  expect_clear(Model::load(shared_data("mtcnn_det1-symbol.json")).status(), StatusCode::kUnsupported,
               "MXNet");
}

TEST_F(ModelFile, FolderThatIsNoSavedModel) {
  expect_clear(Model::load(folder_.string()).status(), StatusCode::kInvalidModel, "saved_model.pb");
  write("saved_model.pb", "");
  expect_clear(Model::load(folder_.string()).status(), StatusCode::kInvalidModel, "saved_model.pb");
  write("saved_model.pb", "\x08\x01\x12\x7F");
  expect_clear(Model::load(folder_.string()).status(), StatusCode::kInvalidModel, "saved_model.pb");
  write("saved_model.pb", std::string("\x08\x01\x12\x02\x12\x00", 6));
  expect_clear(Model::load(folder_.string()).status(), StatusCode::kInvalidModel, "model \"");
}

// Cut anywhere, the file is refused with a clear reason: no cut of an ONNX file leaves a whole one, because
// the graph says how long it is.
void expect_every_cut_refused(const std::string& whole, const std::vector<std::size_t>& sizes,
                              const std::string& path) {
  for (const std::size_t size : sizes) {
    const std::string cut = whole.substr(0, size);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << cut;
    expect_clear(Model::load(path).status(), StatusCode::kInvalidModel, "cut.onnx");
    EXPECT_FALSE(Model::load_bytes(as_bytes(cut), "cut").ok()) << size;
  }
}

TEST_F(ModelFile, OnnxCutAnywhere) {
  const std::string whole = small_onnx().bytes();
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size < whole.size(); ++size) sizes.push_back(size);
  expect_every_cut_refused(whole, sizes, write("cut.onnx", ""));
  const Status status = Model::load(write("cut.onnx", whole.substr(0, 40))).status();
  expect_clear(status, StatusCode::kInvalidModel,
               "not a complete ONNX file (40 bytes): it ends inside its graph: at byte 9, field 7 has ");
}

TEST_F(ModelFile, RealOnnxCutInManyPlaces) {
  const std::string path = shared_data("face_rfb_320.onnx");
  SKIP_WITHOUT(path);
  const std::string whole = contents(path);
  std::vector<std::size_t> sizes = {0, 1, 2, 3, 10, 50, 100, 1000};
  for (std::size_t i = 1; i < 24; ++i) sizes.push_back(whole.size() * i / 24);
  for (const std::size_t back : {400, 100, 40, 20, 10, 5, 2, 1}) sizes.push_back(whole.size() - back);
  expect_every_cut_refused(whole, sizes, write("cut.onnx", ""));
}

// Bytes changed inside: whatever comes of it, nothing crashes, and what loads can be asked.
TEST(ModelBytes, DamagedOnnxNeverCrashes) {
  std::mt19937 random(7);
  const std::string whole = small_onnx().bytes();
  for (int round = 0; round < 400; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 1 + round % 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    const Result<Model> model = Model::load_bytes(as_bytes(bytes), "m");
    if (!model.ok()) {
      EXPECT_EQ(model.status().message().find('\n'), std::string_view::npos) << model.status().message();
    }
  }
}

TEST(ModelBytes, UnknownOperatorIsNamed) {
  OnnxModel onnx = small_onnx();
  onnx.nodes[0] = onnx_node("FooBar", {"x", "w"}, {"t"});
  expect_clear(from_bytes(onnx).status(), StatusCode::kInvalidModel, "FooBar");
  onnx.nodes[0] = onnx_node("FooBar", {"x", "w"}, {"t"}, "my.domain");
  onnx.domains = {"my.domain"};
  expect_clear(from_bytes(onnx).status(), StatusCode::kInvalidModel, "my.domain.FooBar");
  onnx.nodes[1] = onnx_node("Baz", {"t"}, {"y"});
  expect_clear(from_bytes(onnx).status(), StatusCode::kInvalidModel, "Baz");
}

TEST(ModelBytes, MissingOrBadInitializer) {
  OnnxModel onnx = small_onnx();
  onnx.initializers.clear();
  expect_clear(from_bytes(onnx).status(), StatusCode::kInvalidModel, "w node not found");
  onnx.initializers = {onnx_initializer("w", {4}, {1, 2})};
  expect_clear(from_bytes(onnx).status(), StatusCode::kInvalidModel, "'w'");
  onnx.initializers = {onnx_initializer("w", {std::int64_t{1} << 40, std::int64_t{1} << 40}, {1})};
  expect_clear(from_bytes(onnx).status(), StatusCode::kInvalidModel, "'w'");
  onnx.initializers = {onnx_initializer("w", {5}, {1, 2, 3, 4, 5})};
  expect_clear(from_bytes(onnx).status(), StatusCode::kInvalidModel, "Argument shapes are inconsistent");
}

TEST(ModelBytes, NoGraphOpsetInputsOrOutputs) {
  const std::string no_graph = field(1, std::int64_t{8}) + field(8, field(2, std::int64_t{13}));
  expect_clear(Model::load_bytes(as_bytes(no_graph), "m").status(), StatusCode::kInvalidModel,
               "it has no graph");
  OnnxModel onnx = small_onnx();
  onnx.opset = 0;
  expect_clear(from_bytes(onnx).status(), StatusCode::kInvalidModel, "operator set");
  onnx = small_onnx();
  onnx.outputs.clear();
  expect_clear(from_bytes(onnx).status(), StatusCode::kInvalidModel, "it has no outputs");
  onnx = small_onnx();
  onnx.inputs.clear();
  onnx.nodes = {onnx_node("Relu", {"w"}, {"y"})};
  expect_clear(from_bytes(onnx).status(), StatusCode::kInvalidModel, "it has no inputs");
}

TEST(ModelBytes, UnsupportedElementTypeIsNamedWithItsInput) {
  expect_clear(from_bytes({.nodes = {onnx_node("Identity", {"words"}, {"y"})},
                           .inputs = {onnx_value("words", testing::kString, {2})},
                           .outputs = {onnx_value("y", testing::kString, {2})}})
                   .status(),
               StatusCode::kUnsupported, "input \"words\": element type string");
}

TEST(ModelBytes, ImpossibleSizesAndRanks) {
  const std::int64_t big = std::int64_t{1} << 31;
  expect_clear(from_bytes({.nodes = {onnx_node("Relu", {"x"}, {"y"})},
                           .inputs = {onnx_value("x", testing::kFloat, {big, big, big})},
                           .outputs = {onnx_value("y", testing::kFloat, {big, big, big})}})
                   .status(),
               StatusCode::kInvalidModel, "2^40");
  const std::vector<testing::OnnxDim> nine(9, 1);
  expect_clear(from_bytes({.nodes = {onnx_node("Relu", {"x"}, {"y"})},
                           .inputs = {onnx_value("x", testing::kFloat, nine)},
                           .outputs = {onnx_value("y", testing::kFloat, nine)}})
                   .status(),
               StatusCode::kUnsupported, "input \"x\": rank");
}

// ---- options

OnnxModel dynamic_onnx() {
  return {.nodes = {onnx_node("Relu", {"image"}, {"y"})},
          .inputs = {onnx_value("image", testing::kFloat, {"N", 3, "H", "W"})},
          .outputs = {onnx_value("y", testing::kFloat, {"N", 3, "H", "W"})}};
}

TEST(ModelOptions, InputShapes) {
  const Result<Model> open = from_bytes(dynamic_onnx());
  ASSERT_TRUE(open.ok()) << open.status().to_string();
  EXPECT_FALSE(open->inputs()[0].shape.is_static());
  const Result<Model> model = from_bytes(dynamic_onnx(), {{{"image", {1, 3, 8, 16}}}});
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  EXPECT_EQ(model->inputs()[0].shape, (Shape{1, 3, 8, 16}));
  EXPECT_EQ(model->outputs()[0].shape, (Shape{1, 3, 8, 16}));
}

TEST(ModelOptions, InputShapesThatDoNotFit) {
  const auto refused = [](const std::string& name, Shape shape, std::string_view wanted) {
    expect_clear(from_bytes(dynamic_onnx(), {{{name, shape}}}).status(), StatusCode::kInvalidArgument,
                 wanted);
  };
  refused("nope", {1, 3, 8, 8}, "input \"nope\": the model has no such input");
  refused("image", {1, 4, 8, 8}, "got [1,4,8,8], the model allows [?,3,?,?]");
  refused("image", {1, 3, 8}, "got [1,3,8]");
  refused("image", {1, 3, 0, 8}, "extent of 0");
  refused("image", {1, 3, std::int64_t{1} << 40, std::int64_t{1} << 40}, "2^40");
}

TEST(ModelOpaque, ChecksItsSpecs) {
  const TensorSpec x{"x", DType::kU8, {2, 2, 3}};
  const TensorSpec y{"y", DType::kF32, {5}};
  const Result<Model> model = Model::opaque("null", {x}, {y});
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(network(*model), nullptr);
  EXPECT_EQ(model->inputs()[0], x);
  EXPECT_EQ(model->outputs()[0], y);
  EXPECT_TRUE(model->summary().operators.empty());
  expect_clear(Model::opaque("null", {x, x}, {y}).status(), StatusCode::kInvalidArgument,
               "input \"x\" stands twice");
  expect_clear(Model::opaque("null", {x}, {{"y", DType::kF32, {Shape::kDynamic}}}).status(),
               StatusCode::kInvalidArgument, "static");
  expect_clear(Model::opaque("null", {}, {y}).status(), StatusCode::kInvalidArgument, "no inputs");
  expect_clear(model->with_image_input({.height = 2, .width = 2}).status(), StatusCode::kInvalidArgument,
               "known");
}

TEST(ModelInterop, TakesACopy) {
  const auto x = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::PartialShape{16});
  const auto one = ov::op::v0::Constant::create(ov::element::f32, {}, {1.0F});
  const auto y = std::make_shared<ov::op::v1::Add>(x, one);
  auto plus_one = std::make_shared<ov::Model>(ov::OutputVector{y}, ov::ParameterVector{x}, "plus_one");
  const Result<Model> model = model_from_openvino(plus_one, "x+1");
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  plus_one->reshape(ov::PartialShape{32});
  EXPECT_EQ(model->name(), "x+1");
  EXPECT_EQ(model->inputs()[0].shape, (Shape{16}));
  EXPECT_EQ(network(*model)->input(0).get_shape(), (ov::Shape{16}));
  EXPECT_FALSE(model->inputs()[0].name.empty());
  expect_clear(model_from_openvino(nullptr, "n").status(), StatusCode::kInvalidArgument, "null");
}

// ---- messages

TEST(OpenVinoError, IsDistilled) {
  using internal::distil_openvino_error;
  EXPECT_EQ(distil_openvino_error(
                "Exception from src/a.cpp:84:\nCheck 'x' failed at src/b.cpp:9:\nFrontEnd API failed "
                "with GeneralFailure:\nModel can't be parsed\n\n"),
            "Model can't be parsed");
  EXPECT_EQ(distil_openvino_error("-- No conversion rule found for operations: A-13, my.dom.B\n"),
            "No conversion rule found for operations: A-13, my.dom.B");
  EXPECT_EQ(
      distil_openvino_error("While validating node 'x': Check 'a == b' failed at src/b.hpp:26:\nNo.\n\nSee "
                            "https://somewhere\n"),
      "While validating node 'x': No");
  EXPECT_EQ(distil_openvino_error(""), "no reason given");
  // Nothing is left of what is all punctuation.
  for (const char* text : {":", "...", ". :", "a.cpp:1: ...", "a.cpp:..:.", "a.hpp:':"})
    EXPECT_FALSE(distil_openvino_error(text).empty()) << text;
  EXPECT_EQ(distil_openvino_error("a.cpp:..:."), "no reason given");
  EXPECT_LT(distil_openvino_error(std::string(5000, 'x')).size(), 500U);
}

}  // namespace
}  // namespace inflight
