// SPDX-License-Identifier: Apache-2.0
// DeadlineHeap: the frames that have a deadline, the earliest first.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/check.h"
#include "inflight/clock.h"

namespace inflight::internal {

// What a deadline heap keeps in each of its items.
struct DeadlineLink {
  static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);
  TimePoint deadline = TimePoint::max();
  std::size_t place = kNowhere;  // in the heap
};

// The earliest deadline of many. Adding, removing and looking allocate nothing: the memory is made at the
// start.
//   bound    capacity items
template <typename Item>
class DeadlineHeap {
 public:
  explicit DeadlineHeap(std::size_t capacity) { items_.reserve(capacity); }

  // Null: there is none.
  Item* earliest() const noexcept { return items_.empty() ? nullptr : items_.front(); }
  void add(Item& item) noexcept {
    INFLIGHT_CHECK(items_.size() < items_.capacity() && item.place == DeadlineLink::kNowhere);
    items_.push_back(&item);
    item.place = items_.size() - 1;
    rise(item.place);
  }
  // Does nothing if the item is not in the heap.
  void remove(Item& item) noexcept {
    if (item.place == DeadlineLink::kNowhere) return;
    const std::size_t place = std::exchange(item.place, DeadlineLink::kNowhere);
    Item* const last = items_.back();
    items_.pop_back();
    if (last == &item) return;
    put(place, *last);
    rise(place);
    sink(last->place);
  }

 private:
  void put(std::size_t place, Item& item) noexcept {
    items_[place] = &item;
    item.place = place;
  }
  void rise(std::size_t place) noexcept {
    while (place > 0 && items_[place]->deadline < items_[(place - 1) / 2]->deadline) {
      exchange(place, (place - 1) / 2);
      place = (place - 1) / 2;
    }
  }
  void sink(std::size_t place) noexcept {
    while (true) {
      std::size_t first = place;
      for (const std::size_t child : {2 * place + 1, 2 * place + 2}) {
        if (child < items_.size() && items_[child]->deadline < items_[first]->deadline) first = child;
      }
      if (first == place) return;
      exchange(place, first);
      place = first;
    }
  }
  void exchange(std::size_t a, std::size_t b) noexcept {
    Item* const item = items_[a];
    put(a, *items_[b]);
    put(b, *item);
  }

  std::vector<Item*> items_;
};

}  // namespace inflight::internal
