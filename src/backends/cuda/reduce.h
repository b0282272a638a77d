// SPDX-License-Identifier: Apache-2.0
// Reductions as facts of a row.
#pragma once

#include "backends/cuda/rows.h"

namespace inflight::cuda {

bool is_reduction(const ov::Node& node);
RowTerms reduction_terms(const ov::Node& node);
Status emit_reduction_fact(Emitter& emitter, Frame& frame, const ov::Node& node);

}  // namespace inflight::cuda
