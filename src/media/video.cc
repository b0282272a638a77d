// SPDX-License-Identifier: Apache-2.0
#include "media/video.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "base/check.h"
#include "inflight/internal/mutex.h"
#include "media/freshness.h"
#include "media/packet_timeline.h"
#include "media/rgb_converter.h"
#include "media/stream_decoder.h"

namespace inflight {
namespace {

constexpr Duration kBackoffLeast = std::chrono::milliseconds(250);
constexpr Duration kBackoffMost = std::chrono::seconds(5);
constexpr Duration kInterruptSlice = std::chrono::milliseconds(20);

std::string_view plural(std::int64_t count) { return count == 1 ? "" : "s"; }

class VideoSource final : public FrameSource {
 public:
  VideoSource(MediaAddress address, bool rotate, SharedBufferPool pool)
      : address_(std::move(address)), rotate_(rotate), pool_(std::move(pool)) {}

  Status open() {
    INFLIGHT_TRY(connect());
    // A rate that nobody declares is the usual one, as it is for frames without stamps.
    fps_ = decoder_->fps();
    if (fps_ == 0 && !address_.live) fps_ = StreamDecoder::kFpsUsual;
    if (address_.kind == MediaKind::kCamera) {
      // What the device is set to; waiting for a picture here could not be interrupted.
      width_ = decoder_->coded_width();
      height_ = decoder_->coded_height();
      return Status();
    }
    // Containers may be wrong about the size, and a file of which nothing decodes should fail now.
    INFLIGHT_TRY_ASSIGN(const StreamDecoder::Got got, decoder_->next());
    if (got != StreamDecoder::Got::kFrame) return nothing_decodes();
    const bool sideways = orientation().swaps_sides();
    width_ = sideways ? decoder_->frame().height : decoder_->frame().width;
    height_ = sideways ? decoder_->frame().width : decoder_->frame().height;
    has_first_ = true;
    return Status();
  }

  Result<std::optional<VideoFrame>> next() override {
    if (!outcome_.ok()) return outcome_;
    while (!ended_ && !interrupted_.load(std::memory_order_acquire)) {
      if (std::exchange(has_first_, false)) return deliver();
      const Result<StreamDecoder::Got> got = decoder_->next();
      if (!got.ok()) return outcome_ = got.status();
      if (*got == StreamDecoder::Got::kFrame) return deliver();
      if (interrupted_.load(std::memory_order_acquire)) break;
      if (address_.live) {
        reconnect(*got == StreamDecoder::Got::kCut ? decoder_->why_cut() : "it ended");
        continue;
      }
      ended_ = true;
      count_losses(*got == StreamDecoder::Got::kCut);
    }
    return std::optional<VideoFrame>();
  }

  Status reserve(std::size_t frames) override { return pool_->reserve(bytes_of(height_, width_), frames); }
  void interrupt() noexcept override { interrupted_.store(true, std::memory_order_release); }
  double fps() const noexcept override { return fps_; }
  int height() const noexcept override { return height_; }
  int width() const noexcept override { return width_; }
  bool live() const noexcept override { return address_.live; }
  SourceLosses losses() const override {
    const internal::MutexLock lock(mutex_);
    return losses_;
  }
  std::string description() const override {
    std::string text = fmt::format("{} {}x{}", address_.name(), width_, height_);
    if (fps_ > 0) text += fmt::format(" at {:.5g} fps", fps_);
    return text;
  }

 private:
  Status failure(StatusCode code, std::string_view message) const {
    return Status(code, fmt::format("{}: {}", address_.name(), message));
  }

  Status nothing_decodes() const {
    std::string why = "holds no frame that can be decoded";
    const std::string& damage = decoder_->first_damage();
    const std::string& reason = damage.empty() ? decoder_->why_cut() : damage;
    if (!reason.empty()) why += ": " + reason;
    return failure(StatusCode::kInvalidMedia, why);
  }

  Status connect() {
    decoder_ = std::make_unique<StreamDecoder>(address_, interrupted_);
    INFLIGHT_TRY(decoder_->open());
    if (!timeline_)
      timeline_.emplace(decoder_->rules());
    else
      timeline_->restart(decoder_->rules(), steady_clock().now() - first_at_);
    decoder_->set_timeline(*timeline_);
    freshness_.connect();
    return Status();
  }

  // Makes the lost connection again, for as long as nobody interrupts.
  void reconnect(const std::string& why) {
    ++lost_connections_;
    last_loss_ = why;
    count_losses(false);
    Duration backoff = kBackoffLeast;
    while (!interrupted_.load(std::memory_order_acquire)) {
      const TimePoint when = steady_clock().now() + backoff;
      while (steady_clock().now() < when && !interrupted_.load(std::memory_order_acquire)) {
        std::this_thread::sleep_for(kInterruptSlice);
      }
      if (connect().ok()) return;
      backoff = std::min(2 * backoff, kBackoffMost);
    }
  }

  Orientation orientation() const { return rotate_ ? decoder_->orientation() : Orientation(); }

  static std::size_t bytes_of(int height, int width) noexcept {
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
  }

  // The decoder's frame.
  Result<std::optional<VideoFrame>> deliver() {
    const AVFrame& decoded = decoder_->frame();
    const TimePoint now = steady_clock().now();
    const std::optional<Duration> before = timeline_->last_pts();
    const std::int64_t jumps = timeline_->jumps();
    const PacketTimeline::Place place = timeline_->take(decoder_->packet_number(), decoder_->reorders());
    if (!before) first_at_ = now;
    count_losses(false);
    VideoFrame frame;
    frame.index = place.index;
    frame.pts = place.pts;
    const Orientation turned = orientation();
    frame.height = turned.swaps_sides() ? decoded.width : decoded.height;
    frame.width = turned.swaps_sides() ? decoded.height : decoded.width;
    if (address_.live) {
      if (jumps != jumps_seen_) freshness_.restart();
      jumps_seen_ = jumps;
      const Duration usual(static_cast<Duration::rep>(1e9 / (fps_ > 0 ? fps_ : StreamDecoder::kFpsUsual)));
      if (freshness_.is_stale(place.pts, std::max(usual, place.pts - before.value_or(place.pts)),
                              decoder_->input().last_wait(), now)) {
        frame.damage = Status(StatusCode::kOverloaded, "it came late, and newer ones have come");
        return std::optional<VideoFrame>(std::move(frame));
      }
    }
    Result<Buffer> pixels = pool_->acquire(bytes_of(frame.height, frame.width));
    if (!pixels.ok()) return outcome_ = pixels.status();
    frame.pixels = std::move(pixels).value();
    const Status converted = converter_.convert(decoded, turned, frame.pixels.bytes());
    if (!converted.ok()) {
      return outcome_ = converted.with_context(fmt::format("{}: frame {}", address_.name(), place.index));
    }
    return std::optional<VideoFrame>(std::move(frame));
  }

  // Brings losses() up to date.
  void count_losses(bool cut) {
    const std::int64_t skipped = timeline_->skipped();
    if (skipped == counted_skipped_ && lost_connections_ == counted_connections_ && !cut) return;
    counted_skipped_ = skipped;
    counted_connections_ = lost_connections_;
    std::string note;
    if (skipped > 0) {
      if (first_damage_.empty()) first_damage_ = decoder_->first_damage();
      note = fmt::format("{} damaged frame{} {} skipped", skipped, plural(skipped),
                         skipped == 1 ? "was" : "were");
      if (!first_damage_.empty()) note += fmt::format(" ({})", first_damage_);
    }
    if (lost_connections_ > 0) {
      note += fmt::format("{}the connection was lost {} time{} ({})", note.empty() ? "" : "; ",
                          lost_connections_, plural(lost_connections_), last_loss_);
    }
    if (cut) {
      note += fmt::format("{}the file ends early, after frame {} ({})", note.empty() ? "" : "; ",
                          timeline_->next_index() - 1, decoder_->why_cut());
    }
    const internal::MutexLock lock(mutex_);
    losses_.skipped = skipped;
    losses_.ended_early = cut;
    losses_.notes = {fmt::format("{}: {}", address_.name(), note)};
  }

  const MediaAddress address_;
  const bool rotate_;
  const SharedBufferPool pool_;
  std::unique_ptr<StreamDecoder> decoder_;
  std::optional<PacketTimeline> timeline_;
  RgbConverter converter_;
  Freshness freshness_;
  std::int64_t jumps_seen_ = 0;
  TimePoint first_at_;  // when the first frame was decoded
  int width_ = 0;
  int height_ = 0;
  double fps_ = 0;
  bool has_first_ = false;  // the decoder has the frame that open() decoded
  bool ended_ = false;
  Status outcome_;  // the error that ended the source, answered again
  std::int64_t lost_connections_ = 0;
  std::string last_loss_;
  std::string first_damage_;
  std::int64_t counted_skipped_ = 0;
  std::int64_t counted_connections_ = 0;
  mutable internal::Mutex mutex_;
  SourceLosses losses_ INFLIGHT_GUARDED_BY(mutex_);
  std::atomic<bool> interrupted_{false};
};

}  // namespace

Result<std::unique_ptr<FrameSource>> open_media(const MediaAddress& address, bool rotate,
                                                SharedBufferPool pool) {
  ffmpeg::quiet_log();
  if (pool == nullptr) pool = std::make_shared<BufferPool>();
  auto source = std::make_unique<VideoSource>(address, rotate, std::move(pool));
  INFLIGHT_TRY(source->open());
  return std::unique_ptr<FrameSource>(std::move(source));
}

Result<std::unique_ptr<FrameSource>> open_video(const std::string& path, bool rotate, SharedBufferPool pool) {
  MediaAddress address;
  // "file:" keeps a name with a colon in it from being taken for an address.
  address.url = "file:" + path;
  // An address that is mistyped ends up here.
  address.text = ffmpeg::address_without_credentials(path);
  const auto failure = [&](StatusCode code, std::string_view message) {
    return Status(code, fmt::format("{}: {}", address.name(), message));
  };
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return failure(StatusCode::kNotFound, "no such file");
    return failure(StatusCode::kInvalidMedia, std::generic_category().message(errno));
  }
  if (S_ISDIR(found.st_mode)) return failure(StatusCode::kInvalidArgument, "is a directory");
  if (S_ISREG(found.st_mode) && found.st_size == 0) return failure(StatusCode::kInvalidMedia, "is empty");
  return open_media(address, rotate, std::move(pool));
}

Result<std::unique_ptr<FrameSource>> open_camera(const std::string& path, bool rotate,
                                                 Duration stall_timeout) {
  const MediaAddress address{path, path, MediaKind::kCamera, true, stall_timeout};
  struct stat found {};
  if (stat(path.c_str(), &found) != 0 || !S_ISCHR(found.st_mode)) {
    return Status(StatusCode::kNoSuchDevice, fmt::format("{}: no such capture device", address.name()));
  }
  return open_media(address, rotate);
}

}  // namespace inflight
