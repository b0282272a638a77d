// SPDX-License-Identifier: Apache-2.0
// wait_any and wait_all: waiting for one or all of many arrays or predictions.
#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <ranges>

#include "inflight/clock.h"
#include "inflight/internal/completion.h"
#include "inflight/status.h"

namespace inflight {

namespace internal {

// NDArray and Prediction: a handle to something that completes.
template <typename T>
concept Waitable = requires(const T& handle) {
  { handle.completion() } -> std::same_as<Completion&>;
};

// A vector, array or span of them.
template <typename T>
concept Waitables = std::ranges::contiguous_range<const T> && std::ranges::sized_range<const T> &&
    Waitable<std::ranges::range_value_t<const T>>;

template <Waitables Handles>
std::optional<std::size_t> wait_any(const Handles& handles, const TimePoint* until) {
  using Handle = std::ranges::range_value_t<const Handles>;
  const auto at = [](const void* first, std::size_t index) -> Completion& {
    return static_cast<const Handle*>(first)[index].completion();
  };
  return wait_any(std::ranges::size(handles), at, std::ranges::data(handles), until);
}

template <Waitables Handles>
Status wait_all(const Handles& handles, const TimePoint* until) {
  // From the back: what was ordered last mostly ends last, and those before it then cost a load each and not
  // a sleep each.
  for (std::size_t i = std::ranges::size(handles); i-- > 0;) {
    const Completion& waited = std::ranges::data(handles)[i].completion();
    if (until == nullptr) {
      waited.wait();
    } else if (!waited.wait_until(*until)) {
      return Status(StatusCode::kDeadlineExceeded, "not all were ready in time");
    }
  }
  for (const auto& handle : handles) {
    if (const Status& status = handle.completion().status(); !status.ok()) return status;
  }
  return Status();
}

}  // namespace internal

// Waits until at least one is ready, failed ones too. Up to 16 handles need no memory; with more, this throws
// std::bad_alloc, having changed nothing.
//   handles   none of them empty
//   returns   the lowest index of those that are ready; 0, at once, where there are no handles
//   thread    any
template <internal::Waitables Handles>
std::size_t wait_any(const Handles& handles) {
  return internal::wait_any(handles, nullptr).value_or(0);
}
// The same, until `when` at most, which is on the real steady clock.
//   returns   nothing: the time came first, or there are no handles
template <internal::Waitables Handles>
std::optional<std::size_t> wait_any_until(const Handles& handles, TimePoint when) {
  return internal::wait_any(handles, &when);
}
// The same, for `timeout` at most.
template <internal::Waitables Handles>
std::optional<std::size_t> wait_any_for(const Handles& handles, Duration timeout) {
  return wait_any_until(handles, deadline_after(timeout));
}

// Waits until all are ready, failed ones too; no handles are ready at once. One load for each that is ready
// already; needs no memory.
//   handles   none of them empty
//   returns   ok, or the failure of the lowest index that has one
//   thread    any
template <internal::Waitables Handles>
Status wait_all(const Handles& handles) {
  return internal::wait_all(handles, nullptr);
}
// The same, until `when` at most, which is on the real steady clock.
//   errors    kDeadlineExceeded: the time came first. A status of one of them may have this code, too.
template <internal::Waitables Handles>
Status wait_all_until(const Handles& handles, TimePoint when) {
  return internal::wait_all(handles, &when);
}
// The same, for `timeout` at most.
template <internal::Waitables Handles>
Status wait_all_for(const Handles& handles, Duration timeout) {
  return wait_all_until(handles, deadline_after(timeout));
}

}  // namespace inflight
