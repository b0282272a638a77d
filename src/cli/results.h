// SPDX-License-Identifier: Apache-2.0
// ResultsWriter: one line of JSON for each frame, written by a thread of its own.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <thread>
#include <vector>

#include "cli/output_file.h"
#include "cli/result_line.h"
#include "inflight/clock.h"
#include "inflight/internal/mutex.h"
#include "inflight/status.h"

namespace inflight::cli {

// Owns the file and a thread that formats and writes; the loop only hands results over.
//   bound   `predictions_max` results that hold outputs and kRefusalsMax that do not; the loop asks for room
//   first
class ResultsWriter {
 public:
  static constexpr std::size_t kRefusalsMax = 1 << 16;

  ResultsWriter(OutputFile file, ResultsFormat format, std::size_t predictions_max);
  ~ResultsWriter();
  ResultsWriter(const ResultsWriter&) = delete;
  ResultsWriter& operator=(const ResultsWriter&) = delete;

  // What due_us counts from. Before the first put().
  void set_start(TimePoint start) { start_ = start; }

  // Takes the result over, unless there is no room for its kind: then it is left as it was. Never waits for
  // the disk.
  bool put(FrameResult& result);
  // Whether put() would take a refusal.
  bool has_room_for_refusal();
  // Waits until there is room for both kinds, `when` at most.
  void wait_room_until(TimePoint when);

  // Writes what is still to be written and ends the thread.
  //   returns  whether every line has reached the file
  Status finish();

 private:
  bool has_room_locked() const INFLIGHT_REQUIRES(mutex_);
  void write_loop();
  void write_batch(std::vector<FrameResult>& batch);
  void flush();

  const std::size_t predictions_max_;
  TimePoint start_;

  internal::Mutex mutex_;
  internal::CondVar some_;  // something to write, or ending_
  internal::CondVar room_;  // a batch has been written
  std::vector<FrameResult> queue_ INFLIGHT_GUARDED_BY(mutex_);
  std::size_t predictions_ INFLIGHT_GUARDED_BY(mutex_) = 0;  // put and not yet written
  std::size_t refusals_ INFLIGHT_GUARDED_BY(mutex_) = 0;     // likewise
  bool ending_ INFLIGHT_GUARDED_BY(mutex_) = false;

  // The thread's, until it has ended.
  OutputFile file_;
  ResultLine line_;
  fmt::memory_buffer text_;           // formatted and not yet written
  std::size_t text_predictions_ = 0;  // how many of each kind those are
  std::size_t text_refusals_ = 0;
  Status status_;

  std::thread thread_;
};

}  // namespace inflight::cli
