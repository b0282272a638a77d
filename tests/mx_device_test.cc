// SPDX-License-Identifier: Apache-2.0
// Arrays of MXNet's model on another device than the CPU, from a program that links the shared libinflight. On the null
// device, which computes nothing, copies and order are looked at; on a GPU, where there is one, what is computed, too.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "inflight/device_arrays.h"
#include "inflight/dlpack.h"
#include "inflight/mx/mx.h"
#include "support/watchdog.h"

namespace inflight::mx {
namespace {

using Floats = std::vector<float>;

NDArray counted(const Shape& shape, float first = 0) {
  Floats values(shape.elements());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i);
  return *NDArray::copy_of({values.data(), DType::kF32, shape});
}

Floats values_of(const NDArray& array) {
  const auto here = array.as_in(Device::cpu());
  EXPECT_TRUE(here.ok()) << here.status().to_string();
  const inflight::NDArray version = *here->snapshot();
  const Status status = version.wait();
  EXPECT_TRUE(status.ok()) << status.to_string();
  if (!status.ok()) return {};
  const auto span = *version.read()->as<float>();
  return {span.begin(), span.end()};
}

NDArray call(std::string_view op, const std::vector<NDArray>& inputs, const Attributes& attributes = {}) {
  const auto results = invoke(op, inputs, attributes);
  EXPECT_TRUE(results.ok()) << op << ": " << results.status().to_string();
  return results.ok() ? (*results)[0] : counted({1});
}

ArrayFile file_of(const NDArray& array) {
  ArrayFile file;
  file.arrays = {array};
  file.names = {"a"};
  return file;
}

class OnDevice : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    limit_test_to(std::chrono::minutes(5));
    const auto opened = DeviceArrays::open(device_);
    if (!opened.ok()) GTEST_SKIP() << opened.status().to_string();
  }
  NDArray there(const NDArray& array) const {
    const auto copy = array.as_in(device_);
    EXPECT_TRUE(copy.ok()) << copy.status().to_string();
    return *copy;
  }
  bool computes() const { return device_.name() != "null"; }
  const Device device_ = *Device::parse(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Devices, OnDevice, testing::Values("null", "cuda"),
                         [](const auto& device) { return std::string(device.param); });

TEST_P(OnDevice, ArraysGoThereAndBack) {
  const NDArray here = counted({4, 5});
  const NDArray array = there(here);
  EXPECT_EQ(array.device(), device_);
  EXPECT_EQ(array.shape(), here.shape());
  EXPECT_EQ(values_of(array), values_of(here));
  EXPECT_EQ(there(array).snapshot()->view()->data, array.snapshot()->view()->data) << "it is there already";
  ASSERT_TRUE(array.wait().ok());
  EXPECT_EQ(array.snapshot()->read().status().code(), StatusCode::kUnsupported);
}

TEST_P(OnDevice, PartsShareMemoryThere) {
  const NDArray array = there(counted({4, 5}));
  ASSERT_TRUE(array.wait().ok());
  EXPECT_EQ(values_of(*array.at(2)), (Floats{10, 11, 12, 13, 14}));
  EXPECT_EQ(values_of(*array.reshape({2, -1})->rows(1, 2)), (Floats{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}));
  EXPECT_EQ(array.at(2)->snapshot()->view()->device, device_);
  // One that is pending has parts, too.
  EXPECT_EQ(values_of(*there(counted({3, 2})).at(1)), (Floats{2, 3}));
}

TEST_P(OnDevice, WritesAreSeenByAllNames) {
  const NDArray array = there(counted({3, 4}));
  const NDArray row = *array.at(1);
  const inflight::NDArray before = *array.snapshot();
  ASSERT_TRUE(row.fill(7).ok());
  EXPECT_EQ(values_of(array), (Floats{0, 1, 2, 3, 7, 7, 7, 7, 8, 9, 10, 11}));
  EXPECT_EQ(array.device(), device_);
  ASSERT_TRUE(array.assign_slice({{}, 1}, {{}, 3}, {}, counted({3, 2}, 100)).ok());  // from the host
  ASSERT_TRUE(array.assign_slice({0}, {1}, {}, there(counted({1, 4}, 50))).ok());
  EXPECT_EQ(values_of(array), (Floats{50, 51, 52, 53, 7, 102, 103, 7, 8, 104, 105, 11}));
  ASSERT_TRUE(array.assign(counted({4})).ok());
  EXPECT_EQ(values_of(*array.at(2)), (Floats{0, 1, 2, 3}));
  ASSERT_TRUE(array.fill(1).ok());
  EXPECT_EQ(values_of(array), Floats(12, 1));
  EXPECT_EQ(array.device(), device_);
  // The version from before is as it was.
  const inflight::NDArray old = *before.copy_to(Device::cpu());
  ASSERT_TRUE(old.wait().ok());
  EXPECT_EQ(old.read()->as<float>()->back(), 11);
}

TEST_P(OnDevice, OperatorsComputeWhereTheirInputsAre) {
  const NDArray a = there(counted({2, 3}, 1));
  const NDArray sum = call("broadcast_add", {a, there(counted({1, 3}))});
  EXPECT_EQ(sum.device(), device_);
  EXPECT_EQ(sum.shape(), (Shape{2, 3}));
  ASSERT_TRUE(sum.wait().ok()) << sum.status().to_string();
  const NDArray chained =
      call("_plus_scalar", {call("_mul_scalar", {sum}, {{"scalar", "2"}})}, {{"scalar", "0.5"}});
  ASSERT_TRUE(chained.wait().ok()) << chained.status().to_string();
  if (!computes()) return;
  EXPECT_EQ(values_of(sum), (Floats{1, 3, 5, 4, 6, 8}));
  EXPECT_EQ(values_of(chained), (Floats{2.5, 6.5, 10.5, 8.5, 12.5, 16.5}));
  EXPECT_EQ(values_of(*there(counted({3, 4})).slice({{}, 1}, {{}, 4}, {1, 2})), (Floats{1, 3, 5, 7, 9, 11}));
  EXPECT_EQ(values_of(*there(counted({2, 2})).astype(DType::kI32)->astype(DType::kF32)),
            (Floats{0, 1, 2, 3}));
}

TEST_P(OnDevice, ManyCallsAreOutAtOnce) {
  // More than the device has slots, and none waited for.
  std::vector<NDArray> results;
  for (int i = 0; i < 100; ++i) {
    results.push_back(call("_plus_scalar", {there(counted({64}))}, {{"scalar", std::to_string(i)}}));
  }
  for (int i = 0; i < 100; ++i) {
    const Floats values = values_of(results[static_cast<std::size_t>(i)]);
    if (computes()) {
      EXPECT_EQ(values.at(5), static_cast<float>(5 + i));
    }
  }
  for (int i = 0; i < 100; ++i)
    static_cast<void>(call("exp", {there(counted({64}))}));  // nobody looks at these
  wait_all();
}

TEST_P(OnDevice, ArraysOfDifferentDevicesAreRefused) {
  const NDArray array = there(counted({3}));
  const std::string name = device_.to_string();
  const Status mixed = invoke("broadcast_add", std::vector<NDArray>{array, counted({3})}).status();
  EXPECT_EQ(mixed.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(mixed.message(), "operator broadcast_add: input 1 is on cpu, want " + name + " as input 0");
  const NDArray out = counted({3});
  EXPECT_EQ(invoke("exp", {&array, 1}, {}, {&out, 1}).status().message(),
            "operator exp: out: is on cpu, want " + name);
  const Symbol x = *Symbol::variable("x");
  const Symbol net = *Symbol::apply("exp", {{"", x}});
  EXPECT_EQ(Executor::bind(net, {{"x", counted({3})}}, {}, {.device = device_}).status().message(),
            "bind: \"x\" is on cpu, want " + name + ", where the executor computes");
}

TEST_P(OnDevice, ExecutorsComputeThere) {
  const Symbol x = *Symbol::variable("x");
  const Symbol layer = *Symbol::apply("FullyConnected", {{"", x}}, {{"num_hidden", "4"}}, "fc");
  const Symbol net = *Symbol::apply("Activation", {{"", layer}}, {{"act_type", "relu"}});
  const std::map<std::string, NDArray> here = {
      {"x", counted({2, 3}, -2)}, {"fc_weight", counted({4, 3}, -5)}, {"fc_bias", counted({4})}};
  std::map<std::string, NDArray> arguments;
  for (const auto& [name, array] : here) arguments.emplace(name, there(array));
  const Floats want = values_of((*Executor::bind(net, here)->forward())[0]);
  const auto executor = Executor::bind(net, arguments, {}, {.device = device_});
  ASSERT_TRUE(executor.ok()) << executor.status().to_string();
  EXPECT_EQ(executor->outputs()->front().device(), device_);
  // The same weights each time: from the third on they are built in.
  for (int i = 0; i < 4; ++i) {
    const auto outputs = executor->forward();
    ASSERT_TRUE(outputs.ok()) << outputs.status().to_string();
    const Floats got = values_of((*outputs)[0]);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t k = 0; computes() && k < want.size(); ++k) EXPECT_NEAR(got[k], want[k], 1e-3);
    wait_all();
  }
  // Other weights, from the host; and another input by name.
  ASSERT_TRUE(executor->copy_params_from({{"fc_bias", counted({4}, 10)}}).ok());
  const auto outputs = executor->forward({{"x", counted({2, 3}, -1)}});
  ASSERT_TRUE(outputs.ok()) << outputs.status().to_string();
  const Floats again = values_of((*outputs)[0]);
  std::map<std::string, NDArray> others = here;
  others.insert_or_assign("fc_bias", counted({4}, 10));
  others.insert_or_assign("x", counted({2, 3}, -1));
  const Floats want_again = values_of((*Executor::bind(net, others)->forward())[0]);
  for (std::size_t k = 0; computes() && k < want_again.size(); ++k)
    EXPECT_NEAR(again[k], want_again[k], 1e-3);
  const auto simple = Executor::simple_bind(net, {{"x", {2, 3}}}, {}, {.device = device_});
  ASSERT_TRUE(simple.ok()) << simple.status().to_string();
  EXPECT_EQ(simple->arg_arrays()[1].device(), device_);
  ASSERT_TRUE((*simple->forward())[0].wait().ok());
}

TEST_P(OnDevice, FilesHoldWhatIsThere) {
  const NDArray array = there(counted({2, 2}, 3));
  const auto bytes = save_bytes(file_of(array));
  ASSERT_TRUE(bytes.ok()) << bytes.status().to_string();
  const ArrayFile file = *load_bytes(*bytes);
  EXPECT_EQ(file.arrays[0].device(), Device::cpu());
  EXPECT_EQ(values_of(file.arrays[0]), (Floats{3, 4, 5, 6}));
}

TEST_P(OnDevice, DLPackGivesAndTakesWithoutACopy) {
  const NDArray array = there(counted({2, 3}));
  ASSERT_TRUE(array.wait().ok());
  const inflight::NDArray version = *array.snapshot();
  EXPECT_EQ(to_dlpack(version, 0).status().code(), StatusCode::kInvalidArgument) << "no stream";
  for (const std::intptr_t stream : {std::intptr_t{1}, std::intptr_t{2}, std::intptr_t{-1}}) {
    const auto given = to_dlpack(version, stream);
    ASSERT_TRUE(given.ok()) << given.status().to_string();
    const auto taken = from_dlpack(*given);
    ASSERT_TRUE(taken.ok()) << taken.status().to_string();
    ASSERT_TRUE(taken->wait().ok());
    EXPECT_EQ(taken->device(), device_);
    EXPECT_EQ(taken->view()->data, version.view()->data);
    EXPECT_EQ(values_of(*NDArray::of(*taken)), (Floats{0, 1, 2, 3, 4, 5}));
  }
  EXPECT_NE(*dlpack_stream(device_), 0U);
}

TEST(NoSuchDevice, IsOneClearLine) {
  for (const char* name : {"cuda:99", "null:99", "nosuch"}) {
    const Status status = counted({1}).as_in(*Device::parse(name)).status();
    EXPECT_EQ(status.code(), StatusCode::kNoSuchDevice) << name;
    EXPECT_EQ(status.message().find('\n'), std::string_view::npos) << status.message();
    EXPECT_NE(status.message().find(name), std::string_view::npos) << status.message();
  }
  EXPECT_EQ(*device_count("null"), 16);
  EXPECT_EQ(*device_count("cpu"), 1);
  EXPECT_EQ(device_count("nosuch").status().code(), StatusCode::kNoSuchDevice);
}

}  // namespace
}  // namespace inflight::mx
