// SPDX-License-Identifier: Apache-2.0
// docs/cuda_operators.md: which operators a GPU covers.
#pragma once

#include <string>

namespace inflight::cuda::testing {

std::string operators_document();

}  // namespace inflight::cuda::testing
