// SPDX-License-Identifier: Apache-2.0
#include "media/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <string_view>
#include <utility>

#include "media/orientation.h"
#include "media/picture_decoder.h"
#include "media/rgb_converter.h"

namespace inflight {
namespace {

std::string name_of(const std::string& path) { return fmt::format("picture \"{}\"", path); }

class PictureSource final : public FrameSource {
 public:
  PictureSource(std::string path, Picture picture)
      : path_(std::move(path)),
        height_(picture.height),
        width_(picture.width),
        pixels_(std::move(picture.pixels)) {}

  Result<std::optional<VideoFrame>> next() override {
    if (!pixels_ || interrupted_.load(std::memory_order_relaxed)) return std::optional<VideoFrame>();
    VideoFrame frame;
    frame.pixels = std::exchange(pixels_, Buffer());
    frame.height = height_;
    frame.width = width_;
    return std::optional<VideoFrame>(std::move(frame));
  }
  void interrupt() noexcept override { interrupted_.store(true, std::memory_order_relaxed); }
  double fps() const noexcept override { return 0; }
  int height() const noexcept override { return height_; }
  int width() const noexcept override { return width_; }
  bool live() const noexcept override { return false; }
  std::string description() const override {
    return fmt::format("{} {}x{}", name_of(path_), width_, height_);
  }

 private:
  const std::string path_;
  const int height_;
  const int width_;
  Buffer pixels_;
  std::atomic<bool> interrupted_{false};
};

Result<Picture> to_rgb(const DecodedPicture& decoded, bool rotate, BufferPool& pool) {
  const AVFrame& frame = *decoded.frame;
  const std::size_t bytes =
      static_cast<std::size_t>(frame.width) * static_cast<std::size_t>(frame.height) * 3;
  Picture picture;
  picture.height = frame.height;
  picture.width = frame.width;
  INFLIGHT_TRY_ASSIGN(picture.pixels, pool.acquire(bytes));
  RgbConverter converter;
  INFLIGHT_TRY(converter.convert(frame, picture.pixels.bytes()));
  if (!rotate || decoded.orientation == Orientation()) return picture;
  INFLIGHT_TRY_ASSIGN(Buffer upright, pool.acquire(bytes));
  orient(decoded.orientation, picture.pixels.bytes(), picture.height, picture.width, upright.bytes());
  picture.pixels = std::move(upright);
  if (decoded.orientation.swaps_sides()) std::swap(picture.height, picture.width);
  return picture;
}

Result<Picture> read(const std::string& path, bool rotate, BufferPool& pool) {
  INFLIGHT_TRY_ASSIGN(const DecodedPicture decoded, decode_picture(path));
  return to_rgb(decoded, rotate, pool);
}

Result<Picture> read(const std::string& name, std::span<const std::uint8_t> file, bool rotate,
                     BufferPool& pool) {
  const ffmpeg::Packet packet(av_packet_alloc());
  if (packet == nullptr || av_new_packet(packet.get(), static_cast<int>(file.size())) < 0)
    return Status(StatusCode::kOutOfMemory, fmt::format("no memory for its {} bytes", file.size()));
  std::copy(file.begin(), file.end(), packet->data);
  INFLIGHT_TRY_ASSIGN(const DecodedPicture decoded, decode_picture(name, packet));
  return to_rgb(decoded, rotate, pool);
}

}  // namespace

Result<Picture> read_picture(const std::string& path, bool rotate, BufferPool& pool) {
  Result<Picture> picture = read(path, rotate, pool);
  if (!picture.ok()) return picture.status().with_context(name_of(path));
  return picture;
}

Result<std::unique_ptr<FrameSource>> open_picture(const std::string& path, bool rotate) {
  BufferPool pool;
  INFLIGHT_TRY_ASSIGN(Picture picture, read_picture(path, rotate, pool));
  return std::unique_ptr<FrameSource>(std::make_unique<PictureSource>(path, std::move(picture)));
}

Result<std::unique_ptr<FrameSource>> open_picture(const std::string& text, const std::string& name,
                                                  std::span<const std::uint8_t> file, bool rotate) {
  BufferPool pool;
  Result<Picture> picture = read(name, file, rotate, pool);
  if (!picture.ok()) return picture.status().with_context(name_of(text));
  return std::unique_ptr<FrameSource>(std::make_unique<PictureSource>(text, std::move(*picture)));
}

}  // namespace inflight
