// SPDX-License-Identifier: Apache-2.0
// How often tests that try many interleavings repeat themselves.
#pragma once

namespace inflight {

// Under a sanitizer each round takes about ten times as long.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr int kStress = 1;
#else
inline constexpr int kStress = 10;
#endif

}  // namespace inflight
