// SPDX-License-Identifier: Apache-2.0
// The boundary to code that is not ours: closures, callbacks, executors, release functions, backends.
#pragma once

#include <exception>
#include <functional>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "inflight/status.h"

namespace inflight::internal {

// Calls code that is not ours. What it throws becomes a status: kOutOfMemory for std::bad_alloc, else
// kException with its what().
//   function   returns a Status, a Result, or nothing
//   returns    what it returned; Status() where it returns nothing
template <typename Function, typename... Args>
auto call_user(Function&& function, Args&&... args) noexcept {
  using Returned = std::invoke_result_t<Function, Args...>;
  using Answer = std::conditional_t<std::is_void_v<Returned>, Status, Returned>;
  try {
    if constexpr (std::is_void_v<Returned>) {
      std::invoke(std::forward<Function>(function), std::forward<Args>(args)...);
      return Status();
    } else {
      return Answer(std::invoke(std::forward<Function>(function), std::forward<Args>(args)...));
    }
  } catch (const std::bad_alloc&) {
    return Answer(Status::out_of_memory(""));
  } catch (const std::exception& thrown) {
    return Answer(Status::exception(thrown.what()));
  } catch (...) {
    return Answer(Status::exception("something was thrown that is not a std::exception"));
  }
}

}  // namespace inflight::internal
