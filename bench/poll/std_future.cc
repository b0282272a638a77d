// SPDX-License-Identifier: Apache-2.0
// The peers: std::future and std::shared_future, whose look is wait_for(0).
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <vector>

namespace {

template <typename Future>
void poll(benchmark::State& state, const Future& future, std::future_status expected) {
  if (future.wait_for(std::chrono::seconds(0)) != expected) return state.SkipWithError("the wrong answer");
  for (auto _ : state) benchmark::DoNotOptimize(future.wait_for(std::chrono::seconds(0)));
}

void std_future_pending(benchmark::State& state) {
  std::promise<int> promise;
  poll(state, promise.get_future(), std::future_status::timeout);
}
BENCHMARK(std_future_pending);

void std_future_ready(benchmark::State& state) {
  std::promise<int> promise;
  promise.set_value(1);
  poll(state, promise.get_future(), std::future_status::ready);
}
BENCHMARK(std_future_ready);

void std_shared_future_pending(benchmark::State& state) {
  std::promise<int> promise;
  poll(state, promise.get_future().share(), std::future_status::timeout);
}
BENCHMARK(std_shared_future_pending);

void std_shared_future_ready(benchmark::State& state) {
  std::promise<int> promise;
  promise.set_value(1);
  poll(state, promise.get_future().share(), std::future_status::ready);
}
BENCHMARK(std_shared_future_ready);

void std_future_pending_sweep(benchmark::State& state) {
  std::vector<std::promise<int>> promises(static_cast<std::size_t>(state.range(0)));
  std::vector<std::future<int>> futures;
  for (auto& promise : promises) futures.push_back(promise.get_future());
  for (auto _ : state) {
    for (const auto& future : futures) benchmark::DoNotOptimize(future.wait_for(std::chrono::seconds(0)));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(std_future_pending_sweep)->ArgName("futures")->Arg(8)->Arg(10'000);

}  // namespace
