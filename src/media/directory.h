// SPDX-License-Identifier: Apache-2.0
// A directory of pictures as a source.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "media/source.h"

namespace inflight {

// The order in which people count: digits together by the number that they make, other characters one by one
// without regard to case (of ASCII). Names that are equal by that differ by fewer leading zeros, then by
// their bytes, so it is a strict order of all names: `2` before `10`, `a2` before `A10`, `7` before `07`.
bool natural_less(std::string_view a, std::string_view b);

// Opens a directory: its pictures (by is_picture()) in natural order, each at its own size. Of a file of
// several (GIF, APNG, AVIF) the first is taken. Hidden files, companions and folders of systems (`._a.jpg`,
// `Thumbs.db`, `__MACOSX`) are passed over; what else is no picture is named in losses().notes. Symbolic
// links are followed. A picture that cannot be read has its place in the order: its frame has `damage`, no
// pixels and no size, and those after it follow. Every frame has the file's name in `file`.
//   rotate   turn pictures as their files ask
//   bound    one picture decoded at a time; the names are read once, when opened. height() and width() are
//            the first readable picture's, which is found when opened
//   errors   kNotFound: no such directory, or no picture in it; kInvalidMedia: none of the pictures can be
//            read
Result<std::unique_ptr<FrameSource>> open_directory(const std::string& path, bool rotate = true);

}  // namespace inflight
