// SPDX-License-Identifier: Apache-2.0
// Files of arrays as MXNet writes them: nd.save and nd.load, and the .params of a checkpoint.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "inflight/mx/ndarray.h"
#include "inflight/status.h"

namespace inflight::mx {

struct ArrayFile {
  std::vector<std::string> names;  // as many as arrays, or none: then the file is a list
  std::vector<NDArray> arrays;
};

// Writes arrays in MXNet 1.9's format. Waits for them.
//   errors   kInvalidArgument: names that are not as many as arrays, or an element type that MXNet does not
//            have; kIoError; the failure of an array
Status save(const std::string& path, const ArrayFile& file);
Result<std::vector<std::byte>> save_bytes(const ArrayFile& file);

// Reads what MXNet wrote, from the first versions on. Memory is taken as the file's bytes prove that it is
// needed.
//   errors   kNotFound, kIoError: the file; kInvalidModel: it is cut short, damaged or no such file;
//            kUnsupported: a sparse array, or an element type that is not offered
Result<ArrayFile> load(const std::string& path);
Result<ArrayFile> load_bytes(std::span<const std::byte> bytes);

}  // namespace inflight::mx
