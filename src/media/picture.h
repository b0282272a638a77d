// SPDX-License-Identifier: Apache-2.0
// Single pictures, through FFmpeg's decoders.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "inflight/buffer.h"
#include "media/source.h"

namespace inflight {

// Whether a regular file is a picture: by its content, and by its name's ending where the content does not
// say (TGA, damage). One that cannot be read is what its name says. GIF, APNG and AVIF are pictures.
bool is_picture(const std::string& path);
// Whether it is a picture and no other follows in it: a GIF, APNG or AVIF of several is a video, when alone.
bool is_still_picture(const std::string& path);

struct Picture {
  Buffer pixels;  // u8[H,W,3], RGB, dense
  int height = 0;
  int width = 0;
};

// Reads and decodes a picture at its own size to RGB, by libswscale's default (bicubic, no accurate
// rounding); transparency and colour profiles are left out. Of several (GIF, APNG, multi-page TIFF) it is the
// first, of an ICO the largest. A picture is whole or of no use: one that is cut short or damaged in its
// pixels is an error. What is wrong beside the pixels (EXIF, ancillary chunks, descriptive tags, bytes after
// the end) is not.
//   rotate   turn it as its file asks: EXIF orientation, the orientation of TIFF, AVIF's rotation and
//            mirroring
//   pool     where the pixels' memory comes from
//   thread   any
//   errors   kNotFound: no such file; kInvalidMedia: unreadable, empty, damaged, or no picture; kUnsupported:
//            a format that this FFmpeg does not decode, or an animated WebP
Result<Picture> read_picture(const std::string& path, bool rotate, BufferPool& pool);

// Opens a picture as a source of one frame. It is decoded at once.
//   errors   those of read_picture()
Result<std::unique_ptr<FrameSource>> open_picture(const std::string& path, bool rotate);
// The same of a picture that has come through a stream.
//   text    what messages call it
//   name    for its ending, where the content does not say
Result<std::unique_ptr<FrameSource>> open_picture(const std::string& text, const std::string& name,
                                                  std::span<const std::uint8_t> file, bool rotate);

}  // namespace inflight
