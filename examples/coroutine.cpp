// SPDX-License-Identifier: Apache-2.0
// Frames as coroutines: each awaits its predictions with co_await. All of them run on the thread of main(),
// which resumes those whose prediction has become ready.
#include <inflight/inflight.h>

#include <coroutine>
#include <cstdio>
#include <exception>
#include <thread>
#include <vector>

namespace {

constexpr int kFrames = 32;

// The smallest coroutine type: it starts at once, and destroys itself at its end. Any other type works, too.
struct Task {
  struct promise_type {
    Task get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

struct Counts {
  int right = 0;
  int wrong = 0;
};

// Takes one frame through two predictions. It reads like blocking code, and never blocks.
Task process(inflight::Predictor& predictor, inflight::Executor& executor, std::uint8_t value,
             Counts& counts) {
  const std::vector<std::uint8_t> pixels(4, value);
  const auto array = inflight::NDArray::copy_of({pixels.data(), inflight::DType::kU8, {4}}).value();
  const auto first = predictor.submit(inflight::Frame::of(array));
  if (!first.ok() || !(co_await inflight::ready(*first, executor)).ok()) {
    ++counts.wrong;
    co_return;
  }
  const auto second = predictor.submit(inflight::Frame::of(first->output(0)));
  if (!second.ok() || !(co_await inflight::ready(*second, executor)).ok()) {
    ++counts.wrong;
    co_return;
  }
  const bool same = (*second->output(0).read()->as<std::uint8_t>())[0] == value;
  ++(same ? counts.right : counts.wrong);
}

}  // namespace

int main() {
  const auto model =
      inflight::Model::opaque("copy", {{"x", inflight::DType::kU8, {4}}}, {{"y", inflight::DType::kU8, {4}}});
  auto predictor = inflight::Predictor::create(
      *model, {.device = inflight::Device::null(), .in_flight_limit = kFrames, .keep_finished = false});
  if (!predictor.ok()) {
    std::fprintf(stderr, "coroutine: %s\n", predictor.status().to_string().c_str());
    return 1;
  }
  inflight::ManualExecutor executor;  // no lock is needed around the counts: everything runs here
  Counts counts;
  for (int i = 0; i < kFrames; ++i) {
    process(*predictor, executor, static_cast<std::uint8_t>(i), counts);
  }
  while (counts.right + counts.wrong < kFrames) {
    if (!executor.run_one()) std::this_thread::yield();
  }
  std::printf("%d frames right, %d wrong\n", counts.right, counts.wrong);
  return counts.wrong == 0 ? 0 : 1;
}
