// SPDX-License-Identifier: Apache-2.0
// Operators on arrays: a program of one operator for each signature, compiled once.
#include "mx/invoke.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "base/user_code.h"
#include "inflight/mx/ndarray.h"
#include "mx/device_task.h"
#include "mx/lower.h"
#include "mx/pieces.h"
#include "mx/strided.h"

namespace inflight::mx {

using detail::CompiledNetwork;
using detail::Environment;
using detail::OneOperator;
using detail::Operand;
using detail::OpRow;
using detail::OutputSpec;

namespace {

// Less is done before a second thread is awake. Of operators that are not computed in pieces.
constexpr std::size_t kElasticBytesMin = std::size_t{1} << 20U;

// What identifies the program: the operator, its attributes as they are written but for the scalar, and the
// inputs.
std::string key_of(const OpRow& row, const Attributes& attributes, std::span<const Operand> inputs) {
  std::string key(row.name);
  if (!inputs.empty() && !inputs[0].array.device().is_host()) key += inputs[0].array.device().to_string();
  for (const auto& [name, value] : attributes) {
    if (row.scalar && name == "scalar") continue;
    key += '|';
    key += name;
    key += '=';
    key += value;
  }
  for (const Operand& input : inputs) {
    key += '#';
    key += static_cast<char>('a' + static_cast<int>(input.array.dtype()));
    for (const std::int64_t extent : input.shape.dims()) {
      std::array<char, 24> text;
      const auto end = fmt::format_to_n(text.data(), text.size(), "{},", extent);
      key.append(text.data(), end.size);
    }
  }
  return key;
}

// Where the operator computes: where all of its inputs are.
Result<Device> device_of(const OpRow& row, std::span<const Operand> inputs) {
  if (inputs.empty()) return Device::cpu();
  const Device first = inputs[0].array.device();
  for (std::size_t i = 1; i < inputs.size(); ++i) {
    const Device device = inputs[i].array.device();
    if (device == first) continue;
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("operator {}: input {} is on {}, want {} as input 0", row.name, i,
                              device.to_string(), first.to_string()));
  }
  return first;
}

Status check_inputs(const OpRow& row, const detail::Params& params, std::size_t given) {
  const int wanted = detail::input_count(row, params);
  if (static_cast<std::size_t>(wanted) == given) return {};
  return {StatusCode::kInvalidArgument,
          fmt::format("operator {}: got {} arrays, want {}", row.name, given, wanted)};
}

using Scalar = detail::ScalarInput;

template <typename Specs>
std::size_t bytes_of(const Specs& specs) {
  std::size_t bytes = 0;
  for (const TensorSpec& spec : specs) bytes += spec.bytes();
  return bytes;
}

bool each_element_stands_alone(const OpRow& row, std::span<const TensorSpec> inputs,
                               std::span<const OutputSpec> outputs) {
  return row.elementwise && !inputs.empty() && outputs.size() == 1 &&
         std::all_of(inputs.begin(), inputs.end(),
                     [&](const TensorSpec& input) { return input.shape == outputs[0].shape; });
}

Shape piece_of(const Shape& whole, std::size_t pieces) {
  return {static_cast<std::int64_t>(whole.elements() / pieces)};
}

Result<std::shared_ptr<OneOperator>> make_operator(Environment& environment, const OpRow& row,
                                                   Attributes attributes, std::span<const Operand> inputs,
                                                   Device device) {
  if (row.variadic && !attributes.contains("num_args"))
    attributes["num_args"] = std::to_string(inputs.size());
  INFLIGHT_TRY_ASSIGN(const detail::Params params, detail::Params::read(row.name, row.attrs, attributes));
  INFLIGHT_TRY(check_inputs(row, params, inputs.size()));
  std::vector<TensorSpec> specs;
  for (const Operand& input : inputs) specs.push_back({"", input.array.dtype(), input.shape});
  INFLIGHT_TRY_ASSIGN(Model model, detail::lower_operator(row, params, specs, row.scalar));
  auto made = std::make_shared<OneOperator>();
  for (const TensorSpec& output : model.outputs()) made->outputs.push_back({output.dtype, output.shape});
  const bool stands_alone = device.is_host() && each_element_stands_alone(row, specs, made->outputs);
  const std::size_t bytes = bytes_of(specs) + bytes_of(model.outputs());
  auto widths = CompiledNetwork::Widths::kNarrow;
  if (stands_alone) {
    INFLIGHT_TRY_ASSIGN(const std::shared_ptr<Backend> backend, environment.backend(device));
    made->pieces = detail::count_pieces(specs[0].shape.elements(), bytes, backend->capacity());
  } else if (bytes >= kElasticBytesMin) {
    widths = CompiledNetwork::Widths::kElastic;
  }
  if (made->pieces > 1) {
    for (TensorSpec& spec : specs) spec.shape = piece_of(spec.shape, made->pieces);
    INFLIGHT_TRY_ASSIGN(model, detail::lower_operator(row, params, specs, row.scalar));
  }
  made->network =
      std::make_shared<CompiledNetwork>(std::move(model), Precision::kF32, device, widths, TuneLevel::kOff);
  INFLIGHT_TRY(environment.start_compiling(made->network));
  return made;
}

// Moves views of whole arrays to one of their pieces.
template <typename Views>
void move_to_piece(Views& views, std::size_t pieces, std::size_t index) {
  using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(views[0].data)>>,
                                  const std::byte, std::byte>;
  for (auto& view : views) {
    view.shape = piece_of(view.shape, pieces);
    view.data = static_cast<Byte*>(view.data) + index * view.bytes();
  }
}

// Runs the network on the arrays, and the scalar if there is one.
//   pieces   null: the operator is computed as a whole
Status run_operator(Environment& environment, const OneOperator& program, detail::Pieces* pieces,
                    const Scalar* scalar, std::vector<TensorView>& from,
                    std::span<const MutableTensorView> to) {
  const auto with_scalar = [scalar](std::vector<TensorView>& inputs) {
    if (scalar != nullptr) inputs.push_back({scalar->bytes.data(), scalar->dtype, {}});
  };
  if (pieces == nullptr) {
    with_scalar(from);
    return program.network->run(from, to, environment.is_alone());
  }
  return pieces->run(environment, [&](std::size_t index) {
    std::vector<TensorView> inputs(from);
    std::vector<MutableTensorView> outputs(to.begin(), to.end());
    move_to_piece(inputs, program.pieces, index);
    move_to_piece(outputs, program.pieces, index);
    with_scalar(inputs);
    return program.network->run(inputs, outputs);
  });
}

// The scalar as an element of a type.
Result<Scalar> read_scalar(const OpRow& row, const Attributes& attributes, DType dtype) {
  const auto found = attributes.find("scalar");
  const std::vector<detail::AttrSpec> specs = {{"scalar", detail::AttrKind::kFloat, "1"}};
  const Attributes given = found == attributes.end() ? Attributes() : Attributes{*found};
  INFLIGHT_TRY_ASSIGN(const detail::Params params, detail::Params::read(row.name, specs, given));
  Scalar scalar{dtype, {}};
  detail::store_element(dtype, params.number("scalar"), scalar.bytes.data());
  return scalar;
}

// What is as cheap as a copy, or cheaper, and needs no program. Empty: it does.
Result<std::optional<NDArray>> without_program(const OpRow& row, const Attributes& attributes,
                                               std::span<const NDArray> inputs) {
  using Some = std::optional<NDArray>;
  if (inputs.size() != 1 || !inputs[0]) return Some();
  const NDArray& x = inputs[0];
  // The host's memory alone has a slice without a program.
  const bool slices = row.name == "slice" && x.device().is_host();
  const bool moves = row.name == "_copy" || row.name == "BlockGrad" || row.name == "Reshape" || slices;
  if (!moves) return Some();
  INFLIGHT_TRY_ASSIGN(const detail::Params params, detail::Params::read(row.name, row.attrs, attributes));
  const auto unwrap = [&](Result<NDArray> result) -> Result<Some> {
    if (!result.ok()) return result.status().with_context(fmt::format("operator {}", row.name));
    return Some(std::move(result).value());
  };
  if (row.name == "slice")
    return unwrap(
        x.slice(params.optional_ints("begin"), params.optional_ints("end"), params.optional_ints("step")));
  if (row.name != "Reshape") return unwrap(x.copy());
  if (params.ints("shape").empty()) return Some();  // the old way to say it
  INFLIGHT_TRY_ASSIGN(const NDArray copy, x.copy());
  return unwrap(copy.reshape(params.ints("shape"), params.flag("reverse")));
}

Status check_out(const OpRow& row, std::span<const OutputSpec> results, std::span<const NDArray> out,
                 Device device) {
  if (out.size() != results.size()) {
    return {StatusCode::kInvalidArgument,
            fmt::format("operator {}: out: got {} arrays, want {}", row.name, out.size(), results.size())};
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!out[i])
      return {StatusCode::kInvalidArgument, fmt::format("operator {}: out: got an empty array", row.name)};
    if (out[i].device() != device) {
      return {StatusCode::kInvalidArgument, fmt::format("operator {}: out: is on {}, want {}", row.name,
                                                        out[i].device().to_string(), device.to_string())};
    }
    const TensorSpec got{"", out[i].dtype(), out[i].shape()};
    const TensorSpec want{"", results[i].dtype, results[i].shape};
    if (got == want) continue;
    return {StatusCode::kInvalidArgument, fmt::format("operator {}: out: got {}, want {}", row.name,
                                                      got.type_string(), want.type_string())};
  }
  return {};
}

}  // namespace

Result<std::vector<NDArray>> invoke(std::string_view op, std::span<const NDArray> inputs,
                                    const Attributes& attributes, std::span<const NDArray> out) {
  return inflight::internal::call_user([&]() -> Result<std::vector<NDArray>> {
    INFLIGHT_TRY_ASSIGN(const OpRow* const row, detail::find_row(op));
    INFLIGHT_TRY_ASSIGN(Environment* const environment, Environment::get());
    INFLIGHT_TRY_ASSIGN(const std::optional<NDArray> moved, without_program(*row, attributes, inputs));
    if (moved.has_value()) {
      if (out.empty()) return std::vector<NDArray>{*moved};
      const OutputSpec spec{moved->dtype(), moved->shape()};
      INFLIGHT_TRY(check_out(*row, {&spec, 1}, out, moved->device()));
      INFLIGHT_TRY(out[0].assign(*moved));
      return std::vector<NDArray>{out[0]};
    }
    std::vector<Operand> reads;
    reads.reserve(inputs.size());
    for (const NDArray& input : inputs) {
      Result<Operand> operand = detail::operand_of(input);
      if (!operand.ok()) return operand.status().with_context(fmt::format("operator {}", row->name));
      reads.push_back(std::move(operand).value());
    }
    INFLIGHT_TRY_ASSIGN(const Device device, device_of(*row, reads));
    const std::string key = key_of(*row, attributes, reads);
    std::shared_ptr<OneOperator> program = environment->operators().find(key);
    if (program == nullptr) {
      INFLIGHT_TRY_ASSIGN(program, make_operator(*environment, *row, attributes, reads, device));
      program = environment->operators().insert(key, program);
    }
    if (!out.empty()) INFLIGHT_TRY(check_out(*row, program->outputs, out, device));
    Scalar scalar{DType::kF32, {}};
    if (row->scalar) {
      INFLIGHT_TRY_ASSIGN(scalar, read_scalar(*row, attributes, reads[0].array.dtype()));
    }
    const auto pieces = program->pieces > 1 ? std::make_shared<detail::Pieces>(program->pieces) : nullptr;
    const auto push = [&] {
      if (!device.is_host()) {
        return detail::push_launch(*environment, program->outputs, std::move(reads), program->network,
                                   row->scalar ? std::optional(scalar) : std::nullopt);
      }
      const auto compute = [program, pieces, scalar, has_scalar = row->scalar, environment](
                               std::vector<TensorView>& from, std::span<const MutableTensorView> to) {
        return run_operator(*environment, *program, pieces.get(), has_scalar ? &scalar : nullptr, from, to);
      };
      return detail::push_task(*environment, program->outputs, std::move(reads), program->network.get(),
                               compute, pieces);
    };
    INFLIGHT_TRY_ASSIGN(auto versions, push());
    std::vector<NDArray> results;
    for (std::size_t i = 0; i < versions.size(); ++i) {
      if (!out.empty()) {
        INFLIGHT_TRY(out[i].replace(std::move(versions[i])));
        results.push_back(out[i]);
      } else {
        INFLIGHT_TRY_ASSIGN(NDArray array, NDArray::of(std::move(versions[i])));
        results.push_back(std::move(array));
      }
    }
    return results;
  });
}

}  // namespace inflight::mx
