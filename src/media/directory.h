// SPDX-License-Identifier: Apache-2.0
// A directory of pictures as a source.
#pragma once

#include <memory>
#include <string>

#include "media/source.h"

namespace inflight {

// Opens a directory: its picture files (by is_picture_name) in the order of their names by bytes; other files
// and the folders within are passed over. The first picture is decoded at once and sets the size.
//   bound    one picture decoded at a time; the names are read once, when opened
//   errors   kNotFound: no such directory, or no picture in it; kInvalidMedia: the first cannot be read.
//            next(): kNotFound: a picture has gone; kInvalidMedia: one cannot be read, or differs in size
Result<std::unique_ptr<FrameSource>> open_directory(const std::string& path);

}  // namespace inflight
