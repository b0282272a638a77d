// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>

#include "mx_test_support.h"

namespace inflight::mx {
namespace {

using Names = std::vector<std::string>;

Symbol var(const std::string& name) { return Symbol::variable(name).value(); }
Symbol apply(std::string_view op, const std::vector<Symbol>& inputs, const Attributes& attributes = {},
             const std::string& name = "") {
  std::vector<Symbol::Input> given;
  for (const Symbol& input : inputs) given.push_back({"", input});
  auto made = Symbol::apply(op, given, attributes, name);
  EXPECT_TRUE(made.ok()) << made.status().to_string();
  return made.value();
}

// A convolution, a batch normalisation and a fully connected layer.
Symbol small_network() {
  const Symbol conv =
      apply("Convolution", {var("data")}, {{"kernel", "(3, 3)"}, {"num_filter", "4"}}, "conv");
  const Symbol bn = apply("BatchNorm", {conv}, {}, "bn");
  const Symbol fc =
      apply("FullyConnected", {apply("Flatten", {bn}, {}, "flat")}, {{"num_hidden", "2"}}, "fc");
  return apply("SoftmaxOutput", {fc}, {}, "softmax");
}

TEST(MxSymbol, ListsArgumentsStatesAndOutputsInMxnetsOrder) {
  const Symbol net = small_network();
  EXPECT_EQ(net.list_arguments(), (Names{"data", "conv_weight", "conv_bias", "bn_gamma", "bn_beta",
                                         "fc_weight", "fc_bias", "softmax_label"}));
  EXPECT_EQ(net.list_auxiliary_states(), (Names{"bn_moving_mean", "bn_moving_var"}));
  EXPECT_EQ(net.list_outputs(), (Names{"softmax_output"}));
  EXPECT_EQ(net.name(), "softmax");
  EXPECT_EQ(net.internals().list_outputs(),
            (Names{"data", "conv_weight", "conv_bias", "conv_output", "bn_gamma", "bn_beta", "bn_moving_mean",
                   "bn_moving_var", "bn_output", "flat_output", "fc_weight", "fc_bias", "fc_output",
                   "softmax_label", "softmax_output"}));
  EXPECT_EQ(net.internals().output("fc_output")->list_arguments().back(), "fc_bias");
  EXPECT_EQ(net.children().list_outputs(), (Names{"fc_output", "softmax_label"}));
  EXPECT_EQ(net.attribute("kernel"), std::nullopt);
  EXPECT_EQ(net.internals().output("conv_output")->attribute("kernel"), "(3, 3)");
  EXPECT_EQ(net.all_attributes().at("fc").at("num_hidden"), "2");
}

TEST(MxSymbol, NamesItselfAsMxnetDoes) {
  const Symbol first = apply("FullyConnected", {var("x")}, {{"num_hidden", "1"}});
  const Symbol second = apply("FullyConnected", {first}, {{"num_hidden", "1"}});
  const std::string name = first.name();
  ASSERT_TRUE(name.starts_with("fullyconnected"));
  const int count = std::stoi(name.substr(14));
  EXPECT_EQ(second.name(), "fullyconnected" + std::to_string(count + 1));
  EXPECT_EQ(second.list_arguments().back(), second.name() + "_bias");
  EXPECT_TRUE(apply("_PlusScalar", {first}, {{"scalar", "1"}}).name().starts_with("_plusscalar"));
  EXPECT_TRUE(apply("_Plus", {first, second}).name().starts_with("_plus"));
}

TEST(MxSymbol, TakesInputsByNameAndByPlace) {
  const auto fc = Symbol::apply("FullyConnected", {{"weight", var("w")}, {"", var("x")}, {"bias", var("b")}},
                                {{"num_hidden", "3"}}, "fc");
  EXPECT_EQ(fc->list_arguments(), (Names{"x", "w", "b"}));
  EXPECT_EQ(
      Symbol::apply("FullyConnected", {}, {{"num_hidden", "3"}, {"no_bias", "True"}}, "f")->list_arguments(),
      (Names{"f_data", "f_weight"}));
  EXPECT_EQ(apply("Concat", {var("a"), var("b"), var("c")}, {}, "cat").list_arguments(),
            (Names{"a", "b", "c"}));
  const auto refused = [](const Result<Symbol>& symbol, std::string_view wanted) {
    ASSERT_FALSE(symbol.ok());
    expect_clear(symbol.status(), StatusCode::kInvalidArgument, wanted);
  };
  refused(Symbol::apply("exp", {{"weight", var("w")}}, {}, "e"),
          "operator exp \"e\": got an input weight, which it does not have; it has data");
  refused(Symbol::apply("exp", {{"", var("w")}, {"", var("v")}}, {}, "e"), "got 2 inputs, want at most 1");
  refused(Symbol::apply("exp", {{"", apply("split", {var("x")}, {{"num_outputs", "2"}})}}, {}, "e"),
          "input data: got a symbol of 2 outputs");
  refused(Symbol::apply("exp", {{"", var("w")}, {"data", var("w")}}, {}, "e"), "input data is given twice");
  refused(Symbol::apply("exp", {{"", Symbol()}}, {}, "e"), "got a symbol of 0 outputs");
  refused(Symbol::variable(""), "got no name");
  refused(Symbol::group({}), "got no symbols");
}

TEST(MxSymbol, SeveralOutputs) {
  const Symbol parts = apply("SliceChannel", {var("x")}, {{"num_outputs", "3"}}, "parts");
  EXPECT_EQ(parts.output_count(), 3U);
  EXPECT_EQ(parts.list_outputs(), (Names{"parts_output0", "parts_output1", "parts_output2"}));
  EXPECT_EQ(parts.output(1)->list_outputs(), (Names{"parts_output1"}));
  EXPECT_FALSE(parts.output(3).ok());
  const Symbol group = Symbol::group({*parts.output(2), var("y")}).value();
  EXPECT_EQ(group.list_outputs(), (Names{"parts_output2", "y"}));
  EXPECT_EQ(group.name(), "");
}

TEST(MxSymbol, ComposesBySubstitution) {
  const Symbol inner = apply("exp", {var("x")}, {}, "inner");
  const Symbol outer = apply("elemwise_add", {var("a"), var("b")}, {}, "outer");
  const Symbol both = outer.compose({{"a", inner}}).value();
  EXPECT_EQ(both.list_arguments(), (Names{"x", "b"}));
  EXPECT_EQ(outer.list_arguments(), (Names{"a", "b"}));
  expect_clear(outer.compose({{"c", inner}}).status(), StatusCode::kInvalidArgument,
               "there is no variable \"c\"");
}

TEST(MxSymbol, InfersShapes) {
  const Symbol net = small_network();
  const ShapeInference found = net.infer_shape({{"data", {5, 3, 8, 8}}}).value();
  const std::vector<std::optional<Shape>> arguments = {
      Shape{5, 3, 8, 8}, Shape{4, 3, 3, 3}, Shape{4}, Shape{4}, Shape{4}, Shape{2, 144}, Shape{2}, Shape{5}};
  EXPECT_TRUE(found.complete);
  EXPECT_EQ(found.arguments, arguments);
  EXPECT_EQ(found.auxiliary_states, (std::vector<std::optional<Shape>>{Shape{4}, Shape{4}}));
  EXPECT_EQ(found.outputs, (std::vector<std::optional<Shape>>{Shape{5, 2}}));
  expect_clear(net.infer_shape({{"conv_bias", {4}}}).status(), StatusCode::kInvalidArgument,
               "the shapes of data, ");
  const ShapeInference partial = net.infer_shape({}, true).value();
  EXPECT_FALSE(partial.complete);
  EXPECT_EQ(partial.arguments[2], Shape{4});
  EXPECT_EQ(partial.arguments[0], std::nullopt);
  expect_clear(net.infer_shape({{"image", {1}}}).status(), StatusCode::kInvalidArgument,
               "there is no argument \"image\"");
  expect_clear(net.infer_shape({{"data", {5, 3, 8, 8}}, {"conv_weight", {4, 3, 5, 5}}}).status(),
               StatusCode::kInvalidArgument,
               "operator Convolution \"conv\": input weight: got [4,3,5,5], want [4,3,3,3]");
  expect_clear(net.infer_shape({{"data", {5, 3, 8}}}).status(), StatusCode::kInvalidArgument,
               "operator Convolution \"conv\": input data: got [5,3,8], want 4 axes");
}

TEST(MxSymbol, InfersShapesBackwardsAcrossElementwiseOperators) {
  const Symbol a = Symbol::variable("a", {.shape = Shape{2, 3}}).value();
  const Symbol sum = apply("elemwise_add", {apply("exp", {a}), var("b")});
  EXPECT_EQ(sum.infer_shape({})->arguments[1], (Shape{2, 3}));
  // The first node that takes `w` does not know its shape, the second does.
  const Symbol w = var("w");
  const Symbol fc = apply("FullyConnected", {var("x"), w}, {{"num_hidden", "2"}, {"no_bias", "True"}});
  const Symbol both = Symbol::group({apply("exp", {w}), fc}).value();
  EXPECT_EQ(both.infer_shape({{"x", {1, 7}}})->outputs[0], (Shape{2, 7}));
  const Symbol twice = apply("elemwise_mul", {var("t"), var("t")});
  EXPECT_FALSE(twice.infer_shape({{"t", {2}}}).ok()) << "two variables of one name";
}

TEST(MxSymbol, InfersTypes) {
  const Symbol net =
      apply("Embedding", {var("words"), var("table")}, {{"input_dim", "4"}, {"output_dim", "2"}}, "e");
  const TypeInference types = net.infer_type({{"words", DType::kI32}}).value();
  EXPECT_EQ(types.arguments, (std::vector<DType>{DType::kI32, DType::kF32}));
  EXPECT_EQ(types.outputs, (std::vector<DType>{DType::kF32}));
  EXPECT_EQ(small_network().infer_type({{"data", DType::kF16}})->arguments[5], DType::kF16);
  EXPECT_EQ(apply("Cast", {var("x")}, {{"dtype", "uint8"}}).infer_type({})->outputs[0], DType::kU8);
  EXPECT_EQ(apply("argmax", {var("x")}).infer_type({{"x", DType::kU8}})->outputs[0], DType::kF32);
  const Symbol sum = apply("elemwise_add", {var("a"), var("b")}, {}, "sum");
  expect_clear(sum.infer_type({{"a", DType::kF16}, {"b", DType::kI32}}).status(),
               StatusCode::kInvalidArgument,
               "operator elemwise_add \"sum\": input rhs: got int32, want float16 as input lhs has");
}

TEST(MxSymbol, ReadsBackWhatItWrites) {
  const Symbol net =
      Symbol::group({small_network(), *apply("split", {var("data")}, {{"num_outputs", "2"}}, "s").output(1)})
          .value();
  const std::string json = net.to_json();
  const Symbol again = Symbol::from_json(json).value();
  EXPECT_EQ(again.to_json(), json);
  EXPECT_EQ(again.list_arguments(), net.list_arguments());
  EXPECT_EQ(again.list_outputs(), net.list_outputs());
  EXPECT_NE(json.find("\"mxnet_version\""), std::string::npos);
  const std::string path = ::testing::TempDir() + "symbol.json";
  ASSERT_TRUE(net.save(path).ok());
  EXPECT_EQ(Symbol::load(path)->to_json(), json);
  std::filesystem::remove(path);
  expect_clear(Symbol::load(path).status(), StatusCode::kNotFound, path);
  expect_clear(net.save("/nowhere/x").code() == StatusCode::kIoError ? net.save("/nowhere/x") : Status(),
               StatusCode::kIoError, "/nowhere/x");
}

TEST(MxSymbol, ReadsOldFilesAndTheirHiddenKeys) {
  const Symbol net = Symbol::from_json(R"({"nodes": [
      {"op": "null", "param": {}, "name": "x", "inputs": [], "backward_source_id": -1},
      {"op": "null", "param": {}, "name": "bn_gamma", "inputs": [], "attr": {"lr_mult": "2"}},
      {"op": "null", "param": {}, "name": "bn_beta", "inputs": []},
      {"op": "BatchNorm", "param": {"eps": "0.001"}, "name": "bn", "inputs": [[0, 0], [1, 0], [2, 0]], "attr": {"ctx_group": "a"}}],
      "arg_nodes": [0, 1, 2], "heads": [[3, 0]]})")
                         .value();
  EXPECT_EQ(net.list_auxiliary_states(), (Names{"bn_moving_mean", "bn_moving_var"}));
  EXPECT_EQ(net.all_attributes().at("bn_gamma").at("__lr_mult__"), "2");
  EXPECT_EQ(net.attribute("__ctx_group__"), "a");
}

TEST(MxSymbol, RefusesWhatIsNoGraph) {
  const auto refused = [](const std::string& json, std::string_view wanted,
                          StatusCode code = StatusCode::kInvalidModel) {
    const auto symbol = Symbol::from_json(json);
    ASSERT_FALSE(symbol.ok()) << json;
    expect_clear(symbol.status(), code, wanted);
  };
  const std::string good = small_network().to_json();
  refused("", "it is not JSON, or cut short");
  refused(good.substr(0, good.size() / 2), "it is not JSON, or cut short, at byte");
  refused("[1, 2]", "not an object");
  refused("{\"layers\": []}", "no graph of MXNet's");
  refused("{\"nodes\": [], \"heads\": []}", "it has no heads");
  const auto graph = [](const std::string& nodes, const std::string& heads = "[[0, 0, 0]]") {
    return "{\"nodes\": [" + nodes + "], \"heads\": " + heads + "}";
  };
  const std::string x = R"({"op": "null", "name": "x", "inputs": []})";
  refused(
      graph(
          R"({"op": "exp", "name": "e", "inputs": [[1, 0, 0]]}, {"op": "exp", "name": "f", "inputs": [[0, 0, 0]]})"),
      "\"e\" is in or after a cycle");
  refused(graph(R"({"op": "exp", "name": "e", "inputs": [[0, 0, 0]]})"), "cycle");
  refused(graph(R"({"op": "exp", "name": "e", "inputs": [[7, 0, 0]]})"), "got node 7, want one of 1");
  refused(graph(x + R"(,{"op": "exp", "name": "e", "inputs": [[0, 3, 0]]})"),
          "got output 3 of \"x\", which has 1");
  refused(graph(x, "[[0, 2, 0]]"), "heads: got output 2");
  refused(graph(x, "[[1, 0, 0]]"), "heads: got node 1, want one of 1");
  refused(graph(x, "[\"x\"]"), "heads: want [node, output, version]");
  refused(graph(R"({"name": "x", "inputs": []})"), "want a string \"op\"");
  refused(graph(R"({"op": "null", "name": "x"})"), "want a list \"inputs\"");
  refused(graph(R"({"op": "null", "name": "x", "inputs": [], "attrs": {"a": 3}})"),
          "attribute a: want a string");
  refused(graph(x + R"(,{"op": "exp", "name": "e", "inputs": [[0, 0], [0, 0]]})"),
          "got 2 inputs, exp takes 1");
  refused(graph(R"({"op": "RNN", "name": "r", "inputs": []})"), "operator RNN: it is not offered",
          StatusCode::kUnsupported);
  refused(graph(R"({"op": "Conv", "name": "r", "inputs": []})"), "operator Conv: there is none",
          StatusCode::kInvalidArgument);
  refused(
      graph(
          R"({"op": "Convolution", "name": "r", "attrs": {"kernel": "x", "num_filter": "1"}, "inputs": []})"),
      "node \"r\": operator Convolution: attribute kernel: got \"x\", want tuple of ints",
      StatusCode::kInvalidArgument);
  // Nodes may stand before what they take.
  EXPECT_TRUE(Symbol::from_json(graph(R"({"op": "exp", "name": "e", "inputs": [[1, 0, 0]]},)" + x)).ok());
}

TEST(MxSymbol, DamagedFilesNeverCrash) {
  std::mt19937 random(5);
  const std::string whole = small_network().to_json();
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = whole;
    for (int i = 0; i <= round % 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    const auto symbol = Symbol::from_json(bytes);
    if (!symbol.ok()) {
      EXPECT_EQ(symbol.status().message().find('\n'), std::string_view::npos);
      continue;
    }
    (void)symbol->infer_shape({}, true).ok();
    (void)symbol->to_json();
  }
}

TEST(MxSymbol, AChainOfAnyLengthEndsOnASmallStack) {
  Symbol chain = var("x");
  for (int i = 0; i < 200'000; ++i) chain = apply("exp", {chain}, {}, "e");
  EXPECT_EQ(chain.list_arguments(), (Names{"x"}));
  chain = Symbol();
}

}  // namespace
}  // namespace inflight::mx
