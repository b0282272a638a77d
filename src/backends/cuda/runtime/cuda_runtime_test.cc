// SPDX-License-Identifier: Apache-2.0
// What can be tested of the CUDA runtime without a device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <thread>

#include "backends/cuda/kernel_source.h"
#include "backends/cuda/runtime/attention_sources.h"
#include "backends/cuda/runtime/compiler.h"
#include "backends/cuda/runtime/cuda_step_cases.h"
#include "backends/cuda/runtime/device.h"
#include "backends/cuda/runtime/disk_cache.h"
#include "backends/cuda/runtime/gpu_program.h"
#include "backends/cuda/runtime/library_tiles.h"
#include "backends/cuda/runtime/pinned_ranges.h"
#include "backends/cuda/runtime/product_tiles.h"
#include "backends/cuda/runtime/step_plan.h"
#include "backends/cuda/runtime/step_sources.h"
#include "backends/cuda/runtime/tuner.h"
#include "backends/cuda/runtime/vendor.h"

namespace inflight::cuda {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "inflight_cuda_XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~Folder() { fs::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(CudaVendor, SaysInOneLineWhatIsMissingWithoutADriver) {
  const Result<const DriverApi*> driver = driver_api();
  if (driver.ok()) GTEST_SKIP() << "this machine has a driver";
  EXPECT_EQ(driver.status().code(), StatusCode::kNoSuchDevice);
  EXPECT_THAT(std::string(driver.status().message()), HasSubstr("driver"));
  EXPECT_THAT(std::string(driver.status().message()), Not(HasSubstr("\n")));
  EXPECT_EQ(GpuDevice::open(0).status(), driver.status());
}

TEST(CudaVendor, FindsTheWheelsBelowAFolderOfPackages) {
  const Folder folder;
  fs::create_directories(folder.path() + "/nvidia/cudnn/lib");
  fs::create_directories(folder.path() + "/nvidia/cu13/lib");
  fs::create_directories(folder.path() + "/nvidia/nccl/include");
  EXPECT_THAT(wheel_folders(folder.path()),
              testing::ElementsAre(folder.path() + "/nvidia/cu13/lib", folder.path() + "/nvidia/cudnn/lib"));
  EXPECT_TRUE(wheel_folders(folder.path() + "/absent").empty());
}

TEST(CudaVendor, LooksFirstWhereItIsTold) {
  setenv("INFLIGHT_CUDA_LIBRARIES", "/one:/two", 1);
  const std::vector<std::string> folders = library_folders();
  unsetenv("INFLIGHT_CUDA_LIBRARIES");
  ASSERT_GE(folders.size(), 2U);
  EXPECT_EQ(folders[0], "/one");
  EXPECT_EQ(folders[1], "/two");
}

TEST(CudaVendor, GivesEachErrorOfTheDriverItsCode) {
  EXPECT_TRUE(driver_status(CUDA_SUCCESS, "x").ok());
  EXPECT_EQ(driver_status(CUDA_ERROR_OUT_OF_MEMORY, "cuMemAlloc").code(), StatusCode::kOutOfMemory);
  EXPECT_EQ(driver_status(CUDA_ERROR_NO_DEVICE, "cuInit").code(), StatusCode::kNoSuchDevice);
  EXPECT_EQ(driver_status(CUDA_ERROR_ILLEGAL_ADDRESS, "a launch").code(), StatusCode::kDeviceError);
  EXPECT_THAT(std::string(driver_status(CUDA_ERROR_ILLEGAL_ADDRESS, "a launch").message()),
              HasSubstr("a launch: "));
  EXPECT_TRUE(is_sticky(CUDA_ERROR_ILLEGAL_ADDRESS));
  EXPECT_TRUE(is_sticky(CUDA_ERROR_LAUNCH_FAILED));
  EXPECT_FALSE(is_sticky(CUDA_ERROR_OUT_OF_MEMORY));
  EXPECT_FALSE(is_sticky(CUDA_ERROR_NOT_READY));
  EXPECT_EQ(cuda_version_text(13010), "13.1");
}

TEST(CudaVendor, BoundsTheWatchdog) {
  EXPECT_EQ(watchdog_bound(nullptr), std::chrono::seconds(10));
  EXPECT_EQ(watchdog_bound("0.5"), std::chrono::milliseconds(500));
  for (const char* nonsense : {"", "0", "-1", "x", "1e99"})
    EXPECT_EQ(watchdog_bound(nonsense), std::chrono::seconds(10));
}

TEST(PinnedRanges, ContainsWhatLiesInOneRange) {
  PinnedRanges ranges;
  std::byte* const base = reinterpret_cast<std::byte*>(std::uintptr_t{1} << 40U);
  EXPECT_FALSE(ranges.contains(base, 0));
  ASSERT_TRUE(ranges.add(base, 8192));
  ASSERT_TRUE(ranges.add(base + 8192, 4096));
  EXPECT_TRUE(ranges.contains(base, 8192));
  EXPECT_TRUE(ranges.contains(base + 8191, 1));
  EXPECT_TRUE(ranges.contains(base + 8192, 4096));
  EXPECT_FALSE(ranges.contains(base + 8000, 1000)) << "in two ranges";
  EXPECT_FALSE(ranges.contains(base - 1, 1));
  EXPECT_FALSE(ranges.contains(base + 12288, 1));
  ranges.remove(base, 8192);
  EXPECT_FALSE(ranges.contains(base, 1));
  EXPECT_TRUE(ranges.contains(base + 8192, 1));
}

TEST(PinnedRanges, RefusesWhatDoesNotFit) {
  PinnedRanges ranges;
  std::byte* const base = reinterpret_cast<std::byte*>(std::uintptr_t{1} << 40U);
  EXPECT_FALSE(ranges.add(base + 1, 4096));
  EXPECT_FALSE(ranges.add(base, 4095));
  EXPECT_FALSE(ranges.add(base, 0));
  EXPECT_FALSE(ranges.add(base, PinnedRanges::kBytesMax + 4096));
  EXPECT_TRUE(ranges.add(base, PinnedRanges::kBytesMax));
  EXPECT_TRUE(ranges.contains(base + PinnedRanges::kBytesMax - 1, 1));
  for (std::size_t i = 1; i < PinnedRanges::kRangesMax; ++i)
    ASSERT_TRUE(ranges.add(base + PinnedRanges::kBytesMax + i * 4096, 4096));
  EXPECT_FALSE(ranges.add(base - 4096, 4096)) << "all places are taken";
  ranges.remove(base, PinnedRanges::kBytesMax);
  EXPECT_TRUE(ranges.add(base - 4096, 4096));
}

TEST(DiskCache, KeepsAValueUnderItsWholeKey) {
  const Folder folder;
  const DiskCache cache(folder.path() + "/a/b");
  EXPECT_FALSE(cache.get("kernels", "key").has_value());
  const std::string value("line\n\0\xff binary", 15);
  ASSERT_TRUE(cache.put("kernels", "key", value).ok());
  EXPECT_EQ(cache.get("kernels", "key"), value);
  EXPECT_FALSE(cache.get("tuning", "key").has_value());
  // Another key whose hash happens to be the same: the file's name alone proves nothing.
  fs::copy_file(cache.path("kernels", "key"), cache.path("kernels", "other"));
  EXPECT_FALSE(cache.get("kernels", "other").has_value());
  ASSERT_TRUE(cache.put("kernels", "key", "").ok());
  EXPECT_EQ(cache.get("kernels", "key"), "");
}

TEST(DiskCache, TakesADamagedFileForNone) {
  const Folder folder;
  const DiskCache cache(folder.path());
  ASSERT_TRUE(cache.put("kernels", "key", "a value of some length").ok());
  const std::string path = cache.path("kernels", "key");
  std::ifstream in(path, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    std::ofstream(path, std::ios::binary) << bad;
    EXPECT_FALSE(cache.get("kernels", "key").has_value()) << "byte " << i;
    std::ofstream(path, std::ios::binary) << good.substr(0, i);
    EXPECT_FALSE(cache.get("kernels", "key").has_value()) << "cut at " << i;
  }
  std::ofstream(path, std::ios::binary) << good;
  EXPECT_EQ(cache.get("kernels", "key"), "a value of some length");
}

TEST(DiskCache, ReadersSeeWholeValuesWhileWritersReplaceThem) {
  const Folder folder;
  const DiskCache cache(folder.path());
  const std::array<std::string, 2> values{std::string(100000, 'a'), std::string(50000, 'b')};
  ASSERT_TRUE(cache.put("k", "key", values[0]).ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i)
        EXPECT_TRUE(cache.put("k", "key", values[static_cast<std::size_t>(t)]).ok());
    });
  }
  for (int i = 0; i < 200; ++i) {
    const auto found = cache.get("k", "key");
    ASSERT_TRUE(found.has_value());
    EXPECT_TRUE(*found == values[0] || *found == values[1]);
  }
  for (std::thread& thread : threads) thread.join();
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder.path())) ++files;
  EXPECT_EQ(files, 1U) << "nothing beside it is left over";
}

TEST(DiskCache, WithoutAFolderKeepsNothing) {
  const DiskCache cache("");
  EXPECT_TRUE(cache.put("k", "key", "value").ok());
  EXPECT_FALSE(cache.get("k", "key").has_value());
  EXPECT_EQ(DiskCache("/proc/none").put("k", "key", "value").code(), StatusCode::kIoError);
  setenv("XDG_CACHE_HOME", "/somewhere", 1);
  EXPECT_EQ(DiskCache::of_user().folder(), "/somewhere/inflight/cuda");
  unsetenv("XDG_CACHE_HOME");
}

// A graph with a convolution and a matmul, in channels last.
GpuGraph small_graph(DType dtype = DType::kF16) {
  GpuGraph graph;
  const auto add = [&](Extents extents, Extents strides) {
    graph.tensors.push_back({"t", dtype, std::move(extents), std::move(strides), Storage::kScratch, 0, {}});
    graph.tensors.back().offset = graph.scratch_bytes;
    graph.scratch_bytes += (graph.tensors.back().bytes() + 255) / 256 * 256;
    return static_cast<TensorId>(graph.tensors.size() - 1);
  };
  ConvolutionStep conv;
  conv.label = "conv";
  conv.x = add({1, 8, 6, 6}, {288, 1, 48, 8});
  conv.w = add({16, 8, 3, 3}, {72, 1, 24, 8});
  conv.bias = add({16}, {1});
  conv.residual = add({1, 16, 6, 6}, {576, 1, 96, 16});
  conv.y = add({1, 16, 6, 6}, {576, 1, 96, 16});
  conv.strides = conv.dilations = conv.pads_begin = conv.pads_end = {1, 1};
  conv.activation = Activation::kSilu;
  graph.steps.emplace_back(conv);
  MatmulStep matmul;
  matmul.label = "matmul";
  matmul.a = add({4, 12}, {12, 1});
  matmul.b = add({12, 20}, {1, 12});
  matmul.bias = add({20}, {1});
  matmul.c = add({4, 20}, {20, 1});
  matmul.m = 4;
  matmul.n = 20;
  matmul.k = 12;
  matmul.transpose_b = true;
  matmul.activation = Activation::kGelu;
  graph.steps.emplace_back(matmul);
  return graph;
}

TEST(StepPlan, SignatureTellsWhatDecidesAPlan) {
  const GpuGraph graph = small_graph();
  const auto conv = std::get<ConvolutionStep>(graph.steps[0]);
  const std::string before = signature_of(graph, conv);
  EXPECT_THAT(before, HasSubstr("x=f16[1,8,6,6]/[288,1,48,8]"));
  ConvolutionStep renamed = conv;
  renamed.label = "another";
  EXPECT_EQ(signature_of(graph, renamed), before) << "equal steps share a plan";
  std::vector<ConvolutionStep> others(6, conv);
  others[0].strides = {2, 2};
  others[1].pads_end = {0, 1};
  others[2].activation = Activation::kRelu;
  others[3].residual = kNoTensor;
  others[4].groups = 2;
  others[5].dilations = {1, 2};
  for (const ConvolutionStep& other : others) EXPECT_NE(signature_of(graph, other), before);
  EXPECT_NE(signature_of(small_graph(DType::kF32), conv), before);
  const auto matmul = std::get<MatmulStep>(graph.steps[1]);
  MatmulStep scaled = matmul;
  scaled.alpha = 0.125;
  EXPECT_NE(signature_of(graph, matmul), signature_of(graph, scaled));
}

TEST(StepSources, TakesTheLargerStrideForTheDistanceBetweenRows) {
  GpuTensor tensor;
  tensor.extents = {12, 20};
  tensor.strides = {1, 12};
  EXPECT_EQ(row_stride(tensor), 12);
  tensor.strides = {64, 1};
  EXPECT_EQ(row_stride(tensor), 64);
}

TEST(Kernels, NvrtcCompilesEverySourceOfTheRuntime) {
  if (!nvrtc_api().ok()) GTEST_SKIP() << nvrtc_api().status().to_string();
  for (const int capability : {75, 90}) {
    const Result<std::string> copies = compile_source(copy_source(), capability);
    ASSERT_TRUE(copies.ok()) << copies.status().to_string();
    EXPECT_THAT(*copies, HasSubstr("copy_in"));
    for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
      const GpuGraph graph = small_graph(dtype);
      const auto& conv = std::get<ConvolutionStep>(graph.steps[0]);
      const auto& matmul = std::get<MatmulStep>(graph.steps[1]);
      const std::vector<std::string> sources{epilogue_source(epilogue_of(graph, conv)).source,
                                             epilogue_source(epilogue_of(graph, matmul)).source,
                                             convolution_source(graph, conv).source,
                                             matmul_source(graph, matmul).source};
      const Result<std::string> cubin = compile_source(cuda_source(sources), capability);
      ASSERT_TRUE(cubin.ok()) << cubin.status().to_string();
      EXPECT_THAT(*cubin, HasSubstr("run_3"));
    }
  }
}

TEST(Kernels, WaitForTheKernelAheadBeforeAllElse) {
  const std::string source = cuda_source(
      {"extern \"C\" KERNEL void BOUNDS(64) run(const float* a, float* b) {\n  b[0] = a[0];\n}\n"});
  EXPECT_THAT(
      source,
      HasSubstr("void BOUNDS(64) run(const float* a, float* b, const int next_is_early) { if (next_is_early) "
                "LET_NEXT_COME(); WAIT_FOR_WORK_AHEAD();\n  b[0] = a[0];\n}"));
}

TEST(Kernels, NvrtcCompilesEverySourceOfAttention) {
  if (!nvrtc_api().ok()) GTEST_SKIP() << nvrtc_api().status().to_string();
  for (const AttentionCase& one : attention_cases()) {
    const GpuGraph graph = graph_of(one);
    const auto& step = std::get<AttentionStep>(graph.steps[0]);
    const Result<std::string> direct =
        compile_source(cuda_source({attention_source(graph, step).source}), 75);
    EXPECT_TRUE(direct.ok()) << one.name << ": " << direct.status().to_string();
    const std::vector<AttentionTile> tiles = attention_tiles(graph, step);
    EXPECT_EQ(tiles.empty(), one.depth % 32 != 0 || one.width % 32 != 0) << one.name;
    std::vector<std::string> sources;
    for (const AttentionTile& tile : tiles)
      sources.push_back(attention_tile_source(graph, step, tile).source);
    const Result<std::string> cubin = compile_source(cuda_source(sources), 80);
    EXPECT_TRUE(cubin.ok()) << one.name << ": " << cubin.status().to_string();
  }
}

TEST(LibraryTiles, CutTheRowsIntoFewPiecesThatWasteLittle) {
  const auto rows_of = [](std::int64_t rows) {
    std::vector<int> found;
    for (const LibraryTile& tile : library_tiles(rows)) {
      EXPECT_EQ(tile.columns, found.size() % 2 == 0 ? 64 : 128) << rows;
      found.push_back(tile.rows);
    }
    return found;
  };
  using testing::ElementsAre;
  EXPECT_THAT(rows_of(1), ElementsAre(8, 8));
  EXPECT_THAT(rows_of(8), ElementsAre(8, 8));
  EXPECT_THAT(rows_of(9), ElementsAre(16, 16, 8, 8));
  EXPECT_THAT(rows_of(197), ElementsAre(200, 200, 104, 104, 72, 72, 56, 56, 40, 40));
  EXPECT_THAT(rows_of(256), ElementsAre(256, 256, 128, 128, 88, 88, 64, 64, 56, 56));
  EXPECT_THAT(rows_of(257), ElementsAre(136, 136, 88, 88, 72, 72, 56, 56, 48, 48));
  EXPECT_THAT(rows_of(1'000'000), ElementsAre(256, 256));
  EXPECT_EQ(library_tiles(197)[0].id, CUBLASLT_MATMUL_TILE_64x200);
  EXPECT_EQ(library_tiles(197)[5].id, CUBLASLT_MATMUL_TILE_128x72);
}

// The first and the last, or all of them; returns how many there are.
std::size_t compile_tiles(const std::optional<ProductShape>& shape, const char* name, int capability,
                          bool all) {
  if (!shape) return 0;
  std::vector<ProductTile> tiles = product_tiles(*shape, 132, capability);
  if (!all && tiles.size() > 2) tiles.erase(tiles.begin() + 1, tiles.end() - 1);
  std::vector<std::string> sources;
  for (const ProductTile& tile : tiles) sources.push_back(product_source(*shape, tile).source);
  const Result<std::string> cubin = compile_source(cuda_source(sources), capability);
  EXPECT_TRUE(cubin.ok()) << name << ": " << cubin.status().to_string();
  return sources.size();
}

TEST(Kernels, NvrtcCompilesTilesOfEveryProduct) {
  if (!nvrtc_api().ok()) GTEST_SKIP() << nvrtc_api().status().to_string();
  for (const int capability : {80, 90}) {
    for (const ConvCase& one : conv_cases()) {
      const GpuGraph graph = graph_of(one);
      const auto shape = product_shape(graph, std::get<ConvolutionStep>(graph.steps[0]));
      EXPECT_EQ(shape.has_value(), one.dtype != DType::kF32 && one.groups == 1 && one.c % 8 == 0) << one.name;
      const bool all = &one == &conv_cases()[4];
      EXPECT_EQ(compile_tiles(shape, one.name, capability, all) > 0, shape.has_value()) << one.name;
    }
    for (const MatmulCase& one : matmul_cases()) {
      const GpuGraph graph = graph_of(one);
      const auto shape = product_shape(graph, std::get<MatmulStep>(graph.steps[0]));
      const bool fits =
          one.dtype != DType::kF32 && one.batch == 1 && !one.transpose_a && one.n % 8 == 0 && one.k % 8 == 0;
      EXPECT_EQ(shape.has_value(), fits) << one.name;
      EXPECT_EQ(compile_tiles(shape, one.name, capability, &one == matmul_cases().data()) > 0, fits)
          << one.name;
    }
  }
}

TEST(Kernels, AWrongSourceIsNamedWithItsLine) {
  if (!nvrtc_api().ok()) GTEST_SKIP() << nvrtc_api().status().to_string();
  const Status wrong =
      compile_source("extern \"C\" __global__ void run(float* x) {\n  x[0] = missing;\n}\n", 90).status();
  EXPECT_EQ(wrong.code(), StatusCode::kInternal);
  EXPECT_THAT(std::string(wrong.message()), HasSubstr("missing"));
  EXPECT_THAT(std::string(wrong.message()), HasSubstr("`  x[0] = missing;`"));
  EXPECT_THAT(std::string(wrong.message()), Not(HasSubstr("\n")));
  const Status unknown = compile_source("", 1).status();
  EXPECT_EQ(unknown.code(), StatusCode::kUnsupported);
}

TEST(Libraries, AreOpenedWhereTheToolkitIs) {
  std::printf("library folders:\n");
  for (const std::string& folder : library_folders()) std::printf("  %s\n", folder.c_str());
  std::printf("NVRTC: %s\ncuDNN: %s\n", nvrtc_api().status().to_string().c_str(),
              cudnn_library().status().to_string().c_str());
  std::printf("versions: %s\n", library_versions().c_str());
  if (!cudnn_library().ok()) GTEST_SKIP() << cudnn_library().status().to_string();
  EXPECT_THAT(library_versions(), HasSubstr("cuDNN 9."));
  EXPECT_THAT(library_versions(), HasSubstr("cuBLASLt 13"));
}

}  // namespace
}  // namespace inflight::cuda
