// SPDX-License-Identifier: Apache-2.0
// wait_any and wait_all: block the calling thread until one or all of many arrays or predictions are ready.
// Ready means computed or failed, as can_read() says. For thousands of handles that become ready over time,
// use a CompletionQueue: its cost grows with what becomes ready, that of wait_any with the number of handles.
//
// `handles` is a vector, an array or a span of NDArray or of Prediction. It is not copied: it must stay as it
// is until the call returns.
//
//   const std::size_t first = wait_any(predictions);
//   const Status all = wait_all_for(arrays, std::chrono::milliseconds(50));
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

// A vector, an array or a span of them.
template <typename T>
concept Waitables = std::ranges::contiguous_range<const T> && std::ranges::sized_range<const T> &&
    Waitable<std::ranges::range_value_t<const T>>;

// Gives the completions of the handles by their index, so that the code that waits is no template.
//   until   null: for ever
template <Waitables Handles>
std::optional<std::size_t> wait_any(const Handles& handles, const TimePoint* until) {
  using Handle = std::ranges::range_value_t<const Handles>;
  const auto at = [](const void* first, std::size_t index) -> Completion& {
    return static_cast<const Handle*>(first)[index].completion();
  };
  return wait_any(std::ranges::size(handles), at, std::ranges::data(handles), until);
}

//   until   null: for ever
template <Waitables Handles>
Status wait_all(const Handles& handles, const TimePoint* until) {
  // From the back: what was ordered last usually ends last. Those before it then cost a load each and not a
  // sleep each.
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

// Waits until at least one is ready; returns at once if one is. It costs two locks of some instructions for
// each handle if it has to wait. Up to 16 handles need no memory; with more, it may throw std::bad_alloc, and
// has then changed nothing.
//   handles   none of them empty
//   returns   the lowest index of those that are ready; 0, at once, if there are no handles
//   thread    any that may block; several may wait for the same handles
template <internal::Waitables Handles>
std::size_t wait_any(const Handles& handles) {
  return internal::wait_any(handles, nullptr).value_or(0);
}
// The same, until `when` at most, a moment of steady_clock().
//   returns   no value: the time came first, or there are no handles
template <internal::Waitables Handles>
std::optional<std::size_t> wait_any_until(const Handles& handles, TimePoint when) {
  return internal::wait_any(handles, &when);
}
// The same, for `timeout` at most. 0 or less looks once and does not block.
template <internal::Waitables Handles>
std::optional<std::size_t> wait_any_for(const Handles& handles, Duration timeout) {
  return wait_any_until(handles, deadline_after(timeout));
}

// Waits until all are ready, those that fail included; returns at once if there are no handles. It costs one
// load for each handle that is ready already, takes no lock and needs no memory.
//   handles   none of them empty
//   returns   ok, or the failure of the lowest index that has one
//   thread    any that may block
template <internal::Waitables Handles>
Status wait_all(const Handles& handles) {
  return internal::wait_all(handles, nullptr);
}
// The same, until `when` at most, a moment of steady_clock().
//   errors    kDeadlineExceeded: the time came first. The failure of a handle may have this code, too.
template <internal::Waitables Handles>
Status wait_all_until(const Handles& handles, TimePoint when) {
  return internal::wait_all(handles, &when);
}
// The same, for `timeout` at most. 0 or less looks once and does not block.
template <internal::Waitables Handles>
Status wait_all_for(const Handles& handles, Duration timeout) {
  return wait_all_until(handles, deadline_after(timeout));
}

}  // namespace inflight
