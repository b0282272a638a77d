// SPDX-License-Identifier: Apache-2.0
// RgbConverter: from FFmpeg's decoded frames to dense RGB.
#pragma once

#include <cstddef>

#include "inflight/buffer.h"
#include "inflight/status.h"
#include "media/ffmpeg.h"
#include "media/orientation.h"

namespace inflight {

// How a frame's numbers are to be read as colours.
struct ColorSpace {
  int coefficients = SWS_CS_DEFAULT;  // BT.601
  bool full_range = false;
  friend bool operator==(const ColorSpace&, const ColorSpace&) = default;
};

// Turns decoded frames to dense RGB at their own size, by libswscale's default (bicubic, no accurate
// rounding); the frame's own colour matrix and range are honoured, BT.601 and limited range where it names
// none. Not thread-safe.
class RgbConverter {
 public:
  // Writes the frame, rgb[height,width,3] dense, turned as `orientation` says, to `pixels`.
  //   errors   kUnsupported: a pixel format that cannot be turned to RGB; kOutOfMemory
  Status convert(const AVFrame& frame, const Orientation& orientation, std::byte* pixels);
  Status convert(const AVFrame& frame, std::byte* pixels) { return convert(frame, Orientation(), pixels); }

 private:
  Status prepare(const AVFrame& frame);
  Status convert_turned(const AVFrame& frame, const Orientation& orientation, std::byte* pixels);

  ffmpeg::Scaler scaler_;  // for frames as those before; see prepare()
  int format_ = AV_PIX_FMT_NONE;
  int height_ = 0;
  int width_ = 0;
  ColorSpace color_;
  Buffer wide_;
  Buffer planes_;  // of a turned frame
};

}  // namespace inflight
