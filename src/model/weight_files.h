// SPDX-License-Identifier: Apache-2.0
// Files that hold a model's weights beside the file that names them.
#pragma once

#include <filesystem>
#include <string>

#include "inflight/status.h"
#include "model/file_format.h"

namespace inflight::internal {

// Whether the files that the model needs beside itself are there, and long enough where it says how long.
//   path     the model's, or a SavedModel's folder
//   errors   kInvalidModel: `its weights "w.bin": no such file`, or one that is empty, too short or not a
//            file
Status check_weight_files(const std::filesystem::path& path, FileFormat format);

// The file in which such a model usually has its weights, where it is missing: the reason, if the model
// cannot be read. "" where it is there, or where check_weight_files() knows exactly.
std::string usual_weights_missing(const std::filesystem::path& path, FileFormat format);

}  // namespace inflight::internal
