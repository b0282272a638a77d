// SPDX-License-Identifier: Apache-2.0
// An output of a detector as a matrix, and what its numbers mean: pixels or parts of the input, scores or
// logits.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "vision/boxes.h"

namespace inflight::vision {

// A matrix of floats in a tensor's memory, by rows or by columns.
struct Matrix {
  std::span<const float> values;
  std::size_t rows = 0;
  std::size_t columns = 0;
  bool transposed = false;  // the values lie column by column

  double at(std::size_t row, std::size_t column) const {
    return values[transposed ? column * rows + row : row * columns + column];
  }
};

// Coordinates of 0 to 1 reach little past 1 where boxes stick out of the frame; pixels are far above
// everywhere.
inline constexpr double kNormalisedMax = 2;

// What coordinates are multiplied by to be pixels of the input.
struct Units {
  double x = 1;
  double y = 1;
};

inline Units normalised(const Geometry& geometry) {
  return {static_cast<double>(geometry.input_width), static_cast<double>(geometry.input_height)};
}

// By the largest coordinate in columns `first` to `first + count` of the rows that `counts` says.
template <typename Counts>
Units units_of(const Matrix& rows, std::size_t first, std::size_t count, const Geometry& geometry,
               Counts counts) {
  for (std::size_t row = 0; row < rows.rows; ++row) {
    if (!counts(row)) continue;
    for (std::size_t column = first; column < first + count; ++column) {
      const double value = rows.at(row, column);
      if (std::isfinite(value) && value > kNormalisedMax) return {};
    }
  }
  return normalised(geometry);
}

inline bool every_row(std::size_t) { return true; }

// The column of the highest value from `first` on; NaN is below everything.
inline std::size_t best_column(const Matrix& rows, std::size_t row, std::size_t first, std::size_t count) {
  std::size_t best = first;
  double score = -std::numeric_limits<double>::infinity();
  for (std::size_t column = first; column < first + count; ++column) {
    const double value = rows.at(row, column);
    if (value > score) {
      score = value;
      best = column;
    }
  }
  return best;
}

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The probability of one column among all of its row, by softmax.
inline double softmax_of(const Matrix& logits, std::size_t row, std::size_t column) {
  const double top = logits.at(row, best_column(logits, row, 0, logits.columns));
  double sum = 0;
  for (std::size_t c = 0; c < logits.columns; ++c) sum += std::exp(logits.at(row, c) - top);
  return std::exp(logits.at(row, column) - top) / sum;
}

}  // namespace inflight::vision
