// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace inflight::internal {

// What an OpenVINO exception has to say, in one line of 400 bytes at most: its lines without source files,
// the checks that failed there, and headings.
//   what     the exception's what(): several lines
std::string distil_openvino_error(std::string_view what);

}  // namespace inflight::internal
