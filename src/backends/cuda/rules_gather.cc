// SPDX-License-Identifier: Apache-2.0
// Operators that read where other values say, or in an order of their own.
#include <fmt/format.h>

#include <openvino/op/ops.hpp>

#include "backends/cuda/emitter.h"

namespace inflight::cuda {
namespace {

Indices slice_of(const Indices& at, std::size_t begin, std::size_t end) {
  return {at.begin() + static_cast<std::ptrdiff_t>(begin), at.begin() + static_cast<std::ptrdiff_t>(end)};
}

void append(Indices& to, const Indices& more) { to.insert(to.end(), more.begin(), more.end()); }

// An index that the network computes, made one that may be read: a negative one counts from the end. `inside`, if
// it is asked for, says whether it was one.
Result<Index> checked_index(Emitter& emitter, const ov::Output<ov::Node>& indices, const Indices& at,
                            std::int64_t extent, std::string* inside = nullptr) {
  INFLIGHT_TRY_ASSIGN(const std::string raw, emitter.emit(indices, at));
  std::string whole = emitter.local("long long", fmt::format("(long long){}", raw));
  if (indices.get_element_type().is_signed())
    whole = emitter.local("long long", fmt::format("{0} < 0 ? {0} + {1} : {0}", whole, extent));
  if (inside != nullptr) *inside = fmt::format("{0} >= 0 && {0} < {1}", whole, extent);
  return emitter.named(fmt::format("(idx)clamp_index<long long>({}, 0, {})", whole, extent - 1), extent);
}

Result<std::string> emit_gather_one(Emitter& emitter, const ov::Node& node, const Indices& at) {
  const Extents data = extents_of(node.input_value(0));
  const auto& gather = dynamic_cast<const ov::op::util::GatherBase&>(node);
  const std::size_t axis = normal_axis(constant_integers(node, 2)[0], data.size());
  const std::size_t rank = node.get_input_shape(1).size();
  const std::size_t batch = normal_axis(gather.get_batch_dims(), rank);
  Indices where = slice_of(at, 0, batch);
  append(where, slice_of(at, axis, axis + rank - batch));
  std::string inside;
  INFLIGHT_TRY_ASSIGN(const Index index,
                      checked_index(emitter, node.input_value(1), where, data[axis], &inside));
  Indices from = slice_of(at, 0, axis);
  from.push_back(index);
  append(from, slice_of(at, axis + rank - batch, at.size()));
  INFLIGHT_TRY_ASSIGN(const std::string value, emitter.emit(node.input_value(0), from));
  const std::string type = compute_type(node.get_output_element_type(0));
  return emitter.local(type, fmt::format("{} ? {} : ({})0", inside, value, type));
}

// Lanes on a dimension of the data read one index and neighbours of the data.
Result<Lanes> emit_gather(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const Extents data = extents_of(node.input_value(0));
  const std::size_t axis = normal_axis(constant_integers(node, 2)[0], data.size());
  const std::size_t rank = node.get_input_shape(1).size();
  const std::size_t batch =
      normal_axis(dynamic_cast<const ov::op::util::GatherBase&>(node).get_batch_dims(), rank);
  bool together = true;
  for (const Indices& lane : at)
    for (std::size_t d = 0; d < axis + rank - batch; ++d)
      together = together && lane[d].base == at[0][d].base && lane[d].add == at[0][d].add;
  if (!together || at.size() == 1)
    return emit_each(at, [&](const Indices& lane) { return emit_gather_one(emitter, node, lane); });
  Indices where = slice_of(at[0], 0, batch);
  append(where, slice_of(at[0], axis, axis + rank - batch));
  std::string inside;
  INFLIGHT_TRY_ASSIGN(const Index index,
                      checked_index(emitter, node.input_value(1), where, data[axis], &inside));
  INFLIGHT_TRY_ASSIGN(Lanes lanes, emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) {
                        Indices from = slice_of(lane, 0, axis);
                        from.push_back(index);
                        append(from, slice_of(lane, axis + rank - batch, lane.size()));
                        return from;
                      }));
  const std::string type = compute_type(node.get_output_element_type(0));
  for (std::string& lane : lanes)
    lane = emitter.local(type, fmt::format("{} ? {} : ({})0", inside, lane, type));
  return lanes;
}

KernelKind gather_kind(const ov::Node& node) {
  return has_constant(node, 2) ? KernelKind::kInline : KernelKind::kNone;
}

Result<Lanes> emit_gather_elements(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const Extents data = extents_of(node.input_value(0));
  const std::size_t axis =
      normal_axis(dynamic_cast<const ov::op::v6::GatherElements&>(node).get_axis(), data.size());
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    INFLIGHT_TRY_ASSIGN(const Index index, checked_index(emitter, node.input_value(1), lane, data[axis]));
    Indices from = lane;
    from[axis] = index;
    return emitter.emit(node.input_value(0), from);
  });
}

template <typename Op, bool kKeepsBatch>
Result<Lanes> emit_gather_nd(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const Extents data = extents_of(node.input_value(0)), indices = extents_of(node.input_value(1));
  const std::size_t batch = dynamic_cast<const Op&>(node).get_batch_dims();
  const auto depth = static_cast<std::size_t>(indices.back());
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    Indices outer = slice_of(lane, 0, kKeepsBatch ? batch : std::min<std::size_t>(batch, 1));
    const std::size_t next = outer.size();
    if (!kKeepsBatch && batch > 1)
      outer =
          emitter.split(lane[0], Extents(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(batch)));
    const std::size_t middle = indices.size() - 1 - batch;
    Indices where = outer;
    append(where, slice_of(lane, next, next + middle));
    where.emplace_back();
    Indices from = outer;
    for (std::size_t k = 0; k < depth; ++k) {
      where.back() = Emitter::constant(static_cast<std::int64_t>(k));
      INFLIGHT_TRY_ASSIGN(const Index index,
                          checked_index(emitter, node.input_value(1), where, data[batch + k]));
      from.push_back(index);
    }
    append(from, slice_of(lane, next + middle, lane.size()));
    return emitter.emit(node.input_value(0), from);
  });
}

Result<Lanes> emit_one_hot(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const std::size_t rank = node.get_output_shape(0).size();
  const std::size_t axis = normal_axis(dynamic_cast<const ov::op::util::OneHotBase&>(node).get_axis(), rank);
  const auto* v16 = dynamic_cast<const ov::op::v16::OneHot*>(&node);
  const bool wraps = v16 != nullptr &&
                     v16->get_negative_indices_mode() == ov::op::v16::OneHot::NegativeIndicesMode::NORMALIZE;
  const std::string type = compute_type(node.get_output_element_type(0));
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    Indices from = slice_of(lane, 0, axis);
    append(from, slice_of(lane, axis + 1, rank));
    INFLIGHT_TRY_ASSIGN(std::string index, emitter.emit(node.input_value(0), from));
    if (wraps)
      index = emitter.local("long long", fmt::format("{0} < 0 ? {0} + (long long){1} : {0}", index,
                                                     node.get_output_shape(0)[axis]));
    INFLIGHT_TRY_ASSIGN(const std::string on, emitter.emit(node.input_value(2), Indices{}));
    INFLIGHT_TRY_ASSIGN(const std::string off, emitter.emit(node.input_value(3), Indices{}));
    return emitter.local(
        type, fmt::format("(long long){} == {} ? {} : {}", index, emitter.text(lane[axis]), on, off));
  });
}

Result<Lanes> emit_range(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const std::string type = compute_type(node.get_output_element_type(0));
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    INFLIGHT_TRY_ASSIGN(const std::string start, emitter.emit(node.input_value(0), Indices{}));
    INFLIGHT_TRY_ASSIGN(const std::string step, emitter.emit(node.input_value(2), Indices{}));
    return emitter.local(
        type, fmt::format("({0})({0}){1} + ({0}){2} * ({0}){3}", type, start, emitter.text(lane[0]), step));
  });
}

Result<Lanes> emit_reverse(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const Extents in = extents_of(node.input_value(0));
  const bool mask =
      dynamic_cast<const ov::op::v1::Reverse&>(node).get_mode() == ov::op::v1::Reverse::Mode::MASK;
  const auto named = constant_integers(node, 1);
  std::vector<bool> turned(in.size(), false);
  for (std::size_t i = 0; i < named.size(); ++i) {
    if (mask)
      turned[i] = named[i] != 0;
    else
      turned[normal_axis(named[i], in.size())] = true;
  }
  return emit_moved(emitter, node.input_value(0), at, [&](Indices lane) {
    for (std::size_t d = 0; d < in.size(); ++d)
      if (turned[d]) lane[d] = emitter.linear({{lane[d], -1}}, in[d] - 1);
    return lane;
  });
}

KernelKind second_constant_kind(const ov::Node& node) {
  return has_constant(node, 1) ? KernelKind::kInline : KernelKind::kNone;
}

Result<Lanes> emit_reverse_sequence(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto& reverse = dynamic_cast<const ov::op::v0::ReverseSequence&>(node);
  const std::size_t rank = node.get_input_shape(0).size();
  const std::size_t batch = normal_axis(reverse.get_origin_batch_axis(), rank);
  const std::size_t axis = normal_axis(reverse.get_origin_sequence_axis(), rank);
  const std::int64_t extent = extents_of(node.input_value(0))[axis];
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    INFLIGHT_TRY_ASSIGN(const std::string raw, emitter.emit(node.input_value(1), Indices{lane[batch]}));
    const std::string length = emitter.text(
        emitter.named(fmt::format("(idx)clamp_index<long long>((long long){}, 0, {})", raw, extent)));
    Indices from = lane;
    from[axis] = emitter.named(
        fmt::format("{0} < {1} ? {1} - 1 - {0} : {0}", emitter.text(lane[axis]), length), extent);
    return emitter.emit(node.input_value(0), from);
  });
}

// The channel of an element that a block holds at `offset`, and back.
Result<Lanes> emit_depth_to_space(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto& op = dynamic_cast<const ov::op::v0::DepthToSpace&>(node);
  const auto block = static_cast<std::int64_t>(op.get_block_size());
  const bool blocks_first = op.get_mode() == ov::op::v0::DepthToSpace::DepthToSpaceMode::BLOCKS_FIRST;
  const std::int64_t channels = extents_of(node.output(0))[1];
  std::int64_t blocks = 1;
  for (std::size_t d = 2; d < at[0].size(); ++d) blocks *= block;
  return emit_moved(emitter, node.input_value(0), at, [&](Indices lane) {
    std::vector<std::pair<Index, std::int64_t>> offset;
    std::int64_t unit = blocks_first ? channels : 1;
    for (std::size_t d = lane.size(); d-- > 2; unit *= block) {
      offset.emplace_back(emitter.modulo(lane[d], block), unit);
      lane[d] = emitter.divided(lane[d], block);
    }
    offset.emplace_back(lane[1], blocks_first ? 1 : blocks);
    lane[1] = emitter.linear(offset);
    return lane;
  });
}

Result<Lanes> emit_space_to_depth(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto& op = dynamic_cast<const ov::op::v0::SpaceToDepth&>(node);
  const auto block = static_cast<std::int64_t>(op.get_block_size());
  const bool blocks_first = op.get_mode() == ov::op::v0::SpaceToDepth::SpaceToDepthMode::BLOCKS_FIRST;
  const std::int64_t channels = extents_of(node.input_value(0))[1];
  std::int64_t blocks = 1;
  for (std::size_t d = 2; d < at[0].size(); ++d) blocks *= block;
  return emit_moved(emitter, node.input_value(0), at, [&](Indices lane) {
    Index offset = blocks_first ? emitter.divided(lane[1], channels) : emitter.modulo(lane[1], blocks);
    lane[1] = blocks_first ? emitter.modulo(lane[1], channels) : emitter.divided(lane[1], blocks);
    for (std::size_t d = lane.size(); d-- > 2;) {
      lane[d] = emitter.linear({{lane[d], block}, {d == 2 ? offset : emitter.modulo(offset, block), 1}});
      offset = emitter.divided(offset, block);
    }
    return lane;
  });
}

Result<Lanes> emit_shuffle_channels(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto& op = dynamic_cast<const ov::op::v0::ShuffleChannels&>(node);
  const Extents in = extents_of(node.input_value(0));
  const std::size_t axis = normal_axis(op.get_axis(), in.size());
  return emit_moved(emitter, node.input_value(0), at, [&](Indices lane) {
    const Index group = emitter.modulo(lane[axis], op.get_group());
    lane[axis] = emitter.linear(
        {{group, in[axis] / op.get_group()}, {emitter.divided(lane[axis], op.get_group()), 1}});
    return lane;
  });
}

Result<Lanes> emit_batch_to_space(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto block = constant_integers(node, 1), crop = constant_integers(node, 2);
  const std::int64_t batch = extents_of(node.output(0))[0];
  return emit_moved(emitter, node.input_value(0), at, [&](Indices lane) {
    std::vector<std::pair<Index, std::int64_t>> from = {{lane[0], 1}};
    std::int64_t unit = batch;
    for (std::size_t d = lane.size(); d-- > 1; unit *= block[d]) {
      const Index whole = Emitter::plus(lane[d], crop[d]);
      from.emplace_back(emitter.modulo(whole, block[d]), unit);
      lane[d] = emitter.divided(whole, block[d]);
    }
    lane[0] = emitter.linear(from);
    return lane;
  });
}

Result<Lanes> emit_space_to_batch(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto block = constant_integers(node, 1), pad = constant_integers(node, 2);
  const Extents in = extents_of(node.input_value(0));
  const std::string type = compute_type(node.get_output_element_type(0));
  return emit_each(at, [&](Indices lane) -> Result<std::string> {
    Index offset = emitter.divided(lane[0], in[0]);
    lane[0] = emitter.modulo(lane[0], in[0]);
    std::string inside = "true";
    for (std::size_t d = lane.size(); d-- > 1;) {
      lane[d] = emitter.linear({{lane[d], block[d]}, {emitter.modulo(offset, block[d]), 1}}, -pad[d]);
      offset = emitter.divided(offset, block[d]);
      inside += fmt::format(" && {0} >= 0 && {0} < {1}", emitter.text(lane[d]), in[d]);
    }
    const std::string result = emitter.variable(type, "0");
    emitter.open(fmt::format("if ({})", inside));
    INFLIGHT_TRY_ASSIGN(const std::string value, emitter.emit(node.input_value(0), lane));
    emitter.line(fmt::format("{} = {};", result, value));
    emitter.close();
    return result;
  });
}

KernelKind blocks_kind(const ov::Node& node) {
  return has_constant(node, 1) && has_constant(node, 2) ? KernelKind::kInline : KernelKind::kNone;
}

Result<Lanes> emit_roll(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const Extents in = extents_of(node.input_value(0));
  const auto shifts = constant_integers(node, 1), axes = constant_integers(node, 2);
  std::vector<std::int64_t> shift(in.size(), 0);
  for (std::size_t i = 0; i < axes.size(); ++i)
    shift[normal_axis(axes[i], in.size())] += shifts[shifts.size() == 1 ? 0 : i];
  return emit_moved(emitter, node.input_value(0), at, [&](Indices lane) {
    for (std::size_t d = 0; d < in.size(); ++d) {
      const std::int64_t by = ((-shift[d] % in[d]) + in[d]) % in[d];
      if (by != 0) lane[d] = emitter.modulo(Emitter::plus(lane[d], by), in[d]);
    }
    return lane;
  });
}

}  // namespace

void add_gather_rules(RuleTable& table) {
  namespace op = ov::op;
  const auto add = [&](const ov::DiscreteTypeInfo& type, KernelKind (*kind)(const ov::Node&), EmitRule rule) {
    table[rule_key(type)] = {kind, rule};
  };
  add(op::v1::Gather::get_type_info_static(), gather_kind, emit_gather);
  add(op::v7::Gather::get_type_info_static(), gather_kind, emit_gather);
  add(op::v8::Gather::get_type_info_static(), gather_kind, emit_gather);
  add(op::v6::GatherElements::get_type_info_static(), always_inline, emit_gather_elements);
  add(op::v5::GatherND::get_type_info_static(), always_inline, emit_gather_nd<op::v5::GatherND, false>);
  add(op::v8::GatherND::get_type_info_static(), always_inline, emit_gather_nd<op::v8::GatherND, true>);
  add(op::v1::OneHot::get_type_info_static(), always_inline, emit_one_hot);
  add(op::v16::OneHot::get_type_info_static(), always_inline, emit_one_hot);
  add(op::v0::Range::get_type_info_static(), always_inline, emit_range);
  add(op::v4::Range::get_type_info_static(), always_inline, emit_range);
  add(op::v1::Reverse::get_type_info_static(), second_constant_kind, emit_reverse);
  add(op::v0::ReverseSequence::get_type_info_static(), always_inline, emit_reverse_sequence);
  add(op::v0::DepthToSpace::get_type_info_static(), always_inline, emit_depth_to_space);
  add(op::v0::SpaceToDepth::get_type_info_static(), always_inline, emit_space_to_depth);
  add(op::v0::ShuffleChannels::get_type_info_static(), always_inline, emit_shuffle_channels);
  add(op::v1::BatchToSpace::get_type_info_static(), blocks_kind, emit_batch_to_space);
  add(op::v1::SpaceToBatch::get_type_info_static(), blocks_kind, emit_space_to_batch);
  add(op::v7::Roll::get_type_info_static(), blocks_kind, emit_roll);
}

}  // namespace inflight::cuda
