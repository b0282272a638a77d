// SPDX-License-Identifier: Apache-2.0
#include "inflight/status.h"

#include <array>
#include <cstdio>
#include <cstdlib>

#include "base/check.h"

namespace inflight {
namespace {

struct CodeRow {
  StatusCode code;
  std::string_view name;
  int exit_code;
};

// One row a code, in the order of the enum; status_test walks it.
constexpr std::array<CodeRow, kStatusCodes> kCodes = {{
    {StatusCode::kOk, "ok", 0},
    {StatusCode::kInvalidArgument, "invalid argument", 2},
    {StatusCode::kNotFound, "not found", 3},
    {StatusCode::kInvalidModel, "invalid model or media", 3},
    {StatusCode::kUnsupported, "unsupported", 3},
    {StatusCode::kNotReady, "not ready", 1},
    {StatusCode::kOverloaded, "overloaded", 1},
    {StatusCode::kDeadlineExceeded, "deadline exceeded", 1},
    {StatusCode::kCancelled, "cancelled", 1},
    {StatusCode::kShuttingDown, "shutting down", 1},
    {StatusCode::kNoSuchDevice, "no such device", 4},
    {StatusCode::kDeviceError, "device error", 1},
    {StatusCode::kInternal, "internal error", 1},
}};

const CodeRow& row(StatusCode code) {
  const auto index = static_cast<std::size_t>(code);
  INFLIGHT_CHECK(index < kCodes.size() && kCodes[index].code == code);
  return kCodes[index];
}

}  // namespace

std::string_view status_code_name(StatusCode code) { return row(code).name; }

int exit_code(StatusCode code) { return row(code).exit_code; }

Status::Status(StatusCode code, std::string message) {
  INFLIGHT_CHECK(code != StatusCode::kOk);
  rep_ = new Rep;
  rep_->code = code;
  rep_->message = std::move(message);
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

Status Status::with_context(std::string_view context) const {
  if (ok()) return Status();
  Status outer(code(), std::string(context) + ": " + rep_->message);
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
