// SPDX-License-Identifier: Apache-2.0
#include "media/directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "media/video.h"

namespace inflight {
namespace {

class DirectorySource final : public FrameSource {
 public:
  DirectorySource(std::string path, std::vector<std::string> names)
      : path_(std::move(path)), names_(std::move(names)), pool_(std::make_shared<BufferPool>()) {}

  Status open() {
    INFLIGHT_TRY_ASSIGN(first_, read(names_.front()));
    height_ = first_.height;
    width_ = first_.width;
    return Status();
  }

  Result<std::optional<VideoFrame>> next() override {
    if (!outcome_.ok()) return outcome_;
    if (index_ == names_.size() || interrupted_.load(std::memory_order_relaxed))
      return std::optional<VideoFrame>();
    const std::string& name = names_[index_];
    VideoFrame frame = std::move(first_);  // decoded when opened; empty after that
    if (!frame.pixels) {
      Result<VideoFrame> read_frame = read(name);
      if (!read_frame.ok()) return outcome_ = read_frame.status();
      frame = std::move(*read_frame);
    }
    if (frame.width != width_ || frame.height != height_) {
      return outcome_ = Status(StatusCode::kInvalidMedia,
                               fmt::format("picture \"{}\": got {}x{}, want {}x{} as \"{}\"", file(name),
                                           frame.width, frame.height, width_, height_, names_.front()));
    }
    frame.index = static_cast<std::int64_t>(index_++);
    return std::optional<VideoFrame>(std::move(frame));
  }

  Status reserve(std::size_t frames) override {
    return pool_->reserve(static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_) * 3, frames);
  }
  void interrupt() noexcept override { interrupted_.store(true, std::memory_order_relaxed); }
  double fps() const noexcept override { return 0; }
  int height() const noexcept override { return height_; }
  int width() const noexcept override { return width_; }
  bool live() const noexcept override { return false; }
  std::string description() const override {
    return fmt::format("directory \"{}\" of {} pictures {}x{}", path_, names_.size(), width_, height_);
  }

 private:
  std::string file(const std::string& name) const { return (std::filesystem::path(path_) / name).string(); }

  Result<VideoFrame> read(const std::string& name) const {
    INFLIGHT_TRY_ASSIGN(const std::unique_ptr<FrameSource> picture, open_video(file(name), pool_));
    INFLIGHT_TRY_ASSIGN(std::optional<VideoFrame> frame, picture->next());
    if (!frame.has_value()) {
      return Status(StatusCode::kInvalidMedia, fmt::format("picture \"{}\": holds nothing", file(name)));
    }
    return std::move(*frame);
  }

  const std::string path_;
  const std::vector<std::string> names_;  // in the order in which they are shown
  const SharedBufferPool pool_;
  VideoFrame first_;
  std::size_t index_ = 0;
  int height_ = 0;
  int width_ = 0;
  Status outcome_;  // the error that ended the source, answered again
  std::atomic<bool> interrupted_{false};
};

}  // namespace

Result<std::unique_ptr<FrameSource>> open_directory(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(path, error);
  while (!error && entry != std::filesystem::directory_iterator()) {
    std::error_code unreadable;  // a dangling link is passed over
    std::string name = entry->path().filename().string();
    if (is_picture_name(name) && entry->is_regular_file(unreadable)) names.push_back(std::move(name));
    entry.increment(error);
  }
  if (error) {
    const bool absent = error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
    return Status(absent ? StatusCode::kNotFound : StatusCode::kInvalidMedia,
                  fmt::format("directory \"{}\": {}", path, error.message()));
  }
  if (names.empty()) {
    return Status(StatusCode::kNotFound, fmt::format("directory \"{}\": no picture in it", path));
  }
  std::sort(names.begin(), names.end());
  auto source = std::make_unique<DirectorySource>(path, std::move(names));
  INFLIGHT_TRY(source->open());
  return std::unique_ptr<FrameSource>(std::move(source));
}

}  // namespace inflight
