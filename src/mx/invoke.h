// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "mx/op_table.h"
#include "mx/program.h"
#include "mx/task.h"

namespace inflight::mx::detail {

// The program of one operator with its attributes and inputs' types and shapes.
struct OneOperator {
  std::shared_ptr<CompiledNetwork> network;  // of one piece
  std::size_t pieces = 1;                    // of equal size; more than one where each element stands alone
  std::vector<OutputSpec> outputs;
};

}  // namespace inflight::mx::detail
