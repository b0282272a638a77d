// SPDX-License-Identifier: Apache-2.0
// WriterFile: the file that an encoder writes to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "inflight/status.h"

namespace inflight::internal {

// A file that is opened now and written later. What it held is kept until the first write; a file that was made
// here and never written is removed again.
class WriterFile {
 public:
  WriterFile() noexcept = default;
  //   option   for messages
  //   errors   kNotFound: cannot be opened for writing, and why
  static Result<WriterFile> open(const std::string& option, const std::string& path);
  WriterFile(WriterFile&& other) noexcept;
  WriterFile& operator=(WriterFile&& other) noexcept;
  ~WriterFile();

  // Writes all of it at the current place.
  //   returns  0, or the errno
  int write(const std::uint8_t* bytes, std::size_t count) noexcept;
  // As lseek().
  std::int64_t seek(std::int64_t offset, int whence) noexcept;
  bool can_seek() const noexcept;
  // Closes it: some file systems report only then that the disk is full.
  //   returns  0, or the errno
  int close() noexcept;
  // The text of an error of this file.
  Status failure(int error) const;

 private:
  int begin() noexcept;

  int descriptor_ = -1;
  bool made_ = false;
  bool written_ = false;
  std::string option_;
  std::string path_;
};

}  // namespace inflight::internal
