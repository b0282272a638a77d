// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/window.h"

#include <fmt/format.h>

#include <algorithm>

namespace inflight::cuda {

void set_pads(WindowAxes& axes, ov::op::PadType type, const std::vector<std::int64_t>& begin,
              const std::vector<std::int64_t>& end) {
  for (std::size_t d = 0; d < axes.size(); ++d) {
    WindowAxis& axis = axes[d];
    const std::int64_t total = std::max<std::int64_t>(
        (axis.out - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1 - axis.in, 0);
    switch (type) {
      case ov::op::PadType::SAME_UPPER:
        axis.pad_begin = total / 2;
        break;
      case ov::op::PadType::SAME_LOWER:
        axis.pad_begin = total - total / 2;
        break;
      case ov::op::PadType::VALID:
        axis.pad_begin = 0;
        break;
      default:
        axis.pad_begin = d < begin.size() ? begin[d] : 0;
        axis.pad_end = d < end.size() ? end[d] : 0;
        continue;
    }
    axis.pad_end = type == ov::op::PadType::VALID ? 0 : total - axis.pad_begin;
  }
}

bool lanes_share(const Places& at, std::size_t first) {
  return std::all_of(at.begin(), at.end(), [&](const Indices& lane) {
    for (std::size_t d = first; d < lane.size(); ++d)
      if (lane[d].base != at[0][d].base || lane[d].add != at[0][d].add) return false;
    return true;
  });
}

Index open_loop(Emitter& emitter, std::int64_t count, int& opened) {
  if (count == 1) return Emitter::constant(0);
  const std::string i = emitter.fresh('r');
  if (count <= 16) emitter.line("UNROLL");
  emitter.open(fmt::format("for (idx {0} = 0; {0} < {1}; ++{0})", i, count));
  ++opened;
  return {i, 0, 1, count};
}

int open_window(Emitter& emitter, const WindowAxes& axes, const Indices& out, Indices& taps, Indices& from) {
  int opened = 0;
  for (std::size_t d = 0; d < axes.size(); ++d) {
    const WindowAxis& axis = axes[d];
    taps.push_back(open_loop(emitter, axis.kernel, opened));
    from.push_back(emitter.linear({{out[d], axis.stride}, {taps.back(), axis.dilation}}, -axis.pad_begin));
    if (!axis.needs_check()) continue;
    emitter.open(fmt::format("if ({0} >= 0 && {0} < {1})", emitter.text(from.back()), axis.in));
    ++opened;
  }
  return opened;
}

void close_window(Emitter& emitter, int opened) {
  for (; opened > 0; --opened) emitter.close();
}

}  // namespace inflight::cuda
