// SPDX-License-Identifier: Apache-2.0
#include "inflight/status.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "base/check.h"

namespace inflight {
namespace {

// In the order of the enum; status_test walks it.
constexpr std::array<StatusCodeRow, kStatusCodes> kCodes = {{
    {StatusCode::kOk, "ok", 0, 200, 0, ""},
    {StatusCode::kInvalidArgument, "invalid argument", 2, 400, 3, "ValueError"},
    {StatusCode::kNotFound, "not found", 3, 404, 5, "FileNotFoundError"},
    {StatusCode::kInvalidModel, "invalid model", 3, 400, 3, "ValueError"},
    {StatusCode::kInvalidMedia, "invalid media", 3, 400, 3, "ValueError"},
    {StatusCode::kUnsupported, "unsupported", 3, 501, 12, "NotImplementedError"},
    {StatusCode::kNotReady, "not ready", 1, 409, 9, "BlockingIOError"},
    {StatusCode::kOverloaded, "overloaded", 1, 429, 8, "BlockingIOError"},
    {StatusCode::kDeadlineExceeded, "deadline exceeded", 1, 504, 4, "TimeoutError"},
    {StatusCode::kCancelled, "cancelled", 1, 499, 1, "RuntimeError"},
    {StatusCode::kShuttingDown, "shutting down", 1, 503, 14, "RuntimeError"},
    {StatusCode::kNoSuchDevice, "no such device", 4, 404, 5, "LookupError"},
    {StatusCode::kDeviceError, "device error", 1, 500, 13, "RuntimeError"},
    {StatusCode::kOutOfMemory, "out of memory", 1, 503, 8, "MemoryError"},
    {StatusCode::kIoError, "input or output error", 1, 500, 2, "OSError"},
    {StatusCode::kException, "exception", 1, 500, 2, "RuntimeError"},
    {StatusCode::kInternal, "internal error", 1, 500, 13, "RuntimeError"},
}};

}  // namespace

const StatusCodeRow& status_code_row(StatusCode code) {
  const auto index = static_cast<std::size_t>(code);
  INFLIGHT_CHECK(index < kCodes.size() && kCodes[index].code == code);
  return kCodes[index];
}

std::string_view status_code_name(StatusCode code) { return status_code_row(code).name; }

int exit_code(StatusCode code) { return status_code_row(code).exit_code; }

// A failure that was made at the start of the program: it needs no memory when none is left.
Status Status::without_message(StatusCode code) noexcept {
  // Never destroyed, as statuses may outlive every other static.
  static Rep* const reps = [] {
    auto* made = new Rep[kStatusCodes];  // NOLINT(bugprone-unhandled-exception-at-new): as the program starts
    for (int i = 0; i < kStatusCodes; ++i) {
      made[i].code = kCodes[static_cast<std::size_t>(i)].code;
      made[i].message = "no memory was left for the message";
    }
    return made;
  }();
  Status status;
  status.rep_ = reps + static_cast<std::size_t>(code);
  ref(status.rep_);
  return status;
}

// Makes them at the start of the program, while there is memory.
const bool Status::made_at_start_ = !without_message(StatusCode::kInternal).ok();

Status::Status(StatusCode code, std::string message) noexcept {
  INFLIGHT_CHECK(code != StatusCode::kOk);
  rep_ = new (std::nothrow) Rep;
  if (rep_ == nullptr) {
    *this = without_message(code);
    return;
  }
  rep_->code = code;
  rep_->message = std::move(message);
}

Status::Status(StatusCode code, const char* message) noexcept {
  try {
    *this = Status(code, std::string(message));
  } catch (const std::bad_alloc&) {
    *this = without_message(code);
  }
}

Status Status::out_of_memory(std::string_view what, std::size_t bytes) noexcept {
  try {
    std::string message(what);
    message += what.empty() ? "" : ": ";
    message += bytes == 0 ? "memory" : std::to_string(bytes) + " bytes of memory";
    message += " cannot be had";
    return Status(StatusCode::kOutOfMemory, std::move(message));
  } catch (const std::bad_alloc&) {
    return without_message(StatusCode::kOutOfMemory);
  }
}

Status Status::exception(std::string_view what) noexcept {
  try {
    return Status(StatusCode::kException, std::string(what));
  } catch (const std::bad_alloc&) {
    return without_message(StatusCode::kException);
  }
}

void Status::unref_failure(Rep* rep) noexcept {
  while (rep != nullptr && rep->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    Rep* cause = rep->cause;
    delete rep;
    rep = cause;
  }
}

std::string_view Status::message() const noexcept {
  return rep_ == nullptr ? std::string_view() : std::string_view(rep_->message);
}

std::string Status::to_string() const {
  if (ok()) return "ok";
  return std::string(status_code_name(code())) + ": " + rep_->message;
}

Status Status::with_context(std::string_view context) const noexcept {
  if (ok()) return Status();
  Status outer;
  try {
    outer = Status(code(), std::string(context) + ": " + rep_->message);
  } catch (const std::bad_alloc&) {
    return *this;
  }
  // A failure without its message is shared, and must not get a cause.
  if (outer.rep_->refs.load(std::memory_order_relaxed) > 1) return *this;
  outer.rep_->cause = rep_->cause != nullptr ? rep_->cause : rep_;
  ref(outer.rep_->cause);
  return outer;
}

Status Status::first_cause() const noexcept {
  Status first = *this;
  if (rep_ != nullptr && rep_->cause != nullptr) {
    ref(rep_->cause);
    unref(std::exchange(first.rep_, rep_->cause));
  }
  return first;
}

namespace internal {

void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "inflight: check failed at %s:%d: %s\n", file, line, expression);
  std::abort();
}

}  // namespace internal
}  // namespace inflight
