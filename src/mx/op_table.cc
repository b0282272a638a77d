// SPDX-License-Identifier: Apache-2.0
#include "mx/op_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

namespace inflight::mx::detail {
namespace {

// Operators of MXNet that this library does not have, and what does their work.
struct Missing {
  std::string_view name;
  std::string_view instead;
};
constexpr std::array<Missing, 22> kMissing = {{
    {"RNN", "unroll it into FullyConnected and Activation, or load the model as ONNX"},
    {"Custom", "an operation on the engine (Engine::push)"},
    {"GroupNorm", "Reshape and InstanceNorm"},
    {"ROIPooling", "a model file (ONNX) with that operator"},
    {"SpatialTransformer", "a model file (ONNX) with GridSample"},
    {"BilinearSampler", "a model file (ONNX) with GridSample"},
    {"GridGenerator", "a model file (ONNX) with GridSample"},
    {"Correlation", "batch_dot over shifted slices"},
    {"CTCLoss", "nothing: training is not offered"},
    {"SVMOutput", "identity: it is what SVMOutput computes in inference"},
    {"softmax_cross_entropy", "log_softmax and pick"},
    {"gamma", "nothing"},
    {"gammaln", "nothing"},
    {"erfinv", "nothing"},
    {"scatter_nd", "one_hot and sum"},
    {"linalg_potrf", "nothing"},
    {"linalg_syrk", "batch_dot with transpose_b"},
    {"cast_storage", "dense arrays: sparse ones are not offered"},
    {"sgd_update", "nothing: training is not offered"},
    {"adam_update", "nothing: training is not offered"},
    {"Crop", "slice or slice_like"},
    {"SequenceLast", "SequenceMask, slice and take"},
}};

struct Table {
  std::vector<OpRow> rows;
  std::vector<const OpRow*> by_name;
  std::unordered_map<std::string_view, const OpRow*> found;

  Table() {
    for (const auto add : {add_elementwise_rows, add_scalar_rows}) add(rows);
    for (OpRow& row : rows) row.elementwise = true;
    for (const auto add : {add_nn_rows, add_norm_rows, add_shape_rows, add_join_rows, add_create_rows,
                           add_conv_rows, add_pool_rows, add_index_rows, add_reduce_rows, add_order_rows})
      add(rows);
    for (const OpRow& row : rows) {
      by_name.push_back(&row);
      found.emplace(row.name, &row);
      for (const std::string_view alias : row.aliases) found.emplace(alias, &row);
    }
    std::sort(by_name.begin(), by_name.end(),
              [](const OpRow* a, const OpRow* b) { return a->name < b->name; });
  }
};

const Table& table() {
  static const Table* const made = new Table;  // for good: nodes point into it until the very end
  return *made;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return result;
}

// How many letters have to change, up to a few.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string similar_names(std::string_view name) {
  std::vector<std::string_view> near;
  const std::string wanted = lower(name.substr(0, 64));
  for (const OpRow* row : table().by_name) {
    if (distance(wanted, lower(row->name)) <= 2) near.push_back(row->name);
  }
  return near.empty() ? std::string() : fmt::format("; near: {}", fmt::join(near, ", "));
}

OperatorInfo info_of(const OpRow& row) {
  OperatorInfo info;
  info.name = row.name;
  info.aliases.assign(row.aliases.begin(), row.aliases.end());
  for (const AttrSpec& spec : row.attrs) {
    info.attributes.push_back({std::string(spec.name), attr_type_text(spec), spec.fallback == nullptr,
                               spec.fallback == nullptr ? "" : spec.fallback});
  }
  info.inputs.assign(row.inputs.begin(), row.inputs.end());
  info.auxiliary.assign(row.inputs.end() - row.aux, row.inputs.end());
  info.variadic = row.variadic;
  return info;
}

}  // namespace

Result<const OpRow*> find_row(std::string_view name) {
  const auto found = table().found.find(name);
  if (found != table().found.end()) return found->second;
  for (const Missing& missing : kMissing) {
    if (missing.name == name) {
      return Status(StatusCode::kUnsupported,
                    fmt::format("operator {}: it is not offered; use {} instead", name, missing.instead));
    }
  }
  return Status(StatusCode::kInvalidArgument, fmt::format("operator {}: there is none of that name{}",
                                                          name.substr(0, 64), similar_names(name)));
}

const std::vector<const OpRow*>& all_rows() { return table().by_name; }

int input_count(const OpRow& row, const Params& params) {
  if (row.input_count != nullptr) return row.input_count(params);
  if (row.variadic) return static_cast<int>(std::clamp<std::int64_t>(params.integer("num_args"), 1, 4096));
  return static_cast<int>(row.inputs.size());
}

int output_count(const OpRow& row, const Params& params) {
  return row.output_count == nullptr ? 1 : row.output_count(params);
}

std::string input_name(const OpRow& row, const Params& params, int index) {
  if (row.input_name != nullptr) {
    const std::string_view name = row.input_name(params, index);
    if (!name.empty()) return std::string(name);
  }
  if (row.variadic) return fmt::format("arg{}", index);
  return std::string(row.inputs[static_cast<std::size_t>(index)]);
}

}  // namespace inflight::mx::detail

namespace inflight::mx {

std::vector<OperatorInfo> list_operators() {
  std::vector<OperatorInfo> infos;
  for (const detail::OpRow* row : detail::all_rows()) infos.push_back(detail::info_of(*row));
  return infos;
}

Result<OperatorInfo> find_operator(std::string_view name) {
  INFLIGHT_TRY_ASSIGN(const detail::OpRow* const row, detail::find_row(name));
  return detail::info_of(*row);
}

}  // namespace inflight::mx
