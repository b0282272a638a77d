// SPDX-License-Identifier: Apache-2.0
// Stream: the frames of one camera or client among those of a predictor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "inflight/clock.h"
#include "inflight/histogram.h"

namespace inflight {

namespace internal {
class PredictorCore;
class StreamState;
}  // namespace internal

// What submit() does with a frame for which there is no place.
enum class OverloadPolicy : std::uint8_t {
  kReject,      // refuses it at once
  kBlock,       // waits for a place: until block_timeout is over or the frame's deadline comes
  kDropOldest,  // takes the place of a frame that has not started: the oldest of its stream, which is dropped
  // Drops the frame of its stream that has not started, also where places are free: at most one frame waits,
  // the newest.
  kKeepLatest,
};
// "reject", "block", "drop-oldest", "keep-latest". Requires a policy of the enum.
std::string_view policy_name(OverloadPolicy policy);

// In which order take_finished() hands out what has finished, and what it leaves out. A handle is ready when
// its own prediction has finished, whatever the delivery.
enum class Delivery : std::uint8_t {
  kAsCompleted,
  kInOrder,  // as submitted: a prediction waits until those before it in its stream have ended
  // Completed and failed predictions only, and none that a newer one of its stream has overtaken: at most one
  // waits to be taken. The statistics count the others as `superseded` or by their outcome.
  kNewestOnly,
};
// "as-completed", "in-order", "newest-only". Requires a delivery of the enum.
std::string_view delivery_name(Delivery delivery);

// How a stream is made. Predictor::open_stream() checks every bound.
struct StreamOptions {
  std::string name = {};  // for people
  OverloadPolicy policy = OverloadPolicy::kReject;
  Duration block_timeout = Duration::max();  // for kBlock
  // Its part of the predictor when more waits than can run, relative to the other streams: above 0, to 1,000.
  double weight = 1;
  // Streams with a higher priority go first, whatever the weights: -8 to 7.
  int priority = 0;
  Delivery delivery = Delivery::kAsCompleted;
  // Predictions of this stream in flight, at most: 1 to the predictor's in_flight_limit; 0: as many as that.
  // At the limit the policy decides.
  int in_flight_limit = 0;
};

// Why a limit in flight is what it is.
enum class LimitReason : std::uint8_t {
  kFixed,      // PredictorOptions::in_flight_limit or StreamOptions::in_flight_limit
  kMeasuring,  // auto: too little has been measured under a load that reaches the limit
  kKnee,       // auto: the smallest number measured that keeps 97 % of the best throughput measured
};
// "fixed", "measuring", "knee". Requires a LimitReason of the enum.
std::string_view limit_reason_name(LimitReason reason);

// How many submissions had which outcome. At every instant that a caller can observe,
// submitted == completed + failed + rejected + dropped + expired + cancelled + in_flight.
struct Statistics {
  std::uint64_t submitted = 0, completed = 0, failed = 0, rejected = 0, dropped = 0, expired = 0,
                cancelled = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t in_flight_max = 0;                 // the most there ever were
  std::uint64_t wide = 0, medium = 0, narrow = 0;  // of those that ran, by width
  std::uint64_t late = 0;                          // of those rejected, the ones that refuse_late refused
  // Of those that completed or failed: not handed out by take_finished(), because a newer one came first
  // (Delivery::kNewestOnly).
  std::uint64_t superseded = 0;
  int in_flight_limit = 0;  // as it is now; of a stream: its own or, where that is smaller, the predictor's
  LimitReason limit_reason = LimitReason::kFixed;
};

// One camera or client. A value: copies are handles to the same stream, which is closed when the last handle
// and the last prediction of it have gone. May outlive the predictor.
//   thread   any; one handle object is like an int: no thread may assign to it while another one reads it
//   owns     about 40 KB, most of it for the histograms
class Stream {
 public:
  // Names nothing: a frame without a stream, which the options of the predictor apply to.
  Stream() noexcept = default;
  explicit Stream(std::shared_ptr<internal::StreamState> state) noexcept : state_(std::move(state)) {}

  explicit operator bool() const noexcept { return state_ != nullptr; }
  // StreamOptions::name; "" of no stream.
  std::string_view name() const noexcept;
  // The options with which it was opened; the defaults of no stream.
  StreamOptions options() const;

  // Whether no limit stands in the way of a frame of it at this instant: it would get a place, if need be that of one
  // that may be dropped. So a thread that serves several streams need not block for one of them. Only another thread that
  // submits can take the place before this one does, or an automatic limit that falls. What submit() refuses for another
  // reason (the predictor is shutting down, the device is lost) it refuses all the same. To ask counts as a submission in
  // one way: the stream has its share of the places for the next two seconds. False for no stream. Takes one lock, shortly.
  bool has_place() const;
  // The counts of its own frames at this instant. Those of all streams that a predictor had, and of the frames
  // without a stream, add up to the predictor's, but for in_flight_max. Takes one lock, shortly.
  Statistics statistics() const;
  // From due to finished, in ns, of its completed predictions. Takes one lock, for a copy of 18 KiB.
  Histogram latency() const;
  // How old its newest result was, in ns, from when that frame was due: over the time from the first result
  // to the newest one, where each microsecond counts once. As latency().
  Histogram age() const;

  friend bool operator==(const Stream& a, const Stream& b) noexcept { return a.state_ == b.state_; }

 private:
  friend class internal::PredictorCore;
  std::shared_ptr<internal::StreamState> state_;
};

}  // namespace inflight
