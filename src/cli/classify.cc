// SPDX-License-Identifier: Apache-2.0
#include "cli/classify.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string_view>

#include "base/check.h"

namespace inflight::cli {
namespace {

// NaN must have a place too, or the order is none.
double rank(const TensorView& view, std::size_t index) {
  const double score = element(view, index);
  return std::isnan(score) ? -std::numeric_limits<double>::infinity() : score;
}

}  // namespace

std::vector<std::string> parse_labels(const std::string& text) {
  std::vector<std::string> labels;
  if (text.starts_with('[')) {
    const nlohmann::json list = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!list.is_array()) return {};
    for (const auto& label : list) {
      if (!label.is_string()) return {};
      labels.push_back(label.get<std::string>());
    }
    return labels;
  }
  const char separator = text.find('\n') != std::string::npos ? '\n' : ',';
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find(separator), rest.size());
    std::string_view label = rest.substr(0, end);
    const std::size_t first = std::min(label.find_first_not_of(" \t\r"), label.size());
    label.remove_prefix(first);
    label = label.substr(0, label.find_last_not_of(" \t\r") + 1);
    labels.emplace_back(label);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return labels;
}

bool are_scores(const TensorView& view) {
  if (!vision::is_floating(view.dtype)) return false;
  const Shape& shape = view.shape;
  switch (shape.rank()) {
    case 1:
      return shape[0] >= 2;
    case 2:
      return shape[0] == 1 && shape[1] >= 2;
    case 4:
      return shape[0] == 1 && shape[1] >= 2 && shape[2] == 1 && shape[3] == 1;
    default:
      return false;
  }
}

std::size_t best_class(const TensorView& view) {
  INFLIGHT_CHECK(are_scores(view));
  std::size_t best = 0;
  for (std::size_t i = 1; i < view.shape.elements(); ++i) {
    if (rank(view, i) > rank(view, best)) best = i;
  }
  return best;
}

void best_classes(const TensorView& view, std::size_t count, std::vector<std::size_t>& classes) {
  INFLIGHT_CHECK(are_scores(view));
  classes.resize(view.shape.elements());
  std::iota(classes.begin(), classes.end(), std::size_t{0});
  count = std::min(count, classes.size());
  std::partial_sort(classes.begin(), classes.begin() + static_cast<std::ptrdiff_t>(count), classes.end(),
                    [&](std::size_t a, std::size_t b) {
                      const double rank_a = rank(view, a);
                      const double rank_b = rank(view, b);
                      return rank_a != rank_b ? rank_a > rank_b : a < b;
                    });
  classes.resize(count);
}

}  // namespace inflight::cli
