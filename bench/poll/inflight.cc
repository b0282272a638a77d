// SPDX-License-Identifier: Apache-2.0
// NDArray::can_read().
#include <benchmark/benchmark.h>

#include <cstdint>
#include <latch>
#include <memory>
#include <vector>

#include "inflight/engine.h"
#include "inflight/ndarray.h"

namespace {

using namespace inflight;  // NOLINT: a benchmark

NDArray zeros() {
  const std::vector<float> values(16, 0);
  return NDArray::copy_of({values.data(), DType::kF32, Shape{16}}).value();
}

// `count` pending arrays of an engine: the first one holds up all others.
class PendingArrays {
 public:
  explicit PendingArrays(std::int64_t count) {
    names_.push_back(std::make_unique<MutableNDArray>(*engine_, zeros()));
    arrays_.push_back(names_.back()
                          ->write({},
                                  [this](std::span<const TensorView>, const MutableTensorView&) {
                                    open_.wait();
                                    return Status();
                                  })
                          .value());
    for (std::int64_t i = 1; i < count; ++i) {
      names_.push_back(std::make_unique<MutableNDArray>(*engine_, zeros()));
      arrays_.push_back(names_.back()
                            ->write({arrays_[0]}, [](std::span<const TensorView>,
                                                     const MutableTensorView&) { return Status(); })
                            .value());
    }
  }
  ~PendingArrays() { open_.count_down(); }
  const std::vector<NDArray>& arrays() const { return arrays_; }

 private:
  std::latch open_{1};
  std::unique_ptr<Engine> engine_ = *make_threaded_engine({.threads = 1});
  std::vector<std::unique_ptr<MutableNDArray>> names_;
  std::vector<NDArray> arrays_;
};

void poll(benchmark::State& state, const NDArray& array, bool expected) {
  if (array.can_read() != expected) return state.SkipWithError("the wrong answer");
  for (auto _ : state) benchmark::DoNotOptimize(array.can_read());
}

void inflight_pending(benchmark::State& state) {
  const PendingArrays pending(1 + state.range(0));
  poll(state, pending.arrays().back(), false);
}
BENCHMARK(inflight_pending)->ArgName("others_pending")->Arg(0)->Arg(10'000);

void inflight_ready(benchmark::State& state) {
  const PendingArrays pending(1 + state.range(0));
  const NDArray array = zeros();
  poll(state, array, true);
}
BENCHMARK(inflight_ready)->ArgName("others_pending")->Arg(0)->Arg(10'000);

// One look at each of many, as a loop over everything in flight does; the time is that of the whole sweep.
void inflight_pending_sweep(benchmark::State& state) {
  const PendingArrays pending(state.range(0));
  for (auto _ : state) {
    for (const NDArray& array : pending.arrays()) benchmark::DoNotOptimize(array.can_read());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(inflight_pending_sweep)->ArgName("arrays")->Arg(8)->Arg(10'000);

}  // namespace
