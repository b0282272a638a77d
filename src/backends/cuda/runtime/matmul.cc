// SPDX-License-Identifier: Apache-2.0
// Matmuls by cuBLASLt. It counts columns first, so it computes c^T = op(b)^T op(a)^T: its first operand is our b.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cuda/runtime/compiler.h"
#include "backends/cuda/runtime/library_tiles.h"
#include "backends/cuda/runtime/step_plan.h"
#include "backends/cuda/runtime/step_sources.h"
#include "backends/cuda/runtime/tile_kernels.h"

namespace inflight::cuda {
namespace {

using internal::Mutex;
using internal::MutexLock;

constexpr int kAlgorithmsAsked = 16;

Status lt_status(const CublasLtApi& api, cublasStatus_t status, std::string_view call) {
  if (status == CUBLAS_STATUS_SUCCESS) return Status();
  const StatusCode code = status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE ||
                                  status == CUBLAS_STATUS_ARCH_MISMATCH
                              ? StatusCode::kUnsupported
                              : StatusCode::kDeviceError;
  return Status(code, fmt::format("cuBLASLt: {}: {}", call, api.cublasLtGetStatusString(status)));
}

// One for each device, kept for the life of the process, as the context is.
Result<cublasLtHandle_t> handle_of(GpuDevice& device, const CublasLtApi& api) {
  static Mutex mutex;
  static std::vector<cublasLtHandle_t>& all = *new std::vector<cublasLtHandle_t>;
  const MutexLock lock(mutex);
  const auto index = static_cast<std::size_t>(device.index());
  if (all.size() <= index) all.resize(index + 1, nullptr);
  if (all[index] == nullptr) {
    INFLIGHT_TRY(device.make_current());
    INFLIGHT_TRY(lt_status(api, api.cublasLtCreate(&all[index]), "cublasLtCreate"));
  }
  return all[index];
}

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return CUDA_R_16F;
    case DType::kBF16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

// What cuBLASLt does after the product. Its GELU is the approximation by tanh, which is off by up to 5e-4: good
// enough where values are stored in 16 bits.
struct Epilogue {
  cublasLtEpilogue_t value = CUBLASLT_EPILOGUE_DEFAULT;
  bool whole = true;  // the activation is in it
};

Epilogue epilogue_for(const MatmulStep& step, DType dtype) {
  const bool bias = step.bias != kNoTensor;
  switch (step.activation) {
    case Activation::kNone:
      return {bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT, true};
    case Activation::kRelu:
      return {bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU, true};
    case Activation::kGelu:
      if (dtype == DType::kF32) break;
      return {bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU, true};
    default:
      break;
  }
  return {CUBLASLT_EPILOGUE_DEFAULT, false};
}

struct Algorithm {
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace = 0;
};

// The descriptors of one product, with or without what follows it.
class Product {
 public:
  explicit Product(const CublasLtApi& api) : api_(api) {}
  ~Product() {
    if (operation_ != nullptr) api_.cublasLtMatmulDescDestroy(operation_);
    for (const cublasLtMatrixLayout_t layout : {first_, second_, added_, result_}) {
      if (layout != nullptr) api_.cublasLtMatrixLayoutDestroy(layout);
    }
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  Status describe(const GpuGraph& graph, const MatmulStep& step, const Epilogue& epilogue);
  // The library's list for a few counts of multiprocessors: fewer of them give plans that share a device well. Then the
  // same algorithms with other tiles.
  //   rows   of the result
  void ask(cublasLtHandle_t handle, int multiprocessors, std::int64_t rows,
           std::vector<Algorithm>& algorithms);
  Status run(cublasLtHandle_t handle, const Algorithm& algorithm, CUstream stream, const Operands& operands,
             CUdeviceptr workspace, std::size_t workspace_bytes);

 private:
  template <typename T>
  Status set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    return lt_status(api_, api_.cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof value),
                     "description");
  }
  Status layout(cublasLtMatrixLayout_t& layout, const GpuTensor& tensor, std::int64_t rows,
                std::int64_t columns, std::int64_t batch, std::int64_t batch_stride);
  Status alignments(cublasLtMatmulPreference_t preference);
  void ask_for_tiles(cublasLtHandle_t handle, std::int64_t rows, std::vector<Algorithm>& algorithms);

  const CublasLtApi& api_;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t first_ = nullptr, second_ = nullptr, added_ = nullptr, result_ = nullptr;
  std::array<std::uint32_t, 4> alignments_{};  // of first, second, added, result
  bool has_bias_ = false;
  bool has_residual_ = false;
  float alpha_ = 1;
};

// Unless it is there already, or asks for too much memory.
void add_algorithm(const cublasLtMatmulHeuristicResult_t& found, std::vector<Algorithm>& algorithms) {
  const auto same = [&](const Algorithm& other) {
    return std::memcmp(&other.algorithm, &found.algo, sizeof found.algo) == 0;
  };
  if (found.state == CUBLAS_STATUS_SUCCESS && found.workspaceSize <= kWorkspaceBytesMax &&
      std::none_of(algorithms.begin(), algorithms.end(), same))
    algorithms.push_back({found.algo, found.workspaceSize});
}

std::uint32_t alignment_of(const GpuTensor& tensor) {
  const std::size_t offset = tensor.storage == Storage::kScratch ? tensor.offset : 0;
  return offset == 0 ? 256 : static_cast<std::uint32_t>(std::min<std::size_t>(256, offset & (~offset + 1)));
}

Status Product::layout(cublasLtMatrixLayout_t& layout, const GpuTensor& tensor, std::int64_t rows,
                       std::int64_t columns, std::int64_t batch, std::int64_t batch_stride) {
  const std::int64_t distance = std::max(row_stride(tensor), rows);
  INFLIGHT_TRY(lt_status(
      api_,
      api_.cublasLtMatrixLayoutCreate(&layout, data_type(tensor.dtype), static_cast<std::uint64_t>(rows),
                                      static_cast<std::uint64_t>(columns), distance),
      "layout"));
  if (batch == 1) return Status();
  const auto count = static_cast<std::int32_t>(batch);
  INFLIGHT_TRY(lt_status(
      api_,
      api_.cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
      "batch"));
  return lt_status(api_,
                   api_.cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                         &batch_stride, sizeof batch_stride),
                   "batch");
}

Status Product::describe(const GpuGraph& graph, const MatmulStep& step, const Epilogue& epilogue) {
  const GpuTensor& c = graph.tensor(step.c);
  has_residual_ = epilogue.whole && step.residual != kNoTensor;
  has_bias_ = epilogue.whole && step.bias != kNoTensor;
  alpha_ = static_cast<float>(step.alpha);
  INFLIGHT_TRY(lt_status(api_, api_.cublasLtMatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                         "description"));
  const cublasOperation_t yes = CUBLAS_OP_T;
  const cublasOperation_t no = CUBLAS_OP_N;
  INFLIGHT_TRY(set(CUBLASLT_MATMUL_DESC_TRANSA, step.transpose_b ? yes : no));
  INFLIGHT_TRY(set(CUBLASLT_MATMUL_DESC_TRANSB, step.transpose_a ? yes : no));
  INFLIGHT_TRY(set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue.value));
  if (has_bias_) {
    INFLIGHT_TRY(set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                     static_cast<std::int32_t>(data_type(graph.tensor(step.bias).dtype))));
    // The list of algorithms depends on its alignment; run() sets the real one.
    INFLIGHT_TRY(set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, pointer_of(256)));
  }
  INFLIGHT_TRY(layout(first_, graph.tensor(step.b), step.transpose_b ? step.k : step.n,
                      step.transpose_b ? step.n : step.k, step.batch, step.batch_stride_b));
  INFLIGHT_TRY(layout(second_, graph.tensor(step.a), step.transpose_a ? step.m : step.k,
                      step.transpose_a ? step.k : step.m, step.batch, step.batch_stride_a));
  INFLIGHT_TRY(layout(result_, c, step.n, step.m, step.batch, step.batch_stride_c));
  const GpuTensor& added = has_residual_ ? graph.tensor(step.residual) : c;
  INFLIGHT_TRY(layout(added_, added, step.n, step.m, step.batch, step.batch_stride_c));
  alignments_ = {alignment_of(graph.tensor(step.b)), alignment_of(graph.tensor(step.a)), alignment_of(added),
                 alignment_of(c)};
  return Status();
}

Status Product::alignments(cublasLtMatmulPreference_t preference) {
  constexpr std::array<cublasLtMatmulPreferenceAttributes_t, 4> kNames{
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    INFLIGHT_TRY(lt_status(api_,
                           api_.cublasLtMatmulPreferenceSetAttribute(preference, kNames[i], &alignments_[i],
                                                                     sizeof alignments_[i]),
                           "alignment"));
  }
  return Status();
}

void Product::ask(cublasLtHandle_t handle, int multiprocessors, std::int64_t rows,
                  std::vector<Algorithm>& algorithms) {
  cublasLtMatmulPreference_t preference = nullptr;
  if (api_.cublasLtMatmulPreferenceCreate(&preference) != CUBLAS_STATUS_SUCCESS) return;
  const std::size_t bytes = kWorkspaceBytesMax;
  api_.cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                            sizeof bytes);
  if (alignments(preference).ok()) {
    for (const std::int32_t target : {0, multiprocessors / 2, multiprocessors / 4, multiprocessors / 8}) {
      if (!set(CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, target).ok()) continue;
      std::array<cublasLtMatmulHeuristicResult_t, kAlgorithmsAsked> found{};
      int count = 0;
      api_.cublasLtMatmulAlgoGetHeuristic(handle, operation_, first_, second_, added_, result_, preference,
                                          kAlgorithmsAsked, found.data(), &count);
      for (int i = 0; i < count; ++i) add_algorithm(found[static_cast<std::size_t>(i)], algorithms);
    }
  }
  set(CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, std::int32_t{0}).ok();
  api_.cublasLtMatmulPreferenceDestroy(preference);
  ask_for_tiles(handle, rows, algorithms);
}

void Product::ask_for_tiles(cublasLtHandle_t handle, std::int64_t rows, std::vector<Algorithm>& algorithms) {
  const std::vector<LibraryTile> tiles = library_tiles(rows);
  const std::vector<Algorithm> proposed = algorithms;
  for (const Algorithm& one : proposed) {
    for (const LibraryTile& tile : tiles) {
      cublasLtMatmulHeuristicResult_t result{};
      result.algo = one.algorithm;
      if (api_.cublasLtMatmulAlgoConfigSetAttribute(&result.algo, CUBLASLT_ALGO_CONFIG_TILE_ID, &tile.id,
                                                    sizeof tile.id) != CUBLAS_STATUS_SUCCESS)
        continue;
      if (api_.cublasLtMatmulAlgoCheck(handle, operation_, first_, second_, added_, result_, &result.algo,
                                       &result) == CUBLAS_STATUS_SUCCESS)
        add_algorithm(result, algorithms);
    }
  }
}

Status Product::run(cublasLtHandle_t handle, const Algorithm& algorithm, CUstream stream,
                    const Operands& operands, CUdeviceptr workspace, std::size_t workspace_bytes) {
  const auto pointer = [](CUdeviceptr address) { return pointer_of(address); };
  if (has_bias_) INFLIGHT_TRY(set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, pointer(operands.bias)));
  const float beta = has_residual_ ? 1.0F : 0.0F;
  void* const added = pointer(has_residual_ ? operands.residual : operands.out);
  return lt_status(
      api_,
      api_.cublasLtMatmul(handle, operation_, &alpha_, pointer(operands.b), first_, pointer(operands.a),
                          second_, &beta, added, added_, pointer(operands.out), result_, &algorithm.algorithm,
                          pointer(workspace), workspace_bytes, reinterpret_cast<cudaStream_t>(stream)),
      "matmul");
}

// Candidates: the library's algorithms with the epilogue in them and our tiles, then those of the bare product with a
// kernel after it, then the kernel that runs everywhere.
class MatmulPlan final : public StepPlan {
 public:
  MatmulPlan(std::shared_ptr<GpuDevice> device, const CublasLtApi& api, cublasLtHandle_t handle,
             const GpuGraph& graph, const MatmulStep& step, const DiskCache& cache)
      : StepPlan(signature_of(graph, step), bytes_of(graph, step)),
        device_(std::move(device)),
        handle_(handle),
        epilogue_(epilogue_of(graph, step)),
        direct_(matmul_source(graph, step)),
        fused_(api),
        bare_(api),
        tiles_(device_, product_shape(graph, step), cache),
        own_(device_, cache) {}

  void describe(const GpuGraph& graph, const MatmulStep& step) {
    const Epilogue whole = epilogue_for(step, epilogue_.dtype);
    if (whole.whole && fused_.describe(graph, step, whole).ok())
      fused_.ask(handle_, device_->multiprocessors(), step.m, fused_algorithms_);
    const bool plain =
        step.bias == kNoTensor && step.residual == kNoTensor && step.activation == Activation::kNone;
    if (!plain && fused_algorithms_.empty() &&
        bare_.describe(graph, step, {CUBLASLT_EPILOGUE_DEFAULT, false}).ok())
      bare_.ask(handle_, device_->multiprocessors(), step.m, bare_algorithms_);
    ways_ = Ways(fused_algorithms_.size(), tiles_.count(), bare_algorithms_.size());
  }

  std::size_t candidates() const override { return ways_.count(); }
  int candidate_rank(std::size_t candidate) const override { return ways_.at(candidate).rank; }
  std::string candidate_name(std::size_t candidate) const override {
    const Ways::Way way = ways_.at(candidate);
    if (way.kind == Ways::Kind::kDirect) return "direct";
    if (way.kind == Ways::Kind::kTile) return tiles_.name(way.index);
    std::string name = way.kind == Ways::Kind::kFused ? "fused" : "split";
    for (const std::uint64_t word : algorithm(way).algorithm.data) name += fmt::format(" {:x}", word);
    return name;
  }
  Ahead ahead(std::size_t candidate) const override {
    return ways_.at(candidate).is_own() ? Ahead::kWaits : Ahead::kWaitsForA;
  }
  Status prepare(std::size_t candidate) override {
    const Ways::Way way = ways_.at(candidate);
    switch (way.kind) {
      case Ways::Kind::kFused:
        break;
      case Ways::Kind::kTile:
        return tiles_.prepare(way.index);
      case Ways::Kind::kSplit:
        return own_.prepare_epilogue(epilogue_);
      case Ways::Kind::kDirect:
        return own_.prepare_direct(direct_);
    }
    return Status();
  }
  std::size_t workspace_bytes(std::size_t candidate) const override {
    const Ways::Way way = ways_.at(candidate);
    return way.is_own() ? 0 : algorithm(way).workspace;
  }
  Status enqueue(std::size_t candidate, CUstream stream, const Operands& operands,
                 CUdeviceptr workspace) override {
    const Ways::Way way = ways_.at(candidate);
    if (way.kind == Ways::Kind::kDirect) return own_.enqueue_direct(stream, operands);
    if (way.kind == Ways::Kind::kTile) return tiles_.enqueue(way.index, stream, operands);
    const Algorithm& chosen = algorithm(way);
    if (way.kind == Ways::Kind::kFused)
      return fused_.run(handle_, chosen, stream, operands, workspace, chosen.workspace);
    INFLIGHT_TRY(bare_.run(handle_, chosen, stream, operands, workspace, chosen.workspace));
    return own_.enqueue_epilogue(stream, operands);
  }

 private:
  // Of the library.
  const Algorithm& algorithm(const Ways::Way& way) const {
    return (way.kind == Ways::Kind::kFused ? fused_algorithms_ : bare_algorithms_)[way.index];
  }

  const std::shared_ptr<GpuDevice> device_;
  const cublasLtHandle_t handle_;
  const EpilogueShape epilogue_;
  const StepSource direct_;
  Product fused_;
  Product bare_;
  TileKernels tiles_;
  OwnKernels own_;
  std::vector<Algorithm> fused_algorithms_, bare_algorithms_;
  Ways ways_;
};

}  // namespace

Result<std::shared_ptr<StepPlan>> plan_matmul(const std::shared_ptr<GpuDevice>& device, const GpuGraph& graph,
                                              const MatmulStep& step, const DiskCache& cache) {
  if (step.m <= 0 || step.n <= 0 || step.k <= 0 || step.batch <= 0) {
    return Status(StatusCode::kInvalidModel,
                  fmt::format("\"{}\": a matmul of {} times [{},{}] by [{},{}]", step.label, step.batch,
                              step.m, step.k, step.k, step.n));
  }
  INFLIGHT_TRY_ASSIGN(const CublasLtApi* const api, cublaslt_api());
  INFLIGHT_TRY_ASSIGN(cublasLtHandle_t const handle, handle_of(*device, *api));
  INFLIGHT_TRY(device->make_current());
  auto plan = std::make_shared<MatmulPlan>(device, *api, handle, graph, step, cache);
  plan->describe(graph, step);
  return std::shared_ptr<StepPlan>(std::move(plan));
}

}  // namespace inflight::cuda
