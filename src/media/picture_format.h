// SPDX-License-Identifier: Apache-2.0
// Which format of pictures a file is in, and its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "inflight/status.h"
#include "media/ffmpeg.h"

namespace inflight {

struct PictureFormat {
  AVCodecID codec = AV_CODEC_ID_NONE;        // none: no picture. In a container it is the usual one
  const AVInputFormat* container = nullptr;  // null: the file is what the decoder wants
  bool may_move = false;                     // several pictures in it are an animation
  bool sure = false;                         // more of the file would say the same
};

// How much of a file says what it is.
inline constexpr std::size_t kPictureHeadBytes = std::size_t{1} << 16;

// By the content; by the name's ending where the content does not say.
//   head   the file's first bytes, with zeros somewhere after them; may be empty
PictureFormat find_picture_format(const std::string& path, std::span<const std::uint8_t> head);

// Whether a file of boxes says that it is AVIF or HEIF.
bool has_picture_brand(std::span<const std::uint8_t> head);

// The first `bytes_max` bytes of a file, as a packet: that is memory with the room after it that decoders
// want.
//   errors   kNotFound: no such file; kInvalidMedia: it cannot be read; kUnsupported: 2 GiB and more;
//            kOutOfMemory
Result<ffmpeg::Packet> read_picture_file(const std::string& path, std::size_t bytes_max = SIZE_MAX);

inline std::span<std::uint8_t> bytes_of(const ffmpeg::Packet& packet) {
  return {packet->data, static_cast<std::size_t>(packet->size)};
}

}  // namespace inflight
