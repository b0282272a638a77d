// SPDX-License-Identifier: Apache-2.0
// FrameSource: where frames come from. VideoFrame: one picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inflight/buffer.h"
#include "inflight/clock.h"
#include "inflight/status.h"

namespace inflight {

// One picture. Whoever holds it shares in its pixels; sources never write to them again.
struct VideoFrame {
  Buffer pixels;  // u8[H,W,3], RGB, dense: height * width * 3 bytes; none where `damage` says why
  int height = 0;
  int width = 0;
  std::int64_t index = 0;  // 0 for the first frame of the source, then one more each; a lost one leaves a gap
  std::optional<Duration> pts;  // when it is shown, where the media says: 0 for the first frame of the source
  std::shared_ptr<const std::string> file;  // which file of a directory it is; null elsewhere
  std::optional<int>
      label;      // what is to be seen, where the source knows (synthetic: an index of kShapeNames)
  Status damage;  // why this frame cannot be predicted (a picture that does not decode)
};

// What a source could not deliver, so far.
struct SourceLosses {
  std::int64_t skipped = 0;        // frames that are damaged, and were skipped
  bool ended_early = false;        // the file stops before its end
  std::vector<std::string> notes;  // what is to be said about it at the end, a line each
};

// A sequence of frames: a generator, a file, a directory of pictures or a camera.
// Owns what it reads from. The descriptions are fixed when the source has been opened, so any thread may read
// them at any time.
class FrameSource {
 public:
  virtual ~FrameSource() = default;

  // The next frame, or nullopt: the end. After an error or the end it answers the same again.
  //   thread   one at a time; may block (decoding, a camera that waits for light)
  //   errors   kInvalidMedia: the media is damaged; kDeviceError: the camera failed. Frames before it have
  //            been delivered, and the source has ended
  virtual Result<std::optional<VideoFrame>> next() = 0;

  // Makes a blocked next(), and every later one, answer the end soon.
  //   thread   any, also while next() runs
  virtual void interrupt() noexcept = 0;

  // Makes the memory for this many frames alive at once, so that next() need not. Before the first next().
  //   errors   kOutOfMemory; then none was made
  virtual Status reserve(std::size_t frames) {
    static_cast<void>(frames);
    return Status();
  }

  // Frames a second at which the source is meant to be shown; 0 where it has no rate of its own (a
  // directory).
  virtual double fps() const noexcept = 0;
  // The first frame's size. Later ones may differ, except in a synthetic source.
  virtual int height() const noexcept = 0;
  virtual int width() const noexcept = 0;
  // True where frames come when they like and are lost when nobody takes them (a camera).
  virtual bool live() const noexcept = 0;
  // What has been lost until now.
  //   thread   any, also while next() runs
  virtual SourceLosses losses() const { return {}; }
  // For people: `synthetic 640x480, seed 1`, `video "a.mp4" 768x432 at 10 fps`.
  virtual std::string description() const = 0;
};

}  // namespace inflight
