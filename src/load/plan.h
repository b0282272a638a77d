// SPDX-License-Identifier: Apache-2.0
// When frames arrive: plans that are made before anything runs, so that a slow system cannot thin out its own load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "inflight/clock.h"
#include "inflight/status.h"

namespace inflight::load {

struct Arrival {
  Duration due{0};  // from the start of the run
  int stream = 0;   // from 0
  friend bool operator==(const Arrival&, const Arrival&) = default;
};

// In the order of `due`.
//   bound   kArrivalsMax arrivals
struct Plan {
  static constexpr std::size_t kArrivalsMax = 10'000'000;
  std::vector<Arrival> arrivals;
  Duration length{0};  // no arrival is due after it
  int streams = 1;
  // Arrivals a second.
  double rate() const noexcept;
};

// The kinds of plans. The same numbers and seed give the same plan on every machine.
enum class Arrivals : std::uint8_t {
  kPoisson,   // independent of each other
  kPeriodic,  // one a period, each early or late at random by at most half the jitter
  kCameras,   // periodic streams, each with a phase of its own
  kBursts,    // several at once, and then nothing for a while
  kRecorded,  // from a file
};

// A kind and its numbers, as a word names them:
//   poisson             at the rate of the sweep
//   periodic[:JITTER]   likewise; JITTER is a share of the period, 0 (the default) to 1
//   cameras:K@F[:JITTER]  K streams of F frames a second; the default jitter is 0.1
//   bursts:N@S          N frames at once, each S seconds
//   recorded:FILE       a file of plan_text()
struct PlanKind {
  Arrivals arrivals = Arrivals::kPoisson;
  double jitter = 0;
  int count = 1;          // of cameras, or frames of a burst
  double fps = 0;         // of a camera
  Duration every{0};      // between bursts
  std::string path = {};  // of a recording
  std::string word = {};  // as it was written

  // Whether make() needs a rate: the others have their own.
  bool wants_rate() const noexcept {
    return arrivals == Arrivals::kPoisson || arrivals == Arrivals::kPeriodic;
  }
};
//   errors   kInvalidArgument: `got X, want Y`
Result<PlanKind> parse_plan(const std::string& word);

// Makes the plan.
//   rate     arrivals a second, above 0; only for kinds that want one
//   length   above 0; a recording is cut off there
//   errors   kInvalidArgument: more than kArrivalsMax arrivals, or a line of a recording that is no arrival;
//            kNotFound: the recording cannot be read; kOutOfMemory
Result<Plan> make_plan(const PlanKind& kind, double rate, Duration length, std::uint64_t seed);

// One line for each arrival: seconds from the start, and the number of the stream unless it is 0. What follows
// a # is a comment.
std::string plan_text(const Plan& plan);

}  // namespace inflight::load
