// SPDX-License-Identifier: Apache-2.0
// What a classifier's output says: one score a class.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "inflight/tensor.h"
#include "vision/values.h"

namespace inflight::cli {

// The class names that a model's metadata holds under "labels": a JSON array of strings, or names with commas
// or line ends between them. Empty where it is neither.
std::vector<std::string> parse_labels(const std::string& text);

// Whether these are one floating-point score for each of two classes or more: [N], [1,N] or [1,N,1,1].
bool are_scores(const TensorView& view);

using vision::element;

// The class with the highest score; the lowest such index, NaN below everything. Requires are_scores(view).
std::size_t best_class(const TensorView& view);

// The `count` highest, best first, in the same order; `classes` is replaced and its memory reused.
void best_classes(const TensorView& view, std::size_t count, std::vector<std::size_t>& classes);

}  // namespace inflight::cli
