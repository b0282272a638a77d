// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace inflight {

// What an engine or a predictor that ends does with what has not started. What runs always goes on to its end.
enum class Shutdown : std::uint8_t {
  kDrain,   // runs it
  kCancel,  // ends it with kCancelled
};

}  // namespace inflight
