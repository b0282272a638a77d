// SPDX-License-Identifier: Apache-2.0
#include "mx/layers.h"

#include <fmt/format.h>

#include <algorithm>

namespace inflight::mx::detail {

Ints list(const std::optional<Shape>& shape) {
  const auto extents = shape->dims();
  return {extents.begin(), extents.end()};
}
Value along_channels(const Value& vector, std::int64_t axes) {
  Ints shape(static_cast<std::size_t>(axes), 1);
  shape[1] = elements(vector);
  return reshaped(vector, shape);
}
ov::Strides strides(const Ints& values) { return ov::Strides(values.begin(), values.end()); }
ov::Shape extents(const Ints& values) { return ov::Shape(values.begin(), values.end()); }
ov::CoordinateDiff padding(const Ints& values) { return ov::CoordinateDiff(values.begin(), values.end()); }

Result<Windows> read_windows(const Params& params) {
  Windows windows{params.ints("kernel"), params.ints("stride"), {}, params.ints("pad")};
  if (params.has("dilate")) windows.dilate = params.ints("dilate");
  const std::size_t axes = windows.kernel.size();
  if (axes < 1 || axes > 3) return bad_attribute("kernel", text_of(windows.kernel), "1 to 3 numbers");
  const auto check = [axes](const char* name, Ints& values, std::int64_t fallback,
                            std::int64_t least) -> Status {
    if (values.empty()) values.assign(axes, fallback);
    const bool fits = values.size() == axes &&
                      std::all_of(values.begin(), values.end(), [&](std::int64_t v) { return v >= least; });
    if (fits) return {};
    return bad_attribute(name, text_of(values), fmt::format("{} numbers of at least {}", axes, least));
  };
  INFLIGHT_TRY(check("kernel", windows.kernel, 1, 1));
  INFLIGHT_TRY(check("stride", windows.stride, 1, 1));
  INFLIGHT_TRY(check("dilate", windows.dilate, 1, 1));
  INFLIGHT_TRY(check("pad", windows.pad, 0, 0));
  return windows;
}

Status check_layout(const Params& params) {
  if (params.none("layout")) return {};
  const std::string& layout = params.text("layout");
  if (layout == "NCW" || layout == "NCHW" || layout == "NCDHW") return {};
  return {StatusCode::kUnsupported,
          fmt::format("attribute layout: got {}, want NCW, NCHW or NCDHW: transpose the data", layout)};
}

Status check_rank(const Ints& data, std::size_t spatial) {
  if (data.size() == spatial + 2) return {};
  return bad_input("data", text_of(data), fmt::format("{} axes for a kernel of {}", spatial + 2, spatial));
}

}  // namespace inflight::mx::detail
