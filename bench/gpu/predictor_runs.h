// SPDX-License-Identifier: Apache-2.0
// What the programs of this benchmark do with a predictor: the public interface alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "inflight/inflight.h"

namespace bench_gpu {

using SteadyClock = std::chrono::steady_clock;

double microseconds_since(SteadyClock::time_point start);

// Prints one line on stderr and ends the program with 1.
[[noreturn]] void fail(const std::string& why);

template <typename T>
T need(inflight::Result<T> result) {
  if (!result.ok()) fail(result.status().to_string());
  return std::move(result).value();
}

// The value below which that share of the values lies; 0 of none. Reorders them.
double percentile(std::vector<double>& values, double at);

// VmRSS of this process.
long resident_kib();

// The words after the first one, in pairs of an option and its value. Ends the program at an option that `options`
// does not have.
using Options = std::vector<std::pair<std::string, std::string>>;
void read_options(int argc, char** argv, const char* usage, Options& options);
const std::string& option(const Options& options, std::string_view name);
// Numbers with commas between them, each `least` at least.
std::vector<std::size_t> parse_counts(const std::string& name, const std::string& text, std::size_t least);
double parse_seconds(const std::string& name, const std::string& text);

// A frame of random numbers.
//   file       raw bytes of the first input; "": random as well
//   allocator  where the inputs lie
inflight::Frame make_frame(const inflight::Predictor& predictor, const std::string& file,
                           const std::shared_ptr<inflight::Allocator>& allocator);

struct Closed {
  double rate = 0, submit_us = 0;  // predictions a second; mean of submit()
  std::vector<double> latencies;   // us; of the first 2^20
  std::uint64_t finished = 0;
  std::vector<std::pair<long, long>>
      memory;  // at each tenth of `count`: KiB resident, KiB used on the device
};

// Keeps `in_flight` predictions out, from one thread, which looks at each in turn. Ends the program at a failure.
//   count   how many; 0: as many as fit into `seconds`
Closed run_closed(inflight::Predictor& predictor, const inflight::Frame& frame, std::size_t in_flight,
                  double seconds, std::uint64_t count);

struct Open {
  std::vector<double>
      latencies;  // us from when each frame was due until this thread saw its result; infinite if refused
  std::uint64_t refused = 0;  // submit() had no place
  double late_max_us = 0;     // the longest from when a frame was due until it was submitted
  double seconds = 0;         // until the last one ended
};

// Submits each frame when it is due, whatever became of the earlier ones, from one thread that never sleeps and also
// looks for results.
//   due   seconds from the start, in order
Open run_open(inflight::Predictor& predictor, const inflight::Frame& frame, const std::vector<double>& due);

// A file with one number of seconds a line; what follows a # is a comment. Ends the program where there is something else.
std::vector<double> read_plan(const std::string& path);

}  // namespace bench_gpu
