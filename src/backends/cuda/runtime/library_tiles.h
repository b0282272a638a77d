// SPDX-License-Identifier: Apache-2.0
// Tiles of cuBLASLt's kernels, chosen by the rows of the product: its kernels come with any multiple of 8 rows, and what
// it proposes is a few of them.
#pragma once

#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <vector>

namespace inflight::cuda {

// cuBLASLt counts columns first: to it, 200 rows and 128 columns are the tile 128x200.
struct LibraryTile {
  int rows;
  int columns;
  std::uint32_t id;  // CUBLASLT_ALGO_CONFIG_TILE_ID
};

// Those that cut so many rows into few equal pieces. No algorithm of the library takes all of them.
//   rows   at least 1
inline std::vector<LibraryTile> library_tiles(std::int64_t rows) {
  constexpr int kUnit = 8, kRowsMax = 256, kMorePieces = 4;
  struct Ids {
    std::uint32_t narrow, wide;  // of 64 and of 128 columns
  };
#define INFLIGHT_IDS(n) \
  Ids { CUBLASLT_MATMUL_TILE_64x##n, CUBLASLT_MATMUL_TILE_128x##n }
  static constexpr std::array kIds{
      INFLIGHT_IDS(8),   INFLIGHT_IDS(16),  INFLIGHT_IDS(24),  INFLIGHT_IDS(32),  INFLIGHT_IDS(40),
      INFLIGHT_IDS(48),  INFLIGHT_IDS(56),  INFLIGHT_IDS(64),  INFLIGHT_IDS(72),  INFLIGHT_IDS(80),
      INFLIGHT_IDS(88),  INFLIGHT_IDS(96),  INFLIGHT_IDS(104), INFLIGHT_IDS(112), INFLIGHT_IDS(120),
      INFLIGHT_IDS(128), INFLIGHT_IDS(136), INFLIGHT_IDS(144), INFLIGHT_IDS(152), INFLIGHT_IDS(160),
      INFLIGHT_IDS(168), INFLIGHT_IDS(176), INFLIGHT_IDS(184), INFLIGHT_IDS(192), INFLIGHT_IDS(200),
      INFLIGHT_IDS(208), INFLIGHT_IDS(216), INFLIGHT_IDS(224), INFLIGHT_IDS(232), INFLIGHT_IDS(240),
      INFLIGHT_IDS(248), INFLIGHT_IDS(256)};
#undef INFLIGHT_IDS
  static_assert(kIds.size() * kUnit == kRowsMax);
  std::vector<LibraryTile> tiles;
  const std::int64_t fewest = (rows + kRowsMax - 1) / kRowsMax;
  for (std::int64_t pieces = fewest; pieces <= fewest + kMorePieces; ++pieces) {
    const std::int64_t units = ((rows + pieces - 1) / pieces + kUnit - 1) / kUnit;
    const Ids& ids = kIds[static_cast<std::size_t>(units - 1)];
    const int height = static_cast<int>(units) * kUnit;
    if (tiles.empty() || tiles.back().rows != height)
      tiles.insert(tiles.end(), {{height, 64, ids.narrow}, {height, 128, ids.wide}});
  }
  return tiles;
}

}  // namespace inflight::cuda
