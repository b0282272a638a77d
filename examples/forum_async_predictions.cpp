// SPDX-License-Identifier: Apache-2.0
// The program from the MXNet forum that started this project, in C++ on MXNet's programming model. Its Python sibling,
// forum_async_predictions.py, says what the sketch left open and what is filled in; both do the same.
//
//   forum_async_predictions [--duration S] [--fps F] [--limit N] [--network written|meant] [--context cpu|gpu]
//                           [--json FILE]
#include <inflight/clock.h>
#include <inflight/histogram.h>
#include <inflight/mx/mx.h>

#include <time.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

namespace mx = inflight::mx;
using inflight::Duration;
using inflight::Result;
using inflight::Status;
using inflight::TimePoint;

const inflight::Shape kFrameShape = {3, 640, 480};
constexpr std::int64_t kUnits = 1024;

struct Arguments {
  double duration = 10;
  double fps = 60;
  double limit = 8;
  bool meant = false;
  inflight::Device device;
  std::string json;
};

// Numbers from `low` to before `high`, on a device.
Result<mx::NDArray> uniform(double low, double high, const inflight::Shape& shape, inflight::Device device) {
  const Result<mx::NDArray> drawn = mx::random_uniform(low, high, shape);
  return drawn.ok() ? drawn->as_in(device) : drawn;
}

// Makes a frame when it is due.
class Camera {
 public:
  Camera(double fps, inflight::Device device)
      : interval_(static_cast<Duration::rep>(1e9 / fps)), device_(device) {}

  // Nothing: no frame is due.
  Result<std::optional<mx::NDArray>> get_frame() {
    const TimePoint now = inflight::steady_clock().now();
    if (now - last_frame_ < interval_) return std::optional<mx::NDArray>();
    // In step with the rate; what came while nobody looked is gone, as with a camera.
    last_frame_ = std::max(last_frame_ + interval_, now - interval_);
    Result<mx::NDArray> frame = uniform(0, 1, kFrameShape, device_);
    if (!frame.ok()) return frame.status();
    return std::optional<mx::NDArray>(std::move(frame).value());
  }

 private:
  const Duration interval_;
  const inflight::Device device_;
  TimePoint last_frame_ = inflight::steady_clock().now();
};

// What the loop counts and measures.
struct Report {
  long submitted = 0;
  long completed = 0;
  long refused = 0;
  inflight::Histogram call_ns;  // its memory does not grow: no turn of the loop has to fetch any
  double loop_cpu_us_max = 0;

  template <typename Call>
  auto measure(Call&& call) {
    const TimePoint began = inflight::steady_clock().now();
    auto result = call();
    call_ns.add((inflight::steady_clock().now() - began).count());
    return result;
  }
};

class FrameClassifier {
 public:
  FrameClassifier(const Arguments& arguments, Report& report)
      : limit_(static_cast<std::size_t>(arguments.limit)),
        meant_(arguments.meant),
        device_(arguments.device),
        report_(report) {}

  Status make_weights() {
    if (!meant_) return {};
    Result<mx::NDArray> weight = uniform(-0.5, 0.5, {kUnits, kFrameShape[1] * kFrameShape[2]}, device_);
    if (!weight.ok()) return weight.status();
    Result<mx::NDArray> bias = mx::NDArray::full({kUnits}, 0.1);
    if (bias.ok()) bias = bias->as_in(device_);
    if (!bias.ok()) return bias.status();
    weights_ = {{"y_weight", *weight}, {"y_bias", *bias}};
    return weight->wait();
  }

  std::vector<mx::NDArray> get_finished_results() {
    std::vector<mx::NDArray> finished;
    std::vector<mx::NDArray> waiting;
    for (mx::NDArray& prediction : active_) {
      const bool ready = report_.measure([&] { return prediction.can_read(); });
      (ready ? finished : waiting).push_back(std::move(prediction));
    }
    active_ = std::move(waiting);
    return finished;
  }

  //   errors   kOverloaded: "Too many requests". The sketch let one more in than its limit says.
  Status enqueue_frame(const mx::NDArray& frame) {
    if (active_.size() >= limit_) return Status(inflight::StatusCode::kOverloaded, "Too many requests");
    // Built and bound anew for each frame, as in the sketch: the program behind it is compiled once.
    const Result<mx::Symbol> x = mx::Symbol::variable("x");
    if (!x.ok()) return x.status();
    const Result<mx::Symbol> y = network(*x);
    if (!y.ok()) return y.status();
    std::map<std::string, mx::NDArray> arguments = weights_;
    arguments.emplace("x", frame);
    const Result<mx::Executor> executor = mx::Executor::bind(*y, arguments, {}, {.device = device_});
    if (!executor.ok()) return executor.status();
    Result<std::vector<mx::NDArray>> outputs = executor->forward();
    if (!outputs.ok()) return outputs.status();
    active_.push_back(std::move((*outputs)[0]));
    return {};
  }

  // Compiles the program, so that the camera starts after it.
  Status warm_up() {
    const Result<mx::NDArray> frame = uniform(0, 1, kFrameShape, device_);
    if (!frame.ok()) return frame.status();
    if (const Status status = enqueue_frame(*frame); !status.ok()) return status;
    const Status done = active_.back().wait();
    active_.clear();
    return done;
  }
  bool active() const { return !active_.empty(); }

 private:
  Result<mx::Symbol> network(const mx::Symbol& x) const {
    if (!meant_) return mx::Symbol::apply("_plus_scalar", {{"", x}}, {{"scalar", "1"}});
    return mx::Symbol::apply("FullyConnected", {{"", x}}, {{"num_hidden", std::to_string(kUnits)}}, "y");
  }

  const std::size_t limit_;
  const bool meant_;
  const inflight::Device device_;
  Report& report_;
  std::map<std::string, mx::NDArray> weights_;
  std::vector<mx::NDArray> active_;
};

Status use(const std::vector<mx::NDArray>& results, Report& report) {
  for (const mx::NDArray& result : results) {
    // From wherever it is: on a GPU it is copied now.
    const auto line = result.reshape({-1});
    if (!line.ok()) return line.status();
    const auto corner = line->at(0);
    if (!corner.ok()) return corner.status();
    const auto here = corner->as_in(inflight::Device::cpu());
    if (!here.ok()) return here.status();
    const auto version = here->snapshot();
    if (!version.ok()) return version.status();
    if (Status copied = version->wait(); !copied.ok()) return copied;
    const auto elements = version->read();
    if (!elements.ok()) return elements.status();
    std::printf("result %ld: %f\n", ++report.completed,
                static_cast<double>(*static_cast<const float*>(elements->data)));
  }
  return {};
}

Status turn(Camera& camera, FrameClassifier& classifier, Report& report) {
  const auto frame = camera.get_frame();
  if (!frame.ok()) return frame.status();
  if (frame->has_value()) {
    ++report.submitted;
    const Status status = report.measure([&] { return classifier.enqueue_frame(**frame); });
    if (status.code() == inflight::StatusCode::kOverloaded) {
      ++report.refused;
      std::puts("Too many requests");
    } else if (!status.ok()) {
      return status;
    }
  }
  return use(report.measure([&] { return classifier.get_finished_results(); }), report);
}

double thread_us() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

Status main_loop(const Arguments& arguments, FrameClassifier& classifier, Report& report) {
  constexpr auto kPause = std::chrono::microseconds(100);
  Camera camera(arguments.fps, arguments.device);
  const TimePoint end =
      inflight::steady_clock().now() + Duration(static_cast<Duration::rep>(arguments.duration * 1e9));
  while (inflight::steady_clock().now() < end) {
    const double began = thread_us();
    if (Status status = turn(camera, classifier, report); !status.ok()) return status;
    report.loop_cpu_us_max = std::max(report.loop_cpu_us_max, thread_us() - began);
    std::this_thread::sleep_for(kPause);
  }
  while (classifier.active()) {  // what was admitted is completed
    const auto finished = report.measure([&] { return classifier.get_finished_results(); });
    if (Status status = use(finished, report); !status.ok()) return status;
    std::this_thread::sleep_for(kPause);
  }
  return {};
}

std::string as_json(const Arguments& arguments, const Report& report) {
  const auto quantile_us = [&](double share) {
    return static_cast<double>(report.call_ns.quantile(share)) / 1e3;
  };
  char text[512];
  std::snprintf(
      text, sizeof text,
      "{\"network\": \"%s\", \"limit\": %d, \"submitted\": %ld, \"completed\": %ld, \"refused\": %ld, "
      "\"calls\": %llu, \"call_us\": {\"p50\": %.3f, \"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f}, "
      "\"loop_cpu_us_max\": %.3f}",
      arguments.meant ? "meant" : "written", static_cast<int>(arguments.limit), report.submitted,
      report.completed, report.refused, static_cast<unsigned long long>(report.call_ns.count()),
      quantile_us(0.5), quantile_us(0.99), quantile_us(0.999), quantile_us(1), report.loop_cpu_us_max);
  return text;
}

bool parse_number(std::string_view text, double& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number > 0 && number < 1e6;
}

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    const std::string_view value = argv[i + 1];
    bool good = false;
    if (option == "--duration") good = parse_number(value, arguments.duration);
    if (option == "--fps") good = parse_number(value, arguments.fps);
    if (option == "--limit") good = parse_number(value, arguments.limit) && arguments.limit >= 1;
    if (option == "--json") {
      arguments.json = value;
      good = !value.empty();
    }
    if (option == "--context") {
      good = value == "cpu" || value == "gpu";
      arguments.device = value == "gpu" ? inflight::Device::cuda() : inflight::Device::cpu();
    }
    if (option == "--network") {
      arguments.meant = value == "meant";
      good = arguments.meant || value == "written";
    }
    if (!good) return false;
  }
  return argc % 2 == 1;
}

int failed(const Status& status) {
  std::fprintf(stderr, "forum_async_predictions: %s\n", status.to_string().c_str());
  return inflight::exit_code(status.code());
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::fputs(
        "usage: forum_async_predictions [--duration S] [--fps F] [--limit N] [--network written|meant] "
        "[--context cpu|gpu] [--json FILE]\n",
        stderr);
    return 2;
  }
  Report report;
  FrameClassifier classifier(arguments, report);
  Status status = classifier.make_weights();
  if (status.ok()) status = classifier.warm_up();
  if (status.ok()) status = main_loop(arguments, classifier, report);
  if (!status.ok()) return failed(status);
  const std::string told = as_json(arguments, report);
  std::puts(told.c_str());
  if (arguments.json.empty()) return 0;
  std::FILE* const file = std::fopen(arguments.json.c_str(), "w");
  if (file == nullptr || std::fputs((told + "\n").c_str(), file) < 0 || std::fclose(file) != 0) {
    std::fprintf(stderr, "forum_async_predictions: %s: cannot be written\n", arguments.json.c_str());
    return 1;
  }
  return 0;
}
