// SPDX-License-Identifier: Apache-2.0
// The one operator table: what an MXNet operator is called, takes and gives, and how it becomes nodes of a
// network. Symbols, imperative calls and readers of checkpoints use the same rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/status.h"
#include "inflight/tensor.h"
#include "mx/attrs.h"

namespace inflight::mx::detail {

struct Lowering;  // build.h

using Shapes = std::vector<std::optional<Shape>>;
using DTypes = std::vector<std::optional<DType>>;

// What an element type of an output is.
enum class TypeRule : std::uint8_t {
  kSame,       // that of the inputs, which are all of one type but for those in OpRow::free_inputs
  kF32,        // f32
  kI64,        // i64
  kDTypeAttr,  // the attribute dtype; that of input 0 where it is "None"
};

// One operator. Rows live as long as the process.
struct OpRow {
  std::string_view name;
  std::vector<std::string_view> aliases = {};
  std::vector<AttrSpec> attrs = {};
  std::vector<std::string_view> inputs = {"data"};
  int aux = 0;            // the last so many inputs are auxiliary states
  bool variadic = false;  // as many inputs as the attribute num_args says, "arg0", "arg1", ...
  // How many of `inputs` there are; null: all. Of a variadic row: how many, where that is not num_args.
  int (*input_count)(const Params&) = nullptr;
  // The name of an input, where it is none of `inputs`; "" where it is.
  std::string_view (*input_name)(const Params&, int index) = nullptr;
  int (*output_count)(const Params&) = nullptr;  // null: one
  // Fills in input shapes that follow from those known, and checks those that are given. Null: nothing
  // follows.
  //   errors   as `build`
  Status (*complete)(const Params&, Shapes&) = nullptr;
  TypeRule type = TypeRule::kSame;
  // The type of output `index`, where `type` does not say it.
  DType (*output_type)(const Params&, DType input, int index) = nullptr;
  std::uint32_t free_inputs = 0;  // a bit an input: its type is its own business; f32 where nothing tells
  // A bit an input: it holds what training found, which does not change from one inference to the next.
  std::uint32_t weights = 0;
  // The attribute "scalar" may come as an input, in imperative calls: one program for all its values.
  bool scalar = false;
  // Where all inputs have the shape of the output, an element of it depends only on those in the same place.
  bool elementwise = false;
  bool any_dtype = false;  // moves or converts elements, and never computes with f64
  // Makes the nodes.
  //   errors   kInvalidArgument, kUnsupported: shapes or attributes that do not fit; messages do not name the
  //            operator. What OpenVINO throws is caught by the caller.
  Status (*build)(Lowering&) = nullptr;
};

// The row of an operator by name or alias.
//   errors   as find_operator()
Result<const OpRow*> find_row(std::string_view name);
// All rows, by name.
const std::vector<const OpRow*>& all_rows();

// How many inputs a node has with these attributes, states included.
int input_count(const OpRow& row, const Params& params);
int output_count(const OpRow& row, const Params& params);
std::string input_name(const OpRow& row, const Params& params, int index);

// Each file of operators adds its rows.
void add_elementwise_rows(std::vector<OpRow>& rows);
void add_scalar_rows(std::vector<OpRow>& rows);
void add_conv_rows(std::vector<OpRow>& rows);
void add_pool_rows(std::vector<OpRow>& rows);
void add_create_rows(std::vector<OpRow>& rows);
void add_join_rows(std::vector<OpRow>& rows);
void add_nn_rows(std::vector<OpRow>& rows);
void add_norm_rows(std::vector<OpRow>& rows);
void add_shape_rows(std::vector<OpRow>& rows);
void add_index_rows(std::vector<OpRow>& rows);
void add_reduce_rows(std::vector<OpRow>& rows);
void add_order_rows(std::vector<OpRow>& rows);

}  // namespace inflight::mx::detail
