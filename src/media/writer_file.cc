// SPDX-License-Identifier: Apache-2.0
#include "media/writer_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <system_error>
#include <utility>

namespace inflight::internal {

Result<WriterFile> WriterFile::open(const std::string& option, const std::string& path, StopTime stop) {
  WriterFile file;
  file.stop_ = stop;
  // Made or found must be known, so that only what was made here is ever removed.
  constexpr int kFlags = O_RDWR | O_CLOEXEC;
  file.descriptor_ = ::open(path.c_str(), kFlags | O_CREAT | O_EXCL, 0666);
  file.made_ = file.descriptor_ >= 0;
  // A dangling symbolic link is neither made by O_EXCL nor found.
  if (!file.made_ && (errno == EEXIST || errno == ENOENT))
    file.descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_CREAT, 0666);
  if (file.descriptor_ < 0) {
    return Status(StatusCode::kNotFound, fmt::format("{}: cannot write \"{}\": {}", option, path,
                                                     std::generic_category().message(errno)));
  }
  struct stat found {};
  file.regular_ = fstat(file.descriptor_, &found) != 0 || S_ISREG(found.st_mode) || S_ISBLK(found.st_mode);
  file.option_ = option;
  file.path_ = path;
  return file;
}

WriterFile::WriterFile(WriterFile&& other) noexcept { *this = std::move(other); }

WriterFile& WriterFile::operator=(WriterFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(stop_, other.stop_);
  std::swap(regular_, other.regular_);
  std::swap(abandoned_, other.abandoned_);
  std::swap(progress_, other.progress_);
  std::swap(made_, other.made_);
  std::swap(written_, other.written_);
  std::swap(option_, other.option_);
  std::swap(path_, other.path_);
  return *this;
}

WriterFile::~WriterFile() {
  if (made_ && !written_ && descriptor_ >= 0) unlink(path_.c_str());
  static_cast<void>(close());
}

int WriterFile::begin() noexcept {
  if (std::exchange(written_, true)) return 0;
  struct stat found {};
  if (fstat(descriptor_, &found) != 0) return errno;
  // A pipe or a terminal has no length to cut.
  return S_ISREG(found.st_mode) && ftruncate(descriptor_, 0) != 0 ? errno : 0;
}

bool WriterFile::wait_writable(TimePoint began) noexcept {
  abandoned_ = abandoned_ || !internal::wait_writable(descriptor_, stop_, began, progress_);
  return !abandoned_;
}

int WriterFile::write(const std::uint8_t* bytes, std::size_t count) noexcept {
  if (const int error = begin(); error != 0) return error;
  const TimePoint began = steady_clock().now();
  while (count > 0) {
    if (!regular_ && !wait_writable(began)) return ETIMEDOUT;
    // A pipe that poll() calls writable takes this much without blocking.
    const std::size_t size = regular_ ? count : std::min<std::size_t>(count, PIPE_BUF);
    const ssize_t written = ::write(descriptor_, bytes, size);
    if (written < 0 && (errno == EINTR || (errno == EAGAIN && !regular_))) continue;
    if (written < 0) return errno;
    bytes += written;
    count -= static_cast<std::size_t>(written);
    if (!regular_) progress_ = steady_clock().now();
  }
  return 0;
}

std::int64_t WriterFile::seek(std::int64_t offset, int whence) noexcept {
  return ::lseek(descriptor_, offset, whence);
}

bool WriterFile::can_seek() const noexcept { return ::lseek(descriptor_, 0, SEEK_CUR) >= 0; }

int WriterFile::close() noexcept {
  const int descriptor = std::exchange(descriptor_, -1);
  return descriptor >= 0 && ::close(descriptor) != 0 ? errno : 0;
}

Status WriterFile::failure(int error) const {
  return {StatusCode::kIoError,
          fmt::format("{}: cannot write \"{}\": {}", option_, path_, write_error_text(error))};
}

}  // namespace inflight::internal
