// SPDX-License-Identifier: Apache-2.0
// The watchdog of the test programs: this program runs itself with a test that hangs.
#include "support/watchdog.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <future>
#include <string>
#include <thread>

namespace inflight {
namespace {

using std::chrono::milliseconds;

std::promise<void> never_kept;

[[gnu::noinline]] void hang_asleep() { never_kept.get_future().wait(); }

[[gnu::noinline]] void hang_awake(const std::atomic<bool>& stop) {
  while (!stop.load(std::memory_order_relaxed)) {
  }
}

TEST(Watchdog, DISABLED_HangsInTwoThreads) {
  limit_test_to(milliseconds(300));
  std::atomic<bool> stop{false};
  std::thread other([&] { hang_awake(stop); });
  hang_asleep();
  other.join();
}

TEST(Watchdog, DISABLED_HangsInADeathTest) {
  limit_test_to(milliseconds(300));
  EXPECT_DEATH(hang_asleep(), "");
}

TEST(Watchdog, DISABLED_EndsWithinItsLimit) {
  limit_test_to(milliseconds(300));
  limit_test_to(kTestLimit);
  std::this_thread::sleep_for(milliseconds(600));
}

struct ChildRun {
  int status = 0;
  std::string output;
};

ChildRun run_disabled(const std::string& test) {
  const std::string command = "exec " + testing::internal::GetArgvs()[0] +
                              " --gtest_also_run_disabled_tests --gtest_filter=Watchdog.DISABLED_" + test +
                              " 2>&1";
  ChildRun run;
  std::FILE* const pipe = popen(command.c_str(), "r");
  std::array<char, 4096> text;
  while (const std::size_t bytes = std::fread(text.data(), 1, text.size(), pipe))
    run.output.append(text.data(), bytes);
  run.status = pclose(pipe);
  return run;
}

TEST(Watchdog, FailsATestThatHangsAndPrintsTheStacksOfAllThreads) {
  const ChildRun run = run_disabled("HangsInTwoThreads");
  EXPECT_TRUE(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 1) << run.status << "\n" << run.output;
  for (const char* wanted : {"Watchdog.DISABLED_HangsInTwoThreads", "hang_asleep", "hang_awake"}) {
    EXPECT_NE(run.output.find(wanted), std::string::npos) << wanted << " is not in:\n" << run.output;
  }
}

TEST(Watchdog, FailsADeathTestThatHangs) {
  const ChildRun run = run_disabled("HangsInADeathTest");  // returns: the forked child has ended, too
  EXPECT_TRUE(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 1) << run.status << "\n" << run.output;
  EXPECT_NE(run.output.find("FAILED: Watchdog.DISABLED_HangsInADeathTest"), std::string::npos) << run.output;
}

TEST(Watchdog, LetsATestAskForMoreTime) {
  const ChildRun run = run_disabled("EndsWithinItsLimit");
  EXPECT_EQ(run.status, 0) << run.output;
}

}  // namespace
}  // namespace inflight
