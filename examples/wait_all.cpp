// SPDX-License-Identifier: Apache-2.0
// Many predictions, one wait: submit them all, do something else, and go on when the last of them is ready.
#include <inflight/inflight.h>

#include <cstdio>
#include <vector>

namespace {

constexpr int kFrames = 64;

inflight::Frame frame_of(std::uint8_t value) {
  const std::vector<std::uint8_t> bytes(4, value);
  return inflight::Frame::of(inflight::NDArray::copy_of({bytes.data(), inflight::DType::kU8, {4}}).value());
}

}  // namespace

int main() {
  const auto model =
      inflight::Model::opaque("copy", {{"x", inflight::DType::kU8, {4}}}, {{"y", inflight::DType::kU8, {4}}});
  auto predictor = inflight::Predictor::create(
      *model, {.device = inflight::Device::null(), .in_flight_limit = kFrames, .keep_finished = false});
  if (!predictor.ok()) {
    std::fprintf(stderr, "wait_all: %s\n", predictor.status().to_string().c_str());
    return 1;
  }
  std::vector<inflight::Prediction> predictions;
  for (int i = 0; i < kFrames; ++i) {
    predictions.push_back(predictor->submit(frame_of(static_cast<std::uint8_t>(i))).value());
  }
  // One status for all of them: the first failure in the order of submission, if any failed.
  const inflight::Status status = inflight::wait_all_for(predictions, std::chrono::seconds(60));
  if (!status.ok()) {
    std::fprintf(stderr, "wait_all: %s\n", status.to_string().c_str());
    return 1;
  }
  int sum = 0;
  for (const inflight::Prediction& prediction : predictions) {
    sum += (*prediction.output(0).read()->as<std::uint8_t>())[0];
  }
  std::printf("%d predictions, their first bytes add up to %d\n", kFrames, sum);
  return sum == kFrames * (kFrames - 1) / 2 ? 0 : 1;
}
