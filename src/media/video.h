// SPDX-License-Identifier: Apache-2.0
// Video files, single pictures and cameras, through FFmpeg.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "inflight/buffer.h"
#include "media/source.h"

namespace inflight {

// Where the frames' buffers come from; shared so that sources which follow each other reuse them.
using SharedBufferPool = std::shared_ptr<BufferPool>;

// Whether a file of this name is taken for a single picture: bmp, jpg, jpeg, png, ppm, tif, tiff, webp, in
// either case.
bool is_picture_name(std::string_view name);

// Opens a video or picture file and decodes its best video stream, at its own size, to RGB. The first frame
// is decoded at once. Pixels equal those of other programs that convert by libswscale's default (bicubic, no
// accurate rounding); the stream's own colour matrix and range are honoured, BT.601 and limited range where
// it names none. Turning that a container asks for (display matrix, EXIF) is not applied. Damage: the frames
// before it are delivered; what the container or the decoder reports then ends the source with an error, and
// a file that merely stops early, where its format does not tell, with a plain end. What a decoder conceals
// is delivered as the decoder shows it.
//   pool     null: one of its own
//   errors   kNotFound: no such file; kInvalidMedia: empty, cut short, or nothing that FFmpeg can read
//            next(): kInvalidMedia: damaged, or a frame of another size than the first
Result<std::unique_ptr<FrameSource>> open_video(const std::string& path, SharedBufferPool pool = nullptr);

// Opens a video capture device of the system, such as /dev/video0, as it is configured.
//   errors   kNoSuchDevice: there is none of that name; kDeviceError: it cannot be opened or read
Result<std::unique_ptr<FrameSource>> open_camera(const std::string& path, SharedBufferPool pool = nullptr);

}  // namespace inflight
