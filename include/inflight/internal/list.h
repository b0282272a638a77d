// SPDX-License-Identifier: Apache-2.0
// The one intrusive list of the library: adding at both ends, and removal from anywhere in one step. It allocates
// nothing, so adding and removing never fail.
#pragma once

#include <utility>

namespace inflight::internal {

// A place in a list, part of the object that is listed. An object that is in several lists at a time has a
// link for each, with a `Tag` of its own.
template <typename Tag = void>
class ListLink {
 public:
  ListLink() noexcept = default;
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;
  // Whether it is in a list. The caller holds that list's lock.
  bool linked() const noexcept { return next_ != nullptr; }

 private:
  template <typename, typename>
  friend class List;
  ListLink* previous_ = nullptr;
  ListLink* next_ = nullptr;
};

// A list of T, each of which derives from ListLink<Tag>. It owns nothing: the caller keeps an item alive
// until it has left the list.
//   thread   one at a time: its owner has a lock
template <typename T, typename Tag = void>
class List {
 public:
  using Link = ListLink<Tag>;

  List() noexcept { clear(); }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const noexcept { return ends_.next_ == &ends_; }
  // Null: the list is empty.
  T* front() const noexcept { return empty() ? nullptr : static_cast<T*>(ends_.next_); }
  // The one behind `item`; null: that is the last. Requires that the item is in this list.
  T* after(const T& item) const noexcept {
    Link* const next = static_cast<const Link&>(item).next_;
    return next == &ends_ ? nullptr : static_cast<T*>(next);
  }
  // Adds the item at the end. Requires that it is in no list.
  void push_back(T& item) noexcept { insert(*ends_.previous_, item); }
  // Adds the item before all others. Requires that it is in no list.
  void push_front(T& item) noexcept { insert(ends_, item); }
  // Removes the first item and returns it; null: the list is empty.
  T* pop_front() noexcept {
    T* const first = front();
    if (first != nullptr) remove(*first);
    return first;
  }
  // Removes the item from anywhere. Requires that it is in this list.
  void remove(T& item) noexcept {
    Link& link = item;
    // The analyzer does not follow the ring, and takes a neighbour for null.
    link.previous_->next_ = link.next_;  // NOLINT(clang-analyzer-core.NullDereference)
    link.next_->previous_ = link.previous_;
    link.previous_ = link.next_ = nullptr;
  }
  // Moves all items of `other` to the end of this list, in one step.
  void append(List& other) noexcept {
    if (other.empty()) return;
    Link* const first = other.ends_.next_;
    Link* const last = other.ends_.previous_;
    first->previous_ = ends_.previous_;
    ends_.previous_->next_ = first;
    last->next_ = &ends_;
    ends_.previous_ = last;
    other.clear();
  }

 private:
  static void insert(Link& before, Link& link) noexcept {
    link.previous_ = &before;
    link.next_ = before.next_;
    before.next_->previous_ = &link;
    before.next_ = &link;
  }
  void clear() noexcept { ends_.previous_ = ends_.next_ = &ends_; }

  Link ends_;  // before the first and behind the last
};

}  // namespace inflight::internal
