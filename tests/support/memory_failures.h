// SPDX-License-Identifier: Apache-2.0
// Makes memory run out on command: replaces operator new and delete of the whole program, also under a
// sanitizer.
#pragma once

namespace inflight::test {

// From here on one allocation in `one_in` fails, at no regular distance, on every thread; 0: none.
void fail_allocations(unsigned one_in) noexcept;
// How many have failed since the program began.
long allocation_failures() noexcept;
// How many allocations have not been released.
long live_allocations() noexcept;

}  // namespace inflight::test
