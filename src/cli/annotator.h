// SPDX-License-Identifier: Apache-2.0
// Annotator: draws results on their frames and writes them, on a thread of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cli/interpretation.h"
#include "inflight/clock.h"
#include "inflight/internal/mutex.h"
#include "inflight/predictor.h"
#include "inflight/status.h"
#include "media/source.h"
#include "media/video_writer.h"
#include "vision/canvas.h"

namespace inflight::cli {

// Owns the output and a thread that draws and encodes; the loop hands frames over when it submits them, and their
// results when they are there. Frames are written in their order, each once; those without a result (refused, failed)
// as they are.
//   bound    besides the frames in flight, kWaitingMax frames or about kBytesMax bytes of them, two at least; a frame
//            that comes when so many wait is left out and counted
//   thread   begin(), end() and the rest: one, the loop's
class Annotator {
 public:
  static constexpr std::size_t kWaitingMax = 64;
  static constexpr std::size_t kBytesMax = std::size_t{128} << 20;

  //   top      how many classes are named on a frame
  Annotator(std::unique_ptr<VideoWriter> writer, const Interpretation& meaning, int top,
            std::size_t frame_bytes);
  ~Annotator();
  Annotator(const Annotator&) = delete;
  Annotator& operator=(const Annotator&) = delete;

  // Takes a share in a frame that is about to be submitted. Never waits for the encoder.
  //   number   of the frame, higher than any before
  //   time     when it is shown
  void begin(std::int64_t number, const VideoFrame& frame, Duration time);
  // The frame's end: its prediction, or nothing where it was refused.
  void end(std::int64_t number, std::optional<Prediction> prediction);
  // Whether begin() would take a frame.
  bool has_room();
  // Waits until it would, `when` at most.
  void wait_room_until(TimePoint when);

  // Writes what waits, and ends the thread. Every frame has had its end, or gets none. Once.
  //   errors   those of VideoWriter, and of a head that the outputs do not fit: the first that there was
  Status finish();
  // How many frames are in the output. After finish().
  std::int64_t written() const noexcept { return written_; }
  // How many were left out because drawing and encoding were behind.
  std::int64_t dropped() const noexcept { return dropped_; }

 private:
  struct Entry {
    std::int64_t number = 0;
    VideoFrame frame;
    Duration time{0};
    bool ended = false;
    std::optional<Prediction> prediction;
  };

  bool has_room_locked() const INFLIGHT_REQUIRES(mutex_) { return waiting_ < waiting_max_; }
  void write_loop();
  std::optional<Entry> take_next();
  Status write(const Entry& entry);
  Status draw(const Entry& entry);

  const std::unique_ptr<VideoWriter> writer_;
  const Interpretation meaning_;
  const std::size_t top_;
  const std::size_t waiting_max_;
  std::int64_t dropped_ = 0;  // the loop's

  internal::Mutex mutex_;
  internal::CondVar some_;  // the first entry has ended, or ending_
  internal::CondVar room_;
  std::deque<Entry> entries_ INFLIGHT_GUARDED_BY(mutex_);  // by number
  std::size_t waiting_ INFLIGHT_GUARDED_BY(mutex_) = 0;    // those that have ended, and the one at work
  bool ending_ INFLIGHT_GUARDED_BY(mutex_) = false;

  // The thread's, until it has ended.
  vision::Canvas canvas_;
  std::vector<std::size_t> classes_;
  std::int64_t written_ = 0;
  Status status_;

  std::thread thread_;
};

}  // namespace inflight::cli
