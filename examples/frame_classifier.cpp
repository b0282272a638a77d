// SPDX-License-Identifier: Apache-2.0
// The program from the MXNet forum that started this project, as its author meant it: 60 frames a second,
// each submitted the moment it arrives; at most eight predictions active, and "Too many requests" past that;
// and one main loop that never blocks and takes the predictions that have finished.
//
//   frame_classifier                     y = x + 1, the network as it was written; holds 60 frames per second
//   frame_classifier --fully-connected   y = FullyConnected(1024)(x), the network as it was meant: 1.26 GB of
//                                        weights, tens of ms a frame, so a small machine must refuse frames
//
// Two mistakes of the sketch are not copied: its `len > limit` admitted a ninth prediction, and its loop
// overwrote the network with `y = x + 1`.
#include <inflight/inflight.h>
#include <inflight/openvino_interop.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <openvino/core/model.hpp>
#include <openvino/op/add.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/reshape.hpp>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using inflight::Duration;
using inflight::TimePoint;

constexpr int kActivePredictionLimit = 8;
constexpr double kFramesPerSecond = 60;
constexpr std::size_t kUnits = 1024;
const inflight::Shape kFrameShape = {3, 640, 480};

struct Arguments {
  bool fully_connected = false;
  int seconds = 10;
};

// Uniform random numbers in [0, 1), fast enough for a camera that needs 55 million of them a second.
// Source: George Marsaglia, "Xorshift RNGs", 2003.
class Random {
 public:
  float uniform() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return static_cast<float>(state_ >> 8) * 0x1p-24F;
  }

 private:
  std::uint32_t state_ = 2463534242U;
};

std::shared_ptr<ov::Model> as_written(const std::shared_ptr<ov::op::v0::Parameter>& x) {
  const auto one = ov::op::v0::Constant::create(ov::element::f32, ov::Shape{}, {1.0F});
  const auto y = std::make_shared<ov::op::v1::Add>(x, one);
  return std::make_shared<ov::Model>(ov::OutputVector{y}, ov::ParameterVector{x}, "x_plus_1");
}

// As MXNet's FullyConnected sees f32[3,640,480]: three rows of 307,200 values.
std::shared_ptr<ov::Model> as_meant(const std::shared_ptr<ov::op::v0::Parameter>& x) {
  constexpr std::size_t kRow = 640 * 480;
  ov::Tensor weights(ov::element::f32, ov::Shape{kUnits, kRow});
  Random random;
  auto* const values = weights.data<float>();
  std::generate(values, values + kUnits * kRow, [&] { return random.uniform() - 0.5F; });
  const auto rows =
      ov::op::v0::Constant::create(ov::element::i64, ov::Shape{2}, std::vector<std::int64_t>{3, kRow});
  const auto flat = std::make_shared<ov::op::v1::Reshape>(x, rows, false);
  const auto weight = std::make_shared<ov::op::v0::Constant>(weights);
  const auto product = std::make_shared<ov::op::v0::MatMul>(flat, weight, false, true);
  const auto bias =
      ov::op::v0::Constant::create(ov::element::f32, ov::Shape{kUnits}, std::vector<float>(kUnits, 0.1F));
  const auto y = std::make_shared<ov::op::v1::Add>(product, bias);
  return std::make_shared<ov::Model>(ov::OutputVector{y}, ov::ParameterVector{x}, "fully_connected");
}

inflight::Result<inflight::Model> make_model(bool fully_connected) {
  const auto x = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::Shape{3, 640, 480});
  x->set_friendly_name("x");
  x->output(0).set_names({"x"});
  const auto network = fully_connected ? as_meant(x) : as_written(x);
  network->output(0).set_names({"y"});
  return inflight::model_from_openvino(network, network->get_friendly_name());
}

// Makes frames on a thread of its own, as a camera does, and keeps the newest until it is fetched.
class Camera {
 public:
  Camera() : thread_([this] { run(); }) {}
  ~Camera() {
    stopping_ = true;
    thread_.join();
  }

  // The newest frame that has arrived since the last call, if there is one. Never waits.
  std::optional<inflight::Frame> fetch() {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return std::nullopt;
    return std::exchange(frame_, std::nullopt);
  }
  // How many frames were replaced by a newer one before the loop fetched them.
  int missed() const { return missed_; }

 private:
  void run() {
    const TimePoint start = inflight::steady_clock().now();
    for (int k = 0; !stopping_; ++k) {
      const TimePoint due = start + Duration(static_cast<Duration::rep>(k * 1e9 / kFramesPerSecond));
      inflight::Buffer pixels = pool_.acquire(kFrameShape.elements() * sizeof(float)).value();
      auto* const values = reinterpret_cast<float*>(pixels.bytes());
      std::generate(values, values + kFrameShape.elements(), [&] { return random_.uniform(); });
      auto frame =
          inflight::Frame::of(*inflight::NDArray::from_buffer(pixels, inflight::DType::kF32, kFrameShape));
      inflight::steady_clock().sleep_until(due);
      frame.due = due;
      const std::lock_guard lock(mutex_);
      if (frame_.has_value()) ++missed_;
      frame_ = std::move(frame);
    }
  }

  inflight::BufferPool pool_;
  Random random_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> missed_{0};
  std::mutex mutex_;
  std::optional<inflight::Frame> frame_;  // guarded by mutex_
  std::thread thread_;
};

// What the main loop measures.
struct Report {
  inflight::Histogram latency_ns;
  inflight::Histogram turn_ns;  // one turn of the loop, its sleep left out: how long it was ever held up
  double checksum = 0;
};

void use(const inflight::Prediction& prediction, Report& report) {
  const auto y = prediction.output(0).read();
  if (!y.ok()) {
    std::fprintf(stderr, "frame_classifier: %s\n", y.status().to_string().c_str());
    return;
  }
  report.checksum += static_cast<const float*>(y->data)[0];
  const inflight::PredictionTimes times = prediction.times();
  report.latency_ns.add((times.finished - times.due).count());
}

// The forum's loop, a thousand turns a second. It submits a frame as soon as one has arrived, and uses
// results as soon as they are ready. Nothing in it waits but the sleep between turns.
void main_loop(inflight::Predictor& predictor, int seconds, Report& report) {
  const inflight::Clock& clock = inflight::steady_clock();
  Camera camera;
  std::vector<inflight::Prediction> finished;
  finished.reserve(kActivePredictionLimit);
  const TimePoint start = clock.now();
  const TimePoint end = start + std::chrono::seconds(seconds);
  for (TimePoint tick = start; tick < end; tick += std::chrono::milliseconds(1)) {
    clock.sleep_until(tick);
    const TimePoint turn = clock.now();
    if (auto frame = camera.fetch()) {
      const auto prediction = predictor.submit(std::move(*frame));
      if (!prediction.ok() && predictor.statistics().rejected == 1) std::puts("Too many requests");
    }
    predictor.take_finished(finished);
    for (const inflight::Prediction& prediction : finished) use(prediction, report);
    report.turn_ns.add((clock.now() - turn).count());
    tick = std::max(tick, clock.now() - std::chrono::milliseconds(1));
  }
  if (camera.missed() > 0) std::printf("%d frames came and went unseen\n", camera.missed());
}

void print(const inflight::Statistics& s, const Report& report, int seconds) {
  std::printf("submitted %lu, completed %lu, failed %lu, \"Too many requests\" %lu, cancelled %lu\n",
              s.submitted, s.completed, s.failed, s.rejected, s.cancelled);
  std::printf("most active at once %lu of %d, %.1f results a second\n", s.in_flight_max,
              kActivePredictionLimit, static_cast<double>(s.completed) / seconds);
  std::printf("latency p50 %.2f ms, p99 %.2f ms\n",
              static_cast<double>(report.latency_ns.quantile(0.5)) / 1e6,
              static_cast<double>(report.latency_ns.quantile(0.99)) / 1e6);
  std::printf("one turn of the main loop: p50 %.1f us, p99 %.1f us, longest %.1f us\n",
              static_cast<double>(report.turn_ns.quantile(0.5)) / 1e3,
              static_cast<double>(report.turn_ns.quantile(0.99)) / 1e3,
              static_cast<double>(report.turn_ns.max()) / 1e3);
}

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--fully-connected") {
      arguments.fully_connected = true;
    } else if (argument == "--seconds" && i + 1 < argc) {
      const std::string_view text = argv[++i];
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), arguments.seconds);
      if (error != std::errc() || end != text.data() + text.size() || arguments.seconds < 1) return false;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::fputs("usage: frame_classifier [--fully-connected] [--seconds N]\n", stderr);
    return 2;
  }
  const auto model = make_model(arguments.fully_connected);
  if (!model.ok()) {
    std::fprintf(stderr, "frame_classifier: %s\n", model.status().to_string().c_str());
    return inflight::exit_code(model.status().code());
  }
  auto predictor = inflight::Predictor::create(*model, {.in_flight_limit = kActivePredictionLimit});
  if (!predictor.ok()) {
    std::fprintf(stderr, "frame_classifier: %s\n", predictor.status().to_string().c_str());
    return inflight::exit_code(predictor.status().code());
  }
  Report report;
  main_loop(*predictor, arguments.seconds, report);
  predictor->drain();
  for (const inflight::Prediction& prediction : predictor->take_finished()) use(prediction, report);
  print(predictor->statistics(), report, arguments.seconds);
  return predictor->statistics().failed == 0 ? 0 : 1;
}
