// SPDX-License-Identifier: Apache-2.0
// Memory that runs out on command: replaces operator new and delete of the whole program, under a sanitizer too.
#pragma once

namespace inflight::test {

// From here on one allocation in `one_in` fails, at no regular distance, on every thread; 0: none.
void fail_allocations(unsigned one_in) noexcept;
// How many have failed since the program began.
long allocation_failures() noexcept;
// How many allocations have not been released.
long live_allocations() noexcept;

}  // namespace inflight::test
