// SPDX-License-Identifier: Apache-2.0
#include "media/peeked_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "base/check.h"
#include "media/picture_decoder.h"
#include "media/picture_end.h"
#include "media/picture_format.h"

namespace inflight {

std::unique_ptr<PeekedStream> PeekedStream::open(const std::string& url) {
  ffmpeg::quiet_log();
  std::unique_ptr<PeekedStream> stream(new PeekedStream());
  AVIOContext* inner = nullptr;
  const AVIOInterruptCB interrupt{&PeekedStream::must_stop, stream.get()};
  if (avio_open2(&inner, url.c_str(), AVIO_FLAG_READ, &interrupt, nullptr) < 0) return nullptr;
  stream->inner_.reset(inner);
  constexpr int kBufferBytes = 1 << 15;
  auto* const buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  INFLIGHT_CHECK(buffer != nullptr);
  AVIOContext* const outer = avio_alloc_context(buffer, kBufferBytes, 0, stream.get(), &PeekedStream::read,
                                                nullptr, &PeekedStream::seek);
  INFLIGHT_CHECK(outer != nullptr);
  stream->outer_.reset(outer);
  outer->seekable = inner->seekable;
  // They open what they name, by addresses relative to their own.
  constexpr std::size_t kLeastBytes = 2048;
  stream->fill(kLeastBytes);
  static constexpr std::string_view kPlaylists[] = {"#EXTM3U", "<?xml", "<MPD", "ffconcat", "v=0"};
  const std::string_view head(reinterpret_cast<const char*>(stream->bytes_.data()), stream->size_);
  const bool playlist = std::any_of(std::begin(kPlaylists), std::end(kPlaylists),
                                    [&](std::string_view text) { return head.starts_with(text); });
  return playlist && inner->seekable != 0 ? nullptr : std::move(stream);
}

PeekedStream::~PeekedStream() = default;

int PeekedStream::must_stop(void* self) {
  const AVIOInterruptCB& interrupt = static_cast<PeekedStream*>(self)->interrupt_;
  return interrupt.callback != nullptr ? interrupt.callback(interrupt.opaque) : 0;
}

// Reads until there are so many bytes, or the end.
void PeekedStream::fill(std::size_t bytes) {
  while (size_ < bytes && !ended_) {
    const std::size_t room = std::clamp<std::size_t>(bytes - size_, 4096, std::size_t{1} << 20);
    bytes_.resize(size_ + room + AV_INPUT_BUFFER_PADDING_SIZE);
    const int count = avio_read_partial(inner_.get(), bytes_.data() + size_, static_cast<int>(room));
    if (count > 0) size_ += static_cast<std::size_t>(count);
    ended_ = count <= 0;
  }
  bytes_.resize(size_ + AV_INPUT_BUFFER_PADDING_SIZE);
  std::fill(bytes_.begin() + static_cast<std::ptrdiff_t>(size_), bytes_.end(), std::uint8_t{0});
}

bool PeekedStream::another_follows(AVCodecID codec) {
  while (true) {
    const PictureEnd end = picture_end(codec, bytes());
    if (!end.known || end.bytes > kPictureBytesMax) return false;
    if (size_ < end.bytes + kPictureStartBytes && !ended_) {
      fill(end.bytes + kPictureStartBytes);
      continue;
    }
    if (size_ < end.bytes + kPictureStartBytes) return false;
    return starts_as(codec, bytes(), bytes().subspan(end.bytes));
  }
}

Result<bool> PeekedStream::holds_picture(const std::string& name) {
  PictureFormat format;
  for (std::size_t wanted = 2048;; wanted *= 2) {
    fill(wanted);
    format = find_picture_format(name, bytes());
    const bool all = ended_ || size_ >= kPictureHeadBytes;
    if (all || format.sure) break;
  }
  if (format.codec == AV_CODEC_ID_NONE || size_ == 0) return false;
  const bool named = std::filesystem::path(name).has_extension();
  if (!named && another_follows(format.codec)) return false;
  fill(kPictureBytesMax + 1);
  if (ended_) outer_->seekable = AVIO_SEEKABLE_NORMAL;
  if (size_ > kPictureBytesMax && !format.may_move) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("a picture through a stream has {} MiB at most", kPictureBytesMax >> 20));
  }
  return ended_ && is_still_picture(format, bytes());
}

int PeekedStream::read(void* self, std::uint8_t* to, int bytes) {
  auto& stream = *static_cast<PeekedStream*>(self);
  const auto known = static_cast<std::int64_t>(stream.size_);
  int count = 0;
  if (stream.at_ < known) {
    count = static_cast<int>(std::min<std::int64_t>(bytes, known - stream.at_));
    std::memcpy(to, stream.bytes_.data() + stream.at_, static_cast<std::size_t>(count));
  } else {
    if (avio_tell(stream.inner_.get()) != stream.at_ &&
        avio_seek(stream.inner_.get(), stream.at_, SEEK_SET) < 0)
      return AVERROR(EIO);
    count = avio_read_partial(stream.inner_.get(), to, bytes);
    if (count <= 0) return count == 0 ? AVERROR_EOF : count;
  }
  stream.at_ += count;
  return count;
}

std::int64_t PeekedStream::seek(void* self, std::int64_t offset, int whence) {
  auto& stream = *static_cast<PeekedStream*>(self);
  const std::int64_t size =
      stream.ended_ ? static_cast<std::int64_t>(stream.size_) : avio_size(stream.inner_.get());
  if ((whence & AVSEEK_SIZE) != 0) return size;
  const int from = whence & ~AVSEEK_FORCE;
  if (from == SEEK_CUR) offset += stream.at_;
  if (from == SEEK_END) offset += size;
  const bool reachable = offset <= static_cast<std::int64_t>(stream.size_) || stream.inner_->seekable != 0;
  if (offset < 0 || !reachable) return AVERROR(ESPIPE);
  return stream.at_ = offset;
}

}  // namespace inflight
