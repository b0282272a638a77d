// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 without a device, for tests of the host's side: memory of the device is the host's, everything ends at
// once, and of all kernels only those that copy (step_sources.h) do anything. It counts the calls that make the host
// wait or that get memory.
#include <cuda.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "backends/cuda/runtime/step_sources.h"

namespace {

using inflight::cuda::CopyEntry;

// Or a copy, which has the name "memcpy".
struct Kernel {
  const std::string* name;
  std::vector<std::uint64_t> parameters;
  unsigned parts;      // blockIdx.y
  bool early = false;  // it may begin before the one ahead of it has ended
  bool enabled = true;
};
using Work = std::vector<Kernel>;  // one after another; a node is the place of its kernel, counted from 1
const std::string kMemcpy = "memcpy";

std::atomic<unsigned long> waits{0};
std::atomic<unsigned long> gets{0};
thread_local CUcontext current = nullptr;
thread_local Work* captured = nullptr;             // of the stream that captures
thread_local const Work* last_captured = nullptr;  // whose nodes are asked for

template <typename Handle, typename Object>
Handle handle_of(Object* object) {
  return reinterpret_cast<Handle>(object);
}

CUgraphNode node_of(std::size_t place) {
  return reinterpret_cast<CUgraphNode>(place);  // NOLINT(performance-no-int-to-ptr)
}
Kernel& behind(CUgraph graph, CUgraphNode node) {
  return reinterpret_cast<Work*>(graph)->at(reinterpret_cast<std::size_t>(node));
}
Kernel& kernel_of(CUgraphExec executable, CUgraphNode node) {
  return reinterpret_cast<Work*>(executable)->at(reinterpret_cast<std::size_t>(node) - 1);
}

template <typename T>
T* at(std::uint64_t address) {
  return reinterpret_cast<T*>(address);  // NOLINT(performance-no-int-to-ptr)
}

void copy(std::uint64_t to, std::uint64_t from, std::uint64_t bytes) {
  if (to != from && bytes != 0) std::memmove(at<void>(to), at<const void>(from), bytes);
}

void run(const Kernel& kernel) {
  const std::vector<std::uint64_t>& p = kernel.parameters;
  if (p.empty() || !kernel.enabled) return;
  if (kernel.name == &kMemcpy) return copy(p[0], p[1], p[2]);
  if (*kernel.name == "fetch") {
    for (std::uint64_t i = 0; i < p[2]; ++i)
      at<std::uint64_t>(p[1])[i] = at<const volatile std::uint64_t>(p[0])[i];
    return;
  }
  const auto* const table = at<const volatile std::uint64_t>(p[0]);
  const auto* const copies = at<const CopyEntry>(p[1]);
  if (*kernel.name == "copy_in") {
    for (unsigned i = 0; i < kernel.parts; ++i) copy(copies[i].tensor, table[i], copies[i].bytes);
    return;
  }
  for (std::uint64_t i = 0; i < p[2]; ++i) copy(table[i], copies[i].tensor, copies[i].bytes);
  const std::uint64_t generation = *at<const volatile std::uint64_t>(p[3]);
  at<std::atomic<std::uint64_t>>(p[4])->store(generation, std::memory_order_release);
}

}  // namespace

extern "C" {

// How often the host has waited for the device, and got memory of it.
unsigned long fake_cuda_waits() { return waits; }
unsigned long fake_cuda_gets() { return gets; }

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int* version) { return *version = CUDA_VERSION, CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int* count) { return *count = 1, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice* device, int ordinal) { return *device = ordinal, CUDA_SUCCESS; }
CUresult cuDeviceGetName(char* name, int length, CUdevice) {
  std::strncpy(name, "Fake", static_cast<std::size_t>(length));
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 9 : 0;
  return CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem(size_t* bytes, CUdevice) { return *bytes = std::size_t{1} << 30U, CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  static int one;
  return *context = handle_of<CUcontext>(&one), CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext context) { return current = context, CUDA_SUCCESS; }
CUresult cuCtxGetCurrent(CUcontext* context) { return *context = current, CUDA_SUCCESS; }
CUresult cuCtxSynchronize() { return ++waits, CUDA_SUCCESS; }

CUresult cuMemGetInfo(size_t* available, size_t* total) {
  return *available = *total = std::size_t{1} << 30U, CUDA_SUCCESS;
}
CUresult cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  ++gets;
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return *memory == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}
CUresult cuMemFreeHost(void* memory) { return std::free(memory), CUDA_SUCCESS; }
CUresult cuMemAlloc(CUdeviceptr* address, size_t bytes) {
  void* memory = nullptr;
  const CUresult got = cuMemHostAlloc(&memory, bytes, 0);
  *address = reinterpret_cast<CUdeviceptr>(memory);
  return got;
}
CUresult cuMemFree(CUdeviceptr address) { return cuMemFreeHost(at<void>(address)); }
CUresult cuMemcpyHtoD(CUdeviceptr to, const void* from, size_t bytes) {
  ++waits;
  return std::memcpy(at<void>(to), from, bytes), CUDA_SUCCESS;
}
CUresult cuMemcpyDtoH(void* to, CUdeviceptr from, size_t bytes) {
  ++waits;
  return std::memcpy(to, at<void>(from), bytes), CUDA_SUCCESS;
}
// Pinned and pageable memory alike: it is done when the call returns.
CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream) {
  if (captured != nullptr) {
    captured->push_back({&kMemcpy, {to, from, bytes}, 1});
    return CUDA_SUCCESS;
  }
  return std::memcpy(at<void>(to), at<const void>(from), bytes), CUDA_SUCCESS;
}
CUresult cuMemsetD8(CUdeviceptr to, unsigned char value, size_t bytes) {
  return std::memset(at<void>(to), value, bytes), CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
  return *stream = handle_of<CUstream>(new unsigned(flags)), CUDA_SUCCESS;
}
CUresult cuStreamDestroy(CUstream stream) { return delete reinterpret_cast<unsigned*>(stream), CUDA_SUCCESS; }
CUresult cuStreamGetFlags(CUstream stream, unsigned* flags) {
  return *flags = *reinterpret_cast<const unsigned*>(stream), CUDA_SUCCESS;
}
CUresult cuStreamIsCapturing(CUstream, CUstreamCaptureStatus* status) {
  return *status = CU_STREAM_CAPTURE_STATUS_NONE, CUDA_SUCCESS;
}
CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode*) { return CUDA_SUCCESS; }
CUresult cuStreamQuery(CUstream) { return CUDA_SUCCESS; }
CUresult cuStreamSynchronize(CUstream) { return ++waits, CUDA_SUCCESS; }
CUresult cuStreamWaitEvent(CUstream, CUevent, unsigned) { return CUDA_SUCCESS; }
CUresult cuStreamBeginCapture(CUstream, CUstreamCaptureMode) { return captured = new Work, CUDA_SUCCESS; }
CUresult cuStreamEndCapture(CUstream, CUgraph* graph) {
  *graph = handle_of<CUgraph>(captured);
  last_captured = captured;
  return captured = nullptr, CUDA_SUCCESS;
}
CUresult cuEventCreate(CUevent* event, unsigned) {
  return *event = handle_of<CUevent>(new char), CUDA_SUCCESS;
}
CUresult cuEventDestroy(CUevent event) { return delete reinterpret_cast<char*>(event), CUDA_SUCCESS; }
CUresult cuEventRecord(CUevent, CUstream) { return CUDA_SUCCESS; }
CUresult cuEventQuery(CUevent) { return CUDA_SUCCESS; }
CUresult cuEventElapsedTime(float* ms, CUevent, CUevent) { return *ms = 1, CUDA_SUCCESS; }

CUresult cuGraphInstantiate(CUgraphExec* executable, CUgraph graph, unsigned long long) {
  return *executable = handle_of<CUgraphExec>(new Work(*reinterpret_cast<Work*>(graph))), CUDA_SUCCESS;
}
CUresult cuGraphLaunch(CUgraphExec executable, CUstream) {
  for (const Kernel& kernel : *reinterpret_cast<const Work*>(executable)) run(kernel);
  return CUDA_SUCCESS;
}
// As the real one: the kinds of memory may not change, and without a pitch it says nothing and copies nothing.
CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec executable, CUgraphNode node, const CUDA_MEMCPY3D* copy,
                                        CUcontext context) {
  Kernel& changed = kernel_of(executable, node);
  const bool same_kind =
      copy->srcMemoryType == CU_MEMORYTYPE_UNIFIED && copy->dstMemoryType == CU_MEMORYTYPE_UNIFIED;
  if (changed.name != &kMemcpy || copy->WidthInBytes == 0 || !same_kind || context == nullptr)
    return CUDA_ERROR_INVALID_VALUE;
  const bool has_pitch = copy->srcPitch >= copy->WidthInBytes && copy->dstPitch >= copy->WidthInBytes;
  changed.parameters = {copy->dstDevice, copy->srcDevice, has_pitch ? copy->WidthInBytes : 0};
  return CUDA_SUCCESS;
}
CUresult cuGraphNodeSetEnabled(CUgraphExec executable, CUgraphNode node, unsigned enabled) {
  return kernel_of(executable, node).enabled = enabled != 0, CUDA_SUCCESS;
}
CUresult cuGraphUpload(CUgraphExec, CUstream) { return CUDA_SUCCESS; }
CUresult cuGraphExecDestroy(CUgraphExec executable) {
  return delete reinterpret_cast<Work*>(executable), CUDA_SUCCESS;
}
CUresult cuGraphDestroy(CUgraph graph) { return delete reinterpret_cast<Work*>(graph), CUDA_SUCCESS; }
CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode*, size_t* count) {
  return *count = reinterpret_cast<Work*>(graph)->size(), CUDA_SUCCESS;
}
CUresult cuStreamGetCaptureInfo(CUstream, CUstreamCaptureStatus* status, cuuint64_t*, CUgraph*,
                                const CUgraphNode** newest, const CUgraphEdgeData** edges, size_t* count) {
  static thread_local CUgraphNode last;
  static constexpr CUgraphEdgeData kWhole{};
  *status = captured == nullptr ? CU_STREAM_CAPTURE_STATUS_NONE : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  *count = captured == nullptr || captured->empty() ? 0 : 1;
  last = node_of(*count == 0 ? 0 : captured->size());
  *newest = &last;
  *edges = &kWhole;
  return CUDA_SUCCESS;
}
CUresult cuGraphNodeGetDependentNodes(CUgraphNode node, CUgraphNode* behind, CUgraphEdgeData* edges,
                                      size_t* count) {
  const auto place = reinterpret_cast<std::size_t>(node);
  const Work& work = *last_captured;
  const bool any = place < work.size() && *count > 0;
  *count = any ? 1 : 0;
  if (!any) return CUDA_SUCCESS;
  if (behind == nullptr || edges == nullptr) return CUDA_ERROR_LOSSY_QUERY;
  *behind = node_of(place + 1);
  *edges = {};
  if (!work[place].early) return CUDA_SUCCESS;
  edges->type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
  edges->from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC;
  return CUDA_SUCCESS;
}
// An edge is there always; what is removed and added is its kind.
CUresult cuGraphRemoveDependencies(CUgraph graph, const CUgraphNode* from, const CUgraphNode*,
                                   const CUgraphEdgeData* edges, size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const bool early = edges[i].type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
    if (behind(graph, from[i]).early != early) return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}
CUresult cuGraphAddDependencies(CUgraph graph, const CUgraphNode* from, const CUgraphNode*,
                                const CUgraphEdgeData* edges, size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    behind(graph, from[i]).early = edges[i].type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule* module, const void*) {
  return *module = handle_of<CUmodule>(new char), CUDA_SUCCESS;
}
CUresult cuModuleUnload(CUmodule module) { return delete reinterpret_cast<char*>(module), CUDA_SUCCESS; }
CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  return *function = handle_of<CUfunction>(new std::string(name)), CUDA_SUCCESS;  // stays, as functions do
}
CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
CUresult cuLaunchKernel(CUfunction function, unsigned, unsigned parts, unsigned, unsigned, unsigned, unsigned,
                        unsigned, CUstream, void** parameters, void**) {
  Kernel kernel{reinterpret_cast<const std::string*>(function), {}, parts};
  const std::size_t count = *kernel.name == "copy_in"    ? 2
                            : *kernel.name == "fetch"    ? 3
                            : *kernel.name == "copy_out" ? 6
                                                         : 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t value = 0;
    // The third of fetch and of copy_out is an int.
    std::memcpy(&value, parameters[i], i == 2 ? sizeof(int) : sizeof(value));
    kernel.parameters.push_back(value);
  }
  if (captured != nullptr)
    captured->push_back(std::move(kernel));
  else
    run(kernel);
  return CUDA_SUCCESS;
}
CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** parameters,
                          void** extra) {
  const CUresult launched = cuLaunchKernel(function, config->gridDimX, config->gridDimY, config->gridDimZ,
                                           config->blockDimX, config->blockDimY, config->blockDimZ,
                                           config->sharedMemBytes, config->hStream, parameters, extra);
  for (unsigned i = 0; captured != nullptr && i < config->numAttrs; ++i) {
    if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
      captured->back().early = config->attrs[i].value.programmaticStreamSerializationAllowed != 0;
  }
  return launched;
}

CUresult cuGetErrorName(CUresult, const char** text) { return *text = "CUDA_FAKE", CUDA_SUCCESS; }
CUresult cuGetErrorString(CUresult, const char** text) { return *text = "made up", CUDA_SUCCESS; }

}  // extern "C"
