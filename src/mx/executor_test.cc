// SPDX-License-Identifier: Apache-2.0
#include "inflight/mx/executor.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/test_memory.h"
#include "mx/family.h"
#include "mx_test_support.h"

namespace inflight::mx {
namespace {

Symbol var(const std::string& name) { return Symbol::variable(name).value(); }

// data -> fc1 -> relu -> fc2, with names of its own.
Symbol two_layers(const std::string& prefix, int hidden = 4) {
  const auto named = [&](const char* name) { return prefix + name; };
  const Attributes first = {{"num_hidden", std::to_string(hidden)}};
  const Symbol fc1 = Symbol::apply("FullyConnected", {{"", var("data")}}, first, named("fc1")).value();
  const Symbol act = Symbol::apply("Activation", {{"", fc1}}, {{"act_type", "relu"}}, named("act")).value();
  return Symbol::apply("FullyConnected", {{"", act}}, {{"num_hidden", "1"}}, named("fc2")).value();
}

std::map<std::string, NDArray> weights_of(const std::string& prefix, std::int64_t in,
                                          std::int64_t hidden = 4) {
  return {{prefix + "fc1_weight", NDArray::full({hidden, in}, 1).value()},
          {prefix + "fc1_bias", NDArray::full({hidden}, 0.5).value()},
          {prefix + "fc2_weight", NDArray::full({1, hidden}, 2).value()},
          {prefix + "fc2_bias", NDArray::full({1}, -1).value()}};
}
// What the network of those weights computes.
float answer(float sum, int hidden = 4) {
  return 2 * static_cast<float>(hidden) * std::max(0.0F, sum + 0.5F) - 1;
}

TEST(MxExecutor, ForwardReturnsAtOnceAndEachIsAVersion) {
  auto arguments = weights_of("", 3);
  arguments.emplace("data", array({1, 3}, {1, 2, 3}));
  const Executor executor = Executor::bind(two_layers(""), arguments).value();
  expect_near(values((*executor.outputs())[0]), {0}, "before the first forward");
  std::vector<NDArray> held;
  std::vector<float> want;
  for (int round = 0; round < 20; ++round) {
    const auto x = static_cast<float>(round);
    held.push_back(executor.forward({{"data", array({1, 3}, {x, x, x})}}).value()[0]);
    want.push_back(answer(3 * x));
  }
  for (std::size_t i = 0; i < held.size(); ++i) expect_near(values(held[i]), {want[i]}, "held");
  EXPECT_EQ((*executor.output_dict())[0].first, "fc2_output");
  expect_near(values((*executor.outputs())[0]), {want.back()}, "outputs");
  expect_near(values(executor.arg_dict()[0].second), {19, 19, 19}, "arg_dict");
}

TEST(MxExecutor, AForwardReadsWhatTheArgumentsNameThen) {
  const NDArray data = array({1, 3}, {1, 1, 1});
  auto arguments = weights_of("", 3);
  arguments.emplace("data", data);
  const Executor executor = Executor::bind(two_layers(""), arguments).value();
  const NDArray first = executor.forward().value()[0];
  ASSERT_TRUE(data.fill(2).ok());
  const NDArray second = executor.forward().value()[0];
  ASSERT_TRUE(arguments.at("fc2_bias").fill(0).ok());
  const NDArray third = executor.forward().value()[0];
  expect_near(values(first), {answer(3)}, "first");
  expect_near(values(second), {answer(6)}, "second");
  expect_near(values(third), {answer(6) + 1}, "third");
}

// The same versions of the weights twice make a program with the weights built in; new versions leave it.
TEST(MxExecutor, WeightsThatStayBecomeConstantsAndThoseThatChangeDoNot) {
  auto arguments = weights_of("s", 3, 8);
  for (int round = 0; round < 60; ++round) {
    // A new symbol and a new executor each time, as the forum's program has it.
    arguments.insert_or_assign("data", NDArray::full({2, 3}, round).value());
    const Executor executor = Executor::bind(two_layers("s", 8), arguments).value();
    const NDArray output = executor.forward().value()[0];
    const float want = answer(3.0F * static_cast<float>(round), 8);
    expect_near(values(output), {want, want}, "constant weights");
    if (round == 20) wait_all();
  }
  for (int round = 0; round < 12; ++round) {
    ASSERT_TRUE(arguments.at("sfc2_bias").fill(round).ok());
    for (int again = 0; again < 3; ++again) {
      const Executor executor = Executor::bind(two_layers("s", 8), arguments).value();
      const float want = answer(3.0F * 59, 8) + 1 + static_cast<float>(round);
      expect_near(values(executor.forward().value()[0]), {want, want}, "changed weights");
      wait_all();
    }
  }
}

TEST(MxFamily, BuildsWeightsInOnceTheyStayAndLetsGoOfThem) {
  detail::Environment& environment = *detail::Environment::get().value();
  const Symbol net =
      Symbol::apply("FullyConnected", {{"", var("data")}}, {{"num_hidden", "7"}}, "fc").value();
  const std::vector<TensorSpec> specs = {
      {"", DType::kF32, {1, 3}}, {"", DType::kF32, {7, 3}}, {"", DType::kF32, {7}}};
  const auto family =
      detail::ProgramFamily::make(environment, detail::entries_of(net), specs, Precision::kF32, Device::cpu())
          .value();
  const auto operands = [](const std::vector<NDArray>& arrays) {
    std::vector<detail::Operand> all;
    for (const NDArray& one : arrays) all.push_back(detail::operand_of(one).value());
    return all;
  };
  std::vector<NDArray> arrays = {counted({1, 3}), counted({7, 3}), counted({7})};
  EXPECT_FALSE(family->choose(environment, operands(arrays)).built_in);
  arrays[0] = counted({1, 3});  // what is no weight may change
  EXPECT_FALSE(family->choose(environment, operands(arrays)).built_in) << "it is being compiled";
  wait_all();
  EXPECT_TRUE(family->choose(environment, operands(arrays)).built_in);
  ASSERT_TRUE(arrays[2].fill(1).ok());
  EXPECT_FALSE(family->choose(environment, operands(arrays)).built_in);
  const Buffer weight = arrays[1].snapshot()->buffer().value();
  for (int round = 0; round < 2; ++round) {
    (void)family->choose(environment, operands(arrays));
    wait_all();
  }
  EXPECT_TRUE(family->choose(environment, operands(arrays)).built_in);
  EXPECT_FALSE(weight.unique());
  arrays.clear();
  family->release_unused();
  EXPECT_TRUE(weight.unique()) << "nobody else has the weights any more";
}

TEST(MxExecutor, SimpleBindMakesArraysAndCopiesParameters) {
  const Executor executor = Executor::simple_bind(two_layers("p"), {{"data", {2, 3}}}).value();
  EXPECT_EQ(executor.arg_arrays().size(), 5U);
  ASSERT_TRUE(executor.copy_params_from(weights_of("p", 3)).ok());
  const NDArray output = executor.forward({{"data", NDArray::full({2, 3}, 1).value()}}).value()[0];
  expect_near(values(output), {answer(3), answer(3)}, "simple_bind");
  auto other = weights_of("p", 3);
  other.emplace("elsewhere", NDArray::zeros({1}).value());
  expect_clear(executor.copy_params_from(other), StatusCode::kInvalidArgument,
               "there is no argument \"elsewhere\"");
  EXPECT_TRUE(executor.copy_params_from(other, {}, true).ok());
  expect_clear(executor.copy_params_from(weights_of("p", 4)), StatusCode::kInvalidArgument,
               "\"pfc1_weight\": got [4,4], want [4,3]");

  const Executor wider = executor.reshape({{"data", {5, 3}}}, false, true).value();
  EXPECT_TRUE(wider.arg_dict()[1].second.shares_memory_with(executor.arg_dict()[1].second));
  expect_near(values(wider.forward({{"data", NDArray::full({5, 3}, 1).value()}}).value()[0]),
              std::vector<float>(5, answer(3)), "reshape");
  expect_clear(executor.reshape({{"data", {5, 3}}}).status(), StatusCode::kInvalidArgument,
               "allow_up_sizing");
  expect_clear(executor.reshape({{"data", {2, 2}}}).status(), StatusCode::kInvalidArgument,
               "\"pfc1_weight\": [4,3] would become [4,2]");
}

TEST(MxExecutor, RefusesWhatDoesNotFit) {
  const Symbol net = two_layers("");
  auto arguments = weights_of("", 3);
  const auto refused = [&](const Status& status, std::string_view wanted,
                           StatusCode code = StatusCode::kInvalidArgument) {
    expect_clear(status, code, wanted);
  };
  refused(Executor::bind(net, arguments).status(), "argument \"data\" is missing");
  refused(Executor::bind(net, std::vector<NDArray>{}).status(), "got 0 arguments and 0 states, want 5 and 0");
  arguments.emplace("data", NDArray::zeros({1, 4}).value());
  refused(Executor::bind(net, arguments).status(),
          "operator FullyConnected \"fc1\": input weight: got [4,3], want [4,4]");
  arguments.insert_or_assign("data", NDArray::zeros({1, 3}, DType::kI32).value());
  refused(Executor::bind(net, arguments).status(),
          "operator FullyConnected \"fc1\": input weight: got float32, want int32");
  arguments.insert_or_assign("data", NDArray::zeros({1, 3}).value());
  refused(Executor::bind(net, arguments, {}, {.device = Device::cuda()}).status(),
          "\"data\" is on cpu, want cuda:0, where the executor computes");
  const Executor executor = Executor::bind(net, arguments).value();
  refused(executor.forward({}, true).status(), "is_train: got true", StatusCode::kUnsupported);
  refused(executor.forward({{"date", NDArray::zeros({1, 3}).value()}}).status(),
          "there is no argument \"date\"");
  refused(executor.forward({{"data", NDArray::zeros({1, 5}).value()}}).status(),
          "argument \"data\": got [1,5], want [1,3]");
  refused(Executor::bind(Symbol(), arguments).status(), "got an empty symbol");
}

TEST(MxExecutor, GraphsOfConstantsAndOfVariablesAlone) {
  const Symbol zeros = Symbol::apply("_full", {}, {{"shape", "(2,)"}, {"value", "3"}}).value();
  expect_near(values(Executor::bind(zeros, std::vector<NDArray>{})->forward().value()[0]), {3, 3},
              "constants");
  const Symbol x = var("x");
  const Executor same =
      Executor::bind(Symbol::group({x, x}).value(), std::vector<NDArray>{array({2}, {1, 2})}).value();
  const auto outputs = same.forward().value();
  expect_near(values(outputs[0]), {1, 2}, "variable");
  expect_near(values(outputs[1]), {1, 2}, "variable");
}

TEST(MxExecutor, AFailureOfAnInputReachesTheOutputs) {
  // 2^40 does not fit the device's integers.
  const NDArray bad =
      invoke("_plus_scalar", std::vector<NDArray>{array<std::int64_t>({1, 3}, {1, 2, std::int64_t{1} << 40})},
             {{"scalar", "1"}})
          .value()[0];
  auto arguments = weights_of("", 3);
  arguments.emplace("data", bad.astype(DType::kF32).value());
  const Executor executor = Executor::bind(two_layers(""), arguments).value();
  expect_clear(executor.forward().value()[0].wait(), StatusCode::kUnsupported, "got an int64 of");
}

TEST(MxExecutor, BindingAnewIsCheapAndHoldsNoMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer keeps freed memory for a while";
#endif
  auto arguments = weights_of("m", 3);
  arguments.emplace("data", NDArray::full({1, 3}, 1).value());
  std::vector<double> times_us;
  const auto bind = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      const Executor executor = Executor::bind(two_layers("m"), arguments).value();
      const NDArray output = executor.forward().value()[0];
      times_us.push_back(
          std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
      if (i % 64 == 0) {
        ASSERT_TRUE(output.wait().ok());
      }
    }
    wait_all();
  };
  EXPECT_LT(least_growth([&] { bind(6'000); }), 600'000);
  std::sort(times_us.begin(), times_us.end());
  std::printf("symbol, bind and forward: p50 %.1f us, p99 %.1f us\n", times_us[times_us.size() / 2],
              times_us[times_us.size() * 99 / 100]);
}

TEST(MxExecutor, ManyThreadsBindAndRunAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      auto arguments = weights_of("t", 3);
      for (int round = 0; round < 100; ++round) {
        const auto x = static_cast<float>(100 * t + round);
        arguments.insert_or_assign("data", array({1, 3}, {x, 0, 0}));
        const NDArray output = Executor::bind(two_layers("t"), arguments)->forward().value()[0];
        expect_near(values(output), {answer(x)}, "threads");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// The first network of MTCNN, in the format of MXNet 0.8. What it must compute was worked out with NumPy.
TEST(MxExecutor, RunsACheckpoint) {
  const std::string folder = INFLIGHT_SHARED_DATA_DIR;
  if (!std::filesystem::exists(folder + "/mtcnn_det1-symbol.json")) GTEST_SKIP() << folder << " is not here";
  const Symbol net = Symbol::load(folder + "/mtcnn_det1-symbol.json").value();
  const ArrayFile params = load(folder + "/mtcnn_det1-0001.params").value();
  EXPECT_EQ(net.list_outputs(), (std::vector<std::string>{"conv4_2_output", "prob1_output"}));
  ASSERT_EQ(params.names.size(), 13U);
  std::map<std::string, NDArray> arguments;
  for (std::size_t i = 0; i < params.names.size(); ++i) {
    ASSERT_TRUE(params.names[i].starts_with("arg:"));
    arguments.emplace(params.names[i].substr(4), params.arrays[i]);
  }
  const auto input = [](const Shape& shape) {
    std::vector<float> data;
    for (std::size_t i = 0; i < shape.elements(); ++i)
      data.push_back((static_cast<float>(i * 37 % 255) - 127) / 128);
    return array(shape, data);
  };
  for (int round = 0; round < 5; ++round) {
    arguments.insert_or_assign("data", input({1, 3, 12, 12}));
    const auto small = Executor::bind(net, arguments)->forward().value();
    expect_near(values(small[0]), {0.00406F, 0.154553F, -0.298606F, -0.035539F}, "boxes");
    expect_near(values(small[1]), {0.991321F, 0.008679F}, "faces");
    arguments.insert_or_assign("data", input({1, 3, 15, 20}));
    const auto large = Executor::bind(net, arguments)->forward().value();
    EXPECT_EQ(large[0].shape(), (Shape{1, 4, 3, 5}));
    const std::vector<float> boxes = values(large[0]);
    expect_near({boxes.begin(), boxes.begin() + 8},
                {0.216167F, 0.148776F, 0.277622F, 0.256422F, 0.106156F, 0.210423F, 0.228444F, 0.171897F},
                "boxes");
    const std::vector<float> faces = values(large[1]);
    expect_near({faces.begin(), faces.begin() + 4}, {0.804553F, 0.998094F, 0.998702F, 0.885087F}, "faces");
    wait_all();
  }
}

}  // namespace
}  // namespace inflight::mx
