// SPDX-License-Identifier: Apache-2.0
// Where the launches of a model for the caller run.
#include "backends/openvino/openvino_request.h"

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <string>

#include "backends/openvino/openvino_test_support.h"
#include "base/scheduling.h"

namespace inflight {
namespace {

using testing::compile;
using testing::load;
using testing::Slot;
using testing::small_onnx;

// hwloc, which TBB asks, says that each core has two hardware threads, as most processors have.
const bool kTwoThreadsACore = [] {
  const int cores = internal::allowed_processors() / 2;
  const std::string topology = "package:1 core:" + std::to_string(cores) + " pu:2";
  return cores > 0 && setenv("HWLOC_SYNTHETIC", topology.c_str(), 1) == 0 &&
         setenv("HWLOC_THISSYSTEM", "1", 1) == 0;
}();

// Not tiny, and it takes about a millisecond.
Model product() {
  constexpr int kSide = 512;
  return load({.nodes = {testing::onnx_node("MatMul", {"x", "x"}, {"y"})},
               .inputs = {testing::onnx_value("x", testing::kFloat, {kSide, kSide})},
               .outputs = {testing::onnx_value("y", testing::kFloat, {kSide, kSide})}});
}

// On the first hardware threads of the cores alone, launches on all processors would have half of them.
TEST(OpenVinoRequest, LeavesTheCallerOnAllProcessors) {
  const int all = internal::allowed_processors();
  if (!kTwoThreadsACore || all % 2 != 0) GTEST_SKIP() << "there are " << all << " processors";
  ov::Core core;
  EXPECT_TRUE(internal::binds_the_caller(core)) << "OpenVINO does not any more: its own arena would do";
  const std::chrono::seconds few(1);
  const auto fewest = [&](const Model& model, const CompileOptions& options) {
    return testing::fewest_while_it_runs(compile(model, options), Width::kNarrow, all - 1, few);
  };
  EXPECT_EQ(fewest(load(small_onnx()), {.many_launches = true}), all);
  EXPECT_EQ(fewest(product(), {}), all);
  EXPECT_EQ(fewest(product(), {.threads = 1}), all);
}

double processor_seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

TEST(OpenVinoRequest, ComputesInTheCallerAlone) {
  for (const CompileOptions& options : {CompileOptions(), CompileOptions{.threads = 1}}) {
    Slot slot(compile(product(), options));
    slot.run();  // the first one makes memory
    const double thread = processor_seconds(CLOCK_THREAD_CPUTIME_ID);
    const double process = processor_seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < 20; ++i) slot.run();
    const double in_thread = processor_seconds(CLOCK_THREAD_CPUTIME_ID) - thread;
    EXPECT_LT(processor_seconds(CLOCK_PROCESS_CPUTIME_ID) - process, 1.2 * in_thread)
        << "others had a part of the work";
  }
}

}  // namespace
}  // namespace inflight
