// SPDX-License-Identifier: Apache-2.0
// What the scheduler keeps of one prediction (Job) and of one stream of them (SchedulerStream).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "inflight/backend.h"
#include "inflight/clock.h"
#include "inflight/internal/list.h"
#include "inflight/predictor.h"
#include "predictor/indexed_heap.h"
#include "predictor/result_age.h"
#include "predictor/width_rule.h"

namespace inflight::internal {

struct SchedulerStream;

// The stage of a job:
//   kAdmitted -> (kAwaitingInputs ->) kQueued -> kRunning -> kEnding -> kDone
// From each stage before kRunning it may also go straight to kEnding: cancelled, expired, dropped, or an input
// has failed.
enum class Stage : std::uint8_t { kAdmitted, kAwaitingInputs, kQueued, kRunning, kEnding, kDone };

struct ByAdmission;  // the list of what a stream may drop
struct ByDelivery;   // the list of what a stream delivers in order

// The owner keeps it alive from admit() to take() or take_superseded(), or to finished() if keep_finished is
// false.
struct Job : ListLink<>, ListLink<ByAdmission>, ListLink<ByDelivery>, DeadlineLink {
  Stage stage = Stage::kAdmitted;
  Outcome outcome = Outcome::kPending;
  Width width = Width::kNarrow;
  int slot = -1;                          // its own from launch() to finished(); after that, where it ran
  int together = 0;                       // launches that ran when it was launched, itself included
  Warmth warmth = Warmth::kWarm;          // when it was launched
  TimePoint expected = TimePoint::max();  // forecast() at its admission; max(): none was made
  std::uint64_t id = 0;
  SchedulerStream* stream = nullptr;  // never null between admit() and take(); it outlives the job
  PredictionTimes times;
};

// One stream, open or the one of the frames that name none. The owner keeps it alive while a job or a
// submitter refers to it.
struct SchedulerStream : ListLink<> {
  SchedulerStream(const StreamOptions& options, int predictor_limit, bool is_named) noexcept
      : policy(options.policy),
        delivery(options.delivery),
        weight(options.weight),
        priority(options.priority),
        limit(static_cast<std::uint64_t>(options.in_flight_limit > 0
                                             ? std::min(options.in_flight_limit, predictor_limit)
                                             : predictor_limit)),
        named(is_named) {}

  bool drops() const noexcept {
    return policy == OverloadPolicy::kDropOldest || policy == OverloadPolicy::kKeepLatest;
  }

  const OverloadPolicy policy;
  const Delivery delivery;
  const double weight;
  const int priority;
  const std::uint64_t limit;  // predictions in flight
  const bool named;           // it has books of its own

  // ---- Of StreamQueue
  List<Job> queued;                 // inputs there, the oldest first
  List<Job, ByAdmission> waiting;   // not started, the oldest first; only if it drops()
  std::uint64_t waiting_count = 0;  // not started, whatever the policy
  double turn = 0;                  // the virtual time of the oldest queued job
  std::size_t ready_place = kInNoHeap;
  std::size_t victim_place = kInNoHeap;

  // ---- Of Scheduler
  std::uint64_t in_flight = 0;
  int submitters = 0;                 // that wait for a place
  TimePoint seen;                     // when it last submitted
  List<Job, ByDelivery> undelivered;  // in the order of admission; only if delivered in order
  Job* newest = nullptr;              // finished and untaken; only if the newest alone is delivered
  std::uint64_t delivered_ids = 0;    // above every id that was ever in `newest`; likewise
  Statistics books;                   // if named
  Histogram latency;                  // if named
  ResultAge result_age;
  Histogram age;  // if named
};

}  // namespace inflight::internal
