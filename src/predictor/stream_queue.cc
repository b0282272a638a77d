// SPDX-License-Identifier: Apache-2.0
#include "predictor/stream_queue.h"

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
