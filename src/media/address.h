// SPDX-License-Identifier: Apache-2.0
// From an address that a user writes to what FFmpeg opens.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "inflight/status.h"
#include "media/media_input.h"

namespace inflight {

// Whether the text begins like an address: a scheme of letters, digits, `+`, `-` and `.`, then `://`.
bool is_address(std::string_view text);
// The path that a file:// address names, with its %XX read where no file of the name as written exists;
// nothing where it is another address.
std::optional<std::string> file_of_address(std::string_view text);
// The device of a camera's index: "0" -> /dev/video0; nothing where the text is not a number of up to three
// digits.
std::optional<std::string> camera_of_index(std::string_view text);

// What an address stands for: rtsp, rtsps, rtmp, udp, rtp, srt and their like are live; http, https and
// others that FFmpeg has are files elsewhere.
//   errors   kUnsupported: FFmpeg has no such protocol here
Result<MediaAddress> parse_address(std::string_view text, Duration stall_timeout);
// Standard input. A file that the shell has opened for it can be searched, a pipe cannot.
MediaAddress standard_input();

}  // namespace inflight
