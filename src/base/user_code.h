// SPDX-License-Identifier: Apache-2.0
// The boundary at code that is not ours: closures, callbacks, executors, release functions, backends.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "inflight/status.h"

namespace inflight::internal {

// Calls code of the caller's. What it throws becomes a status: kOutOfMemory for std::bad_alloc, else kException
// with its what().
//   function   returns a Status, or nothing
//   returns    its status; ok where it returns nothing
template <typename Function, typename... Args>
Status call_user(Function&& function, Args&&... args) noexcept {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Function, Args...>>) {
      std::forward<Function>(function)(std::forward<Args>(args)...);
      return Status();
    } else {
      return std::forward<Function>(function)(std::forward<Args>(args)...);
    }
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("");
  } catch (const std::exception& thrown) {
    return Status::exception(thrown.what());
  } catch (...) {
    return Status::exception("something was thrown that is not a std::exception");
  }
}

}  // namespace inflight::internal
