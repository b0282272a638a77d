// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/product_tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "backends/cuda/kernel_source.h"
#include "base/check.h"

namespace inflight::cuda {
namespace {

constexpr std::int64_t kUnit = 8;  // elements of one load
constexpr int kCapability = 80, kClusterCapability = 90;
constexpr int kSplitMax = 8;  // blocks of a cluster that every device takes

bool fits(const ProductShape& shape) {
  if (shape.dtype != DType::kF16 && shape.dtype != DType::kBF16) return false;
  if (shape.result_dtype != shape.dtype && shape.result_dtype != DType::kF32) return false;
  for (const std::int64_t row :
       {shape.k, shape.n, shape.row_a, shape.row_b, shape.row_c, shape.row_residual}) {
    if (row % kUnit != 0) return false;
  }
  // Offsets are counted in 32 bits.
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  return shape.m > 0 && shape.m * std::max({shape.row_a, shape.row_c, shape.row_residual}) < kMost &&
         std::max(shape.n, shape.k) * shape.row_b < kMost;
}

bool aligned(const GpuGraph& graph, std::initializer_list<TensorId> ids) {
  return std::all_of(ids.begin(), ids.end(),
                     [&](TensorId id) { return id == kNoTensor || graph.tensor(id).offset % 16 == 0; });
}

// Whether the places of an image with channels last are the rows of a matrix.
bool is_matrix(const GpuTensor& image) {
  const Extents& extents = image.extents;
  const Extents& strides = image.strides;
  return strides[1] == 1 && (extents[2] == 1 || strides[2] == extents[3] * strides[3]) &&
         (extents[0] == 1 || strides[0] == extents[2] * extents[3] * strides[3]);
}

// What follows the product, whose last dimension but one counts the rows.
void take_epilogue(ProductShape& shape, const EpilogueShape& epilogue) {
  const std::size_t row = epilogue.extents.size() - 2;
  shape.row_c = epilogue.strides[row];
  shape.result_dtype = epilogue.dtype;
  shape.has_bias = epilogue.has_bias;
  shape.bias_dtype = epilogue.bias_dtype;
  shape.has_residual = epilogue.has_residual;
  if (epilogue.has_residual) shape.row_residual = epilogue.residual_strides[row];
  shape.activation = epilogue.activation;
}

std::int64_t steps_of(const ProductShape& shape, const ProductTile& tile) {
  return (shape.k + tile.k - 1) / tile.k;
}

std::int64_t tiles_of(const ProductShape& shape, const ProductTile& tile) {
  return (shape.m + tile.m - 1) / tile.m * ((shape.n + tile.n - 1) / tile.n);
}

std::size_t shared_bytes(const ProductTile& tile) {
  const int operands = tile.stages * (tile.m + tile.n) * tile.k * 2;
  const int sums = tile.m * (tile.n + 4) * 4;
  return static_cast<std::size_t>(std::max(operands, sums));
}

// Where row `m` of the product lies in x, and which place of the window it is at; a matrix has one place.
constexpr const char* kRowsOfWindow = R"(
    const int image = m / (kOutH * kOutW), place = m % (kOutH * kOutW);
    high[i] = m < M ? place / kOutW * kStrideH - kPadH : -(1 << 28);
    wide[i] = place % kOutW * kStrideW - kPadW;
    from_a[i] = image * kImage + high[i] * kLine + wide[i] * kRowA;
)";
constexpr const char* kRowsOfMatrix = R"(
    high[i] = m < M ? 0 : -1;
    from_a[i] = m * kRowA;
)";
constexpr const char* kLoadOfWindow = R"(
    const int window = k / kChannels, r = window / kKernelW * kDilationH, s = window % kKernelW * kDilationW;
    const int move = r * kLine + s * kRowA + k % kChannels;
    UNROLL
    for (int i = 0; i < kLoadsA; ++i) {
      const bool is = k < K && (unsigned)(high[i] + r) < (unsigned)kInH && (unsigned)(wide[i] + s) < (unsigned)kInW;
      copy(to + (row + i * kRowsAtOnce) * kTileK * 2 + place, a + (is ? from_a[i] + move : 0), is);
    }
)";
constexpr const char* kLoadOfMatrix = R"(
    UNROLL
    for (int i = 0; i < kLoadsA; ++i) {
      const bool is = k < K && high[i] == 0;
      copy(to + (row + i * kRowsAtOnce) * kTileK * 2 + place, a + (is ? from_a[i] + k : 0), is);
    }
)";
constexpr const char* kLoadOfB = R"(
    UNROLL
    for (int i = 0; i < kTileN / kRowsAtOnce; ++i) {
      const int n = first_n + row + i * kRowsAtOnce;
      const bool is = k < K && n < N;
      copy(to_b + (row + i * kRowsAtOnce) * kTileK * 2 + place, b + (is ? n * kRowB + k : 0), is);
    }
)";
// Rows of k, each of the tile's n.
constexpr const char* kLoadOfRowsOfB = R"(
    UNROLL
    for (int i = 0; i < kTileK / kRowsAtOnceB; ++i) {
      const int at = thread / kChunksB + i * kRowsAtOnceB, n = first_n + thread % kChunksB * 8;
      const bool is = step * kTileK + at < K && n < N;
      copy(to_b + at * kTileN * 2 + (thread % kChunksB ^ SWIZZLE(at, kChunksB)) * 16,
           b + (is ? (step * kTileK + at) * kRowB + n : 0), is);
    }
)";
constexpr const char* kFragmentsOfB = R"(
        const int at = warp_n * kWarpN + j * 8 + lane / 16 * 8 + lane % 8, chunk = inner * 2 + lane / 8 % 2;
        LDMATRIX("", wb[j], wb[j + 1], from_b + at * kTileK * 2 + (chunk ^ SWIZZLE(at, kChunks)) * 16);
)";
constexpr const char* kFragmentsOfRowsOfB = R"(
        const int at = inner * 16 + lane % 16, chunk = (warp_n * kWarpN + j * 8) / 8 + lane / 16;
        LDMATRIX(".trans", wb[j], wb[j + 1], from_b + at * kTileN * 2 + (chunk ^ SWIZZLE(at, kChunksB)) * 16);
)";

// A block's operands come to shared memory stage by stage, in pieces of 16 bytes whose places in a row are swapped so
// that ldmatrix meets no bank twice. The sums go back through shared memory, which the blocks of a cluster read from
// each other, so that the results leave in pieces of 16 bytes too.
constexpr const char* kBody = R"(
  constexpr int kThreads = kWarpsM * kWarpsN * 32, kWarpM = kTileM / kWarpsM, kWarpN = kTileN / kWarpsN;
  constexpr int kChunks = kTileK / 8, kRowsAtOnce = kThreads / kChunks, kLoadsA = kTileM / kRowsAtOnce;
  constexpr int kChunksB = kTileN / 8, kRowsAtOnceB = kThreads / kChunksB;
  constexpr int kStageBytes = (kTileM + kTileN) * kTileK * 2, kPitch = kTileN + 4;
  constexpr int kTilesM = (M + kTileM - 1) / kTileM, kSteps = (K + kTileK - 1) / kTileK;
#define SWIZZLE(at, chunks) ((chunks) >= 8 ? (at) & 7 : (at) >> 1 & 3)
#define LDMATRIX(how, x, y, from)                                                                               \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4" how ".shared.b16 {%0, %1, %2, %3}, [%4];"                        \
               : "=r"(x[0]), "=r"(x[1]), "=r"(y[0]), "=r"(y[1]) : "r"(from) : "memory")
  extern __shared__ uint4 shared_memory[];
  const unsigned shared = (unsigned)__cvta_generic_to_shared(shared_memory);
  const auto copy = [](unsigned to, const unsigned short* from, bool is) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(to), "l"(from), "r"(is ? 16 : 0) : "memory");
  };
  const int thread = threadIdx.x, lane = thread % 32, warp_m = thread / 32 / kWarpsN, warp_n = thread / 32 % kWarpsN;
  const int part = blockIdx.x % kSplit, tile = blockIdx.x / kSplit;
  const int first_m = tile % kTilesM * kTileM, first_n = tile / kTilesM * kTileN;
  const int begin = kSteps * part / kSplit, end = kSteps * (part + 1) / kSplit;
  const int row = thread / kChunks;
  int from_a[kLoadsA], high[kLoadsA], wide[kLoadsA];
  UNROLL
  for (int i = 0; i < kLoadsA; ++i) {
    const int m = first_m + row + i * kRowsAtOnce;
    wide[i] = 0;
    ROWS_OF_A
  }
  const int chunk_of_load = thread % kChunks;
  const unsigned place = (chunk_of_load ^ SWIZZLE(row, kChunks)) * 16;
  const auto load_a = [&](int step) {
    const unsigned to = shared + (step - begin) % kStages * kStageBytes;
    const int k = step * kTileK + chunk_of_load * 8;
    LOAD_OF_A
  };
  const auto load_b = [&](int step) {
    const unsigned to_b = shared + (step - begin) % kStages * kStageBytes + kTileM * kTileK * 2;
    const int k = step * kTileK + chunk_of_load * 8;
    LOAD_OF_B
  };
  float sums[kWarpM / 16][kWarpN / 8][4] = {};
  // Weights are there before the kernel ahead has ended.
  if (!kConstantB) WAIT_FOR_WORK_AHEAD();
  UNROLL
  for (int i = 0; i < kStages - 1; ++i)
    if (begin + i < end) load_b(begin + i);
  if (kConstantB) WAIT_FOR_WORK_AHEAD();
  // Not before: several kernels that wait would take the room of the one that runs.
  if (next_is_early) LET_NEXT_COME();
  UNROLL
  for (int i = 0; i < kStages - 1; ++i) {
    if (begin + i < end) load_a(begin + i);
    asm volatile("cp.async.commit_group;" ::: "memory");
  }
  for (int step = begin; step < end; ++step) {
    asm volatile("cp.async.wait_group %0;" :: "n"(kStages - 2) : "memory");
    __syncthreads();
    if (step + kStages - 1 < end) {
      load_a(step + kStages - 1);
      load_b(step + kStages - 1);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
    const unsigned from = shared + (step - begin) % kStages * kStageBytes, from_b = from + kTileM * kTileK * 2;
    UNROLL
    for (int inner = 0; inner < kTileK / 16; ++inner) {
      unsigned wa[kWarpM / 16][4], wb[kWarpN / 8][2];
      UNROLL
      for (int i = 0; i < kWarpM / 16; ++i) {
        const int at = warp_m * kWarpM + i * 16 + lane % 16, chunk = inner * 2 + lane / 16;
        LDMATRIX("", wa[i], (wa[i] + 2), from + at * kTileK * 2 + (chunk ^ SWIZZLE(at, kChunks)) * 16);
      }
      UNROLL
      for (int j = 0; j < kWarpN / 8; j += 2) {
        FRAGMENTS_OF_B
      }
      UNROLL
      for (int i = 0; i < kWarpM / 16; ++i)
        UNROLL
        for (int j = 0; j < kWarpN / 8; ++j)
          asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.$T.$T.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                       "{%0, %1, %2, %3};"
                       : "+f"(sums[i][j][0]), "+f"(sums[i][j][1]), "+f"(sums[i][j][2]), "+f"(sums[i][j][3])
                       : "r"(wa[i][0]), "r"(wa[i][1]), "r"(wa[i][2]), "r"(wa[i][3]), "r"(wb[j][0]), "r"(wb[j][1]));
    }
  }
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();
  float* const together = (float*)shared_memory;
  UNROLL
  for (int i = 0; i < kWarpM / 16; ++i)
    UNROLL
    for (int j = 0; j < kWarpN / 8; ++j)
      UNROLL
      for (int half = 0; half < 2; ++half)
        *(float2*)&together[(warp_m * kWarpM + i * 16 + half * 8 + lane / 4) * kPitch + warp_n * kWarpN + j * 8 +
                            lane % 4 * 2] = make_float2(sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
  SYNC_ALL
  UNROLL
  for (int i = 0; i < (kTileM * kChunksB - 1) / (kThreads * kSplit) + 1; ++i) {
    const int piece = (i * kSplit + part) * kThreads + thread;
    const int at_m = piece / kChunksB, at_n = piece % kChunksB * 8, m = first_m + at_m, n = first_n + at_n;
    if (piece >= kTileM * kChunksB || m >= M || n >= N) continue;
    float value[8] = {};
    UNROLL
    for (int p = 0; p < kSplit; ++p) {
      float4 low, high;
      READ_PART
      value[0] += low.x; value[1] += low.y; value[2] += low.z; value[3] += low.w;
      value[4] += high.x; value[5] += high.y; value[6] += high.z; value[7] += high.w;
    }
    EMPTY_PIECE
    ADDED
    UNROLL
    for (int e = 0; e < 8; ++e) {
      float v = value[e] * kAlpha ADD_BIAS ADD_RESIDUAL;
      SET_ELEMENT(e, ACTIVATED);
    }
    STORE_PIECE
  }
  SYNC_END
}
#undef SWIZZLE
#undef LDMATRIX
#undef SET_ELEMENT
)";

constexpr const char* kHalf = R"(
#define SET_ELEMENT(e, value) result.at[e] = to_$T(value)
    Pack<unsigned short, 8> result;
)";
constexpr const char* kStoreHalf = "*(Pack<unsigned short, 8>*)(out + m * kRowC + n) = result;";
constexpr const char* kReal = R"(
#define SET_ELEMENT(e, value) ((e) < 4 ? low : high).at[(e) & 3] = value
    Pack<float, 4> low, high;
)";
constexpr const char* kStoreReal = R"(
    *(Pack<float, 4>*)(out + m * kRowC + n) = low, *(Pack<float, 4>*)(out + m * kRowC + n + 4) = high;
)";

constexpr const char* kReadOwn = R"(
      low = *(const float4*)&together[at_m * kPitch + at_n], high = *(const float4*)&together[at_m * kPitch + at_n + 4];
)";
constexpr const char* kReadOthers = R"(
      unsigned from;
      asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(from) : "r"(shared + (at_m * kPitch + at_n) * 4), "r"(p));
      asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                   : "=f"(low.x), "=f"(low.y), "=f"(low.z), "=f"(low.w) : "r"(from) : "memory");
      asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                   : "=f"(high.x), "=f"(high.y), "=f"(high.z), "=f"(high.w) : "r"(from + 16) : "memory");
)";
constexpr const char* kSyncCluster = R"(
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
)";

std::string constants_of(const ProductShape& shape, const ProductTile& tile) {
  std::string text = fmt::format(
      "  constexpr int M = {}, N = {}, K = {}, kRowA = {}, kRowB = {}, kRowC = {};\n"
      "  constexpr int kTileM = {}, kTileN = {}, kTileK = {}, kWarpsM = {}, kWarpsN = {}, kStages = {}, "
      "kSplit = {};\n"
      "  constexpr float kAlpha = {:.9e}f;\n  constexpr bool kConstantB = {};\n",
      shape.m, shape.n, shape.k, shape.row_a, shape.row_b, shape.row_c, tile.m, tile.n, tile.k, tile.warps_m,
      tile.warps_n, tile.stages, tile.split, shape.alpha, shape.constant_b);
  if (!shape.window) return text;
  const ProductShape::Window& window = *shape.window;
  text += fmt::format(
      "  constexpr int kChannels = {}, kInH = {}, kInW = {}, kImage = {}, kLine = {}, kOutH = {}, kOutW = "
      "{};\n",
      window.x[1], window.x[2], window.x[3], window.x_strides[0], window.x_strides[2], window.y[2],
      window.y[3]);
  text += fmt::format(
      "  constexpr int kKernelW = {}, kStrideH = {}, kStrideW = {}, kDilationH = {}, kDilationW = {}, kPadH "
      "= {}, "
      "kPadW = {};\n",
      window.kernel[1], window.strides[0], window.strides[1], window.dilations[0], window.dilations[1],
      window.pads[0], window.pads[1]);
  return text;
}

}  // namespace

std::optional<ProductShape> product_shape(const GpuGraph& graph, const ConvolutionStep& step) {
  const GpuTensor& x = graph.tensor(step.x);
  const GpuTensor& w = graph.tensor(step.w);
  const GpuTensor& y = graph.tensor(step.y);
  ProductShape shape;
  shape.dtype = x.dtype;
  shape.m = y.extents[0] * y.extents[2] * y.extents[3];
  shape.n = y.extents[1];
  shape.k = w.extents[1] * w.extents[2] * w.extents[3];
  shape.row_a = x.strides[3];
  shape.row_b = w.strides[0];
  shape.constant_b = w.storage == Storage::kConstant;
  take_epilogue(shape, epilogue_of(graph, step));
  if (!aligned(graph, {step.x, step.w, step.bias, step.residual, step.y})) return std::nullopt;
  const bool dense_w = w.strides[1] == 1 && (w.extents[3] == 1 || w.strides[3] == w.extents[1]) &&
                       (w.extents[2] == 1 || w.strides[2] == w.extents[1] * w.extents[3]);
  if (step.groups != 1 || !dense_w || !is_matrix(y) || x.strides[1] != 1 || x.extents[1] % kUnit != 0)
    return std::nullopt;
  if (step.residual != kNoTensor) {
    const GpuTensor& residual = graph.tensor(step.residual);
    if (!is_matrix(residual) || residual.extents != y.extents || residual.dtype != x.dtype)
      return std::nullopt;
  }
  const bool one_place = w.extents[2] == 1 && w.extents[3] == 1 && step.strides == Extents{1, 1} &&
                         step.pads_begin == Extents{0, 0} && step.pads_end == Extents{0, 0};
  if (!one_place || !is_matrix(x)) {
    if (x.strides[0] % kUnit != 0 || x.strides[2] % kUnit != 0) return std::nullopt;
    shape.window =
        ProductShape::Window{x.extents,    x.strides,      y.extents,      {w.extents[2], w.extents[3]},
                             step.strides, step.dilations, step.pads_begin};
  }
  return fits(shape) ? std::optional(shape) : std::nullopt;
}

std::optional<ProductShape> product_shape(const GpuGraph& graph, const MatmulStep& step) {
  ProductShape shape;
  shape.dtype = graph.tensor(step.a).dtype;
  shape.m = step.m;
  shape.n = step.n;
  shape.k = step.k;
  shape.row_a = row_stride(graph.tensor(step.a));
  shape.row_b = row_stride(graph.tensor(step.b));
  take_epilogue(shape, epilogue_of(graph, step));
  shape.transposed_b = step.transpose_b;
  shape.constant_b = graph.tensor(step.b).storage == Storage::kConstant;
  shape.alpha = step.alpha;
  if (step.batch != 1 || step.transpose_a) return std::nullopt;
  if (!aligned(graph, {step.a, step.b, step.bias, step.residual, step.c})) return std::nullopt;
  if (step.residual != kNoTensor && graph.tensor(step.residual).dtype != shape.dtype) return std::nullopt;
  if (graph.tensor(step.b).dtype != shape.dtype) return std::nullopt;
  return fits(shape) ? std::optional(shape) : std::nullopt;
}

std::string tile_name(const ProductTile& tile) {
  return fmt::format("tile {}x{}x{} {}x{} warps {} stages {} parts", tile.m, tile.n, tile.k, tile.warps_m,
                     tile.warps_n, tile.stages, tile.split);
}

std::vector<ProductTile> product_tiles(const ProductShape& shape, int multiprocessors,
                                       int compute_capability) {
  std::vector<ProductTile> tiles;
  if (compute_capability < kCapability) return tiles;
  // Those that were the fastest for some layer of ResNet-50, MobileNetV2 or ViT-B/16 on an H200, the most frequent first.
  constexpr std::array<ProductTile, 10> kTiles{{{32, 32, 64, 2, 2, 4},
                                                {64, 64, 64, 2, 2, 4},
                                                {32, 64, 64, 2, 2, 4},
                                                {16, 64, 64, 1, 4, 4},
                                                {32, 32, 128, 2, 2, 3},
                                                {64, 64, 128, 2, 2, 3},
                                                {32, 64, 128, 2, 2, 3},
                                                {64, 32, 64, 2, 2, 4},
                                                {64, 128, 64, 2, 4, 3},
                                                {128, 64, 64, 4, 2, 3}}};
  for (ProductTile tile : kTiles) {
    if ((shape.m <= 16) != (tile.m == 16)) continue;
    // More than half of it would be empty.
    if ((tile.m > 32 && tile.m >= 2 * shape.m) || (tile.n > 32 && tile.n >= 2 * shape.n)) continue;
    // A stage that is longer than the sum would load nothing.
    if (tile.k > 64 && shape.k <= 64) continue;
    if (shape.k <= 32 && tile.m > 16 && tile.warps_m * tile.warps_n == 4) tile.k = 32;
    const std::int64_t steps = steps_of(shape, tile);
    tile.stages = static_cast<int>(std::clamp<std::int64_t>(steps, 2, tile.stages));
    const std::int64_t count = tiles_of(shape, tile);
    tiles.push_back(tile);
    if (compute_capability < kClusterCapability) continue;
    for (std::int64_t split = 2; split <= kSplitMax && steps >= 2 * split; split *= 2) {
      // Half of the device or more, but no more than twice as many blocks as it takes at a time.
      const std::int64_t blocks = count * split;
      const bool last = split * 2 > kSplitMax || steps < 4 * split;
      if (blocks > std::int64_t{2} * multiprocessors) break;
      tile.split = static_cast<int>(split);
      if (2 * blocks >= multiprocessors || last) tiles.push_back(tile);
    }
  }
  return tiles;
}

StepSource product_source(const ProductShape& shape, const ProductTile& tile) {
  INFLIGHT_CHECK(fits(shape));
  const int threads = tile.warps_m * tile.warps_n * 32;
  const bool clustered = tile.split > 1;
  std::string text = "extern \"C\" KERNEL void ";
  if (clustered) text += fmt::format("__cluster_dims__({}, 1, 1) ", tile.split);
  text += fmt::format(
      "BOUNDS({}) run(const unsigned short* RESTRICT a, const unsigned short* RESTRICT b{}{}, "
      "{}* RESTRICT out, const int next_is_early) {{\n",
      threads,
      !shape.has_bias                   ? ""
      : shape.bias_dtype == DType::kF32 ? ", const float* RESTRICT bias"
                                        : ", const unsigned short* RESTRICT bias",
      shape.has_residual ? ", const unsigned short* RESTRICT residual" : "",
      shape.result_dtype == DType::kF32 ? "float" : "unsigned short");
  text += constants_of(shape, tile);
  text += kBody;
  text = replaced(std::move(text), "ROWS_OF_A", shape.window ? kRowsOfWindow : kRowsOfMatrix);
  text = replaced(std::move(text), "LOAD_OF_A", shape.window ? kLoadOfWindow : kLoadOfMatrix);
  text = replaced(std::move(text), "LOAD_OF_B", shape.transposed_b ? kLoadOfB : kLoadOfRowsOfB);
  text =
      replaced(std::move(text), "FRAGMENTS_OF_B", shape.transposed_b ? kFragmentsOfB : kFragmentsOfRowsOfB);
  text = replaced(std::move(text), "SYNC_ALL", clustered ? kSyncCluster : "__syncthreads();");
  text = replaced(std::move(text), "SYNC_END", clustered ? kSyncCluster : "");
  text = replaced(std::move(text), "READ_PART", clustered ? kReadOthers : kReadOwn);
  std::string added;
  if (shape.has_bias) {
    added += shape.bias_dtype == DType::kF32
                 ? "const Pack<float, 4> bias_low = *(const Pack<float, 4>*)(bias + n), bias_high = "
                   "*(const Pack<float, 4>*)(bias + n + 4);\n"
                 : "const Pack<unsigned short, 8> more = *(const Pack<unsigned short, 8>*)(bias + n);\n";
  }
  if (shape.has_residual) {
    added += fmt::format(
        "    const Pack<unsigned short, 8> old = *(const Pack<unsigned short, 8>*)(residual + m * {} + n);\n",
        shape.row_residual);
  }
  text = replaced(std::move(text), "ADDED", added);
  const bool real = shape.result_dtype == DType::kF32;
  text = replaced(std::move(text), "STORE_PIECE", real ? kStoreReal : kStoreHalf);
  text = replaced(std::move(text), "EMPTY_PIECE", real ? kReal : kHalf);
  text =
      replaced(std::move(text), "ADD_BIAS",
               !shape.has_bias ? ""
               : shape.bias_dtype == DType::kF32
                   ? "+ (e < 4 ? bias_low.at[e & 3] : bias_high.at[e & 3])"
                   : fmt::format("+ load_{}(&more.at[e])", shape.bias_dtype == DType::kF16 ? "f16" : "bf16"));
  text = replaced(std::move(text), "ADD_RESIDUAL", shape.has_residual ? "+ load_$T(&old.at[e])" : "");
  text = replaced(std::move(text), "ACTIVATED", activated(shape.activation, "v"));
  text = replaced(std::move(text), "$T", shape.dtype == DType::kF16 ? "f16" : "bf16");
  return {std::move(text), tiles_of(shape, tile) * tile.split, threads, shared_bytes(tile)};
}

}  // namespace inflight::cuda
