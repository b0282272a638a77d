// SPDX-License-Identifier: Apache-2.0
// Status and Result<T>: how every call of this library says what went wrong. Nothing here throws.
#pragma once

#include <atomic>
#include <cstddef>
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
  kInvalidModel,      // a model that cannot be read or compiled
  kInvalidMedia,      // a picture, a video or a folder of them that cannot be read or decoded
  kUnsupported,       // understood, and not offered
  kNotReady,          // a non-blocking read of what has not been computed yet
  kOverloaded,        // a limit is reached: try again later
  kDeadlineExceeded,  // a wait ended before what it waited for, or a deadline passed
  kCancelled,         // given up before it started, on request
  kShuttingDown,      // the object is being destroyed or has been shut down
  kNoSuchDevice,      // no device of that name here
  kDeviceError,       // the device or its runtime failed
  kOutOfMemory,       // memory, threads or descriptors ran out
  kIoError,           // a file or a pipe could not be written: the disk is full, the reader has gone
  kException,         // code of the caller's threw: the message is its what()
  kInternal,          // none of the above: report it
};
inline constexpr int kStatusCodes = 17;

// What a code is called elsewhere. One row a code; this table is the only place that says so.
struct StatusCodeRow {
  StatusCode code;
  std::string_view name;              // as in messages: "invalid argument"
  int exit_code;                      // of the command line, for a command that ended so
  int http_status;                    // of an HTTP response
  int grpc_code;                      // of a gRPC response (grpc::StatusCode)
  std::string_view python_exception;  // the built-in exception that a Python programmer would catch
};
const StatusCodeRow& status_code_row(StatusCode code);

// The code's name as written in messages, such as "invalid argument".
std::string_view status_code_name(StatusCode code);

// The exit code of the command line for a command that ended with this status (DESIGN.md, errors).
int exit_code(StatusCode code);

// Success, or a code with a message and the first cause. A value: copying costs one atomic increment, and
// success costs nothing at all. Safe to read from any number of threads.
class [[nodiscard]] Status {
 public:
  Status() noexcept = default;  // success
  // Where there is no memory left for the failure itself, its message is lost and its code is kept.
  Status(StatusCode code, std::string message) noexcept;
  Status(StatusCode code, const char* message) noexcept;
  // kOutOfMemory: "frame: 921600 bytes of memory cannot be had". Needs no memory itself.
  //   what    what the memory was for
  //   bytes   how much was wanted; 0 where nobody knows
  static Status out_of_memory(std::string_view what, std::size_t bytes = 0) noexcept;
  // kException with this message, the what() of what was thrown. Needs no memory itself.
  static Status exception(std::string_view what) noexcept;

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
  Status with_context(std::string_view context) const noexcept;
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
  static Status without_message(StatusCode code) noexcept;
  static const bool made_at_start_;

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
