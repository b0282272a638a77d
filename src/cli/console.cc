// SPDX-License-Identifier: Apache-2.0
#include "cli/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "base/wait_writable.h"
#include "cli/descriptor.h"
#include "cli/text.h"
#include "inflight/internal/mutex.h"

namespace inflight::cli {
namespace {

// stdout or stderr, from its first use on.
class Channel {
 public:
  Channel(int number, std::string_view name) : name_(name), descriptor_(Descriptor::again(number)) {
    if (!descriptor_) fail(errno);
  }

  void print(std::string_view text) {
    const internal::MutexLock lock(mutex_);
    if (failed_) return;
    if (const int error = descriptor_.write(text); error != 0) fail(error);
  }

  Status take_failure() {
    const internal::MutexLock lock(mutex_);
    return std::exchange(failure_, Status());
  }

 private:
  void fail(int error) INFLIGHT_REQUIRES(mutex_) {
    failed_ = true;
    failure_ = Status(StatusCode::kIoError,
                      fmt::format("cannot write to {}: {}", name_, internal::write_error_text(error)));
  }

  const std::string_view name_;
  internal::Mutex mutex_;  // held while writing, which ends soon after a signal
  Descriptor descriptor_ INFLIGHT_GUARDED_BY(mutex_);
  bool failed_ INFLIGHT_GUARDED_BY(mutex_) = false;
  Status failure_ INFLIGHT_GUARDED_BY(mutex_);
};

Channel& out() {
  static Channel channel(STDOUT_FILENO, "the standard output");
  return channel;
}

Channel& err() {
  static Channel channel(STDERR_FILENO, "the standard error");
  return channel;
}

}  // namespace

void open_standard_descriptors() noexcept {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(number, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest number that is free, and all below have been opened.
    static_cast<void>(open("/dev/null", number == STDIN_FILENO ? O_RDONLY : O_WRONLY));
  }
}

void print_out(std::string_view text) { out().print(text); }

void print_error(std::string_view message) { err().print(fmt::format("inflight: {}\n", one_line(message))); }

void print_live(std::string_view text) { err().print(text); }

void print_error(const Status& status) { print_error(status.message()); }

Status take_print_failure() {
  Status failure = out().take_failure();
  return failure.ok() ? err().take_failure() : failure;
}

}  // namespace inflight::cli
