// SPDX-License-Identifier: Apache-2.0
// Status and Result<T>: how every call of this library says what went wrong. Only to_string() can throw
// (std::bad_alloc); no call here blocks.
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

// What kind of thing went wrong. There are few codes on purpose: the message says the rest. The order is that
// of the table in status.cc.
enum class StatusCode : std::uint8_t {
  kOk,
  // A value of the caller is wrong: an option out of bounds, a shape, a dtype.
  kInvalidArgument,
  // A file or a name does not exist.
  kNotFound,
  // A model cannot be read or compiled.
  kInvalidModel,
  // A picture, a video or a folder of them cannot be read or decoded.
  kInvalidMedia,
  // The input is valid, but this library or this device does not offer it.
  kUnsupported,
  // A read that does not block found that the version has not been computed yet.
  kNotReady,
  // A limit is reached. The same call may succeed later.
  kOverloaded,
  // A wait ended at its time before what it waited for, or a frame's deadline passed.
  kDeadlineExceeded,
  // An operation or a prediction was cancelled before it started.
  kCancelled,
  // The object is being destroyed or has been shut down.
  kShuttingDown,
  // This machine has no device of that name, or no backend for it.
  kNoSuchDevice,
  // The device or its runtime failed.
  kDeviceError,
  // Memory, threads or descriptors ran out. Nothing has changed, so the same call may succeed later.
  kOutOfMemory,
  // A file or a pipe cannot be written: the disk is full, the reader has gone.
  kIoError,
  // Code of the caller threw an exception. The message is its what().
  kException,
  // A fault of the library or of a library below it. Please report it.
  kInternal,
};
// How many codes there are, kOk included.
inline constexpr int kStatusCodes = 17;

// What a code is called elsewhere: one row for each code. No other place maps codes.
struct StatusCodeRow {
  StatusCode code;
  std::string_view name;  // as in messages: "invalid argument"
  int exit_code;          // of a command that ended with this code
  int http_status;        // of an HTTP response
  int grpc_code;          // of a gRPC response (grpc::StatusCode)
  // The built-in exception that a Python programmer would catch, by name; "" for kOk.
  std::string_view python_exception;
};
// The row of a code. Requires a StatusCode of the enum: any other value stops the process.
//   returns  valid for ever
//   thread   any
const StatusCodeRow& status_code_row(StatusCode code);

// The code's name as written in messages, such as "invalid argument". Requires a code of the enum.
std::string_view status_code_name(StatusCode code);

// The exit code of the command line for a command that ended with this code: 0 to 4 (DESIGN.md, "Errors").
// Requires a code of the enum.
int exit_code(StatusCode code);

// Success, or a code with a message and the first cause. A value: copying a failure costs one atomic
// increment and shares its message; success holds no memory.
//   thread   any number may read and copy one object; none may assign to it meanwhile
class [[nodiscard]] Status {
 public:
  Status() noexcept = default;  // success
  // A failure. Requires a code other than kOk. If there is no memory for the failure itself, it keeps its
  // code and loses its message.
  //   message   what was found, what was wanted and where, without the code's name
  Status(StatusCode code, std::string message) noexcept;
  // The same. The text is copied.
  Status(StatusCode code, const char* message) noexcept;
  // kOutOfMemory: "frame: 921600 bytes of memory cannot be had". Needs no memory itself.
  //   what    what the memory was for
  //   bytes   how much was wanted; 0: unknown
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
  // kOk on success.
  StatusCode code() const noexcept { return rep_ == nullptr ? StatusCode::kOk : rep_->code; }
  // The message without the code's name; "" on success. Valid as long as any copy of this status lives.
  std::string_view message() const noexcept;
  // The name of the code and the message: "invalid argument: limit: got 0, want at least 1". "ok" on success.
  // Throws std::bad_alloc.
  std::string to_string() const;

  // The same failure as an outer caller reports it: `context` and ": " come before the message; the code and
  // the first cause stay. Success stays success. If there is no memory for the longer message, the status
  // stays as it is.
  Status with_context(std::string_view context) const noexcept;
  // The failure as it was before any with_context(). Success on success.
  Status first_cause() const noexcept;

  // Equal: the same code and the same message. First causes are not compared.
  friend bool operator==(const Status& a, const Status& b) noexcept {
    return a.rep_ == b.rep_ || (a.code() == b.code() && a.message() == b.message());
  }

 private:
  // A failure, shared by its copies.
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
  // A failure that exists since the start of the program, for when no memory is left.
  static Status without_message(StatusCode code) noexcept;
  static const bool made_at_start_;

  Rep* rep_ = nullptr;  // null: success
};

namespace internal {
// Prints where and what, and stops the process. For our own mistakes only, never for input.
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
}  // namespace internal

// A T, or the status that says why there is none. A subset of C++23's std::expected<T, Status>.
//   thread   as for T: any number may read one object; none may change it meanwhile
template <typename T>
class [[nodiscard]] Result {
  static_assert(!std::is_same_v<T, Status>, "a Result<Status> has two ways to fail");

 public:
  using value_type = T;

  // A value, or a failure. A status that is ok stops the process: it says neither.
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit, as std::expected
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit, as std::expected
    if (status_.ok())
      internal::check_failed("a Result made from a Status needs an error", __FILE__, __LINE__);
  }

  bool ok() const noexcept { return value_.has_value(); }
  bool has_value() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return value_.has_value(); }
  // Ok if there is a value, else why there is none. Valid as long as this result.
  const Status& status() const noexcept { return status_; }

  // The value; value(), * and -> are the same. Requires ok(): on a failed result they print the status and
  // stop the process. Valid as long as this result; the && form moves the value out.
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

// Evaluates `expression`, a Status, once. If it is not ok, returns it from the enclosing function, which
// returns a Status or a Result:
//   INFLIGHT_TRY(check(options));
#define INFLIGHT_TRY(expression)                                 \
  do {                                                           \
    ::inflight::Status inflight_try_status_ = (expression);      \
    if (!inflight_try_status_.ok()) return inflight_try_status_; \
  } while (false)

// Evaluates `expression`, a Result, once. If it is ok, moves its value into `target`, which may be a
// declaration; else returns its status from the enclosing function. It is more than one statement: use braces
// after an if.
//   INFLIGHT_TRY_ASSIGN(const Shape shape, Shape::make(dims));
#define INFLIGHT_TRY_ASSIGN(target, expression) \
  INFLIGHT_TRY_ASSIGN_IMPL_(INFLIGHT_CONCAT_(inflight_try_result_, __LINE__), target, expression)
#define INFLIGHT_TRY_ASSIGN_IMPL_(result, target, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return result.status();                   \
  target = std::move(result).value()
#define INFLIGHT_CONCAT_(a, b) INFLIGHT_CONCAT_IMPL_(a, b)
#define INFLIGHT_CONCAT_IMPL_(a, b) a##b
