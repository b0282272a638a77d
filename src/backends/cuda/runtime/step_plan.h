// SPDX-License-Identifier: Apache-2.0
// StepPlan: the ways in which a convolution, a matmul or attention can be computed, of which tuning picks two.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/runtime/device.h"
#include "backends/cuda/runtime/disk_cache.h"

namespace inflight::cuda {

// The most that a candidate may ask for; the slot has one for all of its steps.
inline constexpr std::size_t kWorkspaceBytesMax = std::size_t{32} << 20U;

// Where the operands are; 0 where the step lacks one.
struct Operands {
  CUdeviceptr a = 0;     // x of a convolution, q of attention
  CUdeviceptr b = 0;     // w, k
  CUdeviceptr c = 0;     // v
  CUdeviceptr bias = 0;  // or mask
  CUdeviceptr residual = 0;
  CUdeviceptr out = 0;         // y, c
  bool next_is_early = false;  // as of launch_kernel()
};
struct OperandBytes {
  std::size_t a = 0, b = 0, c = 0, bias = 0, residual = 0, out = 0;
};

// What the first kernel of a candidate does if the kernel ahead of it lets it come early.
enum class Ahead : std::uint8_t {
  kWaits,       // ours: it waits before it reads or writes what a kernel ahead may use
  kWaitsForA,   // cuBLASLt's: it waits before it reads `a`. Of its other operands nothing is known
  kExpectsEnd,  // cuDNN's: it asks to come early, and reads the residual without a wait (begin_after_end_of())
};

// Shared by all steps with the same signature. It knows no tensor of theirs.
class StepPlan {
 public:
  virtual ~StepPlan() = default;
  const std::string& signature() const noexcept { return signature_; }
  const OperandBytes& bytes() const noexcept { return bytes_; }

  // The ways to compute it, the library's favourite first, the one that always works last. At least one.
  virtual std::size_t candidates() const = 0;
  // What stays the same from run to run while versions do.
  virtual std::string candidate_name(std::size_t candidate) const = 0;
  // Whether a later candidate is worth a try once one with this rank works: 0 is the best kind.
  virtual int candidate_rank(std::size_t candidate) const = 0;
  virtual Ahead ahead(std::size_t candidate) const = 0;
  // Makes a candidate ready; it may take a second. Ok at once if it is.
  //   thread   one at a time for one plan
  //   errors   kUnsupported: the library refuses it; others as they come
  virtual Status prepare(std::size_t candidate) = 0;
  // Requires prepare(candidate) to have been ok; so does enqueue().
  virtual std::size_t workspace_bytes(std::size_t candidate) const = 0;
  // Puts the work into a stream, which may be capturing.
  //   thread   one at a time for all plans of a device
  virtual Status enqueue(std::size_t candidate, CUstream stream, const Operands& operands,
                         CUdeviceptr workspace) = 0;

 protected:
  StepPlan(std::string signature, const OperandBytes& bytes)
      : signature_(std::move(signature)), bytes_(bytes) {}

 private:
  const std::string signature_;
  const OperandBytes bytes_;
};

// Everything that decides how a step is computed, in one line: types, extents, strides, activation.
std::string signature_of(const GpuGraph& graph, const ConvolutionStep& step);
std::string signature_of(const GpuGraph& graph, const MatmulStep& step);
std::string signature_of(const GpuGraph& graph, const AttentionStep& step);
OperandBytes bytes_of(const GpuGraph& graph, const ConvolutionStep& step);
OperandBytes bytes_of(const GpuGraph& graph, const MatmulStep& step);
OperandBytes bytes_of(const GpuGraph& graph, const AttentionStep& step);

//   errors   kInvalidModel: extents that do not fit each other; kNoSuchDevice: a library is missing
Result<std::shared_ptr<StepPlan>> plan_convolution(const std::shared_ptr<GpuDevice>& device,
                                                   const GpuGraph& graph, const ConvolutionStep& step,
                                                   const DiskCache& cache);
Result<std::shared_ptr<StepPlan>> plan_matmul(const std::shared_ptr<GpuDevice>& device, const GpuGraph& graph,
                                              const MatmulStep& step, const DiskCache& cache);
Result<std::shared_ptr<StepPlan>> plan_attention(const std::shared_ptr<GpuDevice>& device,
                                                 const GpuGraph& graph, const AttentionStep& step,
                                                 const DiskCache& cache);

// "cuDNN 9.19.0, cuBLASLt 13.1.0", for the key of what is tuned, and for people.
std::string library_versions();

// A kernel that Kernels::add() compiled, and how it is launched.
struct KernelLaunch {
  CUfunction function = nullptr;
  std::int64_t blocks = 1;
  int threads = 128;
  std::size_t shared_bytes = 0;
};
// Addresses are its parameters. From compute capability 9.0 on, it may begin before the kernel ahead of it in the stream
// has ended, for which it waits itself: so its launch costs no time of its own.
//   next_is_early   so may the kernel after it, which may not be let come unless it waits, too
Status launch_kernel(GpuDevice& device, const KernelLaunch& kernel, CUstream stream,
                     std::vector<CUdeviceptr> addresses, bool next_is_early);

// The kernels of one step that are made by NVRTC: what follows a product that the library leaves bare, and what
// stands in for it as a whole.
class OwnKernels {
 public:
  OwnKernels(std::shared_ptr<GpuDevice> device, const DiskCache& cache);
  ~OwnKernels();
  // Compiles it on the first call.
  Status prepare_epilogue(const struct EpilogueShape& shape);
  Status prepare_direct(const struct StepSource& source);
  Status enqueue_epilogue(CUstream stream, const Operands& operands) const;
  Status enqueue_direct(CUstream stream, const Operands& operands) const;
  Status enqueue_direct(CUstream stream, std::vector<CUdeviceptr> addresses, bool next_is_early) const;

 private:
  Status compile(const struct StepSource& source, KernelLaunch& compiled);
  const std::shared_ptr<GpuDevice> device_;
  const DiskCache cache_;
  std::vector<std::unique_ptr<class Kernels>> kernels_;
  KernelLaunch epilogue_;
  KernelLaunch direct_;
  bool uses_bias_ = false;  // the epilogue
  bool uses_residual_ = false;
};

}  // namespace inflight::cuda
