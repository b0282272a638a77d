// SPDX-License-Identifier: Apache-2.0
// How many threads a program has, and where they may run.
#include <sched.h>

#include <chrono>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>

#include "backends/openvino/openvino_test_support.h"
#include "base/scheduling.h"
#include "model/network.h"

namespace inflight {
namespace {

using testing::compile;
using testing::fewest_while_it_runs;
using testing::load;
using testing::small_onnx;

TEST(OpenVinoThreads, FollowThisProcessesAffinity) {
  cpu_set_t before;
  CPU_ZERO(&before);
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(compile(load(small_onnx()))->concurrency(Width::kNarrow), CPU_COUNT(&before));
  EXPECT_EQ(compile(load(small_onnx()), {.threads = 1})->concurrency(Width::kNarrow), 1);
}

// Whether a thread is seen pinned while launches run, at the latest at the deadline.
bool pins(const std::shared_ptr<Program>& program, Width width, std::chrono::seconds within) {
  return fewest_while_it_runs(program, width, 1, within) == 1;
}

TEST(OpenVinoThreads, ArePinnedWhileTheyComputeForOneProgramAtATime) {
  if (internal::allowed_processors() < 2 || internal::usable_processors() < internal::allowed_processors())
    GTEST_SKIP() << "there is one processor, or a quota";
  // Not brief: a brief network computes in the threads that call, which stay as they are. So does any that is light, where few launches
  // are to come.
  constexpr int kSide = 1024;
  const Model model = load({.nodes = {testing::onnx_node("MatMul", {"x", "x"}, {"y"})},
                            .inputs = {testing::onnx_value("x", testing::kFloat, {kSide, kSide})},
                            .outputs = {testing::onnx_value("y", testing::kFloat, {kSide, kSide})}});
  ov::CompiledModel asked =
      ov::Core().compile_model(network(model), "CPU", ov::hint::enable_cpu_pinning(true));
  if (!asked.get_property(ov::hint::enable_cpu_pinning)) GTEST_SKIP() << "OpenVINO pins nothing here";
  const std::chrono::seconds enough(20);
  const std::chrono::seconds few(1);
  const std::shared_ptr<Program> brief =
      compile(load(small_onnx()), {.many_launches = true, .pin_threads = true});
  EXPECT_FALSE(pins(brief, Width::kNarrow, few));
  EXPECT_FALSE(pins(compile(model, {.many_launches = true}), Width::kNarrow, few));
  EXPECT_FALSE(pins(compile(model, {.pin_threads = true}), Width::kNarrow, few));
  EXPECT_FALSE(pins(compile(model, {.threads = 1, .pin_threads = true}), Width::kNarrow, few));
  auto first = compile(model, {.many_launches = true, .pin_threads = true});
  EXPECT_TRUE(pins(first, Width::kNarrow, enough));
  EXPECT_FALSE(pins(compile(model, {.many_launches = true, .pin_threads = true}), Width::kNarrow, few));
  first.reset();
  const auto second =
      compile(model, {.widths = {Width::kWide, Width::kNarrow}, .many_launches = true, .pin_threads = true});
  EXPECT_TRUE(pins(second, Width::kNarrow, enough));
  EXPECT_TRUE(pins(second, Width::kWide, enough));  // last: some of OpenVINO's threads stay pinned
}

}  // namespace
}  // namespace inflight
