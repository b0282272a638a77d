// SPDX-License-Identifier: Apache-2.0
// OutputFile: a file to be written later, whose path is tried out at once.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "cli/descriptor.h"
#include "inflight/status.h"

namespace inflight::cli {

// A run of an hour must not end with "no such directory", so the path is tried before the run.
//   /dev/stdout, /dev/fd/N   what that descriptor is open on, at its present place; nothing is cut off
//   a named pipe             opening it waits for a reader
class OutputFile {
 public:
  OutputFile() noexcept = default;  // no file

  // A file that is written piece by piece. What it held is kept until the first write, and a file that
  // is not there is made by it.
  //   option   for messages, such as "--json"
  //   errors   kNotFound: cannot be opened for writing, and why
  static Result<OutputFile> open(std::string option, std::string path);
  // A file that is written by one write(), whole or not at all: into a new file beside it, which then takes
  // its name. Pipes, terminals and devices are written in place; so are files with a second name (hard link),
  // which would lose it, and files in a folder that takes no new files.
  //   errors   as open()
  static Result<OutputFile> open_whole(std::string option, std::string path);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile() = default;

  explicit operator bool() const noexcept { return open_; }

  // Appends; the first write replaces what was there. Where a disk is full, what has been written of the last
  // line is cut off again, so that the file ends at a whole line.
  //   thread   one at a time; waits for a slow reader, as Descriptor::write does
  //   errors   kIoError: the disk is full, the reader has gone, or the like; the file is of no use from then
  //            on
  Status write(std::string_view text);
  // Closes the file. No write() after it.
  //   errors   kIoError: some file systems report only here that the disk is full
  Status close();

 private:
  static Result<OutputFile> open_path(OutputFile file);
  static bool can_replace(const std::string& target);
  Status begin();
  Status write_in_place(std::string_view text);
  Status replace(std::string_view text);
  void cut_last_line(std::string_view text, std::size_t left) const;
  Status failed(int error) const;

  bool open_ = false;
  bool shared_ = false;  // a copy of a descriptor that others write to
  bool whole_ = false;   // write() makes a new file that replaces target_
  bool written_ = false;
  Descriptor descriptor_;  // none: whole_, or not there before the first write
  std::string option_;
  std::string path_;    // as the user wrote it
  std::string target_;  // the same behind symbolic links
};

}  // namespace inflight::cli
