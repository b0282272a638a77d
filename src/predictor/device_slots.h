// SPDX-License-Identifier: Apache-2.0
// DeviceSlots: what the scheduler keeps of one device of the predictor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "predictor/job.h"
#include "predictor/width_rule.h"

namespace inflight::internal {

// The slots of one device, numbered behind those of the devices before it.
//   thread   one at a time: the scheduler's owner has a lock
struct DeviceSlots {
  //   first   the number of its first slot
  DeviceSlots(WidthPolicy its_width, int first, int count, const WidthOffer& offer)
      : width(its_width),
        slots(count),
        width_rule(count, offer),
        first_slot_(first),
        users_(static_cast<std::size_t>(count), kNoThread) {
    free.reserve(static_cast<std::size_t>(count));
    for (int slot = first + count - 1; slot >= first; --slot) free.push_back(slot);
  }

  bool elastic() const noexcept { return width == WidthPolicy::kElastic; }
  // How many launches of the width may run at once.
  int at_once(Width its_width) const noexcept { return elastic() ? width_rule.at_once(its_width) : slots; }
  // How many of its slots what runs takes; an elastic wide launch has all of the device.
  int busy() const noexcept { return running * slots / at_once(running_width); }
  // For how long nothing has run.
  Duration idle(TimePoint now) const noexcept {
    return running > 0 ? Duration(0) : std::max(Duration(0), now - last_end);
  }
  // Whether a smaller part of its slots is busy than of the other's.
  bool less_busy_than(const DeviceSlots& other) const noexcept {
    return static_cast<std::int64_t>(busy()) * other.slots < static_cast<std::int64_t>(other.busy()) * slots;
  }

  // A free slot, so that its memory is in the caches of the thread's processor: the one that the thread used last, else
  // one that no thread has used, else the one that became free last. Requires that one is free.
  int take_slot(int thread) noexcept {
    auto place = free_of(thread);
    if (place == free.end()) place = free_of(kNoThread);
    if (place == free.end()) --place;
    const int slot = *place;
    free.erase(place);
    user_of(slot) = thread;
    return slot;
  }

  const WidthPolicy width;
  const int slots;
  WidthRule width_rule;
  std::vector<int> free;  // none once it is lost
  int running = 0;
  Width running_width = Width::kNarrow;  // of the newest launch
  TimePoint last_end{};                  // of a launch
  bool lost = false;
  std::uint64_t completed = 0, failed = 0;  // of those that ran here

 private:
  static constexpr int kNoThread = -1;

  int& user_of(int slot) noexcept { return users_[static_cast<std::size_t>(slot - first_slot_)]; }
  // Of the free slots that the thread used last, the one that became free last; end(): there is none.
  std::vector<int>::iterator free_of(int thread) noexcept {
    const auto found =
        std::find_if(free.rbegin(), free.rend(), [&](int slot) { return user_of(slot) == thread; });
    return found == free.rend() ? free.end() : found.base() - 1;
  }

  const int first_slot_;    // its number
  std::vector<int> users_;  // the thread that used each slot last
};

}  // namespace inflight::internal
