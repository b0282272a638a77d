// SPDX-License-Identifier: Apache-2.0
// Operators that pick elements by index.
#include <fmt/format.h>

#include <algorithm>

#include "mx/build.h"

namespace inflight::mx::detail {
namespace {

// Indices as i32, from 0 to length - 1: those outside are brought in as the mode says.
Value indices_in(const Value& given, std::int64_t length, bool wrap) {
  const auto i32 = ov::element::i32;
  Value index = converted(given, i32);
  if (wrap) return make<ov::op::v1::FloorMod>(index, constant(i32, {}, {static_cast<double>(length)}));
  index = make<ov::op::v1::Maximum>(index, constant(i32, {}, {0}));
  return make<ov::op::v1::Minimum>(index, constant(i32, {}, {static_cast<double>(length - 1)}));
}

Status check_mode(const Lowering& call) {
  if (call.params.text("mode") != "raise") return {};
  return {StatusCode::kUnsupported, "attribute mode: raise is not offered, want clip or wrap"};
}

Status build_take(Lowering& call) {
  const Value& a = call.in[0];
  INFLIGHT_TRY(check_mode(call));
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", call.params.integer("axis"), a));
  const Value index =
      indices_in(call.in[1], dims(a)[static_cast<std::size_t>(axis)], call.params.text("mode") == "wrap");
  const Value taken = make<ov::op::v8::Gather>(a, index, integer(axis));
  call.out = {rank(taken) == 0 ? reshaped(taken, {1}) : taken};
  return {};
}

// Row i of `a` gives its element indices[i].
Status build_batch_take(Lowering& call) {
  const Ints shape = dims(call.in[0]);
  const Ints index = dims(call.in[1]);
  if (shape.size() != 2) return bad_input("a", text_of(shape), "two axes");
  if (elements(call.in[1]) != shape[0])
    return bad_input("indices", text_of(index), fmt::format("{} elements", shape[0]));
  const Value at = reshaped(indices_in(call.in[1], shape[1], false), {shape[0], 1});
  call.out = {reshaped(make<ov::op::v6::GatherElements>(call.in[0], at, 1), index)};
  return {};
}

Status build_pick(Lowering& call) {
  const Value& data = call.in[0];
  INFLIGHT_TRY(check_mode(call));
  if (call.params.none("axis")) return bad_attribute("axis", "None", "an axis");
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", call.params.integer("axis"), data));
  Ints kept = dims(data);
  kept[static_cast<std::size_t>(axis)] = 1;
  Ints dropped = kept;
  dropped.erase(dropped.begin() + axis);
  if (dropped.empty()) dropped = {1};
  const Ints index_shape = dims(call.in[1]);
  if (index_shape != kept && index_shape != dropped)
    return bad_input("index", text_of(index_shape), text_of(dropped) + " or " + text_of(kept));
  const Value index =
      indices_in(call.in[1], dims(data)[static_cast<std::size_t>(axis)], call.params.text("mode") == "wrap");
  const Value picked = make<ov::op::v6::GatherElements>(data, reshaped(index, kept), axis);
  call.out = {reshaped(picked, call.params.flag("keepdims") ? kept : dropped)};
  return {};
}

Status pick_shapes(const Params& params, Shapes& shapes) {
  if (!shapes[0].has_value() || shapes[1].has_value() || params.none("axis")) return {};
  const auto data = shapes[0]->dims();
  Ints to(data.begin(), data.end());
  const auto axis = checked_axis("axis", params.integer("axis"), static_cast<std::int64_t>(to.size()));
  if (!axis.ok()) return axis.status();
  to.erase(to.begin() + *axis);
  if (to.empty()) to = {1};
  return want_shape(shapes, 1, "index", to);
}

// A row of zeros where an index is outside.
Status build_one_hot(Lowering& call) {
  const std::int64_t depth = call.params.integer("depth");
  if (depth < 1) return bad_attribute("depth", fmt::format("{}", depth), "at least 1");
  const auto type = element_type(call.params.dtype("dtype"));
  Ints apart = dims(call.in[0]);
  apart.push_back(1);
  std::vector<double> counted;
  for (std::int64_t i = 0; i < depth; ++i) counted.push_back(static_cast<double>(i));
  const Value index = reshaped(converted(call.in[0], ov::element::i32), apart);
  const Value hot = make<ov::op::v1::Equal>(index, constant(ov::element::i32, {depth}, counted));
  call.out = {make<ov::op::v1::Select>(hot, constant(type, {}, {call.params.number("on_value")}),
                                       constant(type, {}, {call.params.number("off_value")}))};
  return {};
}

Status build_embedding(Lowering& call) {
  const std::int64_t rows = call.params.integer("input_dim");
  call.out = {make<ov::op::v8::Gather>(call.in[1], indices_in(call.in[0], rows, false), integer(0))};
  return {};
}

Status embedding_shapes(const Params& params, Shapes& shapes) {
  for (const char* name : {"input_dim", "output_dim"}) {
    if (params.integer(name) < 1)
      return bad_attribute(name, fmt::format("{}", params.integer(name)), "at least 1");
  }
  return want_shape(shapes, 1, "weight", {params.integer("input_dim"), params.integer("output_dim")});
}

// indices[:, i...] is the place of element i.
Status build_gather_nd(Lowering& call) {
  const Ints data = dims(call.in[0]);
  const Ints index = dims(call.in[1]);
  if (index.size() < 2 || index[0] < 1 || index[0] > static_cast<std::int64_t>(data.size()))
    return bad_input("indices", text_of(index),
                     fmt::format("1 to {} rows, and two axes at least", data.size()));
  Ints order;
  for (std::size_t i = 1; i < index.size(); ++i) order.push_back(static_cast<std::int64_t>(i));
  order.push_back(0);
  // Each row within its axis; those that are negative count from the end.
  Ints rows(index.size(), 1);
  rows[0] = index[0];
  std::vector<double> lengths;
  for (std::int64_t i = 0; i < index[0]; ++i)
    lengths.push_back(static_cast<double>(data[static_cast<std::size_t>(i)]));
  const Value length = constant(ov::element::i32, rows, lengths);
  const Value at = make<ov::op::v1::FloorMod>(converted(call.in[1], ov::element::i32), length);
  call.out = {make<ov::op::v8::GatherND>(call.in[0], transposed(at, order))};
  return {};
}

// The elements or steps of each sequence past its length, from `axis` 0 (time) on.
Status build_sequence_mask(Lowering& call) {
  if (!call.params.flag("use_sequence_length")) {
    call.out = {call.in[0]};
    return {};
  }
  const Value& x = call.in[0];
  const Ints shape = dims(x);
  const std::int64_t axis = call.params.integer("axis");
  if (shape.size() < 2) return bad_input("data", text_of(shape), "two axes at least");
  if (axis != 0 && axis != 1) return bad_attribute("axis", fmt::format("{}", axis), "0 or 1");
  const auto time = static_cast<std::size_t>(axis);
  if (dims(call.in[1]) != Ints{shape[1 - time]})
    return bad_input("sequence_length", text_of(dims(call.in[1])), text_of({shape[1 - time]}));
  Ints steps(shape.size(), 1);
  steps[time] = shape[time];
  Ints lengths(shape.size(), 1);
  lengths[1 - time] = shape[1 - time];
  std::vector<double> counted;
  for (std::int64_t i = 0; i < shape[time]; ++i) counted.push_back(static_cast<double>(i));
  const Value length = reshaped(converted(call.in[1], ov::element::f32), lengths);
  const Value inside = make<ov::op::v1::Less>(constant(ov::element::f32, steps, counted), length);
  call.out = {make<ov::op::v1::Select>(inside, x, constant_like(x, call.params.number("value")))};
  return {};
}

int sequence_inputs(const Params& params) { return params.flag("use_sequence_length") ? 2 : 1; }

}  // namespace

void add_index_rows(std::vector<OpRow>& rows) {
  const auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  using K = AttrKind;
  const AttrSpec mode{"mode", K::kEnum, "clip", "raise|wrap|clip"};
  add({.name = "take",
       .attrs = {{"axis", K::kInt, "0"}, mode},
       .inputs = {"a", "indices"},
       .free_inputs = 2,
       .build = build_take});
  add({.name = "batch_take", .inputs = {"a", "indices"}, .free_inputs = 2, .build = build_batch_take});
  add({.name = "pick",
       .aliases = {"choose_element_0index"},
       .attrs = {{"axis", K::kInt, "-1", {}, true}, {"keepdims", K::kBool, "False"}, mode},
       .inputs = {"data", "index"},
       .complete = pick_shapes,
       .free_inputs = 2,
       .build = build_pick});
  add({.name = "one_hot",
       .attrs = {{"depth", K::kInt},
                 {"on_value", K::kFloat, "1"},
                 {"off_value", K::kFloat, "0"},
                 {"dtype", K::kDType, "float32"}},
       .inputs = {"indices"},
       .type = TypeRule::kDTypeAttr,
       .build = build_one_hot});
  add({.name = "Embedding",
       .attrs = {{"input_dim", K::kInt},
                 {"output_dim", K::kInt},
                 {"dtype", K::kDType, "float32"},
                 {"sparse_grad", K::kBool, "False"}},
       .inputs = {"data", "weight"},
       .complete = embedding_shapes,
       .type = TypeRule::kDTypeAttr,
       .free_inputs = 1,
       .weights = 2,
       .build = build_embedding});
  add({.name = "gather_nd", .inputs = {"data", "indices"}, .free_inputs = 2, .build = build_gather_nd});
  add({.name = "SequenceMask",
       .attrs = {{"use_sequence_length", K::kBool, "False"},
                 {"value", K::kFloat, "0"},
                 {"axis", K::kInt, "0"}},
       .inputs = {"data", "sequence_length"},
       .input_count = sequence_inputs,
       .free_inputs = 2,
       .build = build_sequence_mask});
}

}  // namespace inflight::mx::detail
