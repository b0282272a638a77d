// SPDX-License-Identifier: Apache-2.0
#include "cli/descriptor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <utility>

#include "base/wait_writable.h"
#include "cli/stop.h"

namespace inflight::cli {
int descriptor_of_path(const std::string& path) {
  constexpr std::array<std::string_view, 3> kNames = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (path == kNames.at(i)) return static_cast<int>(i);
  }
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (!path.starts_with(folder)) continue;
    int number = -1;
    const char* const last = path.data() + path.size();
    const auto [end, error] = std::from_chars(path.data() + folder.size(), last, number);
    if (error == std::errc() && end == last && number >= 0) return number;
  }
  return -1;
}

Descriptor::Descriptor(int number) noexcept : number_(number) {
  struct stat found {};
  if (number < 0 || fstat(number, &found) != 0) return;
  regular_ = S_ISREG(found.st_mode) || S_ISBLK(found.st_mode);
  socket_ = S_ISSOCK(found.st_mode);
  blocks_ = !regular_ && !socket_ && (fcntl(number, F_GETFL) & O_NONBLOCK) == 0;
}

Descriptor Descriptor::again(int number) {
  const int flags = fcntl(number, F_GETFL);
  if (flags >= 0 && (flags & O_ACCMODE) == O_RDONLY) errno = EBADF;
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) return {};
  struct stat found {};
  if (fstat(number, &found) == 0 && (S_ISFIFO(found.st_mode) || isatty(number) == 1)) {
    const std::string path = fmt::format("/proc/self/fd/{}", number);
    const int opened = open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (opened >= 0) return Descriptor(opened);
  }
  // A copy shares its place in the file, so nothing written through one overwrites what the other wrote.
  constexpr int kFirst = 3;
  return Descriptor(fcntl(number, F_DUPFD_CLOEXEC, kFirst));
}

Descriptor::Descriptor(Descriptor&& other) noexcept { *this = std::move(other); }

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  std::swap(regular_, other.regular_);
  std::swap(socket_, other.socket_);
  std::swap(blocks_, other.blocks_);
  std::swap(progress_, other.progress_);
  return *this;
}

Descriptor::~Descriptor() { close(); }

int Descriptor::close() noexcept {
  if (number_ < 0) return 0;
  // The descriptor is gone whatever close() returns; EINTR is no failure of what was written.
  return ::close(std::exchange(number_, -1)) == 0 || errno == EINTR ? 0 : errno;
}

bool Descriptor::wait_writable(TimePoint began) const noexcept {
  return internal::wait_writable(number_, stop_time, began, progress_);
}

int Descriptor::write(std::string_view& text) noexcept {
  const TimePoint began = steady_clock().now();
  while (!text.empty()) {
    // A pipe that poll() calls writable takes this much without blocking.
    const std::size_t size = blocks_ ? std::min<std::size_t>(text.size(), PIPE_BUF) : text.size();
    if (blocks_ && !wait_writable(began)) return ETIMEDOUT;
    const ssize_t count = socket_ ? send(number_, text.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL)
                                  : ::write(number_, text.data(), size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!wait_writable(began)) return ETIMEDOUT;
      continue;
    }
    if (count < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(count));
    if (!regular_) progress_ = steady_clock().now();
  }
  return 0;
}

}  // namespace inflight::cli
