// SPDX-License-Identifier: Apache-2.0
#include "predictor/stream_queue.h"

#include <algorithm>
#include <cmath>

namespace inflight::internal {

Job& StreamQueue::pop() noexcept {
  SchedulerStream& stream = *ready_.first();
  Job& job = *stream.queued.pop_front();
  now(stream.priority) = stream.turn;
  stream.turn += 1 / stream.weight;
  if (stream.queued.empty()) {
    ready_.remove(stream);
  } else {
    ready_.moved(stream);
  }
  leave(job);
  return job;
}

void StreamQueue::enter_dropping(Job& job) noexcept {
  SchedulerStream& stream = *job.stream;
  stream.waiting.push_back(job);
  if (stream.waiting_count == 1) {
    catch_up(stream);
    victims_.add(stream);
  } else {
    victims_.moved(stream);
  }
}

void StreamQueue::leave_dropping(Job& job) noexcept {
  SchedulerStream& stream = *job.stream;
  stream.waiting.remove(job);
  if (stream.waiting_count == 0) {
    victims_.remove(stream);
  } else {
    victims_.moved(stream);  // also because its turn may have changed
  }
}

void StreamQueue::make_ready(SchedulerStream& stream) noexcept {
  catch_up(stream);
  ready_.add(stream);
  victims_.moved(stream);
}

void StreamQueue::remove(Job& job) noexcept {
  SchedulerStream& stream = *job.stream;
  stream.queued.remove(job);
  if (stream.queued.empty()) ready_.remove(stream);
}

int StreamQueue::ahead_of(const SchedulerStream& stream) const noexcept {
  const double turn = caught_up(stream) + static_cast<double>(stream.waiting_count) / stream.weight;
  double ahead = static_cast<double>(stream.waiting_count);
  for (const SchedulerStream* other : ready_.items()) {
    if (other == &stream || other->priority < stream.priority) continue;
    const auto waiting = static_cast<double>(other->waiting_count);
    const bool all = other->priority > stream.priority;
    ahead += all ? waiting : std::clamp(std::ceil((turn - other->turn) * other->weight), 0.0, waiting);
  }
  return static_cast<int>(ahead);
}

Job* StreamQueue::victim_for(const SchedulerStream& stream) const noexcept {
  SchedulerStream* const last = victims_.first();
  if (last == nullptr || last == &stream) return nullptr;
  if (stream.priority < last->priority) return nullptr;
  // Without the correction of push(): a stream that was refused for long has the smaller turn.
  const double turn = stream.turn + static_cast<double>(stream.waiting_count) / stream.weight;
  if (stream.priority == last->priority && turn >= last_turn(*last)) return nullptr;
  return last->waiting.front();
}

}  // namespace inflight::internal
