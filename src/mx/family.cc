// SPDX-License-Identifier: Apache-2.0
#include "mx/family.h"

#include <algorithm>
#include <utility>

namespace inflight::mx::detail {

Result<std::shared_ptr<ProgramFamily>> ProgramFamily::make(Environment& environment, std::vector<Entry> heads,
                                                           const std::vector<TensorSpec>& variables,
                                                           Precision precision, Device device) {
  std::shared_ptr<ProgramFamily> family(new ProgramFamily);
  family->heads_ = std::move(heads);
  family->variables_ = variables;
  family->precision_ = precision;
  family->device_ = device;
  const Graph graph(family->heads_);
  family->is_weight_ = graph.is_weight;
  std::size_t bytes = 0;
  std::vector<Binding> bindings;
  for (std::size_t i = 0; i < variables.size(); ++i) {
    bindings.push_back({variables[i], {}});
    if (graph.is_weight[i]) bytes += variables[i].bytes();
  }
  family->may_specialise_ = bytes > 0 && bytes <= kConstantBytesMax;
  INFLIGHT_TRY_ASSIGN(Model model, lower_graph(graph, bindings));
  for (const TensorSpec& output : model.outputs()) family->outputs_.push_back({output.dtype, output.shape});
  family->general_ = std::make_shared<CompiledNetwork>(std::move(model), precision, device);
  INFLIGHT_TRY(environment.start_compiling(family->general_));
  return family;
}

bool ProgramFamily::same_weights(const std::vector<Operand>& weights, std::span<const Operand> arrays) const {
  std::size_t next = 0;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (!is_weight_[i]) continue;
    if (next == weights.size()) return false;
    const Operand& weight = weights[next++];
    if (!(weight.array == arrays[i].array) || weight.offset != arrays[i].offset) return false;
  }
  return next == weights.size();
}

ProgramFamily::Choice ProgramFamily::choose(Environment& environment, std::span<const Operand> arrays) {
  if (!may_specialise_) return {general_, false};
  std::shared_ptr<Specialised> ending;  // outside the lock
  const inflight::internal::MutexLock lock(mutex_);
  if (specialised_ != nullptr && same_weights(specialised_->weights, arrays)) {
    if (specialised_->lowered.load(std::memory_order_acquire) && specialised_->network->is_compiled())
      return {specialised_->network, true};
    return {general_, false};
  }
  ending = std::move(specialised_);
  if (specialisations_ >= kSpecialisationsMax) return {general_, false};
  if (same_weights(last_, arrays)) {
    specialise(environment, arrays);
  } else {
    last_.clear();
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      if (is_weight_[i]) last_.push_back(arrays[i]);
    }
  }
  return {general_, false};
}

// Orders the work for the engine: the caller waits neither for the weights nor for the compilation.
void ProgramFamily::specialise(Environment& environment, std::span<const Operand> arrays) {
  ++specialisations_;
  auto made = std::make_shared<Specialised>();
  made->weights = std::exchange(last_, {});
  // What fails here fails quietly: the general program goes on to serve.
  Result<std::shared_ptr<Backend>> backend = environment.backend(device_);
  if (!backend.ok()) return;
  OpOptions options;
  std::vector<Operand> from = made->weights;  // where the host reads them
  for (Operand& weight : from) {
    Result<inflight::NDArray> copy = weight.array.copy_to(Device::cpu());
    if (!copy.ok()) return;
    weight.array = *std::move(copy);
    options.reads.push_back(weight.array.var());
  }
  std::vector<Binding> bindings;
  std::size_t next = 0;
  std::vector<std::size_t> place;  // of each variable among the weights
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    bindings.push_back({variables_[i], {}});
    place.push_back(is_weight_[i] ? next++ : 0);
  }
  const Status pushed = environment.engine().push(
      [made, from = std::move(from), backend = *std::move(backend), device = device_, heads = heads_,
       bindings = std::move(bindings), place = std::move(place), is_weight = is_weight_,
       precision = precision_, &environment]() mutable -> Status {
        for (std::size_t i = 0; i < bindings.size(); ++i) {
          if (!is_weight[i]) continue;
          const Operand& weight = from[place[i]];
          INFLIGHT_TRY_ASSIGN(const inflight::NDArray part, alias(environment, weight));
          INFLIGHT_TRY_ASSIGN(bindings[i].constant, part.buffer());
        }
        INFLIGHT_TRY_ASSIGN(Model model, lower_graph(Graph(heads), bindings));
        from.clear();
        made->network = std::make_shared<CompiledNetwork>(std::move(model), precision, device);
        INFLIGHT_TRY(made->network->compile(std::move(backend)));
        made->lowered.store(true, std::memory_order_release);
        return {};
      },
      std::move(options));
  if (pushed.ok()) specialised_ = std::move(made);
}

void ProgramFamily::release_unused() {
  std::shared_ptr<Specialised> ending;  // outside the lock
  std::vector<Operand> forgotten;
  const inflight::internal::MutexLock lock(mutex_);
  const auto unused = [](const std::vector<Operand>& weights) {
    return !weights.empty() && std::all_of(weights.begin(), weights.end(), [](const Operand& weight) {
      return weight.array.can_read() && weight.array.version().shares() == 1;
    });
  };
  if (unused(last_)) forgotten.swap(last_);
  // While it is on its way, its operation has claims on the weights.
  if (specialised_ != nullptr && specialised_->lowered.load(std::memory_order_acquire) &&
      unused(specialised_->weights)) {
    ending = std::move(specialised_);
    specialisations_ = 0;
  }
}

}  // namespace inflight::mx::detail
