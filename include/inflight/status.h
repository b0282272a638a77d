// SPDX-License-Identifier: Apache-2.0
// Status and Result<T>: how every call of this library says what went wrong. Nothing here throws.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace inflight {

// What kind of thing went wrong. Few on purpose: the message says the rest.
enum class StatusCode : std::uint8_t {
  kOk,
  kInvalidArgument,   // the caller's value is wrong: an option, a shape, a dtype
  kNotFound,          // a file or a name that is not there
  kInvalidModel,      // a model or a media file that cannot be read or compiled
  kUnsupported,       // understood, and not offered
  kNotReady,          // a non-blocking read of what has not been computed yet
  kOverloaded,        // a limit is reached: try again later
  kDeadlineExceeded,  // a wait ended before what it waited for
  kCancelled,         // given up before it started, on request
  kShuttingDown,      // the object is being destroyed or has been shut down
  kNoSuchDevice,      // no device of that name here
  kDeviceError,       // the device or its runtime failed
  kInternal,          // none of the above: report it
};
inline constexpr int kStatusCodes = 13;

// The code's name as written in messages, such as "invalid argument".
std::string_view status_code_name(StatusCode code);

// The exit code of the command line for a command that ended with this status (DESIGN.md, errors).
int exit_code(StatusCode code);

// Success, or a code with a message and the first cause. A value: copying costs one atomic increment, and
// success costs nothing at all. Safe to read from any number of threads.
class [[nodiscard]] Status {
 public:
  Status() noexcept = default;  // success
  Status(StatusCode code, std::string message);

  Status(const Status& other) noexcept : rep_(other.rep_) { ref(rep_); }
  Status(Status&& other) noexcept : rep_(std::exchange(other.rep_, nullptr)) {}
  Status& operator=(const Status& other) noexcept {
    ref(other.rep_);
    unref(std::exchange(rep_, other.rep_));
    return *this;
  }
  Status& operator=(Status&& other) noexcept {
    if (this != &other) unref(std::exchange(rep_, std::exchange(other.rep_, nullptr)));
    return *this;
  }
  ~Status() { unref(rep_); }

  bool ok() const noexcept { return rep_ == nullptr; }
  StatusCode code() const noexcept { return rep_ == nullptr ? StatusCode::kOk : rep_->code; }
  // "" on success. Valid as long as any copy of this status lives.
  std::string_view message() const noexcept;
  // "invalid argument: limit: got 0, want at least 1", or "ok".
  std::string to_string() const;

  // The same failure seen from further out: code kept, `context` put before the message, first cause kept.
  Status with_context(std::string_view context) const;
  // The failure that started it all: this one, unless with_context() was applied to it.
  Status first_cause() const noexcept;

  friend bool operator==(const Status& a, const Status& b) noexcept {
    return a.rep_ == b.rep_ || (a.code() == b.code() && a.message() == b.message());
  }

 private:
  struct Rep {
    std::atomic<std::uint32_t> refs{1};
    StatusCode code;
    std::string message;
    Rep* cause = nullptr;
  };
  static void ref(Rep* rep) noexcept {
    if (rep != nullptr) rep->refs.fetch_add(1, std::memory_order_relaxed);
  }
  static void unref(Rep* rep) noexcept {
    if (rep != nullptr) unref_failure(rep);
  }
  static void unref_failure(Rep* rep) noexcept;

  Rep* rep_ = nullptr;
};

namespace internal {
// Prints where and what, and stops the process. For our own mistakes only, never for input.
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
}  // namespace internal

// A T, or the status that says why there is none. A subset of C++23's std::expected<T, Status>.
template <typename T>
class [[nodiscard]] Result {
  static_assert(!std::is_same_v<T, Status>, "a Result<Status> has two ways to fail");

 public:
  using value_type = T;

  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit, as std::expected
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit, as std::expected
    if (status_.ok())
      internal::check_failed("a Result made from a Status needs an error", __FILE__, __LINE__);
  }

  bool ok() const noexcept { return value_.has_value(); }
  bool has_value() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return value_.has_value(); }
  // Success where there is a value.
  const Status& status() const noexcept { return status_; }

  // The value. Requires ok(): asking a failed result for its value stops the process.
  T& value() & { return checked(); }
  const T& value() const& { return const_cast<Result*>(this)->checked(); }
  T&& value() && { return std::move(checked()); }
  T& operator*() & { return checked(); }
  const T& operator*() const& { return const_cast<Result*>(this)->checked(); }
  T&& operator*() && { return std::move(checked()); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &const_cast<Result*>(this)->checked(); }

 private:
  T& checked() {
    if (!value_.has_value()) internal::check_failed(status_.to_string().c_str(), __FILE__, __LINE__);
    return *value_;
  }

  std::optional<T> value_;
  Status status_;
};

}  // namespace inflight

// Returns the status of `expression` from the enclosing function unless it is ok. Evaluates it once.
#define INFLIGHT_TRY(expression)                                 \
  do {                                                           \
    ::inflight::Status inflight_try_status_ = (expression);      \
    if (!inflight_try_status_.ok()) return inflight_try_status_; \
  } while (false)

// Declares or assigns `target` from a Result, or returns its status. Evaluates `expression` once.
#define INFLIGHT_TRY_ASSIGN(target, expression) \
  INFLIGHT_TRY_ASSIGN_IMPL_(INFLIGHT_CONCAT_(inflight_try_result_, __LINE__), target, expression)
#define INFLIGHT_TRY_ASSIGN_IMPL_(result, target, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return result.status();                   \
  target = std::move(result).value()
#define INFLIGHT_CONCAT_(a, b) INFLIGHT_CONCAT_IMPL_(a, b)
#define INFLIGHT_CONCAT_IMPL_(a, b) a##b
