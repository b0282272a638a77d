// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/attention_sources.h"

#include <fmt/format.h>

#include <algorithm>

#include "backends/cuda/kernel_source.h"
#include "base/check.h"

namespace inflight::cuda {
namespace {

constexpr int kDirectThreads = 128;
constexpr std::int64_t kBlocksMax = 1 << 20;
constexpr std::int64_t kWidthUnit = 32;             // of D and E, for tiles
constexpr std::int64_t kSharedBytesMax = 44 << 10;  // that a tile's warps put their results together in

struct Sizes {
  std::int64_t batches, heads, rows, keys, depth, width;  // B, H, M, N, D, E
};

Sizes sizes_of(const GpuGraph& graph, const AttentionStep& step) {
  const Extents& q = graph.tensor(step.q).extents;
  const Extents& v = graph.tensor(step.v).extents;
  return {q[0], q[1], q[2], v[2], q[3], v[3]};
}

// A stride of 0 where the extent is one that is repeated.
std::int64_t stride_of(const GpuTensor& one, std::size_t axis) {
  return one.extents[axis] == 1 ? 0 : one.strides[axis];
}

// The sizes as constants, the parameters, and where the block's own head begins in each operand. The body sets `batch`
// and `head` before it uses Q, K, V, MASK and OUT.
std::string head_of(const GpuGraph& graph, const AttentionStep& step, int threads) {
  const Sizes sizes = sizes_of(graph, step);
  const bool masked = step.mask != kNoTensor;
  std::string text = fmt::format(
      "extern \"C\" KERNEL void BOUNDS({}) run(const unsigned short* RESTRICT q, const unsigned short* "
      "RESTRICT k,\n"
      "    const unsigned short* RESTRICT v,{} unsigned short* RESTRICT out) {{\n"
      "  constexpr int kHeads = {}, M = {}, N = {}, D = {}, E = {};\n",
      threads, masked ? " const unsigned short* RESTRICT mask," : "", sizes.heads, sizes.rows, sizes.keys,
      sizes.depth, sizes.width);
  text += fmt::format("  constexpr float kScale = {:.9e}f;\n", step.scale);
  const auto place = [&](const char* name, const char* from, TensorId id) {
    const GpuTensor& one = graph.tensor(id);
    text += fmt::format("#define {}_ROW(i) ({} + batch * {}ll + head * {}ll + (i) * {}ll)\n", name, from,
                        stride_of(one, 0), stride_of(one, 1), stride_of(one, 2));
  };
  place("Q", "q", step.q);
  place("K", "k", step.k);
  place("V", "v", step.v);
  place("OUT", "out", step.out);
  if (masked) place("MASK", "mask", step.mask);
  return text;
}

std::string tail_of() {
  return "}\n#undef Q_ROW\n#undef K_ROW\n#undef V_ROW\n#undef OUT_ROW\n#undef MASK_ROW\n";
}

std::string with_dtype(std::string text, DType dtype) {
  INFLIGHT_CHECK(dtype == DType::kF16 || dtype == DType::kBF16);
  return replaced(std::move(text), "$T", dtype == DType::kF16 ? "f16" : "bf16");
}

// The scores of up to 1,024 keys at a time, with the softmax of those before corrected as the largest grows.
constexpr const char* kDirectBody = R"(
  constexpr int kKeys = 1024, kParts = ON_DEVICE((E + 127) / 128, E);
  SHARED float scores[kKeys];
  for (long long row = blockIdx.x; row < kRows; row += gridDim.x) {
    const long long i = row % M, head = row / M % kHeads, batch = row / M / kHeads;
    const unsigned short* query = Q_ROW(i);
    float largest = -F_INF, sum = 0.0f, parts[kParts];
    for (int p = 0; p < kParts; ++p) parts[p] = 0.0f;
    for (int first = 0; first < N; first += kKeys) {
      const int count = m_min(kKeys, N - first);
      float top = -F_INF;
      for (int j = threadIdx.x; j < count; j += blockDim.x) {
        const unsigned short* key = K_ROW(first + j);
        float score = 0.0f;
        for (int d = 0; d < D; ++d) score += load_$T(query + d) * load_$T(key + d);
        score = score * kScale ADD_MASK;
        scores[j] = score;
        top = m_max(top, score);
      }
      const float now = m_max(largest, block_reduce(top, Max()));
      const float base = now == -F_INF ? 0.0f : now;
      float part = 0.0f;
      for (int j = threadIdx.x; j < count; j += blockDim.x) {
        scores[j] = m_exp(scores[j] - base);
        part += scores[j];
      }
      part = block_reduce(part, Sum());
      const float kept = m_exp(largest - base);
      sum = sum * kept + part;
      for (int p = 0; p < kParts; ++p) {
        const int e = p * (int)blockDim.x + (int)threadIdx.x;
        if (e >= E) continue;
        float value = parts[p] * kept;
        for (int j = 0; j < count; ++j) value += scores[j] * load_$T(V_ROW(first + j) + e);
        parts[p] = value;
      }
      largest = now;
      __syncthreads();
    }
    for (int p = 0; p < kParts; ++p) {
      const int e = p * (int)blockDim.x + (int)threadIdx.x;
      if (e < E) store_$T(OUT_ROW(i) + e, parts[p] / sum);
    }
  }
)";

// mma.m16n8k16. The order of what is summed over is free, so each lane takes neighbours: of D the quarter `t` of a row,
// and column g of the n-th tile of 8 is element g * (E / 8) + n of a value. So every load and store is of 8 or 16 bytes,
// and nothing goes through shared memory but the warps' results at the end.
constexpr const char* kTileBody = R"(
  constexpr int kTiles = kRows / 16, kSteps = D / 16, kColumns = E / 8, kBlocks = kChunk / 16;
  constexpr int kRowTiles = (M + kRows - 1) / kRows, kLoad = E % 64 == 0 ? 8 : 4;
  constexpr float kLog2 = 1.44269504088896340736f;
  const auto mma = [](float* c, const unsigned* a, unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.$T.$T.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  };
  const auto power = [](float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; };
  const auto pair = [](float low, float high) {
    unsigned both; asm("cvt.rn.$Tx2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low)); return both;
  };
  const auto quad = [](float x, auto f) {
    x = f(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return f(x, __shfl_xor_sync(0xffffffffu, x, 2));
  };
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int first_row = blockIdx.x % kRowTiles * kRows;
  const long long head = blockIdx.x / kRowTiles % kHeads, batch = blockIdx.x / kRowTiles / kHeads;
  unsigned query[kTiles][2][D / 8];
  UNROLL
  for (int m = 0; m < kTiles; ++m)
    UNROLL
    for (int half = 0; half < 2; ++half) {
      const uint4* from = (const uint4*)(Q_ROW(m_min(first_row + m * 16 + half * 8 + g, M - 1)) + t * (D / 4));
      UNROLL
      for (int i = 0; i < D / 32; ++i) *(uint4*)&query[m][half][i * 4] = from[i];
    }
  float o[kTiles][kColumns][4], largest[kTiles][2], sum[kTiles][2];
  UNROLL
  for (int m = 0; m < kTiles; ++m) {
    largest[m][0] = largest[m][1] = -F_INF;
    sum[m][0] = sum[m][1] = 0.0f;
    UNROLL
    for (int n = 0; n < kColumns; ++n) o[m][n][0] = o[m][n][1] = o[m][n][2] = o[m][n][3] = 0.0f;
  }
  for (int first = warp * kChunk; first < N; first += kWarps * kChunk) {
    unsigned key[kBlocks * 2][D / 8], value[kBlocks][4][E / 16];
    UNROLL
    for (int j = 0; j < kBlocks * 2; ++j) {
      const uint4* from = (const uint4*)(K_ROW(m_min(first + j * 8 + g, N - 1)) + t * (D / 4));
      UNROLL
      for (int i = 0; i < D / 32; ++i) *(uint4*)&key[j][i * 4] = from[i];
    }
    UNROLL
    for (int b = 0; b < kBlocks; ++b)
      UNROLL
      for (int i = 0; i < 4; ++i) {
        const int at = m_min(first + b * 16 + t * 2 + i / 2 * 8 + i % 2, N - 1);
        const unsigned short* from = V_ROW(at) + g * kColumns;
        UNROLL
        for (int w = 0; w < kColumns / kLoad; ++w) {
          if (kLoad == 8) *(uint4*)&value[b][i][w * 4] = ((const uint4*)from)[w];
          else *(uint2*)&value[b][i][w * 2] = ((const uint2*)from)[w];
        }
      }
    UNROLL
    for (int m = 0; m < kTiles; ++m) {
      float s[kBlocks * 2][4];
      UNROLL
      for (int j = 0; j < kBlocks * 2; ++j) {
        s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.0f;
        UNROLL
        for (int d = 0; d < kSteps; ++d) {
          const unsigned a[4] = {query[m][0][d * 2], query[m][1][d * 2], query[m][0][d * 2 + 1], query[m][1][d * 2 + 1]};
          mma(s[j], a, key[j][d * 2], key[j][d * 2 + 1]);
        }
      }
      float top[2] = {largest[m][0], largest[m][1]};
      UNROLL
      for (int j = 0; j < kBlocks * 2; ++j)
        UNROLL
        for (int c = 0; c < 4; ++c) {
          const int at = first + j * 8 + t * 2 + c % 2;
          const int i = m_min(first_row + m * 16 + c / 2 * 8 + g, M - 1);
          s[j][c] = at < N ? s[j][c] * (kScale * kLog2) ADD_MASK : -F_INF;
          top[c / 2] = m_max(top[c / 2], s[j][c]);
        }
      UNROLL
      for (int half = 0; half < 2; ++half) {
        top[half] = quad(top[half], Max());
        const float base = top[half] == -F_INF ? 0.0f : top[half];
        const float kept = power(largest[m][half] - base);
        largest[m][half] = top[half];
        float part = 0.0f;
        UNROLL
        for (int j = 0; j < kBlocks * 2; ++j)
          UNROLL
          for (int c = half * 2; c < half * 2 + 2; ++c) {
            s[j][c] = power(s[j][c] - base);
            part += s[j][c];
          }
        sum[m][half] = sum[m][half] * kept + part;
        UNROLL
        for (int n = 0; n < kColumns; ++n) {
          o[m][n][half * 2] *= kept;
          o[m][n][half * 2 + 1] *= kept;
        }
      }
      UNROLL
      for (int b = 0; b < kBlocks; ++b) {
        const unsigned a[4] = {pair(s[b * 2][0], s[b * 2][1]), pair(s[b * 2][2], s[b * 2][3]),
                               pair(s[b * 2 + 1][0], s[b * 2 + 1][1]), pair(s[b * 2 + 1][2], s[b * 2 + 1][3])};
        UNROLL
        for (int n = 0; n < kColumns; ++n) {
          const unsigned pick = n % 2 == 0 ? 0x5410u : 0x7632u;
          mma(o[m][n], a, __byte_perm(value[b][0][n / 2], value[b][1][n / 2], pick),
              __byte_perm(value[b][2][n / 2], value[b][3][n / 2], pick));
        }
      }
    }
  }
  SHARED float tops[kWarps][kRows], sums[kWarps][kRows];
  SHARED float4 results[kWarps][kRows][E / 4];
  UNROLL
  for (int m = 0; m < kTiles; ++m)
    UNROLL
    for (int half = 0; half < 2; ++half) {
      const float all = quad(sum[m][half], Sum());
      if (t == 0) tops[warp][m * 16 + half * 8 + g] = largest[m][half], sums[warp][m * 16 + half * 8 + g] = all;
    }
  __syncthreads();
  UNROLL
  for (int m = 0; m < kTiles; ++m)
    UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = m * 16 + half * 8 + g;
      float top = -F_INF, all = 0.0f;
      UNROLL
      for (int w = 0; w < kWarps; ++w) top = m_max(top, tops[w][row]);
      const float base = top == -F_INF ? 0.0f : top;
      UNROLL
      for (int w = 0; w < kWarps; ++w) all += sums[w][row] * power(tops[w][row] - base);
      const float factor = power(largest[m][half] - base) / all;
      UNROLL
      for (int c = 0; c < 2; ++c)
        UNROLL
        for (int n = 0; n < kColumns; n += 4)
          results[warp][row][((t * 2 + c) * kColumns + n) / 4] =
              make_float4(o[m][n][half * 2 + c] * factor, o[m][n + 1][half * 2 + c] * factor,
                          o[m][n + 2][half * 2 + c] * factor, o[m][n + 3][half * 2 + c] * factor);
    }
  __syncthreads();
  for (int at = threadIdx.x; at < kRows * (E / 4); at += kWarps * 32) {
    const int row = at / (E / 4), column = at % (E / 4);
    if (first_row + row >= M) continue;
    float4 all = results[0][row][column];
    UNROLL
    for (int w = 1; w < kWarps; ++w) {
      const float4 more = results[w][row][column];
      all.x += more.x, all.y += more.y, all.z += more.z, all.w += more.w;
    }
    *(uint2*)(OUT_ROW(first_row + row) + column * 4) = make_uint2(pair(all.x, all.y), pair(all.z, all.w));
  }
)";

std::string with_mask(std::string body, const std::string& mask) {
  const std::string word = "ADD_MASK";
  body.replace(body.find(word), word.size(), mask);
  return body;
}

}  // namespace

StepSource attention_source(const GpuGraph& graph, const AttentionStep& step) {
  const Sizes sizes = sizes_of(graph, step);
  const std::int64_t rows = sizes.batches * sizes.heads * sizes.rows;
  std::string text = head_of(graph, step, kDirectThreads);
  text += fmt::format("  constexpr long long kRows = {};\n", rows);
  text += with_mask(kDirectBody, step.mask == kNoTensor ? "" : "+ load_$T(MASK_ROW(i) + first + j)");
  return {with_dtype(text + tail_of(), graph.tensor(step.q).dtype),
          std::clamp<std::int64_t>(rows, 1, kBlocksMax), kDirectThreads};
}

std::vector<AttentionTile> attention_tiles(const GpuGraph& graph, const AttentionStep& step) {
  const Sizes sizes = sizes_of(graph, step);
  std::vector<AttentionTile> tiles;
  if (sizes.depth % kWidthUnit != 0 || sizes.width % kWidthUnit != 0) return tiles;
  for (const AttentionTile tile : {AttentionTile{16, 8}, AttentionTile{16, 4}, AttentionTile{16, 2},
                                   AttentionTile{32, 4}, AttentionTile{32, 2}, AttentionTile{32, 1}}) {
    const std::int64_t shared = std::int64_t{4} * tile.warps * tile.rows * sizes.width;
    // More registers than a thread has would go to memory.
    const bool large = tile.rows > 16 && sizes.depth + sizes.width > 128;
    if (shared > kSharedBytesMax || large || (tile.warps > 1 && sizes.keys / 16 < tile.warps)) continue;
    tiles.push_back(tile);
  }
  return tiles;
}

StepSource attention_tile_source(const GpuGraph& graph, const AttentionStep& step,
                                 const AttentionTile& tile) {
  const Sizes sizes = sizes_of(graph, step);
  const int threads = tile.warps * 32;
  const int chunk = sizes.depth + sizes.width <= 128 ? 32 : 16;
  std::string text = head_of(graph, step, threads);
  text +=
      fmt::format("  constexpr int kRows = {}, kWarps = {}, kChunk = {};\n", tile.rows, tile.warps, chunk);
  text += with_mask(kTileBody, step.mask == kNoTensor ? "" : "+ load_$T(MASK_ROW(i) + at) * kLog2");
  const std::int64_t row_tiles = (sizes.rows + tile.rows - 1) / tile.rows;
  return {with_dtype(text + tail_of(), graph.tensor(step.q).dtype), row_tiles * sizes.heads * sizes.batches,
          threads};
}

}  // namespace inflight::cuda
