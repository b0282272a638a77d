// SPDX-License-Identifier: Apache-2.0
// Any bytes as a file to be played: frames with growing numbers and times, each with its pixels, then the end, which
// stays the end; or a failure with a reason. The last byte chooses the name's ending, and whether frames are turned.
#include <atomic>
#include <chrono>
#include <thread>

extern "C" {
#include <libavutil/mem.h>
}

#include "media/ffmpeg.h"
#include "media/open_source.h"
#include "support.h"

namespace {

using namespace inflight;

constexpr int kFramesMax = 60;
constexpr Duration kTimeMax = std::chrono::seconds(2);

void check_frame(const VideoFrame& frame, const std::optional<VideoFrame>& before) {
  const std::size_t bytes =
      static_cast<std::size_t>(frame.height) * static_cast<std::size_t>(frame.width) * 3;
  fuzz::must(frame.damage.ok() && bytes > 0 && frame.pixels.size() == bytes, "a frame has its pixels");
  fuzz::must(frame.index >= 0, "numbers are not negative");
  if (!before) {
    fuzz::must(!frame.pts || frame.pts->count() == 0, "the first frame's time is 0");
    return;
  }
  fuzz::must(frame.index > before->index, "numbers grow");
  fuzz::must(frame.pts && before->pts && *frame.pts > *before->pts, "times grow");
}

void check_end(FrameSource& source, const Status& outcome) {
  for (int i = 0; i < 2; ++i) {
    const Result<std::optional<VideoFrame>> after = source.next();
    fuzz::must(after.ok() == outcome.ok() && (!after.ok() || !*after), "an end stays the end");
  }
}

void play(FrameSource& source) {
  fuzz::must(source.height() > 0 && source.width() > 0, "a source has a size");
  fuzz::must(!source.live() && source.fps() >= 0 && source.fps() <= 1000, "a file has a sane rate");
  fuzz::must(!source.description().empty(), "a source has a description");
  const TimePoint end = steady_clock().now() + kTimeMax;
  std::optional<VideoFrame> before;
  Status outcome;
  for (int i = 0; i < kFramesMax; ++i) {
    Result<std::optional<VideoFrame>> got = source.next();
    if (!got.ok()) {
      outcome = got.status();
      fuzz::check_failure(outcome,
                          {StatusCode::kInvalidMedia, StatusCode::kUnsupported, StatusCode::kOutOfMemory});
      break;
    }
    if (!*got) break;
    check_frame(**got, before);
    before = std::move(**got);
    if (i + 1 == kFramesMax || steady_clock().now() > end) source.interrupt();
  }
  check_end(source, outcome);
  const SourceLosses losses = source.losses();
  fuzz::must(losses.skipped >= 0, "the lost frames are counted");
  fuzz::must(losses.notes.empty() == (losses.skipped == 0 && !losses.ended_early), "losses are said");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  av_max_alloc(std::size_t{32} << 20);  // larger frames fail, as they do where there is no memory
  constexpr const char* kEndings[] = {"",       ".mp4", ".mkv", ".ts",  ".avi", ".flv", ".webm", ".gif",
                                      ".mjpeg", ".mov", ".m2v", ".ogv", ".wmv", ".y4m", ".h264", ".png"};
  const std::uint8_t choice = size == 0 ? 0 : data[--size];
  SourceOptions options;
  options.rotate = (choice & 0x80) == 0;
  const std::string path =
      folder.write(std::string("source") + kEndings[choice % std::size(kEndings)], {data, size});
  const Result<std::unique_ptr<FrameSource>> source = open_source(path, options);
  if (source.ok()) {
    play(**source);
  } else {
    fuzz::check_failure(source.status(), {StatusCode::kInvalidMedia, StatusCode::kUnsupported,
                                          StatusCode::kOutOfMemory, StatusCode::kNotFound});
  }
  folder.remove(path);
  return 0;
}
