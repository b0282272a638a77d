// SPDX-License-Identifier: Apache-2.0
// OutputFile: a file to be written later, whose path is tried out at once.
#pragma once

#include <string>
#include <string_view>

#include "inflight/status.h"

namespace inflight::cli {

// A run of an hour must not end with "no such directory", so the file is opened before the run. What it held
// is kept until the first write; a file that was made here and never written is taken away again.
class OutputFile {
 public:
  OutputFile() noexcept = default;  // no file
  //   option   for messages, such as "--json"
  //   errors   kNotFound: cannot be opened for writing, and why
  static Result<OutputFile> open(std::string option, std::string path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();

  explicit operator bool() const noexcept { return descriptor_ >= 0; }
  // Appends; the first write replaces what was there.
  //   thread   one at a time; may block
  //   errors   kIoError: the disk is full, or the like; the file is of no use from then on
  Status write(std::string_view text);

 private:
  int descriptor_ = -1;
  bool made_ = false;
  bool written_ = false;
  std::string option_;
  std::string path_;
};

}  // namespace inflight::cli
