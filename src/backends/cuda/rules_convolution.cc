// SPDX-License-Identifier: Apache-2.0
// Convolutions and products of matrices, an element at a time: depthwise ones, and those that no library offers.
#include <fmt/format.h>

#include <openvino/op/ops.hpp>

#include "backends/cuda/emitter.h"
#include "backends/cuda/window.h"

namespace inflight::cuda {
namespace {

struct ConvolutionTerms {
  WindowAxes axes;
  std::int64_t groups = 1, in_channels = 1, out_channels = 1;  // the channels: of one group
  bool has_groups = false;                                     // the weights have a dimension for them
};

// Of the weights: [K, C, ...] or [G, K, C, ...] forward; [C, K, ...] or [G, C, K, ...] backward.
ConvolutionTerms terms_of(const ov::op::util::ConvolutionBase& node, bool grouped, bool backward) {
  const Extents in = extents_of(node.input_value(0)), out = extents_of(node.output(0));
  const Extents weights = extents_of(node.input_value(1));
  ConvolutionTerms terms;
  terms.has_groups = grouped;
  const std::size_t first = grouped ? 1 : 0;
  if (grouped) terms.groups = weights[0];
  terms.out_channels = weights[first + (backward ? 1 : 0)];
  terms.in_channels = weights[first + (backward ? 0 : 1)];
  for (std::size_t d = 2; d < in.size(); ++d) {
    WindowAxis axis;
    axis.in = in[d];
    axis.out = out[d];
    axis.kernel = weights[first + d];
    axis.stride = static_cast<std::int64_t>(node.get_strides()[d - 2]);
    axis.dilation = static_cast<std::int64_t>(node.get_dilations()[d - 2]);
    terms.axes.push_back(axis);
  }
  return terms;
}

// The element of the weights for an output channel.
Indices weight_indices(Emitter& emitter, const ConvolutionTerms& terms, const Index& channel,
                       const Index& input, const Indices& taps, bool backward) {
  Indices at;
  if (terms.has_groups) at.push_back(emitter.divided(channel, terms.out_channels));
  const Index output = terms.has_groups ? emitter.modulo(channel, terms.out_channels) : channel;
  at.push_back(backward ? input : output);
  at.push_back(backward ? output : input);
  at.insert(at.end(), taps.begin(), taps.end());
  return at;
}

Indices data_indices(Emitter& emitter, const ConvolutionTerms& terms, const Indices& lane, const Index& input,
                     const Indices& from) {
  const Index group = terms.has_groups ? emitter.divided(lane[1], terms.out_channels) : Emitter::constant(0);
  Indices at = {lane[0], emitter.linear({{group, terms.in_channels}, {input, 1}})};
  at.insert(at.end(), from.begin(), from.end());
  return at;
}

// sums[j] += x * w, inside of the loops over the window.
Status accumulate(Emitter& emitter, const ov::Node& node, const ConvolutionTerms& terms, const Places& at,
                  const Lanes& sums, const Indices& taps, const Indices& from, bool backward) {
  int opened = 0;
  const Index input = open_loop(emitter, terms.in_channels, opened);
  INFLIGHT_TRY_ASSIGN(const Lanes x, emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) {
                        return data_indices(emitter, terms, lane, input, from);
                      }));
  INFLIGHT_TRY_ASSIGN(const Lanes w, emit_moved(emitter, node.input_value(1), at, [&](const Indices& lane) {
                        return weight_indices(emitter, terms, lane[1], input, taps, backward);
                      }));
  for (std::size_t j = 0; j < at.size(); ++j)
    emitter.line(fmt::format("{} += {} * {};", sums[j], x[j], w[j]));
  close_window(emitter, opened);
  return {};
}

template <bool kGrouped>
Result<Lanes> emit_convolution(Emitter& emitter, const ov::Node& node, std::size_t output, const Places& at) {
  if (!lanes_share(at, 2))
    return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
      INFLIGHT_TRY_ASSIGN(const Lanes one, emit_convolution<kGrouped>(emitter, node, output, {lane}));
      return one[0];
    });
  const auto& convolution = dynamic_cast<const ov::op::util::ConvolutionBase&>(node);
  ConvolutionTerms terms = terms_of(convolution, kGrouped, false);
  const auto begin = convolution.get_pads_begin(), end = convolution.get_pads_end();
  set_pads(terms.axes, convolution.get_auto_pad(), {begin.begin(), begin.end()}, {end.begin(), end.end()});
  Lanes sums;
  for (std::size_t j = 0; j < at.size(); ++j)
    sums.push_back(emitter.variable(compute_type(node.get_output_element_type(0)), "0"));
  Indices taps, from;
  const int opened = open_window(emitter, terms.axes, Indices(at[0].begin() + 2, at[0].end()), taps, from);
  INFLIGHT_TRY(accumulate(emitter, node, terms, at, sums, taps, from, false));
  close_window(emitter, opened);
  return sums;
}

// Where the output of a transposed convolution starts in what its windows cover.
void set_backward_pads(ConvolutionTerms& terms, const ov::op::util::ConvolutionBackPropBase& node) {
  for (std::size_t d = 0; d < terms.axes.size(); ++d) {
    WindowAxis& axis = terms.axes[d];
    const std::int64_t extra =
        d < node.get_output_padding().size() ? static_cast<std::int64_t>(node.get_output_padding()[d]) : 0;
    const std::int64_t total =
        axis.stride * (axis.in - 1) + (axis.kernel - 1) * axis.dilation + 1 + extra - axis.out;
    switch (node.get_auto_pad()) {
      // The other way round than forward: what is odd of the padding comes first for SAME_UPPER.
      case ov::op::PadType::SAME_UPPER:
        axis.pad_begin = std::max<std::int64_t>(total, 0) - std::max<std::int64_t>(total, 0) / 2;
        break;
      case ov::op::PadType::SAME_LOWER:
        axis.pad_begin = std::max<std::int64_t>(total, 0) / 2;
        break;
      case ov::op::PadType::VALID:
        axis.pad_begin = 0;
        break;
      default:
        axis.pad_begin = static_cast<std::int64_t>(node.get_pads_begin()[d]);
    }
  }
}

// Each element of the output gathers what the windows would add to it.
template <bool kGrouped>
Result<Lanes> emit_backward(Emitter& emitter, const ov::Node& node, std::size_t output, const Places& at) {
  if (!lanes_share(at, 2))
    return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
      INFLIGHT_TRY_ASSIGN(const Lanes one, emit_backward<kGrouped>(emitter, node, output, {lane}));
      return one[0];
    });
  const auto& convolution = dynamic_cast<const ov::op::util::ConvolutionBackPropBase&>(node);
  ConvolutionTerms terms = terms_of(convolution, kGrouped, true);
  set_backward_pads(terms, convolution);
  Lanes sums;
  for (std::size_t j = 0; j < at.size(); ++j)
    sums.push_back(emitter.variable(compute_type(node.get_output_element_type(0)), "0"));
  Indices taps, from;
  int opened = 0;
  for (std::size_t d = 0; d < terms.axes.size(); ++d) {
    const WindowAxis& axis = terms.axes[d];
    taps.push_back(open_loop(emitter, axis.kernel, opened));
    const std::string reach =
        emitter.text(emitter.linear({{at[0][d + 2], 1}, {taps.back(), -axis.dilation}}, axis.pad_begin));
    emitter.open(
        fmt::format("if ({0} >= 0 && {0} % {1} == 0 && {0} / {1} < {2})", reach, axis.stride, axis.in));
    ++opened;
    from.push_back(emitter.named(fmt::format("{} / {}", reach, axis.stride), axis.in));
  }
  INFLIGHT_TRY(accumulate(emitter, node, terms, at, sums, taps, from, true));
  close_window(emitter, opened);
  return sums;
}

// Which of a matrix's last two dimensions is which, after its promotion from a vector.
Indices matrix_indices(const Extents& extents, const Indices& batch, const Index& row, const Index& column,
                       bool transposed, bool is_first) {
  if (extents.size() == 1) return {is_first ? column : row};
  Indices at;
  const std::size_t batches = extents.size() - 2;
  for (std::size_t d = 0; d < batches; ++d)
    at.push_back(extents[d] == 1 ? Emitter::constant(0) : batch[batch.size() - batches + d]);
  at.push_back(transposed ? column : row);
  at.push_back(transposed ? row : column);
  return at;
}

Result<Lanes> emit_matmul(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto& matmul = dynamic_cast<const ov::op::v0::MatMul&>(node);
  const Extents a = extents_of(node.input_value(0)), b = extents_of(node.input_value(1));
  const bool has_row = a.size() > 1, has_column = b.size() > 1;
  const std::int64_t depth = a.size() == 1 ? a[0] : a[a.size() - (matmul.get_transpose_a() ? 2 : 1)];
  const std::string type = compute_type(node.get_output_element_type(0));
  Lanes sums;
  for (std::size_t j = 0; j < at.size(); ++j) sums.push_back(emitter.variable(type, "0"));
  const auto row_of = [&](const Indices& lane) {
    return has_row ? lane[lane.size() - (has_column ? 2 : 1)] : Emitter::constant(0);
  };
  const auto column_of = [&](const Indices& lane) { return has_column ? lane.back() : Emitter::constant(0); };
  const auto batch_of = [&](const Indices& lane) {
    return Indices(lane.begin(), lane.end() - (has_row ? 1 : 0) - (has_column ? 1 : 0));
  };
  int opened = 0;
  const Index k = open_loop(emitter, depth, opened);
  INFLIGHT_TRY_ASSIGN(const Lanes x, emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) {
                        return matrix_indices(a, batch_of(lane), row_of(lane), k, matmul.get_transpose_a(),
                                              true);
                      }));
  INFLIGHT_TRY_ASSIGN(const Lanes y, emit_moved(emitter, node.input_value(1), at, [&](const Indices& lane) {
                        return matrix_indices(b, batch_of(lane), k, column_of(lane), matmul.get_transpose_b(),
                                              false);
                      }));
  for (std::size_t j = 0; j < at.size(); ++j)
    emitter.line(fmt::format("{} += {} * {};", sums[j], x[j], y[j]));
  close_window(emitter, opened);
  return sums;
}

}  // namespace

void add_convolution_rules(RuleTable& table) {
  namespace op = ov::op;
  const auto add = [&](const ov::DiscreteTypeInfo& type, EmitRule rule) {
    table[rule_key(type)] = {always_window, rule};
  };
  add(op::v1::Convolution::get_type_info_static(), emit_convolution<false>);
  add(op::v1::GroupConvolution::get_type_info_static(), emit_convolution<true>);
  add(op::v1::ConvolutionBackpropData::get_type_info_static(), emit_backward<false>);
  add(op::v1::GroupConvolutionBackpropData::get_type_info_static(), emit_backward<true>);
  add(op::v0::MatMul::get_type_info_static(), emit_matmul);
}

}  // namespace inflight::cuda
