// SPDX-License-Identifier: Apache-2.0
// What the program prints: the one way to its standard output and its standard error.
#pragma once

#include <string_view>

#include "inflight/status.h"

namespace inflight::cli {

// Opens /dev/null on each of the descriptors 0, 1 and 2 that is closed. Otherwise the next file that is
// opened would get that number, and what is printed would be written into it. Before anything opens a file.
void open_standard_descriptors() noexcept;

// Prints `text` to stdout as it is. A failure is remembered, and what follows it is not printed.
//   thread   any; waits for a slow reader, as Descriptor::write does
void print_out(std::string_view text);

// Prints `inflight: MESSAGE` to stderr, on one line.
//   thread   any; waits likewise
void print_error(std::string_view message);
void print_error(const Status& status);

// Prints `text` to stderr as it is: for a line that replaces itself on a terminal.
//   thread   any; waits likewise
void print_live(std::string_view text);

// The first failure to print, once: a second call returns success.
//   errors   kIoError: `standard output: No space left on device`
Status take_print_failure();

}  // namespace inflight::cli
