// SPDX-License-Identifier: Apache-2.0
// From a network as it was read to one that is ready to be divided into steps.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

#include "inflight/status.h"

namespace inflight::cuda {

// A clone with constants folded, batch norm and scales in the weights, and the patterns of rewrite.h replaced.
//   returns  a network of static shapes whose parameters and results are those of `network`, in order
//   errors   kUnsupported: a shape that is not known before run time, with its node
Result<std::shared_ptr<ov::Model>> prepare(const ov::Model& network);

}  // namespace inflight::cuda
