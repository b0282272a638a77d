// SPDX-License-Identifier: Apache-2.0
#include "cli/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/wait_writable.h"
#include "cli/file_id.h"

namespace inflight::cli {
namespace {

constexpr mode_t kMode = 0666;  // less what the umask takes
constexpr int kFlags = O_WRONLY | O_CLOEXEC | O_NOCTTY;

// A new file beside `target`, under a name that is not taken.
//   returns  its descriptor, or -1 with errno set
int make_beside(const std::string& target, std::string& name) {
  constexpr int kTriesMax = 100;
  const std::filesystem::path folder = std::filesystem::path(target).parent_path();
  for (int i = 0; i < kTriesMax; ++i) {
    name = (folder / fmt::format(".inflight-{}-{}", getpid(), i)).string();
    const int made = ::open(name.c_str(), kFlags | O_CREAT | O_EXCL, kMode);
    if (made >= 0 || errno != EEXIST) return made;
  }
  return -1;
}

// Gives a new file the owner and the permissions of the one that it replaces.
bool copy_owner(int made, const struct stat& old) {
  struct stat now {};
  if (fstat(made, &now) != 0) return false;
  const bool same = now.st_uid == old.st_uid && now.st_gid == old.st_gid;
  if (!same && fchown(made, old.st_uid, old.st_gid) != 0) return false;
  constexpr mode_t kPermissions = 07777;
  return fchmod(made, old.st_mode & kPermissions) == 0;
}

// Opens a named pipe as soon as it has a reader, without blocking a write later.
int open_pipe(const char* path) {
  constexpr Duration kRetry = std::chrono::milliseconds(10);
  while (true) {
    const int opened = ::open(path, kFlags | O_NONBLOCK);
    if (opened >= 0 || errno != ENXIO) return opened;
    std::this_thread::sleep_for(kRetry);
  }
}

}  // namespace

Result<OutputFile> OutputFile::open(std::string option, std::string path) {
  OutputFile file;
  file.option_ = std::move(option);
  file.path_ = std::move(path);
  file.target_ = behind_links(file.path_);
  const int number = descriptor_of_path(file.target_);
  if (number >= 0) {
    file.descriptor_ = Descriptor::again(number);
    file.shared_ = true;
    if (!file.descriptor_) return Status(StatusCode::kNotFound, std::string(file.failed(errno).message()));
    file.open_ = true;
    return file;
  }
  return open_path(std::move(file));
}

Result<OutputFile> OutputFile::open_path(OutputFile file) {
  const char* const path = file.path_.c_str();
  struct stat found {};
  int opened = -1;
  bool absent = false;
  if (stat(path, &found) == 0) {
    if (S_ISFIFO(found.st_mode))
      opened = open_pipe(path);
    else
      opened = ::open(path, kFlags | (S_ISCHR(found.st_mode) ? O_NONBLOCK : 0));
  } else {
    opened = ::open(file.target_.c_str(), kFlags | O_CREAT | O_EXCL, kMode);
    absent = opened >= 0;
  }
  if (opened < 0) return Status(StatusCode::kNotFound, std::string(file.failed(errno).message()));
  file.descriptor_ = Descriptor(opened);
  file.open_ = true;
  // Made again by the first write: a signal before it leaves nothing behind.
  if (absent) unlink(file.target_.c_str());
  if (absent) file.descriptor_ = Descriptor();
  return file;
}

// Whether a new file beside it can take the place of the one that is there, and nothing is lost by that.
bool OutputFile::can_replace(const std::string& target) {
  struct stat found {};
  const bool exists = stat(target.c_str(), &found) == 0;
  if (exists && (!S_ISREG(found.st_mode) || found.st_nlink != 1)) return false;
  std::string name;
  const Descriptor made(make_beside(target, name));
  if (!made) return false;
  const bool copied = !exists || copy_owner(made.number(), found);
  unlink(name.c_str());
  return copied;
}

Result<OutputFile> OutputFile::open_whole(std::string option, std::string path) {
  INFLIGHT_TRY_ASSIGN(OutputFile file, open(std::move(option), std::move(path)));
  if (file.shared_ || !can_replace(file.target_)) return file;
  file.whole_ = true;
  file.descriptor_ = Descriptor();
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept { *this = std::move(other); }

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(open_, other.open_);
  std::swap(shared_, other.shared_);
  std::swap(whole_, other.whole_);
  std::swap(written_, other.written_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(option_, other.option_);
  std::swap(path_, other.path_);
  std::swap(target_, other.target_);
  return *this;
}

Status OutputFile::failed(int error) const {
  return {StatusCode::kIoError,
          fmt::format("{}: cannot write \"{}\": {}", option_, path_, internal::write_error_text(error))};
}

// Makes the file, or cuts what it held.
Status OutputFile::begin() {
  if (std::exchange(written_, true) || shared_) return {};
  if (!descriptor_) descriptor_ = Descriptor(::open(target_.c_str(), kFlags | O_CREAT, kMode));
  if (!descriptor_) return failed(errno);
  struct stat found {};
  if (fstat(descriptor_.number(), &found) != 0) return failed(errno);
  // A pipe or a terminal has no length to cut.
  if (S_ISREG(found.st_mode) && ftruncate(descriptor_.number(), 0) != 0) return failed(errno);
  return {};
}

Status OutputFile::write(std::string_view text) {
  if (!whole_) return write_in_place(text);
  written_ = true;
  return replace(text);
}

Status OutputFile::write_in_place(std::string_view text) {
  INFLIGHT_TRY(begin());
  std::string_view rest = text;
  const int error = descriptor_.write(rest);
  if (error == 0) return {};
  cut_last_line(text, rest.size());
  return failed(error);
}

// Removes what has been written of a line that the last `left` bytes of `text` belong to. Where others have
// written behind it, it stays.
void OutputFile::cut_last_line(std::string_view text, std::size_t left) const {
  const std::string_view written = text.substr(0, text.size() - left);
  const std::size_t end = written.rfind('\n');
  const std::size_t part = end == std::string_view::npos ? written.size() : written.size() - end - 1;
  struct stat found {};
  if (part == 0 || fstat(descriptor_.number(), &found) != 0 || !S_ISREG(found.st_mode)) return;
  const off_t at = lseek(descriptor_.number(), 0, SEEK_CUR);
  if (at < 0 || at != found.st_size || at < static_cast<off_t>(part)) return;
  const off_t whole = at - static_cast<off_t>(part);
  if (ftruncate(descriptor_.number(), whole) == 0) lseek(descriptor_.number(), whole, SEEK_SET);
}

Status OutputFile::replace(std::string_view text) {
  std::string name;
  Descriptor made(make_beside(target_, name));
  if (!made) return failed(errno);
  struct stat old {};
  const bool exists = stat(target_.c_str(), &old) == 0;
  std::string_view rest = text;
  int error = exists && !copy_owner(made.number(), old) ? errno : 0;
  if (error == 0) error = made.write(rest);
  if (const int closed = made.close(); error == 0) error = closed;
  if (error == 0 && rename(name.c_str(), target_.c_str()) == 0) return {};
  if (error == 0) error = errno;
  unlink(name.c_str());
  // A file that is mounted by itself (EBUSY), or that is another user's in a folder like /tmp, keeps its
  // inode.
  if (error != EBUSY && error != EPERM && error != EACCES) return failed(error);
  descriptor_ = Descriptor(::open(target_.c_str(), kFlags | O_TRUNC));
  if (!descriptor_) return failed(errno);
  return write_in_place(text);
}

Status OutputFile::close() {
  const int error = descriptor_.close();
  return error == 0 ? Status() : failed(error);
}

}  // namespace inflight::cli
