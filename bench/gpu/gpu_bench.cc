// SPDX-License-Identifier: Apache-2.0
// One model on one device, through the public Predictor: rate and latency at each number in flight. It prints one
// line of JSON for each number; gpu.py makes rows of them.
//
// usage: bench_gpu MODEL [--device cuda] [--precision auto] [--in-flight 1,2,4,8,16] [--seconds 3] [--count 0]
//                  [--tune fast] [--width auto|wide|narrow] [--input FILE --output FILE]
//
// `--width auto`: one in flight runs wide, more run narrow. `--count N` runs N predictions instead of a time.
// `--input FILE`: raw bytes of the first input; `--output FILE` gets those of the first output.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "inflight/inflight.h"

namespace {

using namespace inflight;
using SteadyClock = std::chrono::steady_clock;

double microseconds(SteadyClock::time_point since) {
  return std::chrono::duration<double, std::micro>(SteadyClock::now() - since).count();
}

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "bench_gpu: %s\n", why.c_str());
  std::exit(1);  // NOLINT(concurrency-mt-unsafe)
}

template <typename T>
T need(Result<T> result) {
  if (!result.ok()) fail(result.status().to_string());
  return std::move(result).value();
}

double percentile(std::vector<double>& values, double at) {
  if (values.empty()) return 0;
  const auto place =
      std::min(values.size() - 1, static_cast<std::size_t>(at * static_cast<double>(values.size())));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(place), values.end());
  return values[place];
}

long resident_kib() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::strtol(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

std::vector<NDArray> make_inputs(const Predictor& predictor, const std::string& file) {
  std::vector<NDArray> inputs;
  unsigned state = 12345;
  for (const TensorSpec& spec : predictor.inputs()) {
    Buffer buffer = need(Buffer::allocate(spec.bytes()));
    if (inputs.empty() && !file.empty()) {
      std::ifstream stream(file, std::ios::binary);
      stream.read(reinterpret_cast<char*>(buffer.bytes()), static_cast<std::streamsize>(spec.bytes()));
      if (stream.gcount() != static_cast<std::streamsize>(spec.bytes()))
        fail(file + " is too short for " + spec.name);
    } else if (spec.dtype == DType::kF32) {
      auto* const values = reinterpret_cast<float*>(buffer.bytes());
      for (std::size_t i = 0; i < spec.shape.elements(); ++i) {
        state = state * 1664525U + 1013904223U;
        values[i] = static_cast<float>(state >> 8U) / static_cast<float>(1U << 24U);
      }
    } else {
      std::fill_n(buffer.bytes(), buffer.size(), std::byte{1});
    }
    inputs.push_back(need(NDArray::from_buffer(std::move(buffer), spec.dtype, spec.shape)));
  }
  return inputs;
}

Frame frame_of(const Predictor& predictor, const std::vector<NDArray>& inputs) {
  Frame frame;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    frame.inputs.push_back({predictor.inputs()[i].name, inputs[i]});
  return frame;
}

struct Measured {
  double rate = 0, submit_us = 0;
  std::vector<double> latencies;
  std::uint64_t finished = 0;
};

// Keeps `in_flight` predictions out, from one thread, and looks at each in turn.
Measured run(Predictor& predictor, const std::vector<NDArray>& inputs, std::size_t in_flight, double seconds,
             std::uint64_t count) {
  std::vector<std::optional<Prediction>> out(in_flight);
  std::vector<SteadyClock::time_point> began(in_flight);
  Measured measured;
  measured.latencies.reserve(1 << 20);
  double in_submit = 0;
  std::uint64_t submitted = 0;
  const auto start = SteadyClock::now();
  for (std::size_t waiting = 1; waiting != 0;) {
    waiting = 0;
    const bool over = count != 0 ? submitted >= count : microseconds(start) > seconds * 1e6;
    for (std::size_t k = 0; k < in_flight; ++k) {
      if (out[k] && out[k]->can_read()) {
        if (!out[k]->status().ok()) fail(out[k]->status().to_string());
        ++measured.finished;
        if (measured.latencies.size() < measured.latencies.capacity())
          measured.latencies.push_back(microseconds(began[k]));
        out[k].reset();
      }
      if (!out[k] && !over) {
        began[k] = SteadyClock::now();
        out[k] = need(predictor.submit(frame_of(predictor, inputs)));
        in_submit += microseconds(began[k]);
        ++submitted;
      }
      if (out[k]) ++waiting;
    }
  }
  measured.rate = static_cast<double>(measured.finished) / (microseconds(start) / 1e6);
  measured.submit_us = submitted == 0 ? 0 : in_submit / static_cast<double>(submitted);
  return measured;
}

std::map<std::string, std::string> read_options(int argc, char** argv) {
  std::map<std::string, std::string> options{
      {"--device", "cuda"}, {"--precision", "auto"}, {"--in-flight", "1,2,4,8,16"},
      {"--seconds", "3"},   {"--count", "0"},        {"--width", "auto"},
      {"--input", ""},      {"--output", ""},        {"--tune", "fast"}};
  if (argc < 2 || argc % 2 != 0) fail("usage: bench_gpu MODEL [--OPTION VALUE]...");
  for (int i = 2; i < argc; i += 2) {
    if (!options.contains(argv[i])) fail(std::string("no option ") + argv[i]);
    options[argv[i]] = argv[i + 1];
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> options = read_options(argc, argv);
  const Model model = need(Model::load(argv[1]));
  const Runtime runtime = need(Runtime::open(need(Device::parse(options["--device"]))));
  std::stringstream list(options["--in-flight"]);
  for (std::string word; std::getline(list, word, ',');) {
    const auto in_flight =
        static_cast<std::size_t>(std::max(1, std::atoi(word.c_str())));  // NOLINT(cert-err34-c)
    const std::string wanted = options["--width"];
    const WidthPolicy width = wanted == "auto" ? (in_flight == 1 ? WidthPolicy::kWide : WidthPolicy::kNarrow)
                                               : need(parse_width_policy(wanted));
    const auto loading = SteadyClock::now();
    Predictor predictor =
        need(Predictor::create(model, {.runtime = runtime,
                                       .in_flight_limit = static_cast<int>(in_flight),
                                       .precision = need(parse_precision(options["--precision"])),
                                       .width = width,
                                       .keep_finished = false,
                                       .tune = need(parse_tune_level(options["--tune"]))}));
    const double load_s = microseconds(loading) / 1e6;
    const std::vector<NDArray> inputs = make_inputs(predictor, options["--input"]);
    if (!options["--output"].empty()) {
      const Prediction once = need(predictor.submit(frame_of(predictor, inputs)));
      if (const Status ended = once.wait(); !ended.ok()) fail(ended.to_string());
      const NDArray scores = once.output(0);
      const TensorView view = need(scores.read());
      std::ofstream(options["--output"], std::ios::binary)
          .write(static_cast<const char*>(view.data), static_cast<std::streamsize>(view.bytes()));
    }
    run(predictor, inputs, in_flight, 0.5, 0);
    const long before = resident_kib();
    Measured one = run(predictor, inputs, in_flight, std::atof(options["--seconds"].c_str()),
                       static_cast<std::uint64_t>(std::atoll(options["--count"].c_str())));
    const Statistics counts = predictor.statistics();
    std::printf(
        "{\"device\": \"%s\", \"in_flight\": %zu, \"width\": \"%s\", \"rate\": %.1f, \"p50_us\": %.1f, "
        "\"p99_us\": %.1f, "
        "\"submit_us\": %.2f, \"load_s\": %.3f, \"finished\": %llu, \"submitted\": %llu, \"completed\": "
        "%llu, "
        "\"resident_grew_kib\": %ld}\n",
        runtime.device_description().c_str(), in_flight, std::string(width_policy_name(width)).c_str(),
        one.rate, percentile(one.latencies, 0.5), percentile(one.latencies, 0.99), one.submit_us, load_s,
        static_cast<unsigned long long>(one.finished), static_cast<unsigned long long>(counts.submitted),
        static_cast<unsigned long long>(counts.completed), resident_kib() - before);
    std::fflush(stdout);
  }
}
