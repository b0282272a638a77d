// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/tensor_table.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <openvino/core/type/bfloat16.hpp>
#include <openvino/core/type/float16.hpp>
#include <utility>

#include "backends/cuda/memory_plan.h"
#include "base/check.h"

namespace inflight::cuda {
namespace {

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<float>& values) {
  const std::vector<T> converted(values.begin(), values.end());
  std::vector<std::byte> bytes(converted.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), converted.data(), bytes.size());
  return bytes;
}

}  // namespace

std::vector<std::byte> encoded(const std::vector<float>& values, DType dtype) {
  if (dtype == DType::kF16) return bytes_of<ov::float16>(values);
  if (dtype == DType::kBF16) return bytes_of<ov::bfloat16>(values);
  INFLIGHT_CHECK(dtype == DType::kF32);
  return bytes_of<float>(values);
}

TensorId TensorTable::add(const std::string& name, DType dtype, Storage storage, Extents extents,
                          Extents strides) {
  const auto id = static_cast<TensorId>(graph_.tensors.size());
  graph_.tensors.push_back({name, dtype, std::move(extents), std::move(strides), storage, 0, {}});
  owner_.push_back(id);
  return id;
}

TensorId TensorTable::add_constant(const std::string& name, DType dtype, Extents extents, Extents strides,
                                   std::vector<std::byte> bytes) {
  const TensorId id = add(name, dtype, Storage::kConstant, std::move(extents), std::move(strides));
  graph_.tensors.back().constant = std::move(bytes);
  return id;
}

TensorId TensorTable::add_view(TensorId of, const Strided& view) {
  const GpuTensor source = (*this)[of];
  INFLIGHT_CHECK(source.storage == Storage::kScratch);
  const TensorId id = add(source.name, source.dtype, Storage::kScratch, view.extents, view.strides);
  owner_.back() = owner_[static_cast<std::size_t>(of)];
  // Relative to the owner until plan_memory().
  graph_.tensors.back().offset =
      source.offset + static_cast<std::size_t>(view.offset) * dtype_bytes(source.dtype);
  return id;
}

void TensorTable::plan_memory() {
  constexpr std::size_t kUnused = std::numeric_limits<std::size_t>::max();
  std::vector<Lifetime> of_tensor(graph_.tensors.size(), {0, kUnused, 0});
  for (std::size_t step = 0; step < graph_.steps.size(); ++step) {
    std::vector<TensorId> used = reads_of(graph_.steps[step]);
    const std::vector<TensorId> written = writes_of(graph_.steps[step]);
    used.insert(used.end(), written.begin(), written.end());
    for (const TensorId id : used) {
      Lifetime& lifetime = of_tensor[static_cast<std::size_t>(owner_[static_cast<std::size_t>(id)])];
      lifetime.first = std::min(lifetime.first, step);
      lifetime.last = std::max(lifetime.last, step);
    }
  }
  std::vector<Lifetime> lifetimes;
  std::vector<std::size_t> index(graph_.tensors.size(), 0);
  for (std::size_t i = 0; i < graph_.tensors.size(); ++i) {
    if (graph_.tensors[i].storage != Storage::kScratch || owner_[i] != static_cast<TensorId>(i)) continue;
    // What no step uses, because it has no elements, has a place all the same.
    const std::size_t first = of_tensor[i].first == kUnused ? 0 : of_tensor[i].first;
    index[i] = lifetimes.size();
    lifetimes.push_back({graph_.tensors[i].bytes(), first, of_tensor[i].last});
  }
  const MemoryPlan plan = cuda::plan_memory(lifetimes);
  for (std::size_t i = 0; i < graph_.tensors.size(); ++i) {
    const auto owner = static_cast<std::size_t>(owner_[i]);
    if (graph_.tensors[i].storage == Storage::kScratch)
      graph_.tensors[i].offset += plan.offsets[index[owner]];
  }
  graph_.scratch_bytes = plan.bytes;
}

}  // namespace inflight::cuda
