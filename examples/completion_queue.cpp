// SPDX-License-Identifier: Apache-2.0
// Two predictors and a computation, one queue: a thread sleeps until any of them is ready, and gets the tags
// of those that are. The cost does not grow with the number that is still pending.
#include <inflight/inflight.h>

#include <cstdio>
#include <map>
#include <vector>

namespace {

constexpr std::uint64_t kFrames = 100;
constexpr std::uint64_t kArray = 2 * kFrames;  // the tag of the computation

inflight::Predictor make_predictor() {
  const auto model =
      inflight::Model::opaque("copy", {{"x", inflight::DType::kU8, {4}}}, {{"y", inflight::DType::kU8, {4}}});
  return inflight::Predictor::create(*model, {.device = inflight::Device::null(),
                                              .in_flight_limit = static_cast<int>(kFrames),
                                              .keep_finished = false})
      .value();
}

}  // namespace

int main() {
  inflight::Predictor first = make_predictor();
  inflight::Predictor second = make_predictor();
  const auto engine = *inflight::make_threaded_engine({.threads = 1});
  const std::vector<std::uint8_t> zeros(4);
  const auto start = inflight::NDArray::copy_of({zeros.data(), inflight::DType::kU8, {4}}).value();
  inflight::MutableNDArray name(*engine, start);

  inflight::CompletionQueue queue;
  std::vector<inflight::Prediction> predictions;
  for (std::uint64_t tag = 0; tag < 2 * kFrames; ++tag) {
    inflight::Predictor& predictor = tag < kFrames ? first : second;
    predictions.push_back(predictor.submit(inflight::Frame::of(start)).value());
    queue.add(predictions.back(), tag);
  }
  const auto computed = name.update({}, [](auto, const inflight::MutableTensorView& out) {
    static_cast<std::uint8_t*>(out.data)[0] = 1;
    return inflight::Status();
  });
  queue.add(*computed, kArray);

  std::map<std::uint64_t, int> seen;
  std::vector<std::uint64_t> tags;
  int wakes = 0;
  for (; queue.size() > 0; ++wakes) {
    queue.wait();
    queue.take(tags);
    for (const std::uint64_t tag : tags) {
      const bool ready = tag == kArray ? computed->can_read() : predictions[tag].can_read();
      seen[tag] += ready ? 1 : 1'000;
    }
  }
  int wrong = seen.size() == 2 * kFrames + 1 ? 0 : 1;
  for (const auto& [tag, times] : seen) wrong += times == 1 ? 0 : 1;
  std::printf("%zu tags in %d looks, %d of them wrong\n", seen.size(), wakes, wrong);
  return wrong == 0 ? 0 : 1;
}
