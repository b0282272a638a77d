// SPDX-License-Identifier: Apache-2.0
// Which kind of model a file holds, told from its bytes before any reader sees them. OpenVINO offers a file
// that it does not know to one reader after another, and some of those print to the terminal: so nothing
// reaches it that is not known to be whole and of a kind that it reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "inflight/status.h"

namespace inflight::internal {

enum class FileFormat : std::uint8_t { kOnnx, kTfLite, kOpenVinoIr, kPaddle, kTensorFlow };

// Tells the format of a file, or of a SavedModel's folder.
//   errors   kNotFound: nothing there, or not to be opened; kInvalidModel: empty, cut short, or not a model;
//            kUnsupported: a kind of model that is not read here. Messages do not name the file.
Result<FileFormat> detect_format(const std::filesystem::path& path);
// The same for a file's bytes.
Result<FileFormat> detect_format(std::span<const std::byte> bytes);

}  // namespace inflight::internal
