// SPDX-License-Identifier: Apache-2.0
// One model on one device, through the public Predictor: rate and latency at each number in flight, or latency on a
// plan of arrivals. It prints one line of JSON for each; gpu.py makes rows of them.
//
// usage: bench_gpu MODEL [--device cuda] [--precision auto] [--tune fast] [--width auto|wide|narrow|elastic]
//                  [--memory pinned|pageable] [--input FILE --output FILE]
//                  [--in-flight 1,2,4,8,16] [--seconds 3] [--count 0]
//                  [--plan FILE,FILE... --limit 4096]
//
// `--width auto`: one in flight runs wide, more run narrow; on a plan: elastic. `--memory pinned`: inputs are in memory
// from the device's own allocator for results, as the peers' inputs are. `--count N` runs N predictions instead of a time,
// and samples memory. `--input FILE`: raw bytes of the first input; `--output FILE` gets those of the first output.
// `--plan`: one predictor, all plans in turn; a frame that finds `--limit` others in flight is refused, and counts as one
// that takes for ever.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "predictor_runs.h"

namespace {

using namespace inflight;
using namespace bench_gpu;

constexpr const char* kUsage = "bench_gpu MODEL [--OPTION VALUE]...";
constexpr double kWarmUpSeconds = 0.5;
constexpr std::size_t kLimitMax = Predictor::kInFlightLimitMax;

// What every run of this process has in common, and how long it took to have it.
struct Setting {
  Options options;
  Model model;
  Runtime runtime;
  std::shared_ptr<Allocator> memory;
  double read_s = 0, open_s = 0;
};

struct Loaded {
  Predictor predictor;
  Frame frame;
  WidthPolicy width;
  double load_s;
};

Setting prepare(int argc, char** argv) {
  Options options{
      {"--device", "cuda"},   {"--precision", "auto"}, {"--tune", "fast"}, {"--width", "auto"},
      {"--memory", "pinned"}, {"--input", ""},         {"--output", ""},   {"--in-flight", "1,2,4,8,16"},
      {"--seconds", "3"},     {"--count", "0"},        {"--plan", ""},     {"--limit", "4096"}};
  read_options(argc, argv, kUsage, options);
  const auto start = SteadyClock::now();
  Model model = need(Model::load(argv[1]));
  const double read_s = microseconds_since(start) / 1e6;
  Runtime runtime = need(Runtime::open(need(Device::parse(option(options, "--device")))));
  const double open_s = microseconds_since(start) / 1e6 - read_s;
  Setting setting{std::move(options), std::move(model), std::move(runtime), nullptr, read_s, open_s};
  const std::string& memory = option(setting.options, "--memory");
  if (memory != "pinned" && memory != "pageable")
    fail(fmt::format("--memory: got \"{}\", want pinned or pageable", memory));
  if (memory == "pinned") setting.memory = setting.runtime.backend().output_allocator();
  if (setting.memory == nullptr) setting.memory = host_allocator();
  return setting;
}

Loaded load(const Setting& setting, std::size_t limit, WidthPolicy automatic) {
  const std::string& wanted = option(setting.options, "--width");
  const WidthPolicy width = wanted == "auto" ? automatic : need(parse_width_policy(wanted));
  const auto start = SteadyClock::now();
  Predictor predictor = need(Predictor::create(
      setting.model, {.runtime = setting.runtime,
                      .in_flight_limit = static_cast<int>(std::min(limit, kLimitMax)),
                      .precision = need(parse_precision(option(setting.options, "--precision"))),
                      .width = width,
                      .keep_finished = false,
                      .tune = need(parse_tune_level(option(setting.options, "--tune")))}));
  const double load_s = microseconds_since(start) / 1e6;
  Frame frame = make_frame(predictor, option(setting.options, "--input"), setting.memory);
  return {std::move(predictor), std::move(frame), width, load_s};
}

void write_output(Predictor& predictor, const Frame& frame, const std::string& path) {
  Frame copy = frame;
  const Prediction once = need(predictor.submit(std::move(copy)));
  if (const Status ended = once.wait(); !ended.ok()) fail(ended.to_string());
  const NDArray scores = once.output(0);
  const TensorView view = need(scores.read());
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(view.data), static_cast<std::streamsize>(view.bytes()));
  if (!file.flush()) fail(path + ": cannot be written");
}

// What each line begins with.
std::string head(const Setting& setting, const Loaded& loaded) {
  std::string line = fmt::format(
      R"("device": "{}", "width": "{}", "memory": "{}", "load_s": {:.3f}, "read_s": {:.3f}, "open_s": {:.3f})",
      setting.runtime.device_description(), width_policy_name(loaded.width),
      option(setting.options, "--memory"), loaded.load_s, setting.read_s, setting.open_s);
  if (const std::optional<Tuning> tuning = loaded.predictor.tuning())
    line += fmt::format(R"(, "tune_s": {:.3f}, "tune_gain": {:.3f}, "tune_cached": {})", tuning->seconds,
                        tuning->gain, tuning->cached);
  return line;
}

// Every outcome that there is, so that the reader can see that they add up.
std::string outcomes(const Statistics& counts) {
  return fmt::format(
      R"("submitted": {}, "completed": {}, "failed": {}, "rejected": {}, "dropped": {}, "expired": {}, "cancelled": {}, )"
      R"("in_flight_after": {}, "wide": {}, "narrow": {})",
      counts.submitted, counts.completed, counts.failed, counts.rejected, counts.dropped, counts.expired,
      counts.cancelled, counts.in_flight, counts.wide, counts.narrow);
}

void print(const std::string& line) {
  std::printf("{%s}\n", line.c_str());
  std::fflush(stdout);
}

// JSON has no word for a time without end.
std::string text(double us) { return std::isfinite(us) ? fmt::format("{:.1f}", us) : "null"; }

void measure_closed(const Setting& setting) {
  const std::vector<std::size_t> count = parse_counts("--count", option(setting.options, "--count"), 0);
  const double seconds = parse_seconds("--seconds", option(setting.options, "--seconds"));
  for (const std::size_t in_flight : parse_counts("--in-flight", option(setting.options, "--in-flight"), 1)) {
    Loaded loaded = load(setting, in_flight, in_flight == 1 ? WidthPolicy::kWide : WidthPolicy::kNarrow);
    if (const std::string& path = option(setting.options, "--output"); !path.empty())
      write_output(loaded.predictor, loaded.frame, path);
    run_closed(loaded.predictor, loaded.frame, in_flight, std::min(seconds, kWarmUpSeconds), 0);
    Closed one = run_closed(loaded.predictor, loaded.frame, in_flight, seconds, count.front());
    std::string line = fmt::format(
        R"({}, "in_flight": {}, "rate": {:.1f}, "p50_us": {:.1f}, "p99_us": {:.1f}, "submit_us": {:.2f}, "finished": {}, {})",
        head(setting, loaded), in_flight, one.rate, percentile(one.latencies, 0.5),
        percentile(one.latencies, 0.99), one.submit_us, one.finished,
        outcomes(loaded.predictor.statistics()));
    std::vector<long> resident;
    std::vector<long> used;
    for (const auto& [host, device] : one.memory) {
      resident.push_back(host);
      used.push_back(device);
    }
    if (!resident.empty())
      line += fmt::format(R"(, "resident_kib": [{}], "device_kib": [{}])", fmt::join(resident, ", "),
                          fmt::join(used, ", "));
    print(line);
  }
}

void measure_open(const Setting& setting) {
  std::vector<std::pair<std::string, std::vector<double>>> plans;
  std::istringstream paths(option(setting.options, "--plan"));
  for (std::string path; std::getline(paths, path, ',');) plans.emplace_back(path, read_plan(path));
  const std::size_t limit = parse_counts("--limit", option(setting.options, "--limit"), 1).front();
  Loaded loaded = load(setting, limit, WidthPolicy::kElastic);
  const auto places = static_cast<std::size_t>(loaded.predictor.places());
  // Each width is measured by the scheduler before it counts.
  for (const std::size_t in_flight : {std::size_t{1}, std::size_t{8}})
    run_closed(loaded.predictor, loaded.frame, std::min(in_flight, places), kWarmUpSeconds, 0);
  for (const auto& [path, due] : plans) {
    const Statistics before = loaded.predictor.statistics();
    Open one = run_open(loaded.predictor, loaded.frame, due);
    const Statistics after = loaded.predictor.statistics();
    print(fmt::format(
        R"({}, "plan": "{}", "limit": {}, "frames": {}, "completed": {}, "refused": {}, "p50_us": {}, "p99_us": {}, )"
        R"("max_us": {}, "late_max_us": {:.1f}, "completed_per_s": {:.1f}, "wide": {}, "narrow": {})",
        head(setting, loaded), path, places, due.size(), one.latencies.size() - one.refused, one.refused,
        text(percentile(one.latencies, 0.5)), text(percentile(one.latencies, 0.99)),
        text(percentile(one.latencies, 1)), one.late_max_us,
        static_cast<double>(one.latencies.size() - one.refused) / one.seconds, after.wide - before.wide,
        after.narrow - before.narrow));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Setting setting = prepare(argc, argv);
  if (option(setting.options, "--plan").empty())
    measure_closed(setting);
  else
    measure_open(setting);
}
