// SPDX-License-Identifier: Apache-2.0
// Every GoogleTest program of the project links the watchdog: a test that hangs fails, and says where.
#pragma once

#include <chrono>

namespace inflight {

// Gives the running test this long, from now on, instead of kTestLimit. A test that exceeds its limit ends
// its program, which first prints the test's name and the stacks of all threads.
void limit_test_to(std::chrono::milliseconds limit);

inline constexpr std::chrono::seconds kTestLimit{INFLIGHT_TEST_LIMIT_S};

}  // namespace inflight
