// SPDX-License-Identifier: Apache-2.0
// IndexedHeap: the first of many items by some order. Each item knows its place, so it can leave at any time.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "inflight/clock.h"

namespace inflight::internal {

inline constexpr std::size_t kInNoHeap = static_cast<std::size_t>(-1);

// Adding, removing and looking allocate nothing: the memory is made at the start.
//   Order   `static bool before(const Item&, const Item&)`, and `static std::size_t& place(Item&)`: where the
//           item keeps its place in the heap, kInNoHeap at first
//   bound   capacity items
template <typename Item, typename Order>
class IndexedHeap {
 public:
  explicit IndexedHeap(std::size_t capacity) { items_.reserve(capacity); }

  // Null: there is none.
  Item* first() const noexcept { return items_.empty() ? nullptr : items_.front(); }
  // All of them, in no order.
  std::span<Item* const> items() const noexcept { return items_; }
  void add(Item& item) noexcept {
    INFLIGHT_CHECK(items_.size() < items_.capacity() && Order::place(item) == kInNoHeap);
    items_.push_back(&item);
    Order::place(item) = items_.size() - 1;
    rise(items_.size() - 1);
  }
  // Does nothing if the item is not in the heap.
  void remove(Item& item) noexcept {
    if (Order::place(item) == kInNoHeap) return;
    const std::size_t place = std::exchange(Order::place(item), kInNoHeap);
    Item* const last = items_.back();
    items_.pop_back();
    if (last == &item) return;
    put(place, *last);
    moved(*last);
  }
  // What the order goes by has changed for the item. Does nothing if the item is not in the heap.
  void moved(Item& item) noexcept {
    if (Order::place(item) == kInNoHeap) return;
    rise(Order::place(item));
    sink(Order::place(item));
  }

 private:
  void put(std::size_t place, Item& item) noexcept {
    items_[place] = &item;
    Order::place(item) = place;
  }
  void rise(std::size_t place) noexcept {
    while (place > 0 && Order::before(*items_[place], *items_[(place - 1) / 2])) {
      exchange(place, (place - 1) / 2);
      place = (place - 1) / 2;
    }
  }
  void sink(std::size_t place) noexcept {
    while (true) {
      std::size_t first = place;
      for (const std::size_t child : {2 * place + 1, 2 * place + 2}) {
        if (child < items_.size() && Order::before(*items_[child], *items_[first])) first = child;
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

// What a deadline heap keeps in each of its items.
struct DeadlineLink {
  TimePoint deadline = TimePoint::max();
  std::size_t place = kInNoHeap;
};
struct EarliestDeadline {
  static bool before(const DeadlineLink& a, const DeadlineLink& b) noexcept {
    return a.deadline < b.deadline;
  }
  static std::size_t& place(DeadlineLink& item) noexcept { return item.place; }
};
// The frames that have a deadline, the earliest first.
template <typename Item>
using DeadlineHeap = IndexedHeap<Item, EarliestDeadline>;

}  // namespace inflight::internal
