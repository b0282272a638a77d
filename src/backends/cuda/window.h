// SPDX-License-Identifier: Apache-2.0
// Loops over the window of an element: pooling and convolutions.
#pragma once

#include <openvino/op/util/attr_types.hpp>
#include <string>
#include <vector>

#include "backends/cuda/emitter.h"

namespace inflight::cuda {

// One spatial dimension of a window.
struct WindowAxis {
  std::int64_t in = 1, out = 1, kernel = 1, stride = 1, dilation = 1, pad_begin = 0, pad_end = 0;
  // True if some position of some window lies outside of the input.
  bool needs_check() const {
    return pad_begin > 0 || (out - 1) * stride - pad_begin + (kernel - 1) * dilation >= in;
  }
};
using WindowAxes = std::vector<WindowAxis>;

// Sets the padding of each axis as an operator's auto_pad says; `begin` and `end` hold for EXPLICIT and NOTSET.
void set_pads(WindowAxes& axes, ov::op::PadType type, const std::vector<std::int64_t>& begin,
              const std::vector<std::int64_t>& end);

// True if all lanes have the same indices in the dimensions from `first` on.
bool lanes_share(const Places& at, std::size_t first);

// Opens loops over the positions of the window that lie inside of the input. `taps` gets the loops' variables and
// `from` the input's spatial indices. close_window() closes what it opened.
int open_window(Emitter& emitter, const WindowAxes& axes, const Indices& out, Indices& taps, Indices& from);
void close_window(Emitter& emitter, int opened);

// Opens `for (i = 0; i < count; ++i)` and returns i; one iteration needs no loop. The count of opened blocks grows.
Index open_loop(Emitter& emitter, std::int64_t count, int& opened);

}  // namespace inflight::cuda
