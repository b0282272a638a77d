// SPDX-License-Identifier: Apache-2.0
// Shutdown: how an engine or a predictor ends.
#pragma once

#include <cstdint>

namespace inflight {

// What becomes of the operations or predictions that have not started. Those that run always go on to their
// end, and the call that ends the engine or predictor waits for it.
enum class Shutdown : std::uint8_t {
  kDrain,   // runs it
  kCancel,  // ends it with kCancelled
};

}  // namespace inflight
