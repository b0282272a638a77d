// SPDX-License-Identifier: Apache-2.0
#include "media/directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "media/picture.h"

namespace inflight {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
unsigned char folded(char c) {
  return static_cast<unsigned char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

// Takes the digits that `text` begins with, without leading zeros.
std::string_view take_number(std::string_view& text) {
  const auto end = std::find_if_not(text.begin(), text.end(), is_digit);
  std::string_view number = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(number.size());
  number.remove_prefix(std::min(number.find_first_not_of('0'), number.size()));
  return number;
}

// What is in a directory.
struct Listing {
  std::vector<std::string> pictures;  // names, in natural order
  std::vector<std::string> others;    // what is passed over and not hidden, likewise; folders end with /
};

// What systems leave in folders beside the files of their users.
bool is_companion(std::string_view name) {
  static constexpr std::array<std::string_view, 6> kNames = {"thumbs.db", "ehthumbs.db", "desktop.ini",
                                                             "__macosx",  "picasa.ini",  "@eadir"};
  return name.starts_with('.') ||
         std::any_of(kNames.begin(), kNames.end(), [name](std::string_view companion) {
           return std::equal(
               name.begin(), name.end(), companion.begin(), companion.end(),
               [](char got, char want) { return folded(got) == static_cast<unsigned char>(want); });
         });
}

Result<Listing> list(const std::string& path) {
  Listing listing;
  std::error_code error;
  std::filesystem::directory_iterator entry(path, error);
  while (!error && entry != std::filesystem::directory_iterator()) {
    std::string name = entry->path().filename().string();
    std::error_code unreadable;
    const std::filesystem::file_type type = entry->status(unreadable).type();
    if (is_companion(name)) {
      // Nobody asked for it.
    } else if (type == std::filesystem::file_type::directory) {
      listing.others.push_back(name + "/");
    } else {
      // A link to nothing is what its name says: a picture that has gone.
      const bool readable = type == std::filesystem::file_type::regular ||
                            type == std::filesystem::file_type::not_found ||
                            type == std::filesystem::file_type::none;
      const bool picture = readable && is_picture(entry->path().string());
      (picture ? listing.pictures : listing.others).push_back(std::move(name));
    }
    entry.increment(error);
  }
  if (error) {
    const bool absent = error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
    return Status(absent ? StatusCode::kNotFound : StatusCode::kInvalidMedia,
                  fmt::format("directory \"{}\": {}", path, error.message()));
  }
  std::sort(listing.pictures.begin(), listing.pictures.end(), natural_less);
  std::sort(listing.others.begin(), listing.others.end(), natural_less);
  return listing;
}

// `passed over, as no pictures: clip.mp4, notes.txt and 3 more`; empty where there is nothing to say.
std::string passed_over(const std::string& path, const std::vector<std::string>& names) {
  constexpr std::size_t kNamedMax = 5;
  if (names.empty()) return "";
  std::string text = fmt::format("directory \"{}\": passed over, as no pictures: ", path);
  const std::size_t named = names.size() <= kNamedMax ? names.size() : kNamedMax - 1;
  for (std::size_t i = 0; i < named; ++i) {
    const bool last = i + 1 == names.size();
    text += i == 0 ? "" : last ? " and " : ", ";
    text += names[i];
  }
  if (named < names.size()) text += fmt::format(" and {} more", names.size() - named);
  return text;
}

class DirectorySource final : public FrameSource {
 public:
  DirectorySource(std::string path, Listing listing, bool rotate)
      : path_(std::move(path)),
        names_(std::move(listing.pictures)),
        passed_over_(passed_over(path_, listing.others)),
        rotate_(rotate) {}

  // Reads as far as the first picture that can be read, which gives the size.
  Status open() {
    while (decoded_.size() < names_.size()) {
      decoded_.push_back(read(decoded_.size()));
      if (!decoded_.back().damage.ok()) continue;
      height_ = decoded_.back().height;
      width_ = decoded_.back().width;
      return Status();
    }
    const Status& first = decoded_.front().damage;
    if (names_.size() == 1) return first;
    return Status(StatusCode::kInvalidMedia,
                  fmt::format("directory \"{}\": none of its {} pictures can be read; {}", path_,
                              names_.size(), first.message()));
  }

  Result<std::optional<VideoFrame>> next() override {
    if (index_ == names_.size() || interrupted_.load(std::memory_order_relaxed))
      return std::optional<VideoFrame>();
    const std::size_t index = index_++;
    if (index < decoded_.size())
      return std::optional<VideoFrame>(std::exchange(decoded_[index], VideoFrame()));
    return std::optional<VideoFrame>(read(index));
  }

  Status reserve(std::size_t frames) override {
    return pool_.reserve(static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_) * 3, frames);
  }
  void interrupt() noexcept override { interrupted_.store(true, std::memory_order_relaxed); }
  double fps() const noexcept override { return 0; }
  int height() const noexcept override { return height_; }
  int width() const noexcept override { return width_; }
  bool live() const noexcept override { return false; }
  SourceLosses losses() const override {
    SourceLosses losses;
    if (!passed_over_.empty()) losses.notes.push_back(passed_over_);
    return losses;
  }
  std::string description() const override {
    return fmt::format("directory \"{}\" of {} picture{}, the first {}x{}", path_, names_.size(),
                       names_.size() == 1 ? "" : "s", width_, height_);
  }

 private:
  VideoFrame read(std::size_t index) {
    VideoFrame frame;
    frame.index = static_cast<std::int64_t>(index);
    frame.file = std::make_shared<const std::string>(names_[index]);
    Result<Picture> picture =
        read_picture((std::filesystem::path(path_) / names_[index]).string(), rotate_, pool_);
    if (!picture.ok()) {
      frame.damage = picture.status();
      return frame;
    }
    frame.pixels = std::move(picture->pixels);
    frame.height = picture->height;
    frame.width = picture->width;
    return frame;
  }

  const std::string path_;
  const std::vector<std::string> names_;  // in the order in which they are shown
  const std::string passed_over_;
  const bool rotate_;
  BufferPool pool_;
  std::vector<VideoFrame> decoded_;  // by open(), handed out by next()
  std::size_t index_ = 0;
  int height_ = 0;
  int width_ = 0;
  std::atomic<bool> interrupted_{false};
};

}  // namespace

bool natural_less(std::string_view a, std::string_view b) {
  const std::string_view whole_a = a;
  const std::string_view whole_b = b;
  std::ptrdiff_t longer_zeros =
      0;  // how many more digits, so zeros, the first equal numbers that differ have in `a`
  while (!a.empty() && !b.empty()) {
    if (is_digit(a.front()) && is_digit(b.front())) {
      const auto before = static_cast<std::ptrdiff_t>(a.size()) - static_cast<std::ptrdiff_t>(b.size());
      const std::string_view number_a = take_number(a);
      const std::string_view number_b = take_number(b);
      if (number_a.size() != number_b.size()) return number_a.size() < number_b.size();
      if (const int order = number_a.compare(number_b); order != 0) return order < 0;
      const auto after = static_cast<std::ptrdiff_t>(a.size()) - static_cast<std::ptrdiff_t>(b.size());
      if (longer_zeros == 0) longer_zeros = before - after;
      continue;
    }
    if (folded(a.front()) != folded(b.front())) return folded(a.front()) < folded(b.front());
    a.remove_prefix(1);
    b.remove_prefix(1);
  }
  if (a.empty() != b.empty()) return a.empty();
  if (longer_zeros != 0) return longer_zeros < 0;
  return whole_a < whole_b;
}

Result<std::unique_ptr<FrameSource>> open_directory(const std::string& path, bool rotate) {
  INFLIGHT_TRY_ASSIGN(Listing listing, list(path));
  if (listing.pictures.empty()) {
    std::string text = fmt::format("directory \"{}\": no picture in it", path);
    if (!listing.others.empty()) text += "; it has " + listing.others.front();
    if (listing.others.size() > 1) text += fmt::format(" and {} more", listing.others.size() - 1);
    return Status(StatusCode::kNotFound, std::move(text));
  }
  auto source = std::make_unique<DirectorySource>(path, std::move(listing), rotate);
  INFLIGHT_TRY(source->open());
  return std::unique_ptr<FrameSource>(std::move(source));
}

}  // namespace inflight
