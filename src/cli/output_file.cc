// SPDX-License-Identifier: Apache-2.0
#include "cli/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace inflight::cli {
namespace {

// strerror() shares its text between threads.
std::string error_text(int error) { return std::generic_category().message(error); }

}  // namespace

Result<OutputFile> OutputFile::open(std::string option, std::string path) {
  OutputFile file;
  // Made or found must be known, so that only what was made here is ever taken away.
  constexpr int kFlags = O_WRONLY | O_CLOEXEC;
  file.descriptor_ = ::open(path.c_str(), kFlags | O_CREAT | O_EXCL, 0666);
  file.made_ = file.descriptor_ >= 0;
  if (!file.made_ && errno == EEXIST) file.descriptor_ = ::open(path.c_str(), kFlags);
  // A dangling symbolic link is neither made by O_EXCL nor found.
  if (file.descriptor_ < 0 && errno == ENOENT)
    file.descriptor_ = ::open(path.c_str(), kFlags | O_CREAT, 0666);
  if (file.descriptor_ < 0) {
    return Status(StatusCode::kNotFound,
                  fmt::format("{}: cannot write \"{}\": {}", option, path, error_text(errno)));
  }
  file.option_ = std::move(option);
  file.path_ = std::move(path);
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept { *this = std::move(other); }

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(made_, other.made_);
  std::swap(written_, other.written_);
  std::swap(option_, other.option_);
  std::swap(path_, other.path_);
  return *this;
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  if (made_ && !written_) unlink(path_.c_str());
  close(descriptor_);
}

Status OutputFile::write(std::string_view text) {
  const auto failed = [this] {
    return Status(StatusCode::kIoError,
                  fmt::format("{}: cannot write \"{}\": {}", option_, path_, error_text(errno)));
  };
  if (!written_) {
    written_ = true;
    struct stat found {};
    if (fstat(descriptor_, &found) != 0) return failed();
    // A pipe or a terminal has no length to cut.
    if (S_ISREG(found.st_mode) && ftruncate(descriptor_, 0) != 0) return failed();
  }
  while (!text.empty()) {
    const ssize_t count = ::write(descriptor_, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed();
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

}  // namespace inflight::cli
