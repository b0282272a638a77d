// SPDX-License-Identifier: Apache-2.0
#include "inflight/status.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace inflight {
namespace {

std::vector<StatusCode> all_codes() {
  std::vector<StatusCode> codes;
  for (int i = 0; i < kStatusCodes; ++i) codes.push_back(static_cast<StatusCode>(i));
  return codes;
}

TEST(StatusCodeTest, EveryCodeHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (const StatusCode code : all_codes()) {
    EXPECT_FALSE(status_code_name(code).empty());
    EXPECT_TRUE(names.insert(status_code_name(code)).second) << "twice: " << status_code_name(code);
  }
}

TEST(StatusCodeTest, ExitCodesAreThoseOfTheCommandLine) {
  // Only what differs from 1, "a run that failed".
  const std::map<StatusCode, int> special = {
      {StatusCode::kOk, 0},           {StatusCode::kInvalidArgument, 2}, {StatusCode::kNotFound, 3},
      {StatusCode::kInvalidModel, 3}, {StatusCode::kInvalidMedia, 3},    {StatusCode::kUnsupported, 3},
      {StatusCode::kNoSuchDevice, 4}};
  for (const StatusCode code : all_codes()) {
    const auto found = special.find(code);
    EXPECT_EQ(exit_code(code), found == special.end() ? 1 : found->second) << status_code_name(code);
  }
}

TEST(StatusCodeTest, EveryFailureHasAWordForEveryBorder) {
  for (const StatusCode code : all_codes()) {
    const StatusCodeRow& row = status_code_row(code);
    EXPECT_EQ(row.code, code);
    if (code == StatusCode::kOk) continue;
    EXPECT_NE(row.exit_code, 0) << row.name;
    EXPECT_TRUE(row.http_status >= 400 && row.http_status < 600) << row.name;
    EXPECT_TRUE(row.grpc_code >= 1 && row.grpc_code <= 16) << row.name;
    EXPECT_FALSE(row.python_exception.empty()) << row.name;
  }
}

TEST(StatusTest, OutOfMemorySaysHowMuchWasWanted) {
  const Status status = Status::out_of_memory("frame", 921600);
  EXPECT_EQ(status.code(), StatusCode::kOutOfMemory);
  EXPECT_EQ(status.message(), "frame: 921600 bytes of memory cannot be had");
  EXPECT_EQ(Status::out_of_memory("a thread").message(), "a thread: memory cannot be had");
}

TEST(StatusCodeDeathTest, OnePastTheLastCodeIsNotACode) {
  EXPECT_EQ(static_cast<int>(StatusCode::kInternal), kStatusCodes - 1);
  EXPECT_DEATH((void)status_code_name(static_cast<StatusCode>(kStatusCodes)), "check failed");
  EXPECT_DEATH((void)exit_code(static_cast<StatusCode>(kStatusCodes)), "check failed");
}

TEST(StatusTest, SuccessIsTheDefaultAndSaysNothing) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::kOk);
  EXPECT_EQ(status.message(), "");
  EXPECT_EQ(status.to_string(), "ok");
  EXPECT_TRUE(status.first_cause().ok());
  EXPECT_TRUE(status.with_context("reading").ok());
}

TEST(StatusTest, EveryErrorKeepsItsCodeAndMessage) {
  for (const StatusCode code : all_codes()) {
    if (code == StatusCode::kOk) continue;
    const Status status(code, "limit: got 0, want at least 1");
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.code(), code);
    EXPECT_EQ(status.message(), "limit: got 0, want at least 1");
    EXPECT_EQ(status.to_string(), std::string(status_code_name(code)) + ": limit: got 0, want at least 1");
  }
}

TEST(StatusDeathTest, AnErrorIsNotMadeFromSuccess) {
  EXPECT_DEATH(Status(StatusCode::kOk, "fine"), "check failed");
}

TEST(StatusTest, CopiesAndMovesKeepTheMessageAlive) {
  Status copy;
  Status moved;
  {
    Status status(StatusCode::kNotFound, "a message too long for the small string of any standard library");
    copy = status;
    moved = std::move(status);
    EXPECT_TRUE(status.ok());  // NOLINT(bugprone-use-after-move): a moved-from status is success
  }
  EXPECT_EQ(copy, moved);
  EXPECT_EQ(copy.message(), "a message too long for the small string of any standard library");

  const Status& alias = copy;
  copy = alias;
  EXPECT_EQ(copy, moved);
  copy = Status();
  EXPECT_TRUE(copy.ok());
  EXPECT_FALSE(moved.ok());
}

TEST(StatusTest, EqualMeansSameCodeAndMessage) {
  const Status status(StatusCode::kCancelled, "on request");
  EXPECT_EQ(status, Status(StatusCode::kCancelled, "on request"));
  EXPECT_FALSE(status == Status(StatusCode::kCancelled, "otherwise"));
  EXPECT_FALSE(status == Status(StatusCode::kOverloaded, "on request"));
  EXPECT_FALSE(status == Status());
  EXPECT_EQ(Status(), Status());
}

TEST(StatusTest, ContextGoesInFrontAndTheFirstCauseStays) {
  Status outermost;
  Status cause;
  {
    const Status first(StatusCode::kInvalidModel, "offset 7: bad magic");
    const Status second = first.with_context("m.onnx");
    const Status third = second.with_context("predictor");
    EXPECT_EQ(first.first_cause(), first);
    EXPECT_EQ(second.first_cause(), first);
    outermost = third.with_context("run");
    cause = third.first_cause();
  }
  // The causes live as long as the statuses that were made from them.
  EXPECT_EQ(outermost.code(), StatusCode::kInvalidModel);
  EXPECT_EQ(outermost.message(), "run: predictor: m.onnx: offset 7: bad magic");
  EXPECT_EQ(outermost.first_cause().message(), "offset 7: bad magic");
  EXPECT_EQ(cause.message(), "offset 7: bad magic");
  EXPECT_EQ(cause.first_cause(), cause);
}

TEST(StatusTest, ManyThreadsShareOneStatus) {
  const Status root(StatusCode::kDeviceError, "lost");
  const Status shared = root.with_context("slot 3");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&shared] {
      for (int i = 0; i < 2000; ++i) {
        Status mine = shared;
        Status cause = mine.first_cause();
        mine = Status();
        ASSERT_EQ(cause.message(), "lost");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared.message(), "slot 3: lost");
}

TEST(ResultTest, HoldsAValue) {
  Result<std::string> result(std::string("seven"));
  EXPECT_TRUE(result.ok());
  EXPECT_TRUE(static_cast<bool>(result));
  EXPECT_TRUE(result.status().ok());
  EXPECT_EQ(result.value(), "seven");
  EXPECT_EQ(*result, "seven");
  EXPECT_EQ(result->size(), 5U);
  result.value() = "eight";
  EXPECT_EQ(std::as_const(result).value(), "eight");
}

TEST(ResultTest, HoldsAnError) {
  const Result<int> result(Status(StatusCode::kUnsupported, "no"));
  EXPECT_FALSE(result.ok());
  EXPECT_FALSE(static_cast<bool>(result));
  EXPECT_EQ(result.status(), Status(StatusCode::kUnsupported, "no"));
}

TEST(ResultTest, AMoveOnlyValueMovesOut) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(7));
  const std::unique_ptr<int> value = std::move(result).value();
  EXPECT_EQ(*value, 7);
}

TEST(ResultDeathTest, AFailedResultHasNoValue) {
  Result<std::string> result(Status(StatusCode::kNotFound, "nobody home"));
  EXPECT_DEATH((void)result.value(), "not found: nobody home");
  EXPECT_DEATH((void)std::as_const(result).value(), "not found: nobody home");
  EXPECT_DEATH((void)std::move(result).value(), "not found: nobody home");
  EXPECT_DEATH((void)*result, "not found: nobody home");
  EXPECT_DEATH((void)result->size(), "not found: nobody home");
}

TEST(ResultDeathTest, SuccessWithoutAValueIsNotAResult) {
  EXPECT_DEATH(Result<int>{Status()}, "a Result made from a Status needs an error");
}

TEST(TryTest, GoesOnAfterSuccessAndEvaluatesOnce) {
  int evaluated = 0;
  bool went_on = false;
  const auto run = [&]() -> Status {
    INFLIGHT_TRY((++evaluated, Status()));
    went_on = true;
    return Status();
  };
  EXPECT_TRUE(run().ok());
  EXPECT_EQ(evaluated, 1);
  EXPECT_TRUE(went_on);
}

TEST(TryTest, ReturnsTheErrorAndEvaluatesOnce) {
  int evaluated = 0;
  bool went_on = false;
  const auto run = [&]() -> Result<int> {
    INFLIGHT_TRY((++evaluated, Status(StatusCode::kOverloaded, "full")));
    went_on = true;
    return 1;
  };
  EXPECT_EQ(run().status(), Status(StatusCode::kOverloaded, "full"));
  EXPECT_EQ(evaluated, 1);
  EXPECT_FALSE(went_on);
}

TEST(TryTest, IsOneStatement) {
  const auto run = [](bool fail) -> Status {
    if (fail)
      INFLIGHT_TRY(Status(StatusCode::kCancelled, "asked to"));
    else
      return Status(StatusCode::kInternal, "the else belongs to the if");
    return Status();
  };
  EXPECT_EQ(run(true).code(), StatusCode::kCancelled);
  EXPECT_EQ(run(false).code(), StatusCode::kInternal);
}

TEST(TryAssignTest, DeclaresAssignsAndEvaluatesOnce) {
  int evaluated = 0;
  const auto make = [&](int value) -> Result<std::unique_ptr<int>> {
    ++evaluated;
    return std::make_unique<int>(value);
  };
  const auto run = [&]() -> Result<int> {
    INFLIGHT_TRY_ASSIGN(const std::unique_ptr<int> first, make(3));
    std::unique_ptr<int> second;
    INFLIGHT_TRY_ASSIGN(second, make(4));
    return *first * 10 + *second;
  };
  EXPECT_EQ(run().value(), 34);
  EXPECT_EQ(evaluated, 2);
}

TEST(TryAssignTest, ReturnsTheErrorAndEvaluatesOnce) {
  int evaluated = 0;
  bool went_on = false;
  const auto run = [&]() -> Status {
    INFLIGHT_TRY_ASSIGN([[maybe_unused]] const int value,
                        (++evaluated, Result<int>(Status(StatusCode::kNotReady, "not yet"))));
    went_on = true;
    return Status();
  };
  EXPECT_EQ(run(), Status(StatusCode::kNotReady, "not yet"));
  EXPECT_EQ(evaluated, 1);
  EXPECT_FALSE(went_on);
}

}  // namespace
}  // namespace inflight
