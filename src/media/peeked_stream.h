// SPDX-License-Identifier: Apache-2.0
// PeekedStream: a pipe or address whose first bytes are looked at before FFmpeg opens it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "inflight/status.h"
#include "media/ffmpeg.h"

namespace inflight {

// Owns the connection and the bytes that have been read from it; they come again when FFmpeg reads io(). Not
// thread-safe: one owner.
class PeekedStream {
 public:
  // A picture that comes through a stream has this many bytes at most.
  static constexpr std::size_t kPictureBytesMax = std::size_t{256} << 20;

  //   returns  null where FFmpeg cannot open the address, or opens it in a way of its own (playlists)
  static std::unique_ptr<PeekedStream> open(const std::string& url);
  ~PeekedStream();
  PeekedStream(const PeekedStream&) = delete;
  PeekedStream& operator=(const PeekedStream&) = delete;

  // Whether it is one picture: then bytes() has all of it. Pictures of a kind that follow each other are a
  // video, unless the name has an ending; so is what moves. Reads no more than it takes to know.
  //   name     for its ending
  //   errors   kUnsupported: a picture of more than kPictureBytesMax bytes
  Result<bool> holds_picture(const std::string& name);
  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), size_}; }

  // All of it, from the first byte on.
  AVIOContext* io() { return outer_.get(); }
  // Asked while a read waits.
  void set_interrupt(const AVIOInterruptCB& interrupt) { interrupt_ = interrupt; }

 private:
  struct CloseInner {
    void operator()(AVIOContext* io) const { avio_close(io); }
  };
  struct CloseOuter {
    void operator()(AVIOContext* io) const {
      av_freep(&io->buffer);
      avio_context_free(&io);
    }
  };

  PeekedStream() = default;
  static int must_stop(void* self);
  static int read(void* self, std::uint8_t* to, int bytes);
  static std::int64_t seek(void* self, std::int64_t offset, int whence);
  void fill(std::size_t bytes);
  bool another_follows(AVCodecID codec);

  AVIOInterruptCB interrupt_{nullptr, nullptr};
  std::unique_ptr<AVIOContext, CloseInner> inner_;  // stands behind bytes()
  std::unique_ptr<AVIOContext, CloseOuter> outer_;
  std::vector<std::uint8_t> bytes_;  // with the zeros after them that FFmpeg wants
  std::size_t size_ = 0;
  bool ended_ = false;   // bytes() are all that there are
  std::int64_t at_ = 0;  // of outer_
};

}  // namespace inflight
