// SPDX-License-Identifier: Apache-2.0
// TileKernels: our kernels on tensor cores for one convolution or matmul, and Ways: their place among the candidates of
// its plan.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/runtime/product_tiles.h"
#include "backends/cuda/runtime/step_plan.h"

namespace inflight::cuda {

class TileKernels {
 public:
  TileKernels(const std::shared_ptr<GpuDevice>& device, const std::optional<ProductShape>& shape,
              const DiskCache& cache)
      : shape_(shape) {
    if (shape) tiles_ = product_tiles(*shape, device->multiprocessors(), device->compute_capability());
    for (std::size_t i = 0; i < tiles_.size(); ++i)
      kernels_.push_back(std::make_unique<OwnKernels>(device, cache));
  }

  std::size_t count() const noexcept { return tiles_.size(); }
  std::string name(std::size_t i) const { return tile_name(tiles_[i]); }
  Status prepare(std::size_t i) { return kernels_[i]->prepare_direct(product_source(*shape_, tiles_[i])); }
  Status enqueue(std::size_t i, CUstream stream, const Operands& operands) const {
    return kernels_[i]->enqueue_direct(stream, operands);
  }

 private:
  const std::optional<ProductShape> shape_;
  std::vector<ProductTile> tiles_;
  std::vector<std::unique_ptr<OwnKernels>> kernels_;  // of each tile
};

// The candidates of a plan: a library's fused ones, its bare product with a kernel after it, and the one that always works.
// Tiles come after the library's favourites, so that tuning that has time for a few candidates tries both.
class Ways {
 public:
  enum class Kind : std::uint8_t { kFused, kTile, kSplit, kDirect };
  struct Way {
    Kind kind;
    std::size_t index;  // among those of its kind
    int rank;           // as StepPlan::candidate_rank()
    bool is_own() const noexcept { return kind == Kind::kTile || kind == Kind::kDirect; }
  };

  Ways() = default;
  Ways(std::size_t fused, std::size_t tiles, std::size_t split)
      : fused_(fused), tiles_(tiles), split_(split) {}

  std::size_t count() const noexcept { return fused_ + tiles_ + split_ + 1; }
  Way at(std::size_t candidate) const noexcept {
    const std::size_t first_tile = std::min(kFavourites, fused_ != 0 ? fused_ : split_);
    if (candidate >= first_tile && candidate < first_tile + tiles_)
      return {Kind::kTile, candidate - first_tile, fused_ != 0 ? 0 : 1};
    if (candidate >= first_tile) candidate -= tiles_;
    if (candidate < fused_) return {Kind::kFused, candidate, 0};
    if (candidate < fused_ + split_) return {Kind::kSplit, candidate - fused_, 1};
    return {Kind::kDirect, 0, 2};
  }

 private:
  static constexpr std::size_t kFavourites = 3;
  std::size_t fused_ = 0, tiles_ = 0, split_ = 0;
};

}  // namespace inflight::cuda
