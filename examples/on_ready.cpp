// SPDX-License-Identifier: Apache-2.0
// A callback for each prediction, on a thread pool of the caller. A slow callback delays no thread of the
// library, and the library holds no lock while it runs.
#include <inflight/inflight.h>

#include <atomic>
#include <cstdio>
#include <vector>

namespace {

constexpr int kFrames = 100;

}  // namespace

int main() {
  const auto model =
      inflight::Model::opaque("copy", {{"x", inflight::DType::kU8, {4}}}, {{"y", inflight::DType::kU8, {4}}});
  std::atomic<int> right{0};
  std::atomic<int> called{0};
  {
    // Before the predictor, so that it outlives everything that may still call it.
    const auto pool = inflight::ThreadPool::make(2).value();
    auto predictor = inflight::Predictor::create(
        *model, {.device = inflight::Device::null(), .in_flight_limit = kFrames, .keep_finished = false});
    if (!predictor.ok()) {
      std::fprintf(stderr, "on_ready: %s\n", predictor.status().to_string().c_str());
      return 1;
    }
    for (int i = 0; i < kFrames; ++i) {
      const std::vector<std::uint8_t> pixels(4, static_cast<std::uint8_t>(i));
      const auto array = inflight::NDArray::copy_of({pixels.data(), inflight::DType::kU8, {4}}).value();
      const auto prediction = predictor->submit(inflight::Frame::of(array, static_cast<std::uint64_t>(i)));
      if (!prediction.ok()) continue;
      prediction->on_ready(*pool, [&](const inflight::Prediction& done) {
        const auto values = done.output(0).read();
        if (values.ok() && (*values->as<std::uint8_t>())[0] == done.tag()) ++right;
        ++called;
      });
    }
    predictor->drain();
  }  // the predictor notifies the last of them and ends; then the pool runs what is left
  std::printf("%d of %d callbacks ran, %d with the right result\n", called.load(), kFrames, right.load());
  return right == kFrames && called == kFrames ? 0 : 1;
}
