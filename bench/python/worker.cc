// SPDX-License-Identifier: Apache-2.0
// The same as worker.py's system "inflight", from C++: what Python adds to a submission is the difference.
//
// usage: bench_python_worker CLASSIFIER; the protocol is worker.py's
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include "inflight/inflight.h"

namespace {

using namespace inflight;

const Shape kShape = {1, 3, 48, 64};

// As NumPy's default_rng(1).random does not exist here, any picture will do: no time depends on its values.
std::vector<float> frame() {
  std::vector<float> values(static_cast<std::size_t>(kShape.elements()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = 0.5F + 0.5F * std::sin(0.01F * static_cast<float>(i));
  return values;
}

class Worker {
 public:
  explicit Worker(const char* path)
      : predictor_(*Predictor::create(
            *Model::load(path),
            {.in_flight_limit = 8, .precision = Precision::kF32, .keep_finished = false})) {}

  // The caller keeps its frame, so that a submission copies it, as Python's does.
  Prediction submit() {
    const TensorView view{frame_.data(), DType::kF32, kShape};
    return *predictor_.submit(Frame::of(*NDArray::copy_of(view)));
  }

  // Seconds that each submission took; with `and_wait`, up to the end of its prediction.
  std::vector<double> measure(double seconds, bool and_wait) {
    using Clock = std::chrono::steady_clock;
    std::vector<double> took;
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    while (Clock::now() < end) {
      const auto began = Clock::now();
      const Prediction prediction = submit();
      if (and_wait) static_cast<void>(prediction.wait());
      took.push_back(std::chrono::duration<double>(Clock::now() - began).count());
      static_cast<void>(prediction.wait());
    }
    return took;
  }

 private:
  const std::vector<float> frame_ = frame();
  Predictor predictor_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  Worker worker(argv[1]);
  std::puts(R"({"whats": ["submission", "submit_and_wait"], "scores": null})");
  std::fflush(stdout);
  std::string what;
  double seconds = 0;
  while (std::cin >> what >> seconds) {
    const std::vector<double> took = worker.measure(seconds, what == "submit_and_wait");
    std::string line;
    for (const double one : took) line += (line.empty() ? "[" : ", ") + std::to_string(one * 1e9) + "e-9";
    std::puts((line + "]").c_str());
    std::fflush(stdout);
  }
}
