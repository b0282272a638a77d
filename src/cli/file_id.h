// SPDX-License-Identifier: Apache-2.0
// Which file a path means, and that no output of a run is another output or an input.
#pragma once

#include <string>
#include <vector>

#include "inflight/status.h"

namespace inflight::cli {

// The path behind symbolic links in its last part. The file need not exist: `link -> missing` is `missing`.
// Ends at /dev/stdout and its like.
std::string behind_links(std::string path);

// A path and what a message calls it.
struct NamedPath {
  std::string name;  // of an output: its option, such as "--json"; of an input: "the model", "the source"
  std::string path;
};

// The files that a model consists of, as far as its first file names them: weights beside an OpenVINO IR or a
// Paddle model, external data of an ONNX model, what is in the folder of a SavedModel.
//   bound    reads the model once where it is ONNX; a file that cannot be read has no others
std::vector<std::string> files_of_model(const std::string& path);

// Checks that no two outputs are one file, whatever their names (links, ./a and a, /dev/stdout), that none is
// the file that stdout or stderr goes to, and that none is an input. Files need not exist yet. Devices and
// terminals may be given more than once.
//   inputs   a folder means the pictures directly in it
//   errors   kInvalidArgument: which two, and what they are
Status check_files(const std::vector<NamedPath>& outputs, const std::vector<NamedPath>& inputs);

}  // namespace inflight::cli
