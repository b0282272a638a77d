// SPDX-License-Identifier: Apache-2.0
// The part of the scheduler that looks at the devices: which one a job is for, at which width, what becomes of a
// device that is lost, and when a prediction would finish.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "predictor/scheduler.h"

namespace inflight::internal {

namespace {

Width only_width(WidthPolicy policy) { return policy == WidthPolicy::kWide ? Width::kWide : Width::kNarrow; }

Duration service_of(const DeviceSlots& device, Width width, int together) {
  return Duration(std::llround(device.width_rule.times().of(width, together)));
}

}  // namespace

// ---- Which device, and how wide

std::size_t Scheduler::next_device(std::uint32_t room) const noexcept {
  std::size_t next = kNoDevice;
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    if (devices_[i].free.empty() || (room >> i & 1U) == 0) continue;
    if (next == kNoDevice || devices_[i].less_busy_than(devices_[next])) next = i;
  }
  return next;
}

// The part of the queue that one device has before it.
int Scheduler::waiting_for_one() const noexcept {
  const auto devices = static_cast<int>(std::max<std::size_t>(devices_left_, 1));
  return (queued_count_ + devices - 1) / devices;
}

// An arrival, for the choice of width: on the device that the job would be for now. If none is free, it counts for
// each device in turn.
void Scheduler::arrived(TimePoint now) noexcept {
  std::size_t index = devices_.size() == 1 ? 0 : next_device();
  for (std::size_t i = 0; index == kNoDevice && i < devices_.size(); ++i) {
    arrival_turn_ = (arrival_turn_ + 1) % devices_.size();
    if (!devices_[arrival_turn_].lost) index = arrival_turn_;
  }
  if (index == kNoDevice || !devices_[index].elastic()) return;
  DeviceSlots& device = devices_[index];
  device.width_rule.arrived(now, waiting_for_one() + device.running, device.idle(now));
}

Width Scheduler::next_width(std::size_t index, TimePoint now, bool alone) const noexcept {
  const DeviceSlots& device = devices_[index];
  if (!device.elastic()) return only_width(device.width);
  return device.width_rule.choose(
      {now, waiting_for_one(), device.running, device.running_width, !has_room(), alone, device.idle(now)});
}

Job* Scheduler::launch(std::size_t index, TimePoint now, Width width, int thread) noexcept {
  if (!can_launch(index)) return nullptr;
  DeviceSlots& device = devices_[index];
  Job& job = queue_.pop();
  --queued_count_;
  deadlines_.remove(job);
  job.stage = Stage::kRunning;
  job.width = width;
  job.warmth = device.width_rule.started(width, now, device.idle(now));
  job.together = ++device.running;
  device.running_width = width;
  job.slot = device.take_slot(thread);
  --free_slots_;
  job.times.launched = now;
  running_.push_back(job);
  return &job;
}

void Scheduler::lose(std::size_t index, PlaceWaiters& granted) noexcept {
  DeviceSlots& device = devices_[index];
  if (device.lost) return;
  device.lost = true;
  free_slots_ -= static_cast<int>(device.free.size());
  device.free.clear();
  --devices_left_;
  if (!all_lost()) return;
  if (closed_ == Admission::kAdmit) closed_ = Admission::kRefuseLost;
  grant_places(granted);
}

// ---- What is to come

// How many of those that wait run before a new prediction of the stream.
int Scheduler::ahead_of(const SchedulerStream& stream, const Job* replaced) const noexcept {
  const int ahead = open_streams_ == 0 ? queued_count_ : std::min(queue_.ahead_of(stream), queued_count_);
  const bool one_less =
      replaced != nullptr && replaced->stream == &stream && replaced->stage == Stage::kQueued && ahead > 0;
  return one_less ? ahead - 1 : ahead;
}

// Tells the forecast when what runs on the device leaves it free for launches of this width.
//   servers   launches of this width that may run there at once
void Scheduler::forecast_runs(const DeviceSlots& device, Width width, int servers) noexcept {
  // It waits for those of another width, and for a wide one.
  const bool waits_for_all = device.elastic() && (width == Width::kWide || width != device.running_width);
  TimePoint last = TimePoint::min();
  for (const Job* job = running_.front(); job != nullptr; job = running_.after(*job)) {
    if (&device_of(job->slot) != &device) continue;
    const TimePoint end = job->times.launched + service_of(device, job->width, job->together);
    last = std::max(last, end);
    if (!waits_for_all) forecast_.runs_until(end);
  }
  if (!waits_for_all || last == TimePoint::min()) return;
  for (int i = 0; i < servers; ++i) forecast_.runs_until(last);
}

// Unlike devices count as alike ones that together do as much: the margin learns the difference.
TimePoint Scheduler::forecast(TimePoint now, Width width, int ahead) noexcept {
  forecast_.clear();
  int servers = 0;
  int measured = 0;  // of the servers
  double rate = 0;   // of those, launches in a ns
  Duration service(0);
  for (const DeviceSlots& device : devices_) {
    if (device.lost) continue;
    const Width its_width = device.elastic() ? width : only_width(device.width);
    const int its_servers = device.at_once(its_width);
    if (its_servers == 0) continue;  // it does not have the width
    forecast_runs(device, its_width, its_servers);
    servers += its_servers;
    service = service_of(device, its_width, std::min(device.running + waiting_for_one() + 1, its_servers));
    if (service <= Duration(0)) continue;
    measured += its_servers;
    rate += its_servers / static_cast<double>(service.count());
  }
  if (devices_left_ > 1 && measured > 0) service = Duration(std::llround(measured / rate));
  return forecast_.finish({now, servers, ahead, service});
}

// The width at which most of its predictions run at present.
Width Scheduler::usual_width(const DeviceSlots& device) const noexcept {
  if (!device.elastic()) return only_width(device.width);
  return device.width_rule.times().wide() > 0 ? device.width_rule.follows() : Width::kNarrow;
}

// The soonest at any of the widths at which it may run: the usual one, and those that are narrower.
TimePoint Scheduler::forecast(const SchedulerStream& stream, TimePoint now, const Job* replaced) noexcept {
  std::array<bool, kWidthCount> measured{};
  Width widest = Width::kNarrow;
  for (const DeviceSlots& device : devices_) {
    if (device.lost) continue;
    for (const Width width : kWidths) {
      if ((device.elastic() || width == only_width(device.width)) &&
          service_of(device, width, 1) > Duration(0))
        measured[index_of(width)] = true;
    }
    widest = std::min(widest, usual_width(device));
  }
  const int ahead = ahead_of(stream, replaced);
  TimePoint soonest = TimePoint::max();
  for (auto width = kWidths.rbegin(); width != kWidths.rend(); ++width) {
    const bool counts = *width >= widest || soonest == TimePoint::max();
    if (measured[index_of(*width)] && counts) soonest = std::min(soonest, forecast(now, *width, ahead));
  }
  return soonest == TimePoint::max() ? TimePoint::min() : soonest;
}

Duration Scheduler::retry_after(TimePoint now) const noexcept {
  if (all_lost()) return Duration::max();
  if (has_room()) return Duration(0);
  TimePoint first = TimePoint::max();
  for (const Job* job = running_.front(); job != nullptr; job = running_.after(*job)) {
    const DeviceSlots& device = device_of(job->slot);
    first = std::min(first, job->times.launched + service_of(device, job->width, job->together));
  }
  // Nothing runs or was measured, or what runs is overdue: a part of a service time, so that nobody spins.
  if (first == TimePoint::max()) return std::max(service_mean_, Duration(1));
  return std::max({first - now, service_mean_ / 16, Duration(1)});
}

// Of a launch that is alone on its device, the shortest that was measured; 0: none was.
Duration Scheduler::shortest_service() const noexcept {
  Duration shortest(0);
  for (const DeviceSlots& device : devices_) {
    if (device.lost) continue;
    const Duration service = service_of(device, usual_width(device), 1);
    if (service > Duration(0) && (shortest == Duration(0) || service < shortest)) shortest = service;
  }
  return shortest;
}

// The queue ahead shrinks as time passes, so the forecast for a later submission is nearer by that time.
Duration Scheduler::retry_after(TimePoint now, Duration within) noexcept {
  const Duration place = retry_after(now);
  const TimePoint expected = forecast(now);
  if (expected == TimePoint::min() || place == Duration::max()) return place;
  if (shortest_service() + forecast_.margin() > within) return Duration::max();
  return std::max(place, expected - now + forecast_.margin() - within);
}

}  // namespace inflight::internal
