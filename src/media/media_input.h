// SPDX-License-Identifier: Apache-2.0
// MediaInput: an opened file, stream or device, and the packets that it gives.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "inflight/clock.h"
#include "inflight/status.h"
#include "media/ffmpeg.h"
#include "media/peeked_stream.h"

namespace inflight {

// What kind of thing is opened: it decides the words of the messages and how damage is taken.
enum class MediaKind : std::uint8_t { kVideo, kStream, kCamera };

struct MediaAddress {
  std::string url;   // as FFmpeg opens it
  std::string text;  // as messages call it: no password is in it
  MediaKind kind = MediaKind::kVideo;
  bool live = false;  // frames come when they like; a connection that is lost is made again
  Duration stall_timeout = std::chrono::seconds(5);  // of what is live: how long it may give nothing
  std::shared_ptr<PeekedStream> opened =
      nullptr;  // what `url` names, where it has been looked at; opened once
  // The same of a playlist that does not say where it ends: FFmpeg looks for new pieces in it for a thousand
  // times.
  Duration playlist_timeout = std::chrono::seconds(30);

  // `video "a.mp4"`
  std::string name() const;
};

// Not thread-safe: one owner.
class MediaInput {
 public:
  enum class Got : std::uint8_t {
    kPacket,
    kNothing,  // ask again
    kEnd,      // there is no more, or `interrupted` has been set
    kCut,      // it breaks off: why() says how
  };

  // `interrupted` must outlive this; once it is set, what blocks ends soon.
  MediaInput(const MediaAddress& address, const std::atomic<bool>& interrupted)
      : address_(address), interrupted_(interrupted) {}
  MediaInput(const MediaInput&) = delete;
  MediaInput& operator=(const MediaInput&) = delete;

  //   errors   kNotFound: nothing answers there; kNoSuchDevice, kDeviceError: of a camera; kInvalidMedia:
  //            nothing that FFmpeg can read; kUnsupported: a protocol that this FFmpeg lacks
  Status open();
  // Fills `packet` where the answer is kPacket.
  Got read(AVPacket& packet);

  const std::string& why() const { return why_; }
  // How long the last read() waited for its packet.
  Duration last_wait() const { return last_wait_; }
  // Of the streams, this one is wanted. Others may still come, where their times are needed or where they
  // begin later.
  void choose(int index);
  // At an end: whether the container says that more was to come. Requires choose().
  bool declares_more() const;
  AVFormatContext& format() { return *format_; }
  const AVFormatContext& format() const { return *format_; }
  // A failure's status, with the name of what was opened before the message.
  Status failure(StatusCode code, std::string_view message) const;
  Status open_failure(int error) const;

 private:
  static int must_stop(void* input);
  bool is_playlist() const;
  // Whether the format may have its index at the end, and the input cannot be read back from there.
  bool index_may_come_too_late() const;
  Duration patience() const { return address_.live ? address_.stall_timeout : address_.playlist_timeout; }
  void arm();
  void note(const AVPacket& packet);
  Got stop(int error);

  const MediaAddress address_;
  const std::atomic<bool>& interrupted_;
  TimePoint give_up_ = TimePoint::max();  // of the call into FFmpeg that is under way
  ffmpeg::Format format_;
  const AVFormatContext* opening_ = nullptr;  // the same, already while it is opened
  int video_ = -1;                            // the stream that is wanted
  std::int64_t video_packets_ = 0;            // of it
  std::int64_t end_us_ = 0;                   // of all that has been read
  bool last_is_partial_ = false;              // the last packet holds less than its head says
  int bad_reads_ = 0;                         // one after another
  bool stalled_ = false;                      // it has been given up
  Duration last_wait_{0};
  std::string why_;
};

}  // namespace inflight
