// SPDX-License-Identifier: Apache-2.0
// Encoder: pictures into packets, through FFmpeg. For video_writer.cc.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "media/ffmpeg.h"
#include "media/video_writer.h"

namespace inflight::internal {

// Owns an encoder, a frame in its pixel format, and what converts to that. Not thread-safe.
class Encoder {
 public:
  struct Plan {
    const AVCodec* codec = nullptr;
    int height = 0;  // of the pictures
    int width = 0;
    AVRational time_base{1, 90'000};
    AVRational frame_rate{25, 1};  // about
    bool global_header = false;    // the container wants parameters in its header
  };

  //   errors   kUnsupported: the encoder does not take such pictures, with FFmpeg's words
  static Result<std::unique_ptr<Encoder>> open(const Plan& plan);

  // Encodes the picture, scaled into the encoder's size with black borders where its own differs.
  //   errors   kInternal: the encoder fails
  Status send(const WriterPicture& picture, std::int64_t pts, std::int64_t duration);
  // From now on receive() gives what the encoder still holds.
  Status send_end();
  // The next packet, valid until the next call; null: there is none yet, or any more.
  Result<AVPacket*> receive();

  const AVCodecContext& context() const noexcept { return *context_; }

 private:
  Status make_frame();
  Status convert(const WriterPicture& picture);
  Status prepare_scaler(const WriterPicture& picture);
  WriterPicture made_even(const WriterPicture& picture);

  ffmpeg::Codec context_;
  ffmpeg::Frame frame_;
  ffmpeg::Packet packet_;
  ffmpeg::Scaler scaler_;
  int source_height_ = 0;  // what scaler_ takes
  int source_width_ = 0;
  // Where pictures lie in the frame.
  int x_ = 0, y_ = 0, picture_height_ = 0, picture_width_ = 0;
  int plan_height_ = 0, plan_width_ = 0;
  std::vector<std::uint8_t> even_;  // see made_even()
};

}  // namespace inflight::internal
