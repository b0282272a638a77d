// SPDX-License-Identifier: Apache-2.0
// WriterFile: the file that an encoder writes to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/wait_writable.h"
#include "inflight/clock.h"
#include "inflight/status.h"

namespace inflight::internal {

// A file that is opened now and written later. What it held is kept until the first write; a file that was
// made here and never written is removed again.
// The reader of a pipe may be slow, stopped or gone: a write waits for it, until the program is to stop.
class WriterFile {
 public:
  WriterFile() noexcept = default;
  //   option   for messages
  //   stop     null: never
  //   errors   kNotFound: cannot be opened for writing, and why
  static Result<WriterFile> open(const std::string& option, const std::string& path, StopTime stop = nullptr);
  WriterFile(WriterFile&& other) noexcept;
  WriterFile& operator=(WriterFile&& other) noexcept;
  ~WriterFile();

  // Writes all of it at the current place.
  //   returns  0, or the errno; ETIMEDOUT: after a stop, nobody has read. Every later write then answers that
  //            at once
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
  bool wait_writable(TimePoint began) noexcept;

  int descriptor_ = -1;
  StopTime stop_ = nullptr;
  bool regular_ = true;     // writing takes as long as the disk does
  bool abandoned_ = false;  // its reader has stopped reading
  TimePoint progress_{};    // when something was taken last
  bool made_ = false;
  bool written_ = false;
  std::string option_;
  std::string path_;
};

}  // namespace inflight::internal
