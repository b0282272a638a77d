// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 without a device, with what driver.cc calls: an event behind a stream that waits is pending until the host
// opens the gate, a graph counts its kernels, and whatever is called out of order is an error.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kInvalid = 1;     // CUDA_ERROR_INVALID_VALUE
constexpr int kNotReady = 600;  // CUDA_ERROR_NOT_READY

struct Stream {
  const std::atomic<std::uint32_t>* gate = nullptr;
  std::uint32_t least = 0;
  bool captures = false;
  std::size_t kernels = 0;  // captured
  int state() const {
    return gate != nullptr && gate->load(std::memory_order_acquire) < least ? kNotReady : 0;
  }
};
struct Event {
  const Stream* behind = nullptr;
};
struct Graph {
  std::size_t kernels = 0;
};

bool started = false;
int context = 0;
int device_of_thread = 0;

template <typename T>
T& of(void* handle) {
  return *static_cast<T*>(handle);
}

}  // namespace

// What is made lasts until the process ends, as it does for the caller.
extern "C" {

int cuInit(unsigned) { return started = true, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, started ? 0 : kInvalid; }
int cuDevicePrimaryCtxRetain(void** made, int device) { return *made = &context, device == 0 ? 0 : kInvalid; }
int cuCtxSetCurrent(void* wanted) { return device_of_thread = 1, wanted == &context ? 0 : kInvalid; }
int cuMemGetInfo_v2(std::size_t* available, std::size_t* total) {
  *total = std::size_t{1} << 30U;
  *available = *total - std::size_t{5} * 1024;
  return device_of_thread == 1 ? 0 : kInvalid;
}
int cuMemHostAlloc(void** memory, std::size_t bytes, unsigned) {
  *memory = std::calloc(1, bytes);
  return device_of_thread == 1 ? 0 : kInvalid;
}
int cuStreamCreate(void** stream, unsigned) { return *stream = new Stream, 0; }
int cuStreamQuery(void* stream) { return of<Stream>(stream).state(); }
// Returns at once, with an error where the real one would hang.
int cuStreamSynchronize(void* stream) {
  return of<Stream>(stream).captures ? kInvalid : of<Stream>(stream).state();
}
int cuStreamWaitValue32_v2(void* stream, std::uint64_t address, std::uint32_t value, unsigned) {
  of<Stream>(stream).gate = reinterpret_cast<const std::atomic<std::uint32_t>*>(address);  // NOLINT
  of<Stream>(stream).least = value;
  return 0;
}
int cuStreamBeginCapture_v2(void* stream, int) { return of<Stream>(stream).captures = true, 0; }
int cuStreamEndCapture(void* stream, void** graph) {
  auto& captured = of<Stream>(stream);
  *graph = new Graph{captured.kernels};
  const int result = captured.captures ? 0 : kInvalid;
  return captured.captures = false, result;
}
int cuEventCreate(void** event, unsigned) { return *event = new Event, 0; }
int cuEventRecord(void* event, void* stream) { return of<Event>(event).behind = &of<Stream>(stream), 0; }
int cuEventQuery(void* event) {
  return of<Event>(event).behind == nullptr ? 0 : of<Event>(event).behind->state();
}
int cuModuleLoadData(void** module, const void* image) {
  *module = &context;
  return std::strstr(static_cast<const char*>(image), ".entry nothing") != nullptr ? 0 : kInvalid;
}
int cuModuleGetFunction(void** function, void*, const char* name) {
  return *function = &started, std::strcmp(name, "nothing") == 0 ? 0 : kInvalid;
}
int cuLaunchKernel(void* function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                   void* stream, void**, void**) {
  ++of<Stream>(stream).kernels;
  return function == &started && of<Stream>(stream).captures ? 0 : kInvalid;
}
int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  return *executable = graph, of<Graph>(graph).kernels > 0 ? 0 : kInvalid;
}
int cuGraphLaunch(void* executable, void* stream) {
  return of<Graph>(executable).kernels > 0 && !of<Stream>(stream).captures ? 0 : kInvalid;
}
int cuGetErrorString(int, const char** text) { return *text = "made up", 0; }

}  // extern "C"
