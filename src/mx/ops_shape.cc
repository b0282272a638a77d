// SPDX-License-Identifier: Apache-2.0
// Operators that move elements and compute none.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "mx/build.h"
#include "mx/reshape.h"

namespace inflight::mx::detail {
namespace {

Status build_reshape(Lowering& call) {
  Ints codes = call.params.ints("shape");
  const Ints from = dims(call.in[0]);
  const bool old_style = codes.empty() && !call.params.ints("target_shape").empty();
  if (old_style) {
    codes = call.params.ints("target_shape");
    // There 0 is what is left, and the first extent may be kept.
    std::replace(codes.begin(), codes.end(), std::int64_t{0}, std::int64_t{-1});
    if (call.params.flag("keep_highest") && !codes.empty()) codes[0] = from.empty() ? 1 : from[0];
  }
  if (codes.empty()) return bad_attribute("shape", "()", "at least one extent");
  INFLIGHT_TRY_ASSIGN(const Ints to, reshape_by_codes(from, codes, call.params.flag("reverse")));
  call.out = {reshaped(call.in[0], to)};
  return {};
}

Status build_flatten(Lowering& call) {
  const Ints from = dims(call.in[0]);
  if (from.empty()) return bad_input("data", "[]", "one axis at least");
  call.out = {reshaped(call.in[0], {from[0], elements(call.in[0]) / from[0]})};
  return {};
}

Status build_transpose(Lowering& call) {
  const Value& x = call.in[0];
  Ints axes = call.params.ints("axes");
  if (axes.empty()) {
    for (std::int64_t i = rank(x) - 1; i >= 0; --i) axes.push_back(i);
  }
  const Ints given = axes;
  for (std::int64_t& axis : axes) {
    if (axis < 0) return bad_attribute("axes", text_of(given), "axes counted from the start");
    INFLIGHT_TRY_ASSIGN(axis, checked_axis("axes", axis, x));
  }
  Ints sorted = axes;
  std::sort(sorted.begin(), sorted.end());
  if (static_cast<std::int64_t>(axes.size()) != rank(x) ||
      std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    return bad_attribute("axes", text_of(given), fmt::format("each of {} axes once", rank(x)));
  call.out = {transposed(x, axes)};
  return {};
}

Status build_swap_axes(Lowering& call) {
  const Value& x = call.in[0];
  INFLIGHT_TRY_ASSIGN(const std::int64_t a, checked_axis("dim1", call.params.integer("dim1"), x));
  INFLIGHT_TRY_ASSIGN(const std::int64_t b, checked_axis("dim2", call.params.integer("dim2"), x));
  Ints axes(static_cast<std::size_t>(rank(x)));
  std::iota(axes.begin(), axes.end(), 0);
  std::swap(axes[static_cast<std::size_t>(a)], axes[static_cast<std::size_t>(b)]);
  call.out = {transposed(x, axes)};
  return {};
}

Status build_expand_dims(Lowering& call) {
  Ints to = dims(call.in[0]);
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis,
                      checked_axis("axis", call.params.integer("axis"), rank(call.in[0]) + 1));
  to.insert(to.begin() + axis, 1);
  call.out = {reshaped(call.in[0], to)};
  return {};
}

Status build_squeeze(Lowering& call) {
  const Ints from = dims(call.in[0]);
  std::vector<bool> gone(from.size(), false);
  if (call.params.none("axis")) {
    for (std::size_t i = 0; i < from.size(); ++i) gone[i] = from[i] == 1;
  } else {
    for (const std::int64_t given : call.params.ints("axis")) {
      INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", given, call.in[0]));
      const auto at = static_cast<std::size_t>(axis);
      if (from[at] != 1)
        return bad_attribute("axis", fmt::format("{} of {}", given, text_of(from)), "axes of extent 1");
      gone[at] = true;
    }
  }
  Ints to;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (!gone[i]) to.push_back(from[i]);
  }
  if (to.empty()) to.push_back(1);
  call.out = {reshaped(call.in[0], to)};
  return {};
}

Value sliced(const Value& x, const std::vector<AxisSlice>& slices) {
  Ints first;
  Ints last;
  Ints step;
  Ints axes;
  const Ints from = dims(x);
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const AxisSlice& slice = slices[i];
    if (slice.count == from[i] && slice.step == 1) continue;
    axes.push_back(static_cast<std::int64_t>(i));
    first.push_back(slice.first);
    step.push_back(slice.step);
    std::int64_t end = slice.first + slice.count * slice.step;
    if (end < 0) end = -from[i] - 1;  // before the first element
    last.push_back(end);
  }
  if (axes.empty()) return x;
  return make<ov::op::v8::Slice>(x, ints(first), ints(last), ints(step), ints(axes));
}

Status build_slice(Lowering& call) {
  INFLIGHT_TRY_ASSIGN(const auto slices,
                      slice_axes(dims(call.in[0]), call.params.optional_ints("begin"),
                                 call.params.optional_ints("end"), call.params.optional_ints("step")));
  call.out = {sliced(call.in[0], slices)};
  return {};
}

Status build_slice_axis(Lowering& call) {
  const Value& x = call.in[0];
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", call.params.integer("axis"), x));
  const std::int64_t length = dims(x)[static_cast<std::size_t>(axis)];
  std::int64_t begin = call.params.integer("begin");
  std::int64_t end = call.params.none("end") ? length : call.params.integer("end");
  if (begin < 0) begin += length;
  if (end < 0) end += length;
  if (begin < 0 || begin >= end || end > length) {
    return {StatusCode::kInvalidArgument,
            fmt::format("attributes begin, end: got {} to {} of {} elements", begin, end, length)};
  }
  std::vector<AxisSlice> slices;
  for (const std::int64_t extent : dims(x)) slices.push_back({0, extent, 1});
  slices[static_cast<std::size_t>(axis)] = {begin, end - begin, 1};
  call.out = {sliced(x, slices)};
  return {};
}

Status build_slice_like(Lowering& call) {
  const Value& x = call.in[0];
  const Ints like = dims(call.in[1]);
  std::vector<AxisSlice> slices;
  for (const std::int64_t extent : dims(x)) slices.push_back({0, extent, 1});
  Ints axes = call.params.ints("axes");
  if (axes.empty()) {
    if (like.size() != slices.size())
      return bad_input("shape_like", text_of(like),
                       fmt::format("{} axes, or the attribute axes", slices.size()));
    axes.resize(like.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  for (const std::int64_t given : axes) {
    INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axes", given, x));
    INFLIGHT_TRY(checked_axis("axes", given, call.in[1]).status());
    const auto at = static_cast<std::size_t>(axis);
    const std::int64_t wanted = like[static_cast<std::size_t>(given < 0 ? given + rank(call.in[1]) : given)];
    if (wanted > slices[at].count)
      return bad_input("shape_like", text_of(like),
                       fmt::format("at most {} on axis {}", slices[at].count, axis));
    slices[at].count = wanted;
  }
  call.out = {sliced(x, slices)};
  return {};
}

Status build_concat(Lowering& call) {
  const std::string_view name = call.row.name == "Concat" ? "dim" : "axis";
  const bool stack = call.row.name == "stack";
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis,
                      checked_axis(name, call.params.integer(name), rank(call.in[0]) + (stack ? 1 : 0)));
  const Ints first = dims(call.in[0]);
  ov::OutputVector parts;
  for (std::size_t i = 0; i < call.in.size(); ++i) {
    Ints shape = dims(call.in[i]);
    bool fits = shape.size() == first.size();
    for (std::size_t k = 0; fits && k < shape.size(); ++k)
      fits = shape[k] == first[k] || (!stack && static_cast<std::int64_t>(k) == axis);
    if (!fits) {
      return bad_input(input_name(call.row, call.params, static_cast<int>(i)), text_of(shape),
                       stack ? text_of(first) : fmt::format("{} but for axis {}", text_of(first), axis));
    }
    if (stack) shape.insert(shape.begin() + axis, 1);
    parts.push_back(stack ? reshaped(call.in[i], shape) : call.in[i]);
  }
  call.out = {parts.size() == 1 ? parts[0] : make<ov::op::v0::Concat>(parts, axis)};
  return {};
}

// SliceChannel: equal parts.
Status build_split(Lowering& call) {
  const Value& x = call.in[0];
  const std::int64_t parts = call.params.integer("num_outputs");
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", call.params.integer("axis"), x));
  const std::int64_t length = dims(x)[static_cast<std::size_t>(axis)];
  if (parts < 1 || length % parts != 0)
    return bad_attribute("num_outputs", fmt::format("{}", parts),
                         fmt::format("a divisor of {}, the extent of axis {}", length, axis));
  const bool squeeze = call.params.flag("squeeze_axis");
  if (squeeze && length != parts)
    return bad_attribute("squeeze_axis", "True",
                         fmt::format("False, as the parts have {} elements", length / parts));
  Ints shape = dims(x);
  if (squeeze) shape.erase(shape.begin() + axis);
  const auto node = std::make_shared<ov::op::v1::Split>(x, integer(axis), static_cast<std::size_t>(parts));
  for (const Value& part : node->outputs()) call.out.push_back(squeeze ? reshaped(part, shape) : part);
  return {};
}

Status build_tile(Lowering& call) {
  Ints reps = call.params.ints("reps");
  for (const std::int64_t rep : reps) {
    if (rep < 1) return bad_attribute("reps", text_of(reps), "numbers of at least 1");
  }
  call.out = {make<ov::op::v0::Tile>(call.in[0], ints(reps))};
  return {};
}

Status build_repeat(Lowering& call) {
  Value x = call.in[0];
  const std::int64_t repeats = call.params.integer("repeats");
  if (repeats < 1) return bad_attribute("repeats", fmt::format("{}", repeats), "at least 1");
  std::int64_t axis = 0;
  if (call.params.none("axis")) {
    x = reshaped(x, {elements(x)});
  } else {
    INFLIGHT_TRY_ASSIGN(axis, checked_axis("axis", call.params.integer("axis"), x));
  }
  Ints to = dims(x);
  Ints apart = to;
  apart.insert(apart.begin() + axis + 1, 1);
  Ints reps(apart.size(), 1);
  reps[static_cast<std::size_t>(axis) + 1] = repeats;
  to[static_cast<std::size_t>(axis)] *= repeats;
  call.out = {reshaped(make<ov::op::v0::Tile>(reshaped(x, apart), ints(reps)), to)};
  return {};
}

Status build_reverse(Lowering& call) {
  const Value& x = call.in[0];
  std::vector<AxisSlice> slices;
  for (const std::int64_t extent : dims(x)) slices.push_back({0, extent, 1});
  for (const std::int64_t given : call.params.ints("axis")) {
    if (given < 0) return bad_attribute("axis", fmt::format("{}", given), "an axis counted from the start");
    INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", given, x));
    const std::int64_t extent = slices[static_cast<std::size_t>(axis)].count;
    slices[static_cast<std::size_t>(axis)] = {extent - 1, extent, -1};
  }
  call.out = {sliced(x, slices)};
  return {};
}

Status build_pad(Lowering& call) {
  const Value& x = call.in[0];
  const Ints width = call.params.ints("pad_width");
  if (static_cast<std::int64_t>(width.size()) != 2 * rank(x))
    return bad_attribute("pad_width", text_of(width), fmt::format("{} numbers, two an axis", 2 * rank(x)));
  Ints before;
  Ints after;
  for (std::size_t i = 0; i < width.size(); ++i) {
    if (width[i] < 0) return bad_attribute("pad_width", text_of(width), "numbers of at least 0");
    (i % 2 == 0 ? before : after).push_back(width[i]);
  }
  const std::string& word = call.params.text("mode");
  const Ints shape = dims(x);
  for (std::size_t i = 0; word == "reflect" && i < shape.size(); ++i) {
    if (std::max(before[i], after[i]) >= shape[i] && std::max(before[i], after[i]) > 0)
      return bad_attribute("pad_width", text_of(width), fmt::format("less than {} on axis {}", shape[i], i));
  }
  const auto mode = word == "constant" ? ov::op::PadMode::CONSTANT
                    : word == "edge"   ? ov::op::PadMode::EDGE
                                       : ov::op::PadMode::REFLECT;
  call.out = {make<ov::op::v1::Pad>(x, ints(before), ints(after),
                                    constant_like(x, call.params.number("constant_value")), mode)};
  return {};
}

Status build_broadcast_to(Lowering& call) {
  const Value& x = call.in[0];
  const Ints from = dims(x);
  Ints to = from;
  if (call.row.name == "broadcast_like") {
    to = dims(call.in[1]);
  } else if (call.row.name == "broadcast_to") {
    to = call.params.ints("shape");
  } else {
    const Ints axes = call.params.ints("axis");
    const Ints sizes = call.params.ints("size");
    if (axes.size() != sizes.size())
      return bad_attribute("size", text_of(sizes), "as many numbers as axis has");
    for (std::size_t i = 0; i < axes.size(); ++i) {
      INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", axes[i], x));
      to[static_cast<std::size_t>(axis)] = sizes[i];
    }
  }
  bool fits = to.size() == from.size();
  for (std::size_t i = 0; fits && i < to.size(); ++i) {
    if (to[i] == 0 && call.row.name == "broadcast_to") to[i] = from[i];
    fits = to[i] == from[i] || (from[i] == 1 && to[i] > 0);
  }
  if (!fits) {
    return {StatusCode::kInvalidArgument,
            fmt::format("shape: got {} for {}, want as many axes, and other extents only "
                        "where there is 1",
                        text_of(to), text_of(from))};
  }
  call.out = {broadcast_to(x, to)};
  return {};
}

Status build_reshape_like(Lowering& call) {
  if (elements(call.in[0]) != elements(call.in[1]))
    return bad_input("rhs", text_of(dims(call.in[1])),
                     fmt::format("{} elements as lhs has", elements(call.in[0])));
  call.out = {reshaped(call.in[0], dims(call.in[1]))};
  return {};
}

// Both orders of blocks: depth_to_space takes the depth as [block, block, channel].
Status build_depth_to_space(Lowering& call) {
  const std::int64_t block = call.params.integer("block_size");
  const Ints s = dims(call.in[0]);
  const bool to_space = call.row.name == "depth_to_space";
  if (s.size() != 4) return bad_input("data", text_of(s), "four axes");
  if (block < 1 || (to_space ? s[1] % (block * block) != 0 : s[2] % block != 0 || s[3] % block != 0))
    return bad_attribute("block_size", fmt::format("{}", block),
                         "a divisor of what it splits in " + text_of(s));
  if (to_space) {
    const Value apart = reshaped(call.in[0], {s[0], block, block, s[1] / (block * block), s[2], s[3]});
    call.out = {reshaped(transposed(apart, {0, 3, 4, 1, 5, 2}),
                         {s[0], s[1] / (block * block), s[2] * block, s[3] * block})};
  } else {
    const Value apart = reshaped(call.in[0], {s[0], s[1], s[2] / block, block, s[3] / block, block});
    call.out = {reshaped(transposed(apart, {0, 3, 5, 1, 2, 4}),
                         {s[0], s[1] * block * block, s[2] / block, s[3] / block})};
  }
  return {};
}

int split_count(const Params& params) {
  return static_cast<int>(std::clamp<std::int64_t>(params.integer("num_outputs"), 1, 4096));
}

}  // namespace

void add_shape_rows(std::vector<OpRow>& rows) {
  const auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  using K = AttrKind;
  add({.name = "Reshape",
       .aliases = {"reshape"},
       .attrs = {{"shape", K::kInts, "()"},
                 {"reverse", K::kBool, "False"},
                 {"target_shape", K::kInts, "()"},
                 {"keep_highest", K::kBool, "False"}},
       .build = build_reshape});
  add({.name = "Flatten", .aliases = {"flatten"}, .build = build_flatten});
  add({.name = "transpose", .attrs = {{"axes", K::kInts, "()"}}, .build = build_transpose});
  add({.name = "SwapAxis",
       .aliases = {"swapaxes"},
       .attrs = {{"dim1", K::kInt, "0"}, {"dim2", K::kInt, "0"}},
       .build = build_swap_axes});
  add({.name = "expand_dims", .attrs = {{"axis", K::kInt}}, .build = build_expand_dims});
  add({.name = "squeeze", .attrs = {{"axis", K::kInts, "None"}}, .build = build_squeeze});
  add({.name = "slice",
       .aliases = {"crop"},
       .attrs = {{"begin", K::kInts}, {"end", K::kInts}, {"step", K::kInts, "()"}},
       .build = build_slice});
  add({.name = "slice_axis",
       .attrs = {{"axis", K::kInt}, {"begin", K::kInt}, {"end", K::kInt, "None"}},
       .build = build_slice_axis});
  add({.name = "slice_like",
       .attrs = {{"axes", K::kInts, "()"}},
       .inputs = {"data", "shape_like"},
       .free_inputs = 2,
       .build = build_slice_like});
}

void add_join_rows(std::vector<OpRow>& rows) {
  const auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  using K = AttrKind;
  const AttrSpec num_args{"num_args", K::kInt};
  add({.name = "Concat",
       .aliases = {"concat"},
       .attrs = {num_args, {"dim", K::kInt, "1"}},
       .inputs = {"args"},
       .variadic = true,
       .build = build_concat});
  add({.name = "stack",
       .attrs = {num_args, {"axis", K::kInt, "0"}},
       .inputs = {"args"},
       .variadic = true,
       .build = build_concat});
  add({.name = "SliceChannel",
       .aliases = {"split"},
       .attrs = {{"num_outputs", K::kInt}, {"axis", K::kInt, "1"}, {"squeeze_axis", K::kBool, "False"}},
       .output_count = split_count,
       .build = build_split});
  add({.name = "tile", .attrs = {{"reps", K::kInts}}, .build = build_tile});
  add({.name = "repeat", .attrs = {{"repeats", K::kInt}, {"axis", K::kInt, "None"}}, .build = build_repeat});
  add({.name = "reverse", .aliases = {"flip"}, .attrs = {{"axis", K::kInts}}, .build = build_reverse});
  add({.name = "Pad",
       .aliases = {"pad"},
       .attrs = {{"mode", K::kEnum, nullptr, "constant|edge|reflect"},
                 {"pad_width", K::kInts},
                 {"constant_value", K::kFloat, "0"}},
       .build = build_pad});
  add({.name = "broadcast_to", .attrs = {{"shape", K::kInts, "()"}}, .build = build_broadcast_to});
  add({.name = "broadcast_axis",
       .aliases = {"broadcast_axes"},
       .attrs = {{"axis", K::kInts, "()"}, {"size", K::kInts, "()"}},
       .build = build_broadcast_to});
  add({.name = "broadcast_like", .inputs = {"lhs", "rhs"}, .free_inputs = 2, .build = build_broadcast_to});
  add({.name = "reshape_like", .inputs = {"lhs", "rhs"}, .free_inputs = 2, .build = build_reshape_like});
  for (const char* name : {"depth_to_space", "space_to_depth"})
    add({.name = name, .attrs = {{"block_size", K::kInt}}, .build = build_depth_to_space});
}

}  // namespace inflight::mx::detail
