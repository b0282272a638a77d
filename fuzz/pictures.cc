// SPDX-License-Identifier: Apache-2.0
// Any bytes as the file of a picture: what stands around the pixels is read within bounds, and the picture decodes, to
// the same pixels each time, or fails with a reason. The last byte chooses the name's ending and what is tried.
#include "media/picture.h"

extern "C" {
#include <libavutil/mem.h>
}

#include "media/picture_boxes.h"
#include "media/picture_file.h"
#include "media/picture_format.h"
#include "support.h"

namespace {

using namespace inflight;

// FFmpeg and its readers get room after a file, ours do not.
void check_parsers(const std::vector<std::uint8_t>& file) {
  static_cast<void>(boxes_orientation(file));
  static_cast<void>(has_picture_brand(file));
  for (const AVCodecID codec : {AV_CODEC_ID_MJPEG, AV_CODEC_ID_JPEGLS, AV_CODEC_ID_PNG, AV_CODEC_ID_WEBP,
                                AV_CODEC_ID_TIFF, AV_CODEC_ID_AV1, AV_CODEC_ID_XPM, AV_CODEC_ID_GIF}) {
    const Status checked = check_picture(codec, file);
    if (!checked.ok()) fuzz::check_failure(checked, {StatusCode::kInvalidMedia, StatusCode::kUnsupported});
    static_cast<void>(may_read_past_end(codec, file));
    static_cast<void>(picture_orientation(codec, file));
    std::vector<std::uint8_t> once = file;
    const std::size_t kept = keep_pixels(codec, once);
    fuzz::must(kept <= file.size(), "nothing is added to a file");
    once.resize(kept);
    once.shrink_to_fit();
    std::vector<std::uint8_t> twice = once;
    twice.resize(keep_pixels(codec, twice));
    fuzz::must(once == twice, "of pixels alone nothing is taken away");
  }
}

void check_decoding(const std::string& path) {
  static BufferPool pool;
  const bool picture = is_picture(path);
  const bool still = is_still_picture(path);
  fuzz::must(picture || !still, "a still picture is a picture");
  Result<Picture> upright = read_picture(path, true, pool);
  if (!upright.ok()) {
    fuzz::check_failure(upright.status(),
                        {StatusCode::kInvalidMedia, StatusCode::kUnsupported, StatusCode::kOutOfMemory});
    return;
  }
  fuzz::must(picture, "what decodes is a picture");
  const auto bytes_of = [](const Picture& each) {
    return static_cast<std::size_t>(each.height) * static_cast<std::size_t>(each.width) * 3;
  };
  fuzz::must(bytes_of(*upright) > 0 && upright->pixels.size() == bytes_of(*upright), "it has its pixels");
  const Result<Picture> again = read_picture(path, true, pool);
  fuzz::must(again.ok() && bytes_of(*again) == bytes_of(*upright), "it decodes again");
  fuzz::must(std::memcmp(again->pixels.bytes(), upright->pixels.bytes(), bytes_of(*again)) == 0,
             "it has the same pixels again");
  const Result<Picture> coded = read_picture(path, false, pool);
  fuzz::must(coded.ok() && bytes_of(*coded) == bytes_of(*upright), "it decodes as coded");
  fuzz::must(coded->height == upright->height || coded->height == upright->width,
             "it is turned by right angles");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  av_max_alloc(std::size_t{32} << 20);  // larger pictures fail, as they do where there is no memory
  constexpr const char* kEndings[] = {"",     ".jpg", ".png", ".tif", ".webp", ".avif", ".gif",
                                      ".bmp", ".tga", ".pgm", ".jp2", ".ico",  ".heic", ".xpm",
                                      ".exr", ".psd", ".jxl", ".qoi", ".pcx",  ".xbm"};
  const std::uint8_t choice = size == 0 ? 0 : data[--size];
  const std::vector<std::uint8_t> exact(data, data + size);
  check_parsers(exact);
  if ((choice & 0x80) != 0) return 0;
  const std::string path =
      folder.write(std::string("picture") + kEndings[(choice & 0x7F) % std::size(kEndings)], exact);
  check_decoding(path);
  folder.remove(path);
  return 0;
}
