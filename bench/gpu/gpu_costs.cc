// SPDX-License-Identifier: Apache-2.0
// What single calls cost beside those of NVIDIA's driver, in one process: a look at a prediction that is pending and one
// at an event that is; submit() and the launch of a bare CUDA graph of as many nodes. One line of JSON each.
//
// usage: bench_gpu_costs MODEL [--device cuda] [--tune fast] [--nodes 60] [--repetitions 2000]
#include <fmt/format.h>

#include <cstdio>
#include <vector>

#include "driver.h"
#include "predictor_runs.h"

namespace {

using namespace inflight;
using namespace bench_gpu;

constexpr std::size_t kPolls = 100;  // of one repetition: a poll is shorter than a look at the clock
constexpr std::size_t kQueries = 10;
constexpr std::size_t kWarmUp = 200;

void print(const std::string& what, const std::string& system, const std::string& unit,
           std::vector<double>& values, const std::string& more = "") {
  if (values.empty()) fail(fmt::format("{} of {}: nothing was measured", what, system));
  const double p50 = percentile(values, 0.5);
  const double p99 = percentile(values, 0.99);
  std::printf(
      "%s\n",
      fmt::format(
          R"({{"cost": "{}", "system": "{}", "p50_{}": {:.3f}, "p99_{}": {:.3f}, "repetitions": {}{}}})",
          what, system, unit, p50, unit, p99, values.size(), more)
          .c_str());
  std::fflush(stdout);
}

// ns of one can_read() that says no. Blocks of polls in the middle of which the prediction ended are left out.
std::vector<double> time_polls(Predictor& predictor, const Frame& frame, std::size_t repetitions) {
  std::vector<double> ns;
  for (std::size_t tries = 0; ns.size() < repetitions && tries < repetitions * 100; ++tries) {
    Frame copy = frame;
    const Prediction prediction = need(predictor.submit(std::move(copy)));
    while (!prediction.can_read() && ns.size() < repetitions) {
      bool ended = false;
      const auto start = SteadyClock::now();
      for (std::size_t i = 0; i < kPolls; ++i) ended |= prediction.can_read();
      const double took = microseconds_since(start) * 1e3 / kPolls;
      if (!ended) ns.push_back(took);
    }
    if (const Status ended = prediction.wait(); !ended.ok()) fail(ended.to_string());
  }
  return ns;
}

// us of one submit(), with at most `in_flight` out, each waited for by looking.
std::vector<double> time_submits(Predictor& predictor, const Frame& frame, std::size_t in_flight,
                                 std::size_t count) {
  std::vector<double> us;
  std::vector<Prediction> out(in_flight);
  for (std::size_t i = 0; i < kWarmUp + count; ++i) {
    Prediction& place = out[i % in_flight];
    while (place && !place.can_read()) {
    }
    place = Prediction();
    Frame copy = frame;
    const auto start = SteadyClock::now();
    Result<Prediction> prediction = predictor.submit(std::move(copy));
    const double took = microseconds_since(start);
    place = need(std::move(prediction));
    if (i >= kWarmUp) us.push_back(took);
  }
  for (const Prediction& place : out) {
    if (!place) continue;
    if (const Status ended = place.wait(); !ended.ok()) fail(ended.to_string());
  }
  return us;
}

}  // namespace

int main(int argc, char** argv) {
  Options options{{"--device", "cuda"}, {"--tune", "fast"}, {"--nodes", "60"}, {"--repetitions", "2000"}};
  read_options(argc, argv, "bench_gpu_costs MODEL [--OPTION VALUE]...", options);
  const std::size_t nodes = parse_counts("--nodes", option(options, "--nodes"), 1).front();
  const std::size_t repetitions = parse_counts("--repetitions", option(options, "--repetitions"), 1).front();
  const Model model = need(Model::load(argv[1]));
  const Runtime runtime = need(Runtime::open(need(Device::parse(option(options, "--device")))));
  std::shared_ptr<Allocator> memory = runtime.backend().output_allocator();
  if (memory == nullptr) memory = host_allocator();
  BareDevice bare;
  const std::string closed = bare.open();
  if (!closed.empty()) std::fprintf(stderr, "bench_gpu_costs: nothing to compare with: %s\n", closed.c_str());
  for (const std::size_t in_flight : {std::size_t{1}, std::size_t{8}}) {
    Predictor predictor =
        need(Predictor::create(model, {.runtime = runtime,
                                       .in_flight_limit = static_cast<int>(in_flight),
                                       .width = in_flight == 1 ? WidthPolicy::kWide : WidthPolicy::kNarrow,
                                       .keep_finished = false,
                                       .tune = need(parse_tune_level(option(options, "--tune")))}));
    const Frame frame = make_frame(predictor, "", memory);
    std::vector<double> submits = time_submits(predictor, frame, in_flight, repetitions);
    print("submit", "inflight", "us", submits, fmt::format(R"(, "in_flight": {})", in_flight));
    if (closed.empty()) {
      std::vector<double> launches;
      if (const std::string why = bare.time_graph_launches(nodes, in_flight, repetitions, launches);
          !why.empty())
        fail(why);
      print("submit", "cuGraphLaunch", "us", launches,
            fmt::format(R"(, "in_flight": {}, "nodes": {})", in_flight, nodes));
    }
    if (in_flight != 1) continue;
    std::vector<double> polls = time_polls(predictor, frame, repetitions);
    print("poll_pending", "inflight", "ns", polls);
    if (!closed.empty()) continue;
    std::vector<double> queries;
    if (const std::string why = bare.time_event_queries(repetitions, kQueries, queries); !why.empty())
      fail(why);
    print("poll_pending", "cuEventQuery", "ns", queries);
  }
}
