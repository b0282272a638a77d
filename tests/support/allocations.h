// SPDX-License-Identifier: Apache-2.0
// Counts the allocations of the whole program: replaces its operator new and delete. Not for a sanitizer, which has its
// own.
#pragma once

namespace inflight::test {

// Since the program began, on every thread.
long allocations() noexcept;

}  // namespace inflight::test
