// SPDX-License-Identifier: Apache-2.0
// What every user of FFmpeg needs: owners of its objects, its log, and the words of its errors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
}

namespace inflight::ffmpeg {

struct CloseFormat {
  void operator()(AVFormatContext* format) const { avformat_close_input(&format); }
};
struct FreeCodec {
  void operator()(AVCodecContext* codec) const { avcodec_free_context(&codec); }
};
struct FreeFrame {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};
struct FreePacket {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct FreeScaler {
  void operator()(SwsContext* scaler) const { sws_freeContext(scaler); }
};

using Format = std::unique_ptr<AVFormatContext, CloseFormat>;
using Codec = std::unique_ptr<AVCodecContext, FreeCodec>;
using Frame = std::unique_ptr<AVFrame, FreeFrame>;
using Packet = std::unique_ptr<AVPacket, FreePacket>;
using Scaler = std::unique_ptr<SwsContext, FreeScaler>;

// FFmpeg writes to stderr unless told otherwise, and has one log for the whole process. A library must not
// print, so the first source that is opened takes the log over; a program that wants it sets its own callback
// after that.
void quiet_log();

// Forgets what FFmpeg has complained about on this thread.
void forget_complaint();
// What FFmpeg has complained about last on this thread, up to 200 bytes of it, without credentials; nothing
// where it has not.
std::string complaint();
// How often FFmpeg has complained in this process, on any thread.
std::uint64_t complaints();
// The text of an error code, with FFmpeg's last complaint on this thread where there is one. No user name and
// password of an address is in it.
std::string error_text(int error);

// `text` with the credentials of every address in it replaced: rtsp://user:secret@host/?pwd=x ->
// rtsp://***@host/?pwd=***.
std::string without_credentials(std::string text);
// The same of a text that is one address, so whatever stands in it does not end it.
std::string address_without_credentials(std::string address);

}  // namespace inflight::ffmpeg
