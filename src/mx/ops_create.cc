// SPDX-License-Identifier: Apache-2.0
// Operators that make arrays of nothing, or of a shape.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "mx/build.h"

namespace inflight::mx::detail {
namespace {

// A constant of input 0's shape, or of the attribute shape.
Status build_full(Lowering& call) {
  const bool like = call.row.name == "zeros_like" || call.row.name == "ones_like";
  const Ints shape = like ? dims(call.in[0]) : call.params.ints("shape");
  const auto type = like ? call.in[0].get_element_type() : element_type(call.params.dtype("dtype"));
  const double value = call.row.name == "_full" ? call.params.number("value")
                       : call.row.name == "ones_like" || call.row.name == "_ones" ? 1
                                                                                  : 0;
  for (const std::int64_t extent : shape) {
    if (extent < 1) return bad_attribute("shape", text_of(shape), "extents of at least 1");
  }
  INFLIGHT_TRY(Shape::make(shape).status());
  call.out = {broadcast_to(constant(type, {}, {value}), shape)};
  return {};
}

Status build_arange(Lowering& call) {
  double start = call.params.number("start");
  double stop = 0;
  const double step = call.params.number("step");
  if (call.params.none("stop")) {
    stop = start;
    start = 0;
  } else {
    stop = call.params.number("stop");
  }
  const std::int64_t repeat = call.params.integer("repeat");
  const double count = step == 0 ? -1 : std::ceil((stop - start) / step);
  if (!(count >= 1) || count > 1e9 || repeat < 1) {
    return {StatusCode::kInvalidArgument,
            fmt::format("attributes start, stop, step, repeat: got {}, {}, {}, {}, want at "
                        "least one element",
                        start, stop, step, repeat)};
  }
  std::vector<double> values;
  for (double i = 0; i < count; ++i)
    values.insert(values.end(), static_cast<std::size_t>(repeat), start + i * step);
  call.out = {
      constant(element_type(call.params.dtype("dtype")), {static_cast<std::int64_t>(values.size())}, values)};
  return {};
}

Status build_eye(Lowering& call) {
  const std::int64_t rows = call.params.integer("N");
  const std::int64_t columns = call.params.integer("M") > 0 ? call.params.integer("M") : rows;
  const std::int64_t shift = call.params.integer("k");
  if (rows < 1 || rows > 65'536 || columns > 65'536)
    return bad_attribute("N", fmt::format("{}", rows), "1 to 65536");
  std::vector<double> values(static_cast<std::size_t>(rows * columns), 0);
  for (std::int64_t i = 0; i < rows; ++i) {
    if (i + shift >= 0 && i + shift < columns) values[static_cast<std::size_t>(i * columns + i + shift)] = 1;
  }
  call.out = {constant(element_type(call.params.dtype("dtype")), {rows, columns}, values)};
  return {};
}

Status build_shape_array(Lowering& call) {
  call.out = {call.row.name == "size_array" ? reshaped(ints({elements(call.in[0])}), {1})
                                            : ints(dims(call.in[0]))};
  return {};
}

}  // namespace

void add_create_rows(std::vector<OpRow>& rows) {
  const auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  using K = AttrKind;
  add({.name = "zeros_like", .any_dtype = true, .build = build_full});
  add({.name = "ones_like", .any_dtype = true, .build = build_full});
  const AttrSpec shape{"shape", K::kInts, "()"};
  const AttrSpec ctx{"ctx", K::kString, ""};
  const AttrSpec dtype{"dtype", K::kDType, "float32"};
  add({.name = "_zeros",
       .aliases = {"zeros"},
       .attrs = {shape, ctx, dtype},
       .inputs = {},
       .type = TypeRule::kDTypeAttr,
       .build = build_full});
  add({.name = "_ones",
       .aliases = {"ones"},
       .attrs = {shape, ctx, dtype},
       .inputs = {},
       .type = TypeRule::kDTypeAttr,
       .build = build_full});
  add({.name = "_full",
       .aliases = {"full"},
       .attrs = {shape, ctx, dtype, {"value", K::kFloat}},
       .inputs = {},
       .type = TypeRule::kDTypeAttr,
       .build = build_full});
  add({.name = "_arange",
       .aliases = {"arange"},
       .attrs = {{"start", K::kFloat, "0"},
                 {"stop", K::kFloat, "None"},
                 {"step", K::kFloat, "1"},
                 {"repeat", K::kInt, "1"},
                 {"infer_range", K::kBool, "False"},
                 ctx,
                 dtype},
       .inputs = {},
       .type = TypeRule::kDTypeAttr,
       .build = build_arange});
  add({.name = "_eye",
       .aliases = {"eye"},
       .attrs = {{"N", K::kInt}, {"M", K::kInt, "0"}, {"k", K::kInt, "0"}, ctx, dtype},
       .inputs = {},
       .type = TypeRule::kDTypeAttr,
       .build = build_eye});
  add({.name = "shape_array", .type = TypeRule::kI64, .any_dtype = true, .build = build_shape_array});
  add({.name = "size_array", .type = TypeRule::kI64, .any_dtype = true, .build = build_shape_array});
}

}  // namespace inflight::mx::detail
