// SPDX-License-Identifier: Apache-2.0
// Two predictors of different models on one runtime, both flooded: what each completes alone and beside the
// other, by weight. It prints one line of JSON for each run; share.py makes rows of them.
//
// usage: bench_share SHAPES_ONNX SECONDS WEIGHT_A:WEIGHT_B ("1:0": a alone, "0:1": b alone)
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "inflight/inflight.h"
#include "onnx_writer.h"

namespace {

using namespace inflight;
using namespace inflight::testing;

constexpr std::int64_t kSide = 512;
constexpr int kLayers = 6;

// A dense network. The classifier spends its time on a picture; this one reads 6 MB of weights.
Model dense() {
  OnnxModel graph;
  graph.inputs = {onnx_value("x", kFloat, {std::int64_t{8}, kSide})};
  std::string before = "x";
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string weights = "w" + std::to_string(layer);
    const std::string after = layer + 1 == kLayers ? "y" : "h" + std::to_string(layer);
    graph.initializers.push_back(onnx_initializer(
        weights, {kSide, kSide}, std::vector<float>(static_cast<std::size_t>(kSide * kSide), 1.0F / kSide)));
    graph.nodes.push_back(onnx_node("MatMul", {before, weights}, {after}));
    before = after;
  }
  graph.outputs = {onnx_value("y", kFloat, {std::int64_t{8}, kSide})};
  const std::string bytes = graph.bytes();
  return *Model::load_bytes(std::as_bytes(std::span(bytes)), "dense");
}

NDArray zeros(const TensorSpec& spec) {
  Buffer buffer = *Buffer::allocate(spec.bytes());
  std::fill_n(buffer.bytes(), buffer.size(), std::byte{0});
  return *NDArray::from_buffer(std::move(buffer), spec.dtype, spec.shape);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const double seconds = std::atof(argv[2]);
  const std::string words = argv[3];
  const std::size_t colon = words.find(':');
  const std::array<double, 2> weights{std::atof(words.substr(0, colon).c_str()),
                                      std::atof(words.substr(colon + 1).c_str())};
  const Model shapes = *Model::load(argv[1])->with_image_input({.height = 480, .width = 640, .scale = {255}});
  const std::array<Model, 2> models{shapes, dense()};
  const Runtime runtime = *Runtime::open(Device::cpu());
  std::vector<Predictor> predictors;
  for (std::size_t i = 0; i < 2; ++i) {
    if (weights[i] == 0) continue;
    predictors.push_back(*Predictor::create(models[i], {.runtime = runtime,
                                                        .weight = weights[i],
                                                        .in_flight_limit = 8,
                                                        .overload = OverloadPolicy::kBlock,
                                                        .keep_finished = false}));
  }
  std::atomic<bool> stopping{false};
  std::vector<std::thread> submitters;
  for (Predictor& predictor : predictors) {
    submitters.emplace_back([&] {
      const NDArray input = zeros(predictor.inputs()[0]);
      while (!stopping) {
        if (!predictor.submit(Frame::of(input)).ok()) std::abort();
      }
    });
  }
  const auto completed = [&] {
    std::vector<std::uint64_t> counts;
    for (const Predictor& predictor : predictors) counts.push_back(predictor.statistics().completed);
    return counts;
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto began = std::chrono::steady_clock::now();
  const std::vector<std::uint64_t> before = completed();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  const std::vector<std::uint64_t> after = completed();
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  stopping = true;
  for (std::thread& thread : submitters) thread.join();
  std::array<double, 2> rates{};
  for (std::size_t i = 0, used = 0; i < 2; ++i) {
    if (weights[i] == 0) continue;
    rates[i] = static_cast<double>(after[used] - before[used]) / took;
    ++used;
  }
  std::printf("{\"a\": %.2f, \"b\": %.2f}\n", rates[0], rates[1]);
}
