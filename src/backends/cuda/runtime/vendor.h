// SPDX-License-Identifier: Apache-2.0
// NVIDIA's libraries. They are opened by name when a device is asked for, so that this plugin itself needs none
// of them: a machine without a driver, or without cuDNN, gets one clear line.
#pragma once

#include <cublasLt.h>
#include <cuda.h>
#include <nvrtc.h>

#include <string>
#include <string_view>
#include <vector>

#include "inflight/status.h"

namespace inflight::cuda {

// The functions that are used, by the names that the headers give them.
// clang-format off
#define INFLIGHT_DRIVER_FUNCTIONS(F)                                                                 \
  F(cuInit) F(cuDriverGetVersion) F(cuDeviceGetCount) F(cuDeviceGet) F(cuDeviceGetName)              \
  F(cuDeviceGetAttribute) F(cuDeviceTotalMem) F(cuDevicePrimaryCtxRetain) F(cuCtxSetCurrent)         \
  F(cuCtxGetCurrent) F(cuCtxSynchronize) F(cuMemGetInfo) F(cuMemAlloc) F(cuMemFree)                  \
  F(cuMemHostAlloc) F(cuMemFreeHost) F(cuMemcpyHtoD) F(cuMemcpyDtoH) F(cuMemcpyAsync) F(cuMemsetD8)  \
  F(cuStreamGetFlags) F(cuStreamIsCapturing) F(cuThreadExchangeStreamCaptureMode)                    \
  F(cuStreamCreate) F(cuStreamDestroy) F(cuStreamQuery) F(cuStreamSynchronize)                       \
  F(cuStreamWaitEvent) F(cuStreamBeginCapture) F(cuStreamEndCapture) F(cuEventCreate)                \
  F(cuEventDestroy) F(cuEventRecord) F(cuEventQuery) F(cuEventElapsedTime) F(cuGraphInstantiate)     \
  F(cuGraphLaunch) F(cuGraphUpload) F(cuGraphExecDestroy) F(cuGraphDestroy) F(cuGraphGetNodes)       \
  F(cuGraphNodeGetDependentNodes) F(cuGraphAddDependencies) F(cuGraphRemoveDependencies)             \
  F(cuStreamGetCaptureInfo) F(cuGraphExecMemcpyNodeSetParams) F(cuGraphNodeSetEnabled)               \
  F(cuModuleLoadData) F(cuModuleUnload) F(cuModuleGetFunction) F(cuFuncSetAttribute)                 \
  F(cuLaunchKernel) F(cuLaunchKernelEx) F(cuGetErrorName) F(cuGetErrorString)

#define INFLIGHT_NVRTC_FUNCTIONS(F)                                                                  \
  F(nvrtcVersion) F(nvrtcGetErrorString) F(nvrtcCreateProgram) F(nvrtcDestroyProgram)                \
  F(nvrtcCompileProgram) F(nvrtcGetCUBINSize) F(nvrtcGetCUBIN) F(nvrtcGetProgramLogSize)             \
  F(nvrtcGetProgramLog)

#define INFLIGHT_CUBLASLT_FUNCTIONS(F)                                                               \
  F(cublasLtGetVersion) F(cublasLtGetStatusString) F(cublasLtCreate) F(cublasLtDestroy)              \
  F(cublasLtMatmul) F(cublasLtMatmulDescCreate) F(cublasLtMatmulDescDestroy)                         \
  F(cublasLtMatmulDescSetAttribute) F(cublasLtMatrixLayoutCreate) F(cublasLtMatrixLayoutDestroy)     \
  F(cublasLtMatrixLayoutSetAttribute) F(cublasLtMatmulPreferenceCreate)                              \
  F(cublasLtMatmulPreferenceDestroy) F(cublasLtMatmulPreferenceSetAttribute)                         \
  F(cublasLtMatmulAlgoGetHeuristic) F(cublasLtMatmulAlgoCheck)                                       \
  F(cublasLtMatmulAlgoConfigSetAttribute)

// clang-format on

#define INFLIGHT_POINTER(name) decltype(&::name) name = nullptr;
struct DriverApi {
  INFLIGHT_DRIVER_FUNCTIONS(INFLIGHT_POINTER)
};
struct NvrtcApi {
  INFLIGHT_NVRTC_FUNCTIONS(INFLIGHT_POINTER)
};
struct CublasLtApi {
  INFLIGHT_CUBLASLT_FUNCTIONS(INFLIGHT_POINTER)
};
#undef INFLIGHT_POINTER

// The driver, started (cuInit). Loaded once for the process; a failure is final.
//   returns  valid for ever
//   errors   kNoSuchDevice: no driver, no device, or a driver that is too old
Result<const DriverApi*> driver_api();
//   errors   kNoSuchDevice: the library is missing or too old, and how to get it
Result<const NvrtcApi*> nvrtc_api();
Result<const CublasLtApi*> cublaslt_api();
// The handle of libcudnn.so.9, for cudnn-frontend. Opens what cuDNN itself opens by name before it.
Result<void*> cudnn_library();

// Where libraries are looked for after the linker's own search, in this order: INFLIGHT_CUDA_LIBRARIES (folders
// between colons), the folders found when this was built, the toolkit's (CUDA_HOME, CUDA_PATH,
// /usr/local/cuda), NVIDIA's wheels beside this plugin, in a virtual environment, and in the system's Python.
std::vector<std::string> library_folders();
// The folders nvidia/*/lib of NVIDIA's wheels below a folder of Python packages, sorted.
std::vector<std::string> wheel_folders(const std::string& packages);

// A failed call of the driver, such as "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (out of memory)".
//   errors   kOutOfMemory, kNoSuchDevice or kDeviceError, by the code; ok for CUDA_SUCCESS
Status driver_status(CUresult result, std::string_view call);
// Whether an error stays with the context until the process ends.
bool is_sticky(CUresult result) noexcept;
// Memory of a device, or pinned memory, as a pointer. The host reads only the latter.
inline void* pointer_of(CUdeviceptr address) noexcept {
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
}
// "13.0" for 13000.
std::string cuda_version_text(int version);

}  // namespace inflight::cuda
