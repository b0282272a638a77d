// SPDX-License-Identifier: Apache-2.0
#include "inflight/mx/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/user_code.h"
#include "inflight/internal/mutex.h"
#include "mx/device_task.h"
#include "mx/family.h"
#include "mx/task.h"

namespace inflight::mx {

using detail::Environment;
using detail::Graph;
using detail::Operand;
using detail::ProgramFamily;

namespace detail {

struct ExecutorState {
  Symbol symbol;
  BindOptions options;
  std::vector<std::string> names;  // of all variables, in order
  std::vector<bool> is_auxiliary;  // one a variable
  std::vector<NDArray> variables;
  std::shared_ptr<ProgramFamily> family;

  inflight::internal::Mutex mutex;  // forwards follow each other
  std::vector<NDArray> outputs INFLIGHT_GUARDED_BY(mutex);

  ~ExecutorState() {
    variables.clear();
    if (family != nullptr) family->release_unused();
  }
};

}  // namespace detail

namespace {

Status on_another_device(const std::string& name, Device got, Device want) {
  return {StatusCode::kInvalidArgument,
          fmt::format("bind: \"{}\" is on {}, want {}, where the executor computes", name, got.to_string(),
                      want.to_string())};
}

// The program of a graph: from the cache, or lowered now and compiled later.
Result<std::shared_ptr<ProgramFamily>> family_of(const Symbol& symbol, const Graph& graph,
                                                 const std::vector<TensorSpec>& specs,
                                                 const BindOptions& options) {
  INFLIGHT_TRY_ASSIGN(Environment* const environment, Environment::get());
  std::string key = graph.structure();
  if (!options.device.is_host()) key += options.device.to_string();
  key += static_cast<char>('0' + static_cast<int>(options.precision));
  for (const TensorSpec& spec : specs) {
    key += static_cast<char>('a' + static_cast<int>(spec.dtype));
    for (const std::int64_t extent : spec.shape.dims())
      fmt::format_to(std::back_inserter(key), "{},", extent);
  }
  std::shared_ptr<ProgramFamily> family = environment->families().find(key);
  if (family != nullptr) return family;
  environment->families().for_each([](ProgramFamily& other) { other.release_unused(); });
  INFLIGHT_TRY_ASSIGN(family, ProgramFamily::make(*environment, detail::entries_of(symbol), specs,
                                                  options.precision, options.device));
  return environment->families().insert(key, family);
}

Result<NDArray> zeros_on(Device device, const Shape& shape, DType dtype) {
  INFLIGHT_TRY_ASSIGN(const NDArray array, NDArray::zeros(shape, dtype));
  return array.as_in(device);
}

Result<std::vector<NDArray>> by_name(const Graph& graph, const std::map<std::string, NDArray>& arguments,
                                     const std::map<std::string, NDArray>& states) {
  std::vector<NDArray> variables;
  for (std::size_t i = 0; i < graph.variables.size(); ++i) {
    const std::string& name = graph.nodes[graph.variables[i]]->name;
    const auto& from = graph.is_auxiliary[i] ? states : arguments;
    const auto found = from.find(name);
    if (found == from.end()) {
      return Status(
          StatusCode::kInvalidArgument,
          fmt::format("bind: {} \"{}\" is missing", graph.is_auxiliary[i] ? "state" : "argument", name));
    }
    variables.push_back(found->second);
  }
  return variables;
}

}  // namespace

Result<Executor> Executor::make(const Symbol& symbol, std::vector<NDArray> variables,
                                const BindOptions& options) {
  return inflight::internal::call_user([&]() -> Result<Executor> {
    const Graph graph(detail::entries_of(symbol));
    std::vector<TensorSpec> specs;
    auto state = std::make_shared<detail::ExecutorState>();
    for (std::size_t i = 0; i < variables.size(); ++i) {
      const std::string& name = graph.nodes[graph.variables[i]]->name;
      if (!variables[i])
        return Status(StatusCode::kInvalidArgument, fmt::format("bind: \"{}\": got an empty array", name));
      if (variables[i].device() != options.device)
        return on_another_device(name, variables[i].device(), options.device);
      specs.push_back({"", variables[i].dtype(), variables[i].shape()});
      state->names.push_back(name);
    }
    INFLIGHT_TRY_ASSIGN(state->family, family_of(symbol, graph, specs, options));
    state->symbol = symbol;
    state->options = options;
    state->is_auxiliary = graph.is_auxiliary;
    state->variables = std::move(variables);
    return Executor(std::move(state));
  });
}

Result<Executor> Executor::bind(const Symbol& symbol, const std::vector<NDArray>& arguments,
                                const std::vector<NDArray>& states, const BindOptions& options) {
  if (!symbol) return Status(StatusCode::kInvalidArgument, "bind: got an empty symbol");
  const Graph graph(detail::entries_of(symbol));
  const auto auxiliary =
      static_cast<std::size_t>(std::count(graph.is_auxiliary.begin(), graph.is_auxiliary.end(), true));
  const std::size_t wanted = graph.variables.size() - auxiliary;
  if (arguments.size() != wanted || states.size() != auxiliary) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("bind: got {} arguments and {} states, want {} and {}", arguments.size(),
                              states.size(), wanted, auxiliary));
  }
  std::vector<NDArray> variables;
  std::size_t argument = 0;
  std::size_t state = 0;
  for (const bool is_auxiliary : graph.is_auxiliary)
    variables.push_back(is_auxiliary ? states[state++] : arguments[argument++]);
  return make(symbol, std::move(variables), options);
}

Result<Executor> Executor::bind(const Symbol& symbol, const std::map<std::string, NDArray>& arguments,
                                const std::map<std::string, NDArray>& states, const BindOptions& options) {
  if (!symbol) return Status(StatusCode::kInvalidArgument, "bind: got an empty symbol");
  INFLIGHT_TRY_ASSIGN(std::vector<NDArray> variables,
                      by_name(Graph(detail::entries_of(symbol)), arguments, states));
  return make(symbol, std::move(variables), options);
}

Result<Executor> Executor::simple_bind(const Symbol& symbol, const std::map<std::string, Shape>& shapes,
                                       const std::map<std::string, DType>& types,
                                       const BindOptions& options) {
  return inflight::internal::call_user([&]() -> Result<Executor> {
    if (!symbol) return Status(StatusCode::kInvalidArgument, "simple_bind: got an empty symbol");
    INFLIGHT_TRY_ASSIGN(const ShapeInference found, symbol.infer_shape(shapes));
    INFLIGHT_TRY_ASSIGN(const TypeInference typed, symbol.infer_type(types));
    const auto zeros = [&](const auto& all,
                           const std::vector<DType>& dtypes) -> Result<std::vector<NDArray>> {
      std::vector<NDArray> arrays;
      for (std::size_t i = 0; i < all.size(); ++i) {
        INFLIGHT_TRY_ASSIGN(NDArray array, zeros_on(options.device, *all[i], dtypes[i]));
        arrays.push_back(std::move(array));
      }
      return arrays;
    };
    INFLIGHT_TRY_ASSIGN(const std::vector<NDArray> arguments, zeros(found.arguments, typed.arguments));
    INFLIGHT_TRY_ASSIGN(const std::vector<NDArray> states,
                        zeros(found.auxiliary_states, typed.auxiliary_states));
    return bind(symbol, arguments, states, options);
  });
}

Result<std::vector<NDArray>> Executor::forward(const std::map<std::string, NDArray>& inputs,
                                               bool is_train) const {
  return inflight::internal::call_user([&]() -> Result<std::vector<NDArray>> {
    if (is_train) {
      return Status(StatusCode::kUnsupported,
                    "forward: is_train: got true, want false: training is not offered");
    }
    INFLIGHT_TRY_ASSIGN(Environment* const environment, Environment::get());
    detail::ExecutorState& state = *state_;
    for (const auto& [name, array] : inputs) {
      const auto found = std::find(state.names.begin(), state.names.end(), name);
      if (found == state.names.end())
        return Status(StatusCode::kInvalidArgument,
                      fmt::format("forward: there is no argument \"{}\"", name));
      const NDArray& to = state.variables[static_cast<std::size_t>(found - state.names.begin())];
      if (!array || !(array.shape() == to.shape())) {
        return Status(
            StatusCode::kInvalidArgument,
            fmt::format("forward: argument \"{}\": got {}, want {}", name,
                        array ? array.shape().to_string() : "an empty array", to.shape().to_string()));
      }
      INFLIGHT_TRY(to.assign(array));
    }
    const inflight::internal::MutexLock lock(state.mutex);
    std::vector<Operand> arrays;
    arrays.reserve(state.variables.size());
    for (const NDArray& variable : state.variables) {
      INFLIGHT_TRY_ASSIGN(Operand operand, detail::operand_of(variable));
      arrays.push_back(std::move(operand));
    }
    const ProgramFamily::Choice choice = state.family->choose(*environment, arrays);
    if (choice.built_in) {
      std::size_t kept = 0;
      for (std::size_t i = 0; i < arrays.size(); ++i) {
        if (!state.family->is_weight()[i]) std::swap(arrays[kept++], arrays[i]);
      }
      arrays.resize(kept);
    }
    const auto push = [&] {
      const std::vector<detail::OutputSpec>& specs = state.family->outputs();
      if (!state.options.device.is_host())
        return detail::push_launch(*environment, specs, std::move(arrays), choice.network);
      return detail::push_task(
          *environment, specs, std::move(arrays), choice.network.get(),
          [network = choice.network](std::vector<TensorView>& from, std::span<const MutableTensorView> to) {
            return network->run(from, to);
          });
    };
    INFLIGHT_TRY_ASSIGN(auto versions, push());
    std::vector<NDArray> outputs;
    for (inflight::NDArray& version : versions) {
      INFLIGHT_TRY_ASSIGN(NDArray array, NDArray::of(std::move(version)));
      outputs.push_back(std::move(array));
    }
    state.outputs = outputs;
    return outputs;
  });
}

Result<std::vector<NDArray>> Executor::outputs() const {
  const inflight::internal::MutexLock lock(state_->mutex);
  if (state_->outputs.empty()) {
    for (const detail::OutputSpec& spec : state_->family->outputs()) {
      INFLIGHT_TRY_ASSIGN(NDArray array, zeros_on(state_->options.device, spec.shape, spec.dtype));
      state_->outputs.push_back(std::move(array));
    }
  }
  return state_->outputs;
}

const Symbol& Executor::symbol() const noexcept { return state_->symbol; }

namespace {

Executor::Named named(const detail::ExecutorState& state, bool auxiliary) {
  Executor::Named result;
  for (std::size_t i = 0; i < state.names.size(); ++i) {
    if (state.is_auxiliary[i] == auxiliary) result.emplace_back(state.names[i], state.variables[i]);
  }
  return result;
}

std::vector<NDArray> arrays_of(const Executor::Named& dict) {
  std::vector<NDArray> arrays;
  arrays.reserve(dict.size());
  for (const auto& [name, array] : dict) arrays.push_back(array);
  return arrays;
}

}  // namespace

std::vector<NDArray> Executor::arg_arrays() const { return arrays_of(arg_dict()); }
std::vector<NDArray> Executor::aux_arrays() const { return arrays_of(aux_dict()); }
Executor::Named Executor::arg_dict() const { return named(*state_, false); }
Executor::Named Executor::aux_dict() const { return named(*state_, true); }

Result<Executor::Named> Executor::output_dict() const {
  INFLIGHT_TRY_ASSIGN(std::vector<NDArray> arrays, outputs());
  const std::vector<std::string> names = state_->symbol.list_outputs();
  Named result;
  for (std::size_t i = 0; i < arrays.size(); ++i) result.emplace_back(names[i], std::move(arrays[i]));
  return result;
}

Status Executor::copy_params_from(const std::map<std::string, NDArray>& arguments,
                                  const std::map<std::string, NDArray>& states, bool allow_extra) const {
  const auto copy = [&](const std::map<std::string, NDArray>& from, const Named& to,
                        std::string_view what) -> Status {
    for (const auto& [name, array] : from) {
      const auto found =
          std::find_if(to.begin(), to.end(), [&name = name](const auto& pair) { return pair.first == name; });
      if (found == to.end()) {
        if (allow_extra) continue;
        return {StatusCode::kInvalidArgument,
                fmt::format("copy_params_from: there is no {} \"{}\"", what, name)};
      }
      if (!array || !(array.shape() == found->second.shape())) {
        return {StatusCode::kInvalidArgument,
                fmt::format("copy_params_from: {} \"{}\": got {}, want {}", what, name,
                            array ? array.shape().to_string() : "an empty array",
                            found->second.shape().to_string())};
      }
      INFLIGHT_TRY(found->second.assign(array));
    }
    return {};
  };
  INFLIGHT_TRY(copy(arguments, arg_dict(), "argument"));
  return copy(states, aux_dict(), "state");
}

Result<Executor> Executor::reshape(const std::map<std::string, Shape>& shapes, bool partial_shaping,
                                   bool allow_up_sizing) const {
  return inflight::internal::call_user([&]() -> Result<Executor> {
    INFLIGHT_TRY_ASSIGN(const ShapeInference found, state_->symbol.infer_shape(shapes));
    std::vector<NDArray> variables;
    std::size_t argument = 0;
    std::size_t auxiliary = 0;
    for (std::size_t i = 0; i < state_->variables.size(); ++i) {
      const NDArray& old = state_->variables[i];
      const Shape shape =
          state_->is_auxiliary[i] ? *found.auxiliary_states[auxiliary++] : *found.arguments[argument++];
      if (shape == old.shape()) {
        variables.push_back(old);
        continue;
      }
      const bool is_named = shapes.contains(state_->names[i]);
      if (!is_named && !partial_shaping) {
        return Status(StatusCode::kInvalidArgument,
                      fmt::format("reshape: \"{}\": {} would become {}; partial_shaping allows that",
                                  state_->names[i], old.shape().to_string(), shape.to_string()));
      }
      if (shape.elements() > old.size() && !allow_up_sizing) {
        return Status(StatusCode::kInvalidArgument,
                      fmt::format("reshape: \"{}\": {} would grow to {}; allow_up_sizing allows that",
                                  state_->names[i], old.shape().to_string(), shape.to_string()));
      }
      INFLIGHT_TRY_ASSIGN(NDArray array, zeros_on(state_->options.device, shape, old.dtype()));
      variables.push_back(std::move(array));
    }
    return make(state_->symbol, std::move(variables), state_->options);
  });
}

}  // namespace inflight::mx
