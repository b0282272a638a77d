// SPDX-License-Identifier: Apache-2.0
#include "load/runner.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/scheduling.h"

namespace inflight::load {
namespace {

// Until the first frame is due: all threads are asleep again by then.
constexpr Duration kSettle = std::chrono::milliseconds(20);
constexpr Duration kSlice = std::chrono::milliseconds(50);

// The books of one run.
class Books {
 public:
  Books(Target& target, const Clock& clock, TimePoint start)
      : target_(target), clock_(clock), start_(start) {}

  Status hand_over(std::size_t index, int stream, TimePoint due) {
    Sample& sample = run.samples[index];
    sample.due = due - start_;
    sample.stream = stream;
    const TimePoint called = clock_.now();
    INFLIGHT_TRY_ASSIGN(const bool admitted, target_.start(index, stream, due));
    const TimePoint returned = clock_.now();
    sample.submit = returned - called;
    run.late_max = std::max(run.late_max, called - due);
    if (admitted) {
      ++flying;
    } else {
      sample.outcome = Outcome::kRejected;
      sample.finished = returned - start_;
    }
    return {};
  }

  // Enters what has ended.
  void settle() {
    ends_.clear();
    target_.take(ends_);
    for (const End& end : ends_) {
      Sample& sample = run.samples[end.index];
      INFLIGHT_CHECK(sample.outcome == Outcome::kPending && flying > 0);  // each ends once
      sample.outcome = end.outcome;
      sample.finished = end.finished - start_;
      if (end.started != TimePoint()) sample.started = end.started - start_;
      if (end.width) sample.width = static_cast<std::int8_t>(*end.width);
      sample.slot = end.slot;
      --flying;
    }
  }

  void settle_all() {
    for (settle(); flying > 0; settle()) target_.wait_until(clock_.now() + kSlice);
    run.wall = clock_.now() - start_;
  }

  LoadRun run;
  std::uint64_t flying = 0;

 private:
  Target& target_;
  const Clock& clock_;
  const TimePoint start_;
  std::vector<End> ends_;
};

}  // namespace

Result<LoadRun> run_open(Target& target, const Plan& plan, std::optional<Duration> deadline,
                         const Clock& clock) {
  internal::wake_on_time();
  INFLIGHT_TRY(target.begin(plan.streams, deadline));
  const TimePoint start = clock.now() + kSettle;
  Books books(target, clock, start);
  books.run.length = plan.length;
  books.run.deadline = deadline;
  books.run.samples.resize(plan.arrivals.size());
  for (std::size_t i = 0; i < plan.arrivals.size(); ++i) {
    const TimePoint due = start + plan.arrivals[i].due;
    clock.sleep_until(due);
    INFLIGHT_TRY(books.hand_over(i, plan.arrivals[i].stream, due));
    books.settle();
  }
  books.settle_all();
  return std::move(books.run);
}

Result<LoadRun> run_closed(Target& target, int in_flight, Duration length, const Clock& clock) {
  internal::wake_on_time();
  INFLIGHT_TRY(target.begin(1, std::nullopt));
  const TimePoint start = clock.now();
  Books books(target, clock, start);
  books.run.length = length;
  books.run.in_flight = in_flight;
  while (true) {
    while (books.flying < static_cast<std::uint64_t>(in_flight)) {
      const TimePoint now = clock.now();
      if (now - start >= length) {
        books.settle_all();
        return std::move(books.run);
      }
      const std::size_t index = books.run.samples.size();
      if (index == Plan::kArrivalsMax) {
        return Status(StatusCode::kInvalidArgument,
                      fmt::format("{} frames in {:.1f} s: want a shorter run", index,
                                  std::chrono::duration<double>(now - start).count()));
      }
      books.run.samples.emplace_back();
      INFLIGHT_TRY(books.hand_over(index, 0, now));
      if (books.run.samples.back().outcome == Outcome::kRejected) {
        return Status(StatusCode::kInvalidArgument,
                      fmt::format("{} in flight: the system takes {} at most", in_flight, books.flying));
      }
    }
    target.wait_until(clock.now() + kSlice);
    books.settle();
  }
}

}  // namespace inflight::load
