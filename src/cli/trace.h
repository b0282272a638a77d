// SPDX-License-Identifier: Apache-2.0
// TraceWriter: the file of --trace, a timeline of every frame that Perfetto and chrome://tracing open.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/output_file.h"
#include "inflight/clock.h"
#include "inflight/internal/mutex.h"
#include "inflight/predictor.h"
#include "inflight/status.h"

namespace inflight::cli {

// One submission, from when it was due to its end. A time that never came is TimePoint{}.
struct TraceRecord {
  std::int64_t frame = 0;
  int stream = 0;  // an index of TraceNames::streams
  Outcome outcome = Outcome::kRejected;
  Width ran_at = Width::kNarrow;
  int slot = -1;   // -1: it never started
  int height = 0;  // of the frame: each size of frames has slots of its own
  int width = 0;
  TimePoint due = {};
  TimePoint launched = {};
  TimePoint finished = {};
  TimePoint delivered = {};  // when the consumer took it, or was told that it is refused
};

struct TraceNames {
  std::string device;                // the process that has a track for each slot
  std::vector<std::string> streams;  // each is a process that has its frames
};

// The text of the file, piece by piece: JSON in the Trace Event Format. Each submission is one asynchronous slice
// (a pair of "b" and "e" with the category "frame") of its stream, and a complete slice ("X", category "slot") of
// its slot, if it ran. Times are microseconds from the run's start.
//   source   Trace Event Format (Google, 2016)
class TraceText {
 public:
  explicit TraceText(TraceNames names) : names_(std::move(names)) {}
  void append_head(fmt::memory_buffer& out);
  void append(const TraceRecord& record, TimePoint start, fmt::memory_buffer& out);
  static void append_end(fmt::memory_buffer& out);

 private:
  void append_slot(const TraceRecord& record, TimePoint start, fmt::memory_buffer& out);
  void name_slot(const TraceRecord& record, std::int64_t process, fmt::memory_buffer& out);

  const TraceNames names_;
  std::vector<std::pair<int, int>> sizes_;       // of frames, in the order in which they came
  std::set<std::pair<std::size_t, int>> slots_;  // those that have their names: index of a size, slot
};

// Owns the file and a thread that formats and writes; the loop only hands records over. A file that is cut off
// in the middle, by a kill, still opens.
//   bound   has_room() is false while kWaitingMax records wait; the loop then submits nothing
class TraceWriter {
 public:
  static constexpr std::size_t kWaitingMax = 1 << 16;

  TraceWriter(OutputFile file, TraceNames names);
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  // What the times count from. Before the first put().
  void set_start(TimePoint start) { start_ = start; }
  // Takes a record over. Never waits for the disk.
  void put(const TraceRecord& record);
  bool has_room();
  // Waits until has_room(), `when` at most.
  void wait_room_until(TimePoint when);
  // Writes what is still to be written and ends the thread.
  //   returns  whether all of it has reached the file
  Status finish();

 private:
  void write_loop();
  void flush();

  TimePoint start_;

  internal::Mutex mutex_;
  internal::CondVar some_;  // something to write, or ending_
  internal::CondVar room_;  // a batch has been written
  std::vector<TraceRecord> queue_ INFLIGHT_GUARDED_BY(mutex_);
  std::size_t waiting_ INFLIGHT_GUARDED_BY(mutex_) = 0;  // put and not yet written
  bool ending_ INFLIGHT_GUARDED_BY(mutex_) = false;

  // The thread's, until it has ended.
  OutputFile file_;
  TraceText format_;
  fmt::memory_buffer text_;
  Status status_;

  std::thread thread_;
};

}  // namespace inflight::cli
