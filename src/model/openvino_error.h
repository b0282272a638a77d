// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace inflight::internal {

// One line of what an OpenVINO exception has to say, without the source files and check expressions that its
// messages are full of. An operator that no reader knows is named with its domain.
//   what     the exception's what(): several lines
std::string distil_openvino_error(std::string_view what);

}  // namespace inflight::internal
