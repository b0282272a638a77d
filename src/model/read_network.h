// SPDX-License-Identifier: Apache-2.0
// From a model file to OpenVINO's network, with the shapes that the caller knows put in before it is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <openvino/core/model.hpp>
#include <span>
#include <string>

#include "inflight/model.h"
#include "model/file_format.h"

namespace inflight::internal {

// Elements in one input or output: far above what fits a machine, and low enough that sizes in bytes do not
// wrap.
inline constexpr std::uint64_t kElementsMax = std::uint64_t{1} << 40;

// Product of the extents, at most kElementsMax + 1; unknown ones count as one.
std::uint64_t elements_bounded(std::span<const std::int64_t> dims);

// Reads with the one reader for the format; whatever it throws becomes a status. Where it cannot read while
// extents of an image input are open, and the options tell a frame's size, it reads again with that.
//   errors   kInvalidModel, kUnsupported; kInvalidArgument: ModelOptions::input_shapes do not fit
Result<std::shared_ptr<ov::Model>> read_network(const std::filesystem::path& path, FileFormat format,
                                                const ModelOptions& options);
// The same for ONNX and TensorFlow Lite in memory.
Result<std::shared_ptr<ov::Model>> read_network(std::span<const std::byte> bytes, FileFormat format,
                                                const ModelOptions& options);

// Makes what ModelOptions say of the inputs' shapes true of a network.
//   errors   kInvalidArgument
Status set_input_shapes(ov::Model& network, const std::map<std::string, Shape>& shapes);

}  // namespace inflight::internal
