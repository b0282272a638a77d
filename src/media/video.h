// SPDX-License-Identifier: Apache-2.0
// Video files, streams and cameras, through FFmpeg.
#pragma once

#include <memory>
#include <string>

#include "inflight/buffer.h"
#include "media/media_input.h"
#include "media/source.h"

namespace inflight {

// Where the frames' buffers come from; shared so that sources which follow each other reuse them.
using SharedBufferPool = std::shared_ptr<BufferPool>;

// Opens what `address` names and decodes its best video stream to RGB. The first frame is decoded at once,
// but for a camera's. Pixels equal those of other programs that convert by libswscale's default (bicubic, no
// accurate rounding); the stream's own colour matrix and range are honoured, BT.601 and limited range where
// it names none.
//   sizes    frames are turned as the media asks (display matrix) unless `rotate` is false; each has its own
//            size, which may change
//   times    VideoFrame::pts is 0 for the first frame and grows with each. It follows the stamps of the
//            media, over joins and wraps; where they are missing, the declared rate
//   damage   what does not decode is passed over to the next frame that does; its number stays free, and
//            losses() counts it. A file that breaks off ends there, and losses() says so. What a decoder
//            conceals is delivered as the decoder shows it. Hints of damage alone change nothing
//   live     a connection that is lost, ends or gives nothing for stall_timeout is made again, for as long as
//            it takes; numbers go on. Frames that have become old meanwhile come without pixels: their
//            `damage` is kOverloaded
//   pool     null: one of its own
//   errors   those of MediaInput::open(); kInvalidMedia: nothing in it decodes.
//            next(): kOutOfMemory; kUnsupported: a pixel format that cannot be turned to RGB
Result<std::unique_ptr<FrameSource>> open_media(const MediaAddress& address, bool rotate = true,
                                                SharedBufferPool pool = nullptr);

// Opens a video file.
//   errors   those of open_media(); kNotFound: no such file; kInvalidMedia: is empty; kInvalidArgument: is a
//            directory
Result<std::unique_ptr<FrameSource>> open_video(const std::string& path, bool rotate = true,
                                                SharedBufferPool pool = nullptr);

// Opens a video capture device of the system, such as /dev/video0, as it is configured.
//   errors   those of open_media(); kNoSuchDevice: there is none of that name; kDeviceError: it cannot be
//            opened or read
Result<std::unique_ptr<FrameSource>> open_camera(const std::string& path, bool rotate = true,
                                                 Duration stall_timeout = MediaAddress().stall_timeout);

}  // namespace inflight
