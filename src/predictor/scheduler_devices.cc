// SPDX-License-Identifier: Apache-2.0
// The part of the scheduler that looks at the devices: which one a job is for, at which width, what becomes of a
// device that is lost, and when a prediction would finish.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "predictor/scheduler.h"

namespace inflight::internal {

namespace {

Width only_width(WidthPolicy policy) { return policy == WidthPolicy::kWide ? Width::kWide : Width::kNarrow; }

Duration service_of(const DeviceSlots& device, Width width, int together) {
  const ServiceTimes& times = device.width_rule.times();
  return Duration(std::llround(width == Width::kWide ? times.wide() : times.narrow(together)));
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
void Scheduler::arrived(TimePoint now, bool none_waits) noexcept {
  std::size_t index = devices_.size() == 1 ? 0 : next_device();
  for (std::size_t i = 0; index == kNoDevice && i < devices_.size(); ++i) {
    arrival_turn_ = (arrival_turn_ + 1) % devices_.size();
    if (!devices_[arrival_turn_].lost) index = arrival_turn_;
  }
  if (index == kNoDevice || !devices_[index].elastic()) return;
  DeviceSlots& device = devices_[index];
  device.width_rule.arrived(now, none_waits && device.narrow_running + device.wide_running == 0);
}

Width Scheduler::next_width(std::size_t index, TimePoint now, bool alone) const noexcept {
  const DeviceSlots& device = devices_[index];
  if (!device.elastic()) return only_width(device.width);
  return device.width_rule.choose(
      {now, waiting_for_one(), device.narrow_running, !has_room(), alone, device.idle(now)});
}

Job* Scheduler::launch(std::size_t index, TimePoint now, Width width) noexcept {
  if (!can_launch(index)) return nullptr;
  DeviceSlots& device = devices_[index];
  Job& job = queue_.pop();
  --queued_count_;
  deadlines_.remove(job);
  job.stage = Stage::kRunning;
  job.width = width;
  job.warmth = device.width_rule.started(width, now, device.idle(now));
  if (width == Width::kNarrow) {
    job.together = ++device.narrow_running;
  } else {
    ++device.wide_running;
  }
  job.slot = device.free.back();
  device.free.pop_back();
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
  // An elastic wide launch has the device for itself.
  const bool one = device.elastic() && width == Width::kWide;
  TimePoint last = TimePoint::min();
  for (const Job* job = running_.front(); job != nullptr; job = running_.after(*job)) {
    if (&device_of(job->slot) != &device) continue;
    const TimePoint end = job->times.launched + service_of(device, job->width, job->together);
    last = std::max(last, end);
    if (one || (device.elastic() && job->width == Width::kWide)) continue;
    forecast_.runs_until(end);
  }
  const bool waits_for_all = one || (device.elastic() && device.wide_running > 0);
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
    const int its_servers = device.elastic() && its_width == Width::kWide ? 1 : device.slots;
    forecast_runs(device, its_width, its_servers);
    servers += its_servers;
    const int running = device.narrow_running + device.wide_running;
    service = service_of(device, its_width, std::min(running + waiting_for_one() + 1, device.slots));
    if (service <= Duration(0)) continue;
    measured += its_servers;
    rate += its_servers / static_cast<double>(service.count());
  }
  if (devices_left_ > 1 && measured > 0) service = Duration(std::llround(measured / rate));
  return forecast_.finish({now, servers, ahead, service});
}

bool Scheduler::follows_wide(const DeviceSlots& device) const noexcept {
  if (!device.elastic()) return device.width == WidthPolicy::kWide;
  return device.width_rule.times().wide() > 0 && device.width_rule.follows() == Width::kWide;
}

TimePoint Scheduler::forecast(const SchedulerStream& stream, TimePoint now, const Job* replaced) noexcept {
  bool wide = false;
  bool narrow = false;
  bool follows = false;
  for (const DeviceSlots& device : devices_) {
    if (device.lost) continue;
    wide = wide || (device.width != WidthPolicy::kNarrow && device.width_rule.times().wide() > 0);
    narrow = narrow || (device.width != WidthPolicy::kWide && device.width_rule.times().narrow(1) > 0);
    follows = follows || follows_wide(device);
  }
  if (!wide && !narrow) return TimePoint::min();
  const int ahead = ahead_of(stream, replaced);
  if (!narrow) return forecast(now, Width::kWide, ahead);
  if (!follows) return forecast(now, Width::kNarrow, ahead);
  return std::min(forecast(now, Width::kWide, ahead), forecast(now, Width::kNarrow, ahead));
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
    const Duration service = service_of(device, follows_wide(device) ? Width::kWide : Width::kNarrow, 1);
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
