// SPDX-License-Identifier: Apache-2.0
// VideoWriter: frames into a video file, a picture or a folder of pictures.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "inflight/clock.h"
#include "inflight/status.h"

namespace inflight {

struct VideoWriterOptions {
  std::string option = "output";  // what messages call it, such as "--output"
  // Of the first frame. A video has this size throughout (a pixel more where it is odd and the codec wants
  // even ones); frames of another size are scaled into it, with black borders.
  int height = 0;
  int width = 0;
  double fps = 25;  // about; for the rate control, and for how long the last frame is shown. Above 0
  // When the program was asked to stop: from then on a pipe whose reader has stopped is given up. Null:
  // never.
  std::optional<TimePoint> (*stop_time)() = nullptr;
};

// A picture to be written: 4 bytes a pixel (blue, green, red, ignored), which the caller owns.
struct WriterPicture {
  const std::uint8_t* pixels = nullptr;
  int stride = 0;  // bytes from one row to the next
  int height = 0;
  int width = 0;
  Duration time{0};        // when it is shown, after the first frame; later than that of the picture before
  std::int64_t frame = 0;  // its number, for the name of its file in a folder
  std::string_view file;   // the name of the file that it comes from; empty where there is none
};

// Encodes with FFmpeg. What the path held is kept until the first picture; a file that was made and never
// written is removed again. Where the clock of the container is coarser than the times, they are rounded.
//   thread   one at a time; may block on the disk
class VideoWriter {
 public:
  // Opens the path and finds what encodes. By the ending of the path: a video (mp4, m4v, mov, mkv, webm, avi,
  // ts, m2ts, flv, gif; H.264 where the container takes it and FFmpeg can, else MPEG-4, VP8 or the
  // container's own), or one picture (png, jpg, jpeg, bmp). A folder, which is made where the path ends with
  // '/', gets a picture a frame: frame_00000012.png, or under the name of the file that the frame comes from
  // (a.jpg stays a JPEG, others become a.bmp.png).
  //   errors   kNotFound: the path cannot be written, and why; kInvalidArgument: an ending that no container
  //            has; kUnsupported: a container for which FFmpeg has no encoder, or one that cannot be written
  //            to a pipe
  static Result<std::unique_ptr<VideoWriter>> open(const std::string& path,
                                                   const VideoWriterOptions& options);

  virtual ~VideoWriter() = default;
  VideoWriter(const VideoWriter&) = delete;
  VideoWriter& operator=(const VideoWriter&) = delete;

  //   errors   kIoError: the disk is full, or the like; kInvalidArgument: a second picture for a file of one.
  //            Every later call answers the same
  virtual Status write(const WriterPicture& picture) = 0;
  // Writes what is still to be written. Once, after the last picture.
  //   errors   kIoError: as write()
  virtual Status finish() = 0;
  // For people: `h264 in mp4`, `png`.
  virtual std::string description() const = 0;

 protected:
  VideoWriter() = default;
};

}  // namespace inflight
