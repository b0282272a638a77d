// SPDX-License-Identifier: Apache-2.0
// Descriptor: a file descriptor to write to, whose reader may be slow, stopped or gone.
#pragma once

#include <string>
#include <string_view>

#include "inflight/clock.h"

namespace inflight::cli {

// The number in /dev/stdin, /dev/stdout, /dev/stderr, /dev/fd/N and /proc/self/fd/N; -1: `path` is none of
// these.
int descriptor_of_path(const std::string& path);

// Writes to a file, a pipe, a terminal or a socket. A write waits for a slow reader; after a signal to stop
// it fails once the reader has taken nothing for internal::kStallAfterStop, so that nobody can hold the program up.
//   owns     the descriptor
//   thread   one at a time
class Descriptor {
 public:
  Descriptor() noexcept = default;  // none
  // Takes over a descriptor that is open for writing.
  explicit Descriptor(int number) noexcept;
  // A descriptor for what `number` (of this process) is open on. The other processes that share a pipe or a
  // terminal keep their mode: this opens it anew where it needs one that does not block.
  //   returns  none, with errno set, where `number` is closed or not open for writing
  static Descriptor again(int number);
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  explicit operator bool() const noexcept { return number_ >= 0; }
  int number() const noexcept { return number_; }

  // Writes `text` and removes from its front what has been written.
  //   returns  0, or an errno; ETIMEDOUT: after a signal to stop, nobody has read
  int write(std::string_view& text) noexcept;
  // Closes it.
  //   returns  0, or an errno: some file systems report only here that the disk is full
  int close() noexcept;

 private:
  bool wait_writable(TimePoint began) const noexcept;

  int number_ = -1;
  bool regular_ = false;  // a file: writing takes as long as the disk does
  bool socket_ = false;
  bool blocks_ = false;   // writing may block
  TimePoint progress_{};  // when something was taken last
};

}  // namespace inflight::cli
