// SPDX-License-Identifier: Apache-2.0
// Annotator: draws results on their frames and writes them, on a thread of its own.
#pragma once

#include <atomic>
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
#include "inflight/predictor.h"
#include "inflight/status.h"
#include "media/source.h"
#include "media/video_writer.h"
#include "vision/canvas.h"

namespace inflight::cli {

// Whether predictions wait for the output, or frames are left out of it.
enum class OutputPace : std::uint8_t {
  // Drawing and encoding take the processor time that nothing else wants; the loop drops what is too much.
  kGivesWay,
  // The loop waits for room before it submits, so that no frame is left out.
  kKeepsPace,
};

// Owns the output and a thread that draws and encodes; the loop hands frames over when it submits them, and
// their results when they are there. Frames are written in their order, each once; those without a result
// (refused, failed) as they are. The thread takes no lock, so it never holds the loop up, however rarely it
// runs.
//   bound    besides the frames in flight, kWaitingMax frames or about kBytesMax bytes of them, two at least;
//            a frame that comes when so many wait is left out and counted
//   thread   begin(), end() and the rest: one, the loop's
class Annotator {
 public:
  static constexpr std::size_t kWaitingMax = 64;
  static constexpr std::size_t kBytesMax = std::size_t{128} << 20;

  //   top      how many classes are named on a frame
  Annotator(std::unique_ptr<VideoWriter> writer, const Interpretation& meaning, int top,
            std::size_t frame_bytes, OutputPace pace);
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
  bool has_room() const;
  // Waits until it would, `when` at most.
  void wait_room_until(TimePoint when);

  // Ends the drawing thread, and writes what still waits on the calling one. A frame that has had no end gets
  // none, and is written as it is. Once.
  //   errors   those of VideoWriter, and of a head that the outputs do not fit: the first that there was
  Status finish();
  OutputPace pace() const noexcept { return pace_; }
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

  void hand_over();
  void write_loop();
  void write_next(std::uint32_t number);
  Status write(const Entry& entry);
  Status draw(const Entry& entry);

  const std::unique_ptr<VideoWriter> writer_;
  const Interpretation meaning_;
  const std::size_t top_;
  const std::size_t waiting_max_;
  const OutputPace pace_;

  // The loop's.
  std::deque<Entry> entries_;  // by number, until they are handed over
  std::size_t ended_ = 0;      // of those, how many have their end
  std::int64_t dropped_ = 0;

  // From the loop to the thread: entry k is in slot k modulo their number, from the k-th push on until it is
  // done. Their number is a power of two, so that this also holds when the counters begin anew after 2^32.
  std::vector<Entry> slots_;
  std::atomic<std::uint32_t> pushed_{0};
  std::atomic<std::uint32_t> done_{0};
  std::atomic<bool> ending_{false};
  // Raised with each push and at the end. The thread sleeps on it, and says so before.
  std::atomic<std::uint32_t> news_{0};
  std::atomic<bool> asleep_{false};

  // The thread's, until it has ended.
  vision::Canvas canvas_;
  std::vector<std::size_t> classes_;
  std::int64_t written_ = 0;
  Status status_;

  std::thread thread_;
};

}  // namespace inflight::cli
