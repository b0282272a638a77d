// SPDX-License-Identifier: Apache-2.0
#include "predictor_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>

#include "driver.h"

namespace bench_gpu {

using namespace inflight;

namespace {

constexpr std::size_t kLatenciesMax = std::size_t{1} << 20;
constexpr std::uint64_t kMemorySamples = 10;
constexpr Duration kSettle = std::chrono::milliseconds(20);

template <typename T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

double microseconds_since(SteadyClock::time_point start) {
  return std::chrono::duration<double, std::micro>(SteadyClock::now() - start).count();
}

void fail(const std::string& why) {
  std::fprintf(stderr, "bench_gpu: %s\n", why.c_str());
  std::exit(1);  // NOLINT(concurrency-mt-unsafe)
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

void read_options(int argc, char** argv, const char* usage, Options& options) {
  if (argc < 2 || argc % 2 != 0) fail(std::string("usage: ") + usage);
  for (int i = 2; i < argc; i += 2) {
    const auto found =
        std::find_if(options.begin(), options.end(), [&](const auto& one) { return one.first == argv[i]; });
    if (found == options.end()) fail(fmt::format("no option {}; usage: {}", argv[i], usage));
    found->second = argv[i + 1];
  }
}

const std::string& option(const Options& options, std::string_view name) {
  for (const auto& [key, value] : options) {
    if (key == name) return value;
  }
  fail(fmt::format("no option {}", name));
}

std::vector<std::size_t> parse_counts(const std::string& name, const std::string& text, std::size_t least) {
  std::vector<std::size_t> counts;
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    const std::optional<std::size_t> count = parse_number<std::size_t>(rest.substr(0, comma));
    if (!count || *count < least)
      fail(
          fmt::format("{}: got \"{}\", want numbers of at least {}, with commas between", name, text, least));
    counts.push_back(*count);
    if (comma == std::string_view::npos) return counts;
    rest.remove_prefix(comma + 1);
  }
}

double parse_seconds(const std::string& name, const std::string& text) {
  const std::optional<double> seconds = parse_number<double>(text);
  if (!seconds || !(*seconds >= 0) || !(*seconds <= 1e6))
    fail(fmt::format("{}: got \"{}\", want seconds, 0 to 1000000", name, text));
  return *seconds;
}

Frame make_frame(const Predictor& predictor, const std::string& file,
                 const std::shared_ptr<Allocator>& allocator) {
  Frame frame;
  unsigned state = 12345;
  for (const TensorSpec& spec : predictor.inputs()) {
    Buffer buffer = need(Buffer::allocate(spec.bytes(), allocator));
    if (frame.inputs.empty() && !file.empty()) {
      std::ifstream stream(file, std::ios::binary);
      stream.read(reinterpret_cast<char*>(buffer.bytes()), static_cast<std::streamsize>(spec.bytes()));
      if (stream.gcount() != static_cast<std::streamsize>(spec.bytes()))
        fail(fmt::format("{}: got {} bytes, want {} for \"{}\"", file, stream.gcount(), spec.bytes(),
                         spec.name));
    } else if (spec.dtype == DType::kF32) {
      auto* const values = reinterpret_cast<float*>(buffer.bytes());
      for (std::size_t i = 0; i < spec.shape.elements(); ++i) {
        state = state * 1664525U + 1013904223U;
        values[i] = static_cast<float>(state >> 8U) / static_cast<float>(1U << 24U);
      }
    } else {
      std::fill_n(buffer.bytes(), buffer.size(), std::byte{1});
    }
    frame.inputs.push_back(
        {spec.name, need(NDArray::from_buffer(std::move(buffer), spec.dtype, spec.shape))});
  }
  return frame;
}

Closed run_closed(Predictor& predictor, const Frame& frame, std::size_t in_flight, double seconds,
                  std::uint64_t count) {
  std::vector<std::optional<Prediction>> out(in_flight);
  std::vector<SteadyClock::time_point> began(in_flight);
  Closed closed;
  // Touched now, so that memory that grows is not ours.
  closed.latencies.assign(kLatenciesMax, 1.0);
  closed.latencies.clear();
  double in_submit = 0;
  std::uint64_t submitted = 0;
  const auto sample = [&] { closed.memory.emplace_back(resident_kib(), device_memory_used_kib()); };
  if (count != 0) sample();
  const auto start = SteadyClock::now();
  for (std::size_t waiting = 1; waiting != 0;) {
    waiting = 0;
    const bool late = count == 0 && microseconds_since(start) > seconds * 1e6;
    for (std::size_t k = 0; k < in_flight; ++k) {
      if (out[k] && out[k]->can_read()) {
        if (const Status ended = out[k]->status(); !ended.ok()) fail(ended.to_string());
        ++closed.finished;
        if (closed.latencies.size() < kLatenciesMax) closed.latencies.push_back(microseconds_since(began[k]));
        out[k].reset();
        if (count != 0 && closed.finished % std::max<std::uint64_t>(1, count / kMemorySamples) == 0) sample();
      }
      if (!out[k] && (count != 0 ? submitted < count : !late)) {
        Frame copy = frame;
        began[k] = SteadyClock::now();
        out[k] = need(predictor.submit(std::move(copy)));
        in_submit += microseconds_since(began[k]);
        ++submitted;
      }
      if (out[k]) ++waiting;
    }
  }
  closed.rate = static_cast<double>(closed.finished) / (microseconds_since(start) / 1e6);
  closed.submit_us = submitted == 0 ? 0 : in_submit / static_cast<double>(submitted);
  return closed;
}

Open run_open(Predictor& predictor, const Frame& frame, const std::vector<double>& due) {
  struct Out {
    Prediction prediction;
    SteadyClock::time_point due;
  };
  std::vector<Out> out;
  Open open;
  open.latencies.reserve(due.size());
  const auto start = SteadyClock::now() + kSettle;
  const auto due_at = [&](std::size_t i) {
    return start + std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(due[i]));
  };
  for (std::size_t next = 0; next < due.size() || !out.empty();) {
    if (next < due.size() && SteadyClock::now() >= due_at(next)) {
      Frame copy = frame;
      copy.due = due_at(next);
      open.late_max_us = std::max(open.late_max_us, microseconds_since(due_at(next)));
      Result<Prediction> prediction = predictor.submit(std::move(copy));
      if (prediction.ok()) {
        out.push_back({*std::move(prediction), due_at(next)});
      } else if (prediction.status().code() == StatusCode::kOverloaded) {
        ++open.refused;
        open.latencies.push_back(std::numeric_limits<double>::infinity());
      } else {
        fail(prediction.status().to_string());
      }
      ++next;
    }
    for (std::size_t k = 0; k < out.size();) {
      if (!out[k].prediction.can_read()) {
        ++k;
        continue;
      }
      open.latencies.push_back(microseconds_since(out[k].due));
      if (const Status ended = out[k].prediction.status(); !ended.ok()) fail(ended.to_string());
      out[k] = std::move(out.back());
      out.pop_back();
    }
  }
  open.seconds = microseconds_since(start) / 1e6;
  return open;
}

std::vector<double> read_plan(const std::string& path) {
  std::ifstream file(path);
  if (!file) fail(path + ": cannot be read");
  std::vector<double> due;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    std::string word = line.substr(0, line.find('#'));
    while (!word.empty() && (word.back() == ' ' || word.back() == '\r')) word.pop_back();
    if (word.empty()) continue;
    const std::optional<double> seconds = parse_number<double>(word);
    if (!seconds || !(*seconds >= (due.empty() ? 0 : due.back())) || !(*seconds <= 1e6))
      fail(fmt::format("{}: line {}: got \"{}\", want seconds of at least 0, in their order", path, number,
                       word));
    due.push_back(*seconds);
  }
  if (due.empty()) fail(path + ": no arrivals, want at least one");
  return due;
}

}  // namespace bench_gpu
