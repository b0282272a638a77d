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
  std::shared_ptr<CompiledNetwork> network;
  std::vector<OutputSpec> outputs;
};

}  // namespace inflight::mx::detail
